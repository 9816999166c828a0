//! MMIO registers (section 3.4).

use amd_vi_spec::{
    Control,
    registers::{
        self as at, DeviceTableBase, ExclusionBase, ExclusionLimit, MOST_SEGMENTS, RingBase, RingPointer,
        Status,
    },
};
use redox_driver_sys::model::Bus;

use crate::{core::Core, fault::LifecycleFault, violation::Violation};

/// Writing 1 clears these bits of the status.
const CLEARED_BY_ONE: u64 = 0b110_0110_0111;

impl Core {
    /// A load of `len` bytes.
    pub(crate) fn register_read(&mut self, offset: u64, len: usize) -> u64 {
        if self.removed {
            return u64::MAX;
        }
        let (register, shift) = (offset & !7, 8 * (offset & 7));
        let known = self.register(register);
        if known.is_none() || !matches!(len, 4 | 8) || !offset.is_multiple_of(len as u64) {
            self.violate(Violation::Register { offset, len });
        }
        let value = known.unwrap_or(0);
        let [low, high] = [0, 32].map(|half| u32::try_from(value >> half & 0xffff_ffff).unwrap_or(0));
        let [low, high] =
            [(low, 0), (high, 4)].map(|(half, by)| u64::from(self.faults.stick(register + by, half)));
        (high << 32 | low) >> shift
    }

    fn register(&self, offset: u64) -> Option<u64> {
        let segment = (0..MOST_SEGMENTS).find(|&segment| base_of(segment) == offset);
        if let Some(base) = segment.and_then(|segment| self.device_tables.get(segment)) {
            return Some((*base).into());
        }
        Some(match offset {
            at::COMMAND_BASE => self.commands.base.into(),
            at::EVENT_BASE => self.events.base.into(),
            at::CONTROL => self.control.into(),
            at::EXCLUSION_BASE => self.exclusion.0.into(),
            at::EXCLUSION_LIMIT => self.exclusion.1.into(),
            at::EXTENDED_FEATURES => self.config.features.into(),
            at::EXTENDED_FEATURES2 => self.config.features2.into(),
            at::COMMAND_HEAD => self.commands.head,
            at::COMMAND_TAIL => self.commands.tail,
            at::EVENT_HEAD => self.events.head,
            at::EVENT_TAIL => self.events.tail,
            at::STATUS => self.status.into(),
            at::HARDWARE_EVENT_STATUS => 0,
            _ => {
                return self
                    .scratch
                    .iter()
                    .find(|(register, _)| *register == offset)
                    .map(|(_, value)| *value);
            }
        })
    }

    /// A store of `len` bytes.
    pub(crate) fn register_write(&mut self, bus: &mut dyn Bus, offset: u64, len: usize, value: u64) {
        if self.removed {
            return;
        }
        let register = offset & !7;
        let Some(old) =
            self.register(register).filter(|_| matches!(len, 4 | 8) && offset.is_multiple_of(len as u64))
        else {
            self.violate(Violation::Register { offset, len });
            return;
        };
        // A table may take another's place in one access, not in two halves.
        let halves = len == 4 && (0..MOST_SEGMENTS).any(|segment| base_of(segment) == register);
        self.unless_in_use(halves && self.control.iommu_en(), register);
        let value = match (len, offset & 4) {
            (8, _) => value,
            (_, 0) => old & !0xffff_ffff | value & 0xffff_ffff,
            _ => old & 0xffff_ffff | value << 32,
        };
        self.write(bus, register, value);
    }

    fn write(&mut self, bus: &mut dyn Bus, offset: u64, value: u64) {
        if let Some(segment) = (0..MOST_SEGMENTS).find(|&segment| base_of(segment) == offset) {
            self.write_device_table(segment, offset, value);
            return;
        }
        match offset {
            at::COMMAND_BASE => {
                self.unless_in_use(self.control.cmd_buf_en(), offset);
                self.commands.set_base(RingBase::from(value));
                self.check(self.commands.is_valid(), offset, value);
            }
            at::EVENT_BASE => {
                self.unless_in_use(self.control.event_log_en(), offset);
                self.events.set_base(RingBase::from(value));
                self.check(self.events.is_valid(), offset, value);
            }
            at::CONTROL => self.write_control(bus, Control::from(value)),
            at::EXCLUSION_BASE => self.exclusion.0 = ExclusionBase::from(value),
            at::EXCLUSION_LIMIT => self.exclusion.1 = ExclusionLimit::from(value),
            at::COMMAND_HEAD => {
                self.unless_in_use(self.status.cmd_buf_run(), offset);
                self.commands.head = self.pointer(offset, value, self.commands.base);
            }
            at::COMMAND_TAIL => {
                self.commands.tail = self.pointer(offset, value, self.commands.base);
                self.commands_written(bus);
            }
            at::EVENT_HEAD => self.events.head = self.pointer(offset, value, self.events.base),
            at::EVENT_TAIL => {
                self.unless_in_use(self.status.event_log_run(), offset);
                self.events.tail = self.pointer(offset, value, self.events.base);
            }
            at::STATUS => self.status = Status::from(u64::from(self.status) & !(value & CLEARED_BY_ONE)),
            at::EXTENDED_FEATURES | at::EXTENDED_FEATURES2 => {
                self.violate(Violation::ReadOnlyWrite { offset });
            }
            _ => {
                if let Some((_, kept)) = self.scratch.iter_mut().find(|(register, _)| *register == offset) {
                    *kept = value;
                }
            }
        }
    }

