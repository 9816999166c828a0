//! The EEPROM or NVM: 16-bit words (8254x section 5.6, 82574 chapter 6).

/// The station's address: three words, low byte first.
pub const ADDRESS: u16 = 0x00;
/// Initialization Control Word 1.
pub const INIT_CONTROL_1: u16 = 0x0a;
/// Device ID.
pub const DEVICE_ID: u16 = 0x0d;
/// Number of the board's assembly: two words.
pub const PBA: u16 = 0x08;
/// The word that makes the sum right.
pub const CHECKSUM: u16 = 0x3f;
/// What words 0 to [`CHECKSUM`] add up to.
pub const SUM: u16 = 0xbaba;

/// The opcode of a read on the Microwire bus, with its start bit (8254x section 5.5.1): 3 bits, before the address.
pub const MICROWIRE_READ: u8 = 0b110;
/// Bits of an opcode.
pub const MICROWIRE_OPCODE_BITS: u8 = 3;

/// The sum of words.
pub fn sum(words: &[u16]) -> u16 {
    words.iter().fold(0, |sum, word| sum.wrapping_add(*word))
}

/// The word at [`CHECKSUM`] that goes with those before it.
pub fn checksum(words: &[u16]) -> u16 {
    let before = words.get(..usize::from(CHECKSUM)).unwrap_or(words);
    SUM.wrapping_sub(sum(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_comes_out() {
        let mut words = [0x1234u16; 64];
        words[63] = checksum(&words);
        assert_eq!(sum(&words), SUM);
    }
}
