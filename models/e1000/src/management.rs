//! The EEPROM and the PHY, which are reached bit by bit or through a register.

use e1000_spec::{
    NvmAccess, nvm,
    registers::{EXTCNF_CTRL, Eecd, MDIO_SOFTWARE_OWNERSHIP, Mdic},
};
use redox_driver_sys::{model::Bus, time::Time};

use crate::{
    core::{Core, elapsed},
    fault::LifecycleFault,
    violation::Violation,
};

/// The only PHY there is.
const PHY: u8 = 1;

/// Bits of an address in an EEPROM of 64 words.
const MICROWIRE_ADDRESS_BITS: u8 = 6;

/// What is being accessed.
#[derive(Clone, Copy, Debug)]
enum Access {
    Nvm(u16),
    Phy(Mdic),
}

#[derive(Debug)]
pub(crate) struct Management {
    pub(crate) nvm: Vec<u16>,
    microwire: Microwire,
    under_way: Option<Access>,
    pub(crate) due: Option<Time>,
    pub(crate) eecd: Eecd,
    pub(crate) eerd: u32,
    pub(crate) mdic: Mdic,
}

/// The EEPROM's side of a Microwire bus (8254x section 5.5.1).
#[derive(Clone, Copy, Debug, Default)]
struct Microwire {
    /// Bits that came in since it was selected.
    bits: u32,
    count: u8,
    /// What goes out, highest bit first, and how many are left.
    out: u16,
    left: u8,
    data_out: bool,
}

impl Management {
    pub(crate) fn new(nvm: Vec<u16>) -> Self {
        Management {
            nvm,
            microwire: Microwire::default(),
            under_way: None,
            due: None,
            eecd: Eecd::new(),
            eerd: 0,
            mdic: Mdic::new(),
        }
    }

    pub(crate) fn reset(&mut self, express: bool) {
        let nvm = std::mem::take(&mut self.nvm);
        *self = Management::new(nvm);
        // In an 8254x the same bit tells of an EEPROM with more than 64 words, which this is not.
        self.eecd = Eecd::new().with_pres(true).with_auto_rd(express);
    }

    pub(crate) fn word(&self, address: u16) -> u16 {
        self.nvm.get(usize::from(address)).copied().unwrap_or(0xffff)
    }

    /// The station's address.
    pub(crate) fn address(&self) -> [u8; 6] {
        let [[a, b], [c, d], [e, f]] = [0, 1, 2].map(|at| self.word(at).to_le_bytes());
        [a, b, c, d, e, f]
    }
}

impl Core {
    fn nvm_word(&mut self, address: u16) -> u16 {
        let word = self.management.word(address);
        let wrong = address == nvm::CHECKSUM && self.lifecycle(LifecycleFault::NvmChecksum);
        if wrong { !word } else { word }
    }

    pub(crate) fn write_eecd(&mut self, value: Eecd) {
        let before = self.management.eecd;
        if self.config.chip.is_express() {
            self.management.eecd = before.with_req(value.req()).with_gnt(value.req());
            return;
        }
        // Every 8254x has it, those with EERD as well.
        let address_bits = match self.config.chip.nvm {
            NvmAccess::Microwire { address_bits } => address_bits,
            NvmAccess::Eerd { .. } => MICROWIRE_ADDRESS_BITS,
        };
        let mut wire = self.management.microwire;
        if !value.cs() {
            wire = Microwire::default();
        } else if value.sk() && !before.sk() {
            if wire.left > 0 {
                wire.data_out = wire.out & 0x8000 != 0;
                wire.out <<= 1;
                wire.left -= 1;
            } else {
                // Zeroes before the start bit do not count.
                if wire.count > 0 || value.di() {
                    wire.bits = wire.bits << 1 | u32::from(value.di());
                    wire.count += 1;
                }
                if wire.count == nvm::MICROWIRE_OPCODE_BITS + address_bits {
                    if wire.bits >> address_bits == u32::from(nvm::MICROWIRE_READ) {
                        let address = u16::try_from(wire.bits & ((1 << address_bits) - 1)).unwrap_or(0);
                        wire.out = self.nvm_word(address);
                        wire.left = 16;
                        wire.data_out = false;
                    }
                    (wire.bits, wire.count) = (0, 0);
                }
            }
        }
        self.management.microwire = wire;
        let value = value.with_gnt(value.req()).with_data_out(wire.data_out);
        self.management.eecd = value.with_pres(before.pres()).with_auto_rd(before.auto_rd());
    }

    pub(crate) fn write_eerd(&mut self, bus: &mut dyn Bus, value: u32) {
        let NvmAccess::Eerd { address_shift, .. } = self.config.chip.nvm else { return };
        self.management.eerd = 0;
        if value & 1 != 0 {
            let address = u16::try_from(value >> address_shift & 0xff).unwrap_or(0);
            if !self.lifecycle(LifecycleFault::NvmHangs) {
                self.begin(bus, Access::Nvm(address));
            }
        }
    }

    pub(crate) fn write_mdic(&mut self, bus: &mut dyn Bus, value: Mdic) {
        let owned = !self.config.chip.shares_mdio || self.get(EXTCNF_CTRL) & MDIO_SOFTWARE_OWNERSHIP != 0;
        if self.management.under_way.is_some() || !owned {
            self.violation(Violation::Mdio);
        }
        self.management.mdic = value.with_ready(false).with_error(false);
        if !self.lifecycle(LifecycleFault::MdioHangs) {
            self.begin(bus, Access::Phy(value));
        }
    }

    fn begin(&mut self, bus: &mut dyn Bus, access: Access) {
        self.management.under_way = Some(access);
        self.management.due = Some(bus.now().plus(self.config.access));
    }

    pub(crate) fn run_management(&mut self, bus: &mut dyn Bus) {
        let now = bus.now();
        if self.management.due.is_none_or(|due| due > now) {
            return;
        }
        self.management.due = None;
        match self.management.under_way.take() {
            Some(Access::Nvm(address)) => {
                let NvmAccess::Eerd { address_shift, done } = self.config.chip.nvm else { return };
                let data = u32::from(self.nvm_word(address)) << 16;
                self.management.eerd = data | u32::from(address) << address_shift | done;
            }
            Some(Access::Phy(mdic)) => self.access_phy(bus, mdic),
            None => {}
        }
    }

    fn access_phy(&mut self, bus: &mut dyn Bus, mdic: Mdic) {
        let now = elapsed(bus.now());
        let failed = self.lifecycle(LifecycleFault::MdioError);
        let present = mdic.phy() == PHY;
        let done = match mdic.op() {
            Mdic::READ if present => mdic.with_data(self.phy.read(mdic.register(), now)),
            // Nobody pulls the wire down.
            Mdic::READ => mdic.with_data(0xffff),
            _ => {
                if present {
                    self.phy.write(mdic.register(), mdic.data(), now);
                }
                mdic
            }
        };
        self.management.mdic = done.with_ready(true).with_error(failed);
        if mdic.interrupt() {
            self.raise(bus, e1000_spec::registers::Causes::new().with_mdac(true));
        }
    }
}
