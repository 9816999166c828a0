//! IDENTIFY DEVICE and IDENTIFY PACKET DEVICE data (ACS, sections 7.12 and 7.13).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// 256 words. What they mean is asked by methods, which know when a word is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Identify {
    /// The words.
    pub words: [u16; 256],
}

const _: () = assert!(size_of::<Identify>() == 512);

impl Identify {
    const fn word(&self, at: usize) -> u16 {
        self.words[at & 0xff]
    }

    const fn bit(&self, at: usize, bit: u32) -> bool {
        self.word(at) & 1 << bit != 0
    }

    /// A bit of a word whose bits 15:14 are 01b when it is valid.
    const fn marked_bit(&self, at: usize, bit: u32) -> bool {
        self.word(at) & 0xc000 == 0x4000 && self.bit(at, bit)
    }

    const fn dword(&self, at: usize) -> u32 {
        let ([a, b], [c, d]) = (self.word(at).to_le_bytes(), self.word(at + 1).to_le_bytes());
        u32::from_le_bytes([a, b, c, d])
    }

    #[allow(clippy::cast_lossless, reason = "a const function")]
    const fn qword(&self, at: usize) -> u64 {
        self.dword(at) as u64 | (self.dword(at + 2) as u64) << 32
    }

    /// Whether the checksum in word 255 is absent, or right.
    pub fn is_intact(&self) -> bool {
        let bytes = self.as_bytes();
        self.word(255) & 0xff != 0xa5 || bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)) == 0
    }

    /// Puts the checksum into word 255.
    pub fn seal(&mut self) {
        self.words[255] = 0xa5;
        let sum = self.as_bytes().iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
        self.words[255] |= u16::from(sum.wrapping_neg()) << 8;
    }

    /// Whether it is data of an ATA device, or of an ATAPI device (word 0).
    pub const fn is_ata(&self) -> bool {
        !self.bit(0, 15)
    }

    /// Serial number (words 10–19).
    pub fn serial(&self) -> String {
        ata_string(&self.words[10..20])
    }

    /// Firmware revision (words 23–26).
    pub fn firmware(&self) -> String {
        ata_string(&self.words[23..27])
    }

    /// Model number (words 27–46).
    pub fn model(&self) -> String {
        ata_string(&self.words[27..47])
    }

    /// Whether DMA is supported (word 49 bit 8).
    pub const fn has_dma(&self) -> bool {
        self.bit(49, 8)
    }

    /// Whether logical block addresses are supported (word 49 bit 9).
    pub const fn has_lba(&self) -> bool {
        self.bit(49, 9)
    }

    /// Whether the packets of an ATAPI device are of 16 bytes (word 0 bits 1:0).
    pub const fn packet_is_16_bytes(&self) -> bool {
        self.word(0) & 3 == 1
    }

    /// The SCSI type of an ATAPI device (word 0 bits 12:8).
    pub const fn packet_type(&self) -> u8 {
        (self.word(0) >> 8 & 0x1f).to_le_bytes()[0]
    }

    /// Whether the 48-bit address feature set is supported (word 83 bit 10).
    pub const fn has_lba48(&self) -> bool {
        self.marked_bit(83, 10)
    }

    /// Capacity in logical blocks (words 60–61, 100–103, 230–233).
    pub const fn blocks(&self) -> u64 {
        #[allow(clippy::cast_lossless, reason = "a const function")]
        let short = self.dword(60) as u64;
        let long = self.qword(100);
        if !self.has_lba48() || long == 0 {
            short
        } else if self.bit(69, 3) && self.qword(230) != 0 {
            self.qword(230)
        } else {
            long
        }
    }

    /// Logical block size in bytes (words 106 and 117–118).
    pub const fn block_size(&self) -> u32 {
        let words = self.dword(117);
        if self.marked_bit(106, 12) && words != 0 { words.saturating_mul(2) } else { 512 }
    }

    /// Logical blocks per physical block, as a power of two (word 106).
    pub const fn physical_exponent(&self) -> u32 {
        #[allow(clippy::cast_lossless, reason = "a const function")]
        if self.marked_bit(106, 13) { (self.word(106) & 0xf) as u32 } else { 0 }
    }

    /// Number of the logical block, in a physical one, that the first of the disk is (word 209).
    pub const fn alignment(&self) -> u16 {
        if self.marked_bit(209, 14) { self.word(209) & 0x3fff } else { 0 }
    }

    /// Whether NCQ is supported (word 76 bit 8).
    pub const fn has_ncq(&self) -> bool {
        self.word(76) != 0xffff && self.bit(76, 8)
    }

    /// Queue depth (word 75).
    pub const fn queue_depth(&self) -> u16 {
        (self.word(75) & 0x1f) + 1
    }

    /// Whether the host may initiate power states of the interface (word 76 bit 9).
    pub const fn has_hipm(&self) -> bool {
        self.word(76) != 0xffff && self.bit(76, 9)
    }

    /// Whether the device can initiate them (word 78 bit 3).
    pub const fn has_dipm(&self) -> bool {
        self.word(78) != 0xffff && self.bit(78, 3)
    }

    /// Whether device-initiated transitions are on (word 79 bit 3).
    pub const fn dipm_enabled(&self) -> bool {
        self.bit(79, 3)
    }

    /// Whether device sleep is supported (word 78 bit 8).
    pub const fn has_devslp(&self) -> bool {
        self.word(78) != 0xffff && self.bit(78, 8)
    }

    /// Whether asynchronous notification is supported (word 78 bit 5).
    pub const fn has_async_notification(&self) -> bool {
        self.word(78) != 0xffff && self.bit(78, 5)
    }

    /// Whether SEND FPDMA QUEUED is supported (word 77 bit 6).
    pub const fn has_ncq_send(&self) -> bool {
        self.word(77) != 0xffff && self.bit(77, 6)
    }

    /// Highest speed (word 76 bits 3:1): 1: 1.5, 2: 3, 3: 6 Gbit/s.
    pub const fn speed(&self) -> u8 {
        let bits = self.word(76) >> 1 & 7;
        if bits & 4 != 0 {
            3
        } else if bits & 2 != 0 {
            2
        } else {
            1
        }
    }

    /// Whether the volatile write cache is on (word 85 bit 5).
    pub const fn write_cache_enabled(&self) -> bool {
        self.bit(85, 5)
    }

    /// Whether there is a volatile write cache (word 82 bit 5).
    pub const fn has_write_cache(&self) -> bool {
        self.bit(82, 5)
    }

    /// Whether FLUSH CACHE is supported (word 83 bit 12).
    pub const fn has_flush(&self) -> bool {
        self.marked_bit(83, 12)
    }

    /// Whether FLUSH CACHE EXT is supported (word 83 bit 13).
    pub const fn has_flush_ext(&self) -> bool {
        self.marked_bit(83, 13)
    }

    /// Whether WRITE DMA FUA EXT is supported (word 84 bit 6).
    pub const fn has_fua(&self) -> bool {
        self.marked_bit(84, 6)
    }

    /// Whether the general purpose logging feature set is supported (word 84 bit 5).
    pub const fn has_gpl(&self) -> bool {
        self.marked_bit(84, 5)
    }

    /// Whether SMART is supported (word 82 bit 0).
    pub const fn has_smart(&self) -> bool {
        self.bit(82, 0)
    }

    /// Whether SMART is on (word 85 bit 0).
    pub const fn smart_enabled(&self) -> bool {
        self.bit(85, 0)
    }

    /// Whether TRIM is supported (word 169 bit 0).
    pub const fn has_trim(&self) -> bool {
        self.bit(169, 0)
    }

    /// Most 512-byte blocks of ranges of one DATA SET MANAGEMENT (word 105).
    pub const fn trim_blocks(&self) -> u16 {
        let blocks = self.word(105);
        if blocks == 0 || blocks == 0xffff { 1 } else { blocks }
    }

    /// DRAT: trimmed blocks read the same every time (word 69 bit 14).
    pub const fn trim_is_deterministic(&self) -> bool {
        self.has_trim() && self.bit(69, 14)
    }

    /// RZAT: trimmed blocks read as zeroes (word 69 bit 5, with DRAT).
    pub const fn trim_reads_zeroes(&self) -> bool {
        self.trim_is_deterministic() && self.bit(69, 5)
    }

    /// Whether the medium turns (word 217): 1 says that it does not.
    pub const fn is_rotational(&self) -> bool {
        self.word(217) != 1
    }

    /// Nominal rotation rate in turns per minute (word 217), if it is told.
    pub const fn rotation_rate(&self) -> Option<u16> {
        match self.word(217) {
            rate @ 0x0401..=0xfffe => Some(rate),
            _ => None,
        }
    }

    /// World wide name (words 108–111), if there is one (word 87 bit 8).
    pub fn wwn(&self) -> Option<u64> {
        if !self.marked_bit(87, 8) {
            return None;
        }
        let words = [self.word(108), self.word(109), self.word(110), self.word(111)];
        Some(words.iter().fold(0, |sum, &word| sum << 16 | u64::from(word)))
    }

    /// Highest Ultra DMA mode that is supported (word 88), if any.
    pub fn udma_mode(&self) -> Option<u8> {
        let modes = self.word(88) & 0x7f;
        (self.bit(53, 2) && modes != 0).then(|| u8::try_from(modes.ilog2()).unwrap_or(0))
    }

    /// Whether an Ultra DMA mode is selected (word 88 bits 14:8).
    pub const fn udma_selected(&self) -> bool {
        self.word(88) & 0x7f00 != 0
    }
}

