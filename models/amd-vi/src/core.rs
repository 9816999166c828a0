//! The state of a unit.

use std::collections::VecDeque;

use amd_vi_spec::{
    Control,
    registers::{self, DeviceTableBase, ExclusionBase, ExclusionLimit, MOST_SEGMENTS, RingBase, Status},
};
use redox_driver_sys::{model::Bus, time::Time};

use crate::{
    cache::Caches,
    config::Config,
    fault::{FaultPlan, Faults, LifecycleFault},
    interrupt::Delivered,
    statistics::Statistics,
    violation::Violation,
};

/// Violations and interrupts beyond these many are not kept: whoever runs wild must not eat the memory.
const MOST_VIOLATIONS: usize = 4096;
const MOST_DELIVERED: usize = 4096;

/// Everything that a unit knows.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) control: Control,
    pub(crate) device_tables: [DeviceTableBase; MOST_SEGMENTS],
    pub(crate) commands: Ring,
    pub(crate) events: Ring,
    pub(crate) exclusion: (ExclusionBase, ExclusionLimit),
    pub(crate) status: Status,
    /// Registers that only keep what they are given.
    pub(crate) scratch: [(u64, u64); 10],
    pub(crate) caches: Caches,
    /// When the next command is done.
    pub(crate) command_due: Option<Time>,
    /// What goes wrong with it was decided; and it hangs.
    pub(crate) command_struck: bool,
    pub(crate) hung: bool,
    /// Devices whose SE has suppressed further events.
    pub(crate) suppressed: Vec<amd_vi_spec::DeviceId>,
    pub(crate) removed: bool,
    pub(crate) faults: Faults,
    pub(crate) statistics: Statistics,
    pub(crate) violations: Vec<Violation>,
    pub(crate) delivered: VecDeque<Delivered>,
}

/// A ring in memory and its pointers, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ring {
    pub(crate) base: RingBase,
    pub(crate) head: u64,
    pub(crate) tail: u64,
}

impl Ring {
    /// Where the entry at an offset is.
    pub(crate) fn at(&self, offset: u64) -> u64 {
        self.base.address() + offset
    }

    /// The offset behind another.
    pub(crate) fn after(&self, offset: u64) -> u64 {
        (offset + registers::RING_ENTRY) % self.base.bytes()
    }

    pub(crate) fn set_base(&mut self, base: RingBase) {
        *self = Ring { base, head: 0, tail: 0 };
    }

    /// Whether the length is not reserved.
    pub(crate) fn is_valid(&self) -> bool {
        self.base.log2_entries() >= RingBase::LEAST_LOG2
    }
}

impl Core {
    pub(crate) fn new(config: Config) -> Self {
        let caches = Caches::new(config.iotlb_entries);
        let scratch = [
            registers::PPR_BASE,
            registers::GA_LOG_BASE,
            registers::GA_LOG_TAIL_ADDRESS,
            registers::XT_GENERAL_INTERRUPT,
            registers::XT_PPR_INTERRUPT,
            registers::XT_GA_INTERRUPT,
            registers::PPR_HEAD,
            registers::PPR_TAIL,
            registers::HARDWARE_EVENT_UPPER,
            registers::HARDWARE_EVENT_LOWER,
        ];
        Core {
            config,
            control: Control::new(),
            device_tables: Default::default(),
            commands: Ring::default(),
            events: Ring::default(),
            exclusion: Default::default(),
            status: Status::new(),
            scratch: scratch.map(|offset| (offset, 0)),
            caches,
            command_due: None,
            command_struck: false,
            hung: false,
            suppressed: Vec::new(),
            removed: false,
            faults: Faults::new(FaultPlan::new(0)),
            statistics: Statistics::default(),
            violations: Vec::new(),
            delivered: VecDeque::new(),
        }
    }

    /// As after power on; the test's side stays.
    pub(crate) fn reset(&mut self) {
        let fresh = Core::new(self.config.clone());
        let old = std::mem::replace(self, fresh);
        self.removed = old.removed;
        self.faults = old.faults;
        self.statistics = old.statistics;
        self.violations = old.violations;
        self.delivered = old.delivered;
    }

    pub(crate) fn violate(&mut self, violation: Violation) {
        if self.violations.len() < MOST_VIOLATIONS {
            self.violations.push(violation);
        }
    }

    pub(crate) fn deliver(&mut self, delivered: Delivered) {
        self.statistics.interrupts += 1;
        if self.delivered.len() == MOST_DELIVERED {
            self.delivered.pop_front();
        }
        self.delivered.push_back(delivered);
    }

    /// Whether a fault of the unit itself happens now.
    pub(crate) fn broken(&mut self, fault: LifecycleFault) -> bool {
        self.faults.lifecycle(|&other| other == fault)
    }

    /// Sets interrupt bits of the status; tells the processor if one is new and enabled.
    pub(crate) fn interrupt(&mut self, bus: &mut dyn Bus, bits: Status, enabled: bool) {
        let before = u64::from(self.status);
        let after = before | u64::from(bits);
        self.status = Status::from(after);
        if enabled && after != before {
            bus.message(0);
        }
    }

    /// Reads an 8-byte word of a table.
    pub(crate) fn fetch(bus: &mut dyn Bus, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        bus.dma_read(address, &mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    }
}
