//! Registers behind registers: the PHY's, extended ones, the PCI Express PHY's, configuration space's (see `rtl8168_spec::indirect`).

use std::collections::HashMap;

use common::phy::registers::register;
use redox_driver_sys::{model::Bus, time::Time};
use rtl8168_spec::{
    PhyAccess,
    indirect::{Access, Csiar, Eriar, Ocp, eri},
    registers::{CSIAR, CSIDR, EPHYAR, ERIAR, ERIDR, GPHY_OCP, OCPDR, PHYAR},
};

use crate::{
    core::{Core, elapsed},
    fault::LifecycleFault,
    violation::Violation,
};

/// The register that chooses a page of the PHY.
const PAGE: u8 = 31;
/// Where the PHY says what the link is, on chips that reach it by OCP (Linux: RTL_VND2_PHYSR).
const PHYSR: u16 = 0xa434;
/// The standard's registers of the PHY, less those of vendors.
const STANDARD: std::ops::Range<u16> = Ocp::PHY..Ocp::PHY + 32;

/// What the registers hold.
#[derive(Debug, Default)]
pub(crate) struct Indirect {
    page: u16,
    /// Of pages other than the standard's: by page and register, or by address.
    phy: HashMap<(u16, u16), u16>,
    extended: HashMap<u16, u32>,
    ephy: HashMap<u8, u16>,
    mac: HashMap<u16, u16>,
    csi: HashMap<u16, u32>,
    /// Which register an access is under way through, and when it is done; `None`: never.
    under_way: Vec<(u64, Option<Time>)>,
}

impl Indirect {
    pub(crate) fn due(&self) -> Option<Time> {
        self.under_way.iter().filter_map(|(_, due)| *due).min()
    }

    pub(crate) fn new(address: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = address;
        let extended = [
            (eri::ADDRESS, u32::from_le_bytes([a, b, c, d])),
            (eri::ADDRESS + 4, u32::from_le_bytes([e, f, 0, 0])),
        ];
        Indirect { extended: extended.into(), ..Indirect::default() }
    }

    /// A reset: accesses that are under way are forgotten.
    pub(crate) fn restart(&mut self) {
        self.under_way.clear();
    }

    /// An extended register.
    pub(crate) fn extended(&self, address: u16) -> u32 {
        self.extended.get(&(address & !3)).copied().unwrap_or(0)
    }

    /// A register of the MAC's on-chip peripherals.
    pub(crate) fn mac(&self, address: u16) -> u16 {
        self.mac.get(&address).copied().unwrap_or(0)
    }

    /// A register of the PCI Express PHY.
    pub(crate) fn ephy(&self, register: u8) -> u16 {
        self.ephy.get(&register).copied().unwrap_or(0)
    }

    /// A register of a vendor's page of the PHY.
    pub(crate) fn phy_page(&self, access: PhyAccess, page: u16, register: u8) -> u16 {
        let key = match access {
            PhyAccess::Phyar => Some((page, register.into())),
            PhyAccess::Ocp => Ocp::phy(page, register).map(|address| (0, address)),
        };
        key.and_then(|key| self.phy.get(&key)).copied().unwrap_or(0)
    }
}

impl Core {
    /// Whether the chip has the register.
    pub(crate) fn has_indirect(&self, offset: u64) -> bool {
        match offset {
            PHYAR => self.config.chip.phy == PhyAccess::Phyar,
            GPHY_OCP | OCPDR => self.config.chip.phy == PhyAccess::Ocp,
            ERIAR | ERIDR => self.config.chip.modern,
            _ => true,
        }
    }

    /// Begins an access.
    pub(crate) fn write_indirect(&mut self, bus: &mut dyn Bus, offset: u64, value: u32) {
        if self.indirect.under_way.iter().any(|(busy, _)| *busy == offset) {
            self.violation(Violation::Busy(offset));
            return;
        }
        self.set32(offset, value);
        if offset == OCPDR {
            return self.access_mac(Ocp::from(value));
        }
        let phy = matches!(offset, PHYAR | GPHY_OCP);
        let hangs =
            self.lifecycle(if phy { LifecycleFault::PhyHangs } else { LifecycleFault::IndirectHangs });
        let due = (!hangs).then(|| bus.now().plus(self.config.access));
        self.indirect.under_way.push((offset, due));
    }

