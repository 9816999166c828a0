//! The EEPROM (8254x section 5.6, 82574 chapter 6): read, never written.

use std::time::Duration;

use e1000_spec::{
    NvmAccess, nvm,
    registers::{EECD, EERD, Eecd},
};
use redox_driver_sys::Result;

use crate::registers::Registers;

const READ_TIMEOUT: Duration = Duration::from_millis(50);
const READ_POLL: Duration = Duration::from_micros(10);
/// Half a period of the Microwire clock: at most 1 MHz.
const HALF_PERIOD: Duration = Duration::from_micros(1);

/// Words 0 to 0x3f.
pub(crate) type Words = [u16; nvm::CHECKSUM as usize + 1];

/// Reads all words that the checksum is over.
pub(crate) fn read(registers: &Registers) -> Result<Words> {
    let mut words = [0; nvm::CHECKSUM as usize + 1];
    for (address, word) in (0..).zip(&mut words) {
        *word = match registers.chip.nvm {
            NvmAccess::Eerd { address_shift, done } => eerd(registers, address, address_shift, done)?,
            NvmAccess::Microwire { address_bits } => Microwire { registers }.read(address, address_bits)?,
        };
    }
    Ok(words)
}

/// The station's address.
pub(crate) fn address(words: &Words) -> [u8; 6] {
    let [[a, b], [c, d], [e, f]] = [words[0], words[1], words[2]].map(u16::to_le_bytes);
    [a, b, c, d, e, f]
}

fn eerd(registers: &Registers, address: u16, address_shift: u8, done: u32) -> Result<u16> {
    registers.set(EERD, u32::from(address) << address_shift | 1)?;
    let value = registers.clock.poll_until("read of the EEPROM (EERD)", READ_TIMEOUT, READ_POLL, || {
        let value: u32 = registers.get(EERD)?;
        Ok((value & done != 0).then_some(value))
    })?;
    let [_, _, low, high] = value.to_le_bytes();
    Ok(u16::from_le_bytes([low, high]))
}

/// A Microwire bus, bit by bit (8254x section 5.5.1).
struct Microwire<'a> {
    registers: &'a Registers,
}

impl Microwire<'_> {
    fn read(&self, address: u16, address_bits: u8) -> Result<u16> {
        let selected = Eecd::new().with_cs(true);
        self.set(selected)?;
        let command = u16::from(nvm::MICROWIRE_READ) << address_bits | address;
        for bit in (0..nvm::MICROWIRE_OPCODE_BITS + address_bits).rev() {
            self.clock(selected.with_di(command >> bit & 1 != 0))?;
        }
        let mut word = 0;
        for _ in 0..16 {
            self.clock(selected)?;
            let bit = self.registers.get::<Eecd>(EECD)?.data_out();
            word = word << 1 | u16::from(bit);
        }
        self.set(Eecd::new())?;
        Ok(word)
    }

    fn clock(&self, lines: Eecd) -> Result<()> {
        self.set(lines)?;
        self.set(lines.with_sk(true))?;
        self.set(lines)
    }

    fn set(&self, lines: Eecd) -> Result<()> {
        self.registers.set(EECD, lines)?;
        self.registers.clock.sleep(HALF_PERIOD);
        Ok(())
    }
}
