//! The way to the PHY (8254x section 13.4.8).

use std::time::Duration;

use common::phy::Mdio;
use e1000_spec::registers::{EXTCNF_CTRL, MDIC, MDIO_SOFTWARE_OWNERSHIP, Mdic};

use crate::{error::MdioError, registers::Registers};

/// An access takes 64 us.
const ACCESS_TIMEOUT: Duration = Duration::from_millis(10);
const ACCESS_POLL: Duration = Duration::from_micros(50);
/// How long management firmware may have the interface.
const OWNERSHIP_TIMEOUT: Duration = Duration::from_millis(200);

/// The management interface, for as long as this lives.
pub(crate) struct MdioBus<'a> {
    registers: &'a Registers,
    owned: bool,
}

impl<'a> MdioBus<'a> {
    /// Claims the interface, where it is shared.
    pub(crate) fn new(registers: &'a Registers) -> redox_driver_sys::Result<Self> {
        let owned = registers.chip.shares_mdio;
        if owned {
            registers.clock.poll_until("claim of MDIO", OWNERSHIP_TIMEOUT, ACCESS_POLL, || {
                registers.modify(EXTCNF_CTRL, |value: u32| value | MDIO_SOFTWARE_OWNERSHIP)?;
                let value: u32 = registers.get(EXTCNF_CTRL)?;
                Ok((value & MDIO_SOFTWARE_OWNERSHIP != 0).then_some(()))
            })?;
        }
        Ok(MdioBus { registers, owned })
    }

    fn access(&self, mdic: Mdic) -> Result<u16, MdioError> {
        let register = mdic.register();
        self.registers.set(MDIC, mdic)?;
        let deadline = self.registers.clock.deadline(ACCESS_TIMEOUT);
        loop {
            let late = deadline.passed(&self.registers.clock);
            let value: Mdic = self.registers.get(MDIC)?;
            if value.into_bits() == u32::MAX {
                return Err(redox_driver_sys::Error::Gone { register: "MDIC" }.into());
            }
            if value.ready() {
                return if value.error() { Err(MdioError::Failed { register }) } else { Ok(value.data()) };
            }
            if late {
                return Err(MdioError::Late { register, after: ACCESS_TIMEOUT });
            }
            self.registers.clock.sleep(ACCESS_POLL);
        }
    }
}

impl Drop for MdioBus<'_> {
    fn drop(&mut self) {
        if self.owned
            && let Err(error) =
                self.registers.modify(EXTCNF_CTRL, |value: u32| value & !MDIO_SOFTWARE_OWNERSHIP)
        {
            log::warn!("MDIO stays claimed: {error}");
        }
    }
}

impl Mdio for MdioBus<'_> {
    type Error = MdioError;

    fn read(&mut self, address: u8, register: u8) -> Result<u16, MdioError> {
        self.access(Mdic::new().with_op(Mdic::READ).with_phy(address).with_register(register))
    }

    fn write(&mut self, address: u8, register: u8, value: u16) -> Result<(), MdioError> {
        let mdic = Mdic::new().with_op(Mdic::WRITE).with_phy(address).with_register(register);
        self.access(mdic.with_data(value)).map(drop)
    }
}