    pub(crate) fn run_indirect(&mut self, bus: &mut dyn Bus) {
        let now = bus.now();
        while let Some(at) =
            self.indirect.under_way.iter().position(|(_, due)| due.is_some_and(|due| due <= now))
        {
            let (offset, _) = self.indirect.under_way.swap_remove(at);
            let value = self.get32(offset);
            let done = match offset {
                PHYAR => self.access_phy(bus, Access::from(value)).into_bits(),
                GPHY_OCP => self.access_phy_ocp(bus, Ocp::from(value)).into_bits(),
                ERIAR => self.access_extended(Eriar::from(value)).into_bits(),
                EPHYAR => self.access_ephy(Access::from(value)).into_bits(),
                CSIAR => self.access_csi(Csiar::from(value)).into_bits(),
                _ => value,
            };
            self.set32(offset, done);
        }
    }

    fn access_phy(&mut self, bus: &mut dyn Bus, access: Access) -> Access {
        let (register, page) = (access.register(), self.indirect.page);
        if access.flag() {
            match register {
                PAGE => self.indirect.page = access.data(),
                _ if page == 0 => self.phy.write(register, access.data(), elapsed(bus.now())),
                _ => drop(self.indirect.phy.insert((page, register.into()), access.data())),
            }
            return access.with_flag(false);
        }
        let data = match register {
            PAGE => page,
            _ if page == 0 => self.phy.read(register, elapsed(bus.now())),
            _ => self.indirect.phy_page(PhyAccess::Phyar, page, register),
        };
        access.with_data(data).with_flag(true)
    }

    fn access_phy_ocp(&mut self, bus: &mut dyn Bus, access: Ocp) -> Ocp {
        let (address, now) = (access.address(), elapsed(bus.now()));
        let standard = STANDARD.contains(&address).then(|| ((address - Ocp::PHY) / 2).to_le_bytes()[0]);
        if access.flag() {
            match standard {
                Some(register) => self.phy.write(register, access.data(), now),
                None => drop(self.indirect.phy.insert((0, address), access.data())),
            }
            return access.with_flag(false);
        }
        let data = match standard {
            // Clause 45 is behind other addresses there.
            Some(register::MMD_CONTROL | register::MMD_DATA) => 0,
            Some(register) => self.phy.read(register, now),
            None if address == PHYSR => self.phy.link(now).map_or(0, |link| {
                let speed = match link.speed {
                    1000 => 2 << 4,
                    100 => 1 << 4,
                    _ => 0,
                };
                speed | u16::from(link.full_duplex) << 3 | 1 << 2
            }),
            None => self.indirect.phy.get(&(0, address)).copied().unwrap_or(0),
        };
        access.with_data(data).with_flag(true)
    }

    /// At once.
    fn access_mac(&mut self, access: Ocp) {
        let address = access.address();
        if access.flag() {
            self.indirect.mac.insert(address, access.data());
            self.set32(OCPDR, access.with_flag(false).into_bits());
        } else {
            self.set32(OCPDR, access.with_data(self.indirect.mac(address)).into_bits());
        }
    }

    fn access_extended(&mut self, access: Eriar) -> Eriar {
        let address = access.address() & !3;
        if access.flag() {
            let mut bytes = self.indirect.extended(address).to_le_bytes();
            let written = self.get32(ERIDR).to_le_bytes();
            for (at, (byte, new)) in bytes.iter_mut().zip(written).enumerate() {
                if access.bytes() & 1 << at != 0 {
                    *byte = new;
                }
            }
            self.indirect.extended.insert(address, u32::from_le_bytes(bytes));
            return access.with_flag(false);
        }
        self.set32(ERIDR, self.indirect.extended(address));
        access.with_flag(true)
    }

    fn access_ephy(&mut self, access: Access) -> Access {
        if access.flag() {
            self.indirect.ephy.insert(access.register(), access.data());
            return access.with_flag(false);
        }
        access.with_data(self.indirect.ephy(access.register())).with_flag(true)
    }

    fn access_csi(&mut self, access: Csiar) -> Csiar {
        let address = access.address() & !3;
        if access.flag() {
            self.indirect.csi.insert(address, self.get32(CSIDR));
            return access.with_flag(false);
        }
        self.set32(CSIDR, self.indirect.csi.get(&address).copied().unwrap_or(0));
        access.with_flag(true)
    }
}
