//! Registers behind registers (see `rtl8168_spec::indirect`), and what a chip has to be told through them.

use std::time::Duration;

use redox_driver_sys::{Error, Result, mmio::RegisterValue};
use rtl8168_spec::{
    Step,
    indirect::{Access, Eriar, Ocp},
    registers::{EPHYAR, ERIAR, ERIDR, OCPDR},
};

use crate::registers::Registers;

const TIMEOUT: Duration = Duration::from_millis(10);
const POLL: Duration = Duration::from_micros(10);

impl Registers {
    /// Makes an access and waits until its flag is the other way round.
    pub(crate) fn access<T: RegisterValue<Word = u32>>(
        &self,
        what: &'static str,
        offset: u64,
        access: T,
    ) -> Result<T> {
        const FLAG: u32 = 1 << 31;
        if self.stuck.get() {
            return Err(Error::Timeout { what, after: Duration::ZERO });
        }
        let asked = access.into_word();
        self.set(offset, asked)?;
        let done = self.clock.poll_until(what, TIMEOUT, POLL, || {
            let now: u32 = self.get(offset)?;
            if now == u32::MAX {
                self.present()?;
            }
            Ok(((now ^ asked) & FLAG != 0).then_some(T::from_word(now)))
        });
        self.stuck.set(done.is_err());
        done
    }

    /// Reads an extended register.
    pub(crate) fn read_extended(&self, address: u16) -> Result<u32> {
        let eriar = Eriar::new().with_address(address).with_bytes(0xf);
        self.access("read of an extended register (ERIAR)", ERIAR, eriar)?;
        self.get(ERIDR)
    }

    /// Writes some bytes of an extended register.
    pub(crate) fn write_extended(&self, address: u16, bytes: u8, value: u32) -> Result<()> {
        self.set(ERIDR, value)?;
        let eriar = Eriar::new().with_address(address).with_bytes(bytes).with_flag(true);
        self.access("write of an extended register (ERIAR)", ERIAR, eriar).map(drop)
    }

    pub(crate) fn modify_extended(&self, address: u16, bytes: u8, clear: u32, set: u32) -> Result<()> {
        let old = self.read_extended(address)?;
        self.write_extended(address, bytes, old & !clear | set)
    }

    fn modify_ephy(&self, register: u8, clear: u16, set: u16) -> Result<()> {
        let access = Access::new().with_register(register);
        let old = self.access("read of the PCI Express PHY (EPHYAR)", EPHYAR, access)?.data();
        let access = access.with_data(old & !clear | set).with_flag(true);
        self.access("write of the PCI Express PHY (EPHYAR)", EPHYAR, access)?;
        self.clock.sleep(POLL);
        Ok(())
    }

    /// Changes a register of the MAC's on-chip peripherals, which answer at once.
    pub(crate) fn modify_mac(&self, address: u16, clear: u16, set: u16) -> Result<()> {
        self.set(OCPDR, Ocp::at(address))?;
        let old = self.get::<Ocp>(OCPDR)?.data();
        self.set(OCPDR, Ocp::at(address).with_data(old & !clear | set).with_flag(true))
    }

    /// Tells the chip something. Configuration registers have to be unlocked.
    pub(crate) fn take_step(&self, step: Step) -> Result<()> {
        match step {
            Step::Byte { register, clear, set } => self.modify(register, |old: u8| old & !clear | set),
            Step::Dword { register, clear, set } => self.modify(register, |old: u32| old & !clear | set),
            Step::Eri { address, bytes, clear, set } => self.modify_extended(address, bytes, clear, set),
            Step::Ephy { register, clear, set } => self.modify_ephy(register, clear, set),
            Step::Mac { address, clear, set } => self.modify_mac(address, clear, set),
        }
    }
}