    fn write_device_table(&mut self, segment: usize, offset: u64, value: u64) {
        let base = DeviceTableBase::from(value);
        // Segments have less room the more there may be of them: together 64 Ki entries.
        let most = if segment == 0 { 0x1ff } else { 0xff };
        self.check(base.size() <= most, offset, value);
        if let Some(table) = self.device_tables.get_mut(segment) {
            *table = base;
        }
    }

    fn write_control(&mut self, bus: &mut dyn Bus, control: Control) {
        let features = self.config.features;
        let wanted = [
            (control.ga_en(), features.ga_sup(), "128-bit interrupt entry"),
            (control.xt_en(), features.xt_sup() && control.ga_en(), "x2APIC destination"),
            (control.int_cap_xt_en(), features.xt_sup(), "x2APIC interrupt of the unit"),
            (control.gt_en(), features.gt_sup(), "guest translation"),
            (control.ppr_en() || control.ppr_log_en(), features.ppr_sup(), "peripheral page request"),
            (control.gam_en() != 0 || control.ga_log_en(), features.gam_sup() != 0, "guest virtual APIC"),
        ];
        for (_, _, what) in wanted.into_iter().filter(|(wanted, there, _)| *wanted && !there) {
            self.violate(Violation::Feature { what });
        }
        if control.dev_tbl_seg_en() > features.dev_tbl_seg_sup() {
            self.violate(Violation::Feature { what: "device table segment" });
        }
        let old = std::mem::replace(&mut self.control, control);
        let fixed = |control: Control| (control.dev_tbl_seg_en(), control.ga_en(), control.xt_en());
        self.unless_in_use(old.iommu_en() && control.iommu_en() && fixed(old) != fixed(control), at::CONTROL);
        self.follow_control(bus, old);
    }

    /// Whether commands are carried out and events logged follows what is enabled. What stopped by itself stays so until
    /// it is disabled and enabled again.
    fn follow_control(&mut self, bus: &mut dyn Bus, old: Control) {
        let events = |control: Control| control.iommu_en() && control.event_log_en();
        let (before, now) = (events(old), events(self.control));
        if now && !before && !self.status.event_overflow() && !self.broken(LifecycleFault::EventsNeverRun) {
            self.status = self.status.with_event_log_run(true);
        }
        if !now && self.status.event_log_run() && !self.broken(LifecycleFault::EventsNeverStop) {
            self.status = self.status.with_event_log_run(false);
        }
        let commands = |control: Control| control.iommu_en() && control.cmd_buf_en();
        let (before, now) = (commands(old), commands(self.control));
        if now && !before && !self.broken(LifecycleFault::CommandsNeverRun) {
            self.status = self.status.with_cmd_buf_run(true);
            self.hung = false;
            self.commands_written(bus);
        }
        if !now && self.status.cmd_buf_run() && !self.broken(LifecycleFault::CommandsNeverStop) {
            self.status = self.status.with_cmd_buf_run(false);
        }
    }

    fn unless_in_use(&mut self, in_use: bool, offset: u64) {
        if in_use {
            self.violate(Violation::InUse { offset });
        }
    }

    fn check(&mut self, good: bool, offset: u64, value: u64) {
        if !good {
            self.violate(Violation::Value { offset, value });
        }
    }

    /// A head or tail pointer within its ring.
    fn pointer(&mut self, offset: u64, value: u64, base: RingBase) -> u64 {
        let bytes = RingPointer::from(value).bytes();
        self.check(bytes == value && bytes < base.bytes(), offset, value);
        bytes % base.bytes()
    }
}

fn base_of(segment: usize) -> u64 {
    at::device_table_base(u8::try_from(segment).unwrap_or(0))
}
