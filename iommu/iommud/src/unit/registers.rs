//! The registers of a unit (section 3.4).

use std::time::Duration;

use amd_vi_spec::{
    Control, ExtendedFeatures,
    registers::{
        self as at, DeviceTableBase, ExclusionBase, ExclusionLimit, MOST_SEGMENTS, RingBase, RingPointer,
        Status,
    },
};
use redox_driver_sys::{
    Result,
    mmio::{Mmio, ReadOnly, ReadWrite, Register, WriteOnly},
    time::Clock,
};

/// How often a bit that is waited for is looked at.
pub(super) const POLL_INTERVAL: Duration = Duration::from_micros(20);

pub(super) struct Registers {
    pub(super) clock: Clock,
    pub(super) device_tables: [Register<DeviceTableBase, WriteOnly>; MOST_SEGMENTS],
    pub(super) command_base: Register<RingBase, WriteOnly>,
    pub(super) command_head: Register<RingPointer, ReadWrite>,
    pub(super) command_tail: Register<RingPointer, WriteOnly>,
    pub(super) event_base: Register<RingBase, WriteOnly>,
    pub(super) event_head: Register<RingPointer, WriteOnly>,
    pub(super) event_tail: Register<RingPointer, ReadWrite>,
    pub(super) control: Register<Control, ReadWrite>,
    pub(super) exclusion_base: Register<ExclusionBase, WriteOnly>,
    pub(super) exclusion_limit: Register<ExclusionLimit, WriteOnly>,
    features: Register<ExtendedFeatures, ReadOnly>,
    status: Register<Status, ReadWrite>,
}

impl Registers {
    pub(super) fn new(region: &Mmio, clock: Clock) -> Result<Self> {
        let device_table = |segment| region.register(at::device_table_base(segment));
        let [a, b, c, d, e, f, g, h] = [0, 1, 2, 3, 4, 5, 6, 7].map(device_table);
        Ok(Registers {
            clock,
            device_tables: [a?, b?, c?, d?, e?, f?, g?, h?],
            command_base: region.register(at::COMMAND_BASE)?,
            command_head: region.register(at::COMMAND_HEAD)?,
            command_tail: region.register(at::COMMAND_TAIL)?,
            event_base: region.register(at::EVENT_BASE)?,
            event_head: region.register(at::EVENT_HEAD)?,
            event_tail: region.register(at::EVENT_TAIL)?,
            control: region.register(at::CONTROL)?,
            exclusion_base: region.register(at::EXCLUSION_BASE)?,
            exclusion_limit: region.register(at::EXCLUSION_LIMIT)?,
            features: region.register(at::EXTENDED_FEATURES)?,
            status: region.register(at::STATUS)?,
        })
    }

    /// The extended features.
    pub(super) fn features(&self) -> Result<ExtendedFeatures> {
        self.features.read_present("the extended feature register")
    }

    /// The status; an error when the unit is gone.
    pub(super) fn status(&self) -> Result<Status> {
        self.status.read_present("the IOMMU status register")
    }

    /// Clears bits of the status that are cleared by 1.
    pub(super) fn clear_status(&self, bits: Status) {
        self.status.write(bits);
    }

    /// What the unit was told to do; an error when it is gone.
    pub(super) fn control(&self) -> Result<Control> {
        self.control.read_present("the IOMMU control register")
    }

    /// Has the unit carry out commands, or not, and waits until it follows.
    pub(super) fn switch_commands(&self, on: bool, timeout: Duration) -> Result<()> {
        self.control.write(self.control()?.with_cmd_buf_en(on));
        self.wait_for_commands(on, timeout)
    }

    /// Has the unit log events, or not, and waits until it follows.
    pub(super) fn switch_events(&self, on: bool, timeout: Duration) -> Result<()> {
        self.control.write(self.control()?.with_event_log_en(on));
        self.wait_for_events(on, timeout)
    }

    pub(super) fn wait_for_commands(&self, on: bool, timeout: Duration) -> Result<()> {
        let what = if on { "CmdBufRun = 1" } else { "CmdBufRun = 0" };
        self.wait_for(what, timeout, |status| status.cmd_buf_run() == on)
    }

    pub(super) fn wait_for_events(&self, on: bool, timeout: Duration) -> Result<()> {
        let what = if on { "EventLogRun = 1" } else { "EventLogRun = 0" };
        self.wait_for(what, timeout, |status| status.event_log_run() == on)
    }

    fn wait_for(&self, what: &'static str, timeout: Duration, ready: impl Fn(Status) -> bool) -> Result<()> {
        self.clock.poll_until(what, timeout, POLL_INTERVAL, || Ok(ready(self.status()?).then_some(())))
    }
}
