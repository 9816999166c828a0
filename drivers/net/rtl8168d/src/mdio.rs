//! The way to the PHY: PHYAR or OCP.

use std::time::Duration;

use common::phy::{Mdio, Quirks};
use rtl8168_spec::{
    PhyAccess, PhyStep,
    indirect::{Access, Ocp},
    registers::{GPHY_OCP, PHYAR},
};

use crate::{error::MdioError, registers::Registers};

/// How long PHYAR has to be left alone after an access.
const PAUSE: Duration = Duration::from_micros(20);
/// The register that chooses a page, where there is no other way to them.
const PAGE: u8 = 31;
const WHAT: &str = "access to the PHY";

/// PHYs in the chips, or beside them. Whether they save energy is left as they come: none has registers of clause 45 where the standard has
/// them.
pub(crate) const KNOWN: &[Quirks] = &[
    Quirks { name: "RTL8211B", id: (0x001c_c912, u32::MAX), no_mmd: true, ..Quirks::NONE },
    Quirks { name: "Realtek's own", id: (0x001c_c800, u32::MAX), no_mmd: true, ..Quirks::NONE },
    Quirks { name: "RTL8211", id: (0x001c_c910, !0xf), no_mmd: true, ..Quirks::NONE },
];

/// The management interface. There is one PHY, whatever its address.
pub(crate) struct MdioBus<'a>(pub(crate) &'a Registers);

impl MdioBus<'_> {
    fn phyar(&self, access: Access) -> redox_driver_sys::Result<u16> {
        let done = self.0.access(WHAT, PHYAR, access)?;
        self.0.clock.sleep(PAUSE);
        Ok(done.data())
    }

    fn ocp(&self, access: Ocp) -> redox_driver_sys::Result<u16> {
        Ok(self.0.access(WHAT, GPHY_OCP, access)?.data())
    }

    /// Changes a register on a page of the PHY.
    pub(crate) fn take_step(&self, step: &PhyStep) -> Result<(), MdioError> {
        let PhyStep { page, register, clear, set } = *step;
        let change = || match self.0.chip.phy {
            PhyAccess::Ocp => {
                // The table is checked: each register has an address.
                let Some(address) = Ocp::phy(page, register) else { return Ok(()) };
                let old = self.ocp(Ocp::at(address))?;
                self.ocp(Ocp::at(address).with_data(old & !clear | set).with_flag(true)).map(drop)
            }
            PhyAccess::Phyar => {
                let choose = |page| Access::new().with_register(PAGE).with_data(page).with_flag(true);
                self.phyar(choose(page))?;
                let access = Access::new().with_register(register);
                let old = self.phyar(access)?;
                self.phyar(access.with_data(old & !clear | set).with_flag(true))?;
                self.phyar(choose(0)).map(drop)
            }
        };
        change().map_err(|source| MdioError { register, source })
    }
}

impl Mdio for MdioBus<'_> {
    type Error = MdioError;

    fn read(&mut self, _address: u8, register: u8) -> Result<u16, MdioError> {
        let read = match self.0.chip.phy {
            PhyAccess::Phyar => self.phyar(Access::new().with_register(register)),
            PhyAccess::Ocp => self.ocp(Ocp::at(Ocp::PHY + 2 * u16::from(register))),
        };
        read.map_err(|source| MdioError { register, source })
    }

    fn write(&mut self, _address: u8, register: u8, value: u16) -> Result<(), MdioError> {
        let written = match self.0.chip.phy {
            PhyAccess::Phyar => {
                self.phyar(Access::new().with_register(register).with_data(value).with_flag(true))
            }
            PhyAccess::Ocp => {
                self.ocp(Ocp::at(Ocp::PHY + 2 * u16::from(register)).with_data(value).with_flag(true))
            }
        };
        written.map(drop).map_err(|source| MdioError { register, source })
    }
}