/// A string of an ATA device, two characters per word with the first in the upper byte: without padding, with anything
/// that is not printable ASCII replaced by `?`.
pub fn ata_string(words: &[u16]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    let end = bytes.iter().rposition(|&byte| byte != b' ' && byte != 0).map_or(0, |last| last + 1);
    let printable = |&byte: &u8| if byte == b' ' || byte.is_ascii_graphic() { char::from(byte) } else { '?' };
    bytes.iter().take(end).map(printable).collect::<String>().trim_start().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(words: &[(usize, u16)]) -> Identify {
        let mut identify = Identify { words: [0; 256] };
        for &(at, value) in words {
            identify.words[at] = value;
        }
        identify
    }

    #[test]
    fn capacity_and_blocks() {
        let short = with(&[(60, 0x5678), (61, 0x0012)]);
        assert_eq!((short.blocks(), short.block_size(), short.physical_exponent()), (0x12_5678, 512, 0));
        let long = with(&[(60, 0xffff), (61, 0x0fff), (83, 0x4400), (100, 1), (102, 2)]);
        assert_eq!(long.blocks(), 0x2_0000_0001);
        let advanced = with(&[(106, 0x6003)]);
        assert_eq!((advanced.block_size(), advanced.physical_exponent()), (512, 3));
        let native = with(&[(106, 0x5000), (117, 2048)]);
        assert_eq!((native.block_size(), native.physical_exponent()), (4096, 0));
        // The mark is missing: the word means nothing.
        assert_eq!(with(&[(106, 0x1000), (117, 2048)]).block_size(), 512);
    }

    #[test]
    fn words_that_were_never_filled_in_promise_nothing() {
        let blank =
            with(&[(75, 0xffff), (76, 0xffff), (77, 0xffff), (78, 0xffff), (83, 0xffff), (84, 0xffff)]);
        assert!(!blank.has_ncq() && !blank.has_hipm() && !blank.has_dipm() && !blank.has_devslp());
        assert!(!blank.has_lba48() && !blank.has_fua() && !blank.has_flush_ext());
    }

    #[test]
    fn strings_are_turned_and_cleaned() {
        let mut identify = with(&[(10, u16::from_be_bytes(*b"  ")), (11, u16::from_be_bytes(*b"RB"))]);
        identify.words[12] = u16::from_be_bytes([b'1', 0x1b]);
        assert_eq!(identify.serial(), "RB1?");
        assert_eq!(identify.model(), "");
    }

    #[test]
    fn the_checksum_is_checked_where_there_is_one() {
        let mut identify = with(&[(60, 1)]);
        assert!(identify.is_intact());
        identify.seal();
        assert!(identify.is_intact());
        identify.words[60] = 2;
        assert!(!identify.is_intact());
    }

    #[test]
    fn what_trim_promises() {
        let plain = with(&[(169, 1), (69, 1 << 5), (105, 8)]);
        assert!(plain.has_trim() && !plain.trim_is_deterministic() && !plain.trim_reads_zeroes());
        assert_eq!(plain.trim_blocks(), 8);
        let full = with(&[(169, 1), (69, 1 << 5 | 1 << 14)]);
        assert!(full.trim_is_deterministic() && full.trim_reads_zeroes());
        assert_eq!(full.trim_blocks(), 1);
    }
}
