//! The event log (section 2.5).

use amd_vi_spec::{DeviceId, EventCode, EventFlags, EventLogEntry, registers::Status};
use redox_driver_sys::model::Bus;

use crate::core::Core;

impl Core {
    /// Logs an event, if events are logged and there is room.
    pub(crate) fn log(&mut self, bus: &mut dyn Bus, entry: EventLogEntry) {
        let next = self.events.after(self.events.tail);
        if !self.status.event_log_run() {
            self.statistics.lost_events += 1;
            return;
        }
        if next == self.events.head {
            self.statistics.lost_events += 1;
            self.overflow(bus);
            return;
        }
        let bytes: [u8; 16] = zerocopy::transmute!(entry);
        if bus.dma_write(self.events.at(self.events.tail), &bytes).is_err() {
            self.statistics.lost_events += 1;
            return;
        }
        self.statistics.events += 1;
        self.events.tail = next;
        self.interrupt(bus, Status::new().with_event_log_int(true), self.control.event_int_en());
    }

    /// There was no room: logging stops until the driver starts it again.
    pub(crate) fn overflow(&mut self, bus: &mut dyn Bus) {
        if self.status.event_log_run() {
            self.status = self.status.with_event_log_run(false);
            self.interrupt(bus, Status::new().with_event_overflow(true), self.control.event_int_en());
        }
    }

    /// Logs an event about an access of a device, unless the device table says that such ones are not wanted.
    pub(crate) fn log_access(
        &mut self,
        bus: &mut dyn Bus,
        code: EventCode,
        device: DeviceId,
        flags: EventFlags,
        address: u64,
    ) {
        self.log(bus, EventLogEntry { flags: flags.with_code(code.0).with_device(device.0), address });
    }
}
