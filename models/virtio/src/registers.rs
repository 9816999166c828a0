//! The structures of the transport as a driver sees them (section 4.1.4).

use redox_driver_sys::model::Bus;
use virtio_spec::{
    DeviceStatus, Features,
    pci::{NO_VECTOR, NotificationData, common},
};

use crate::{
    core::{Core, Queue},
    device_type::DeviceType,
    fault::LifecycleFault,
    violation::Violation,
};

/// Where the structures are in their BAR, and how long they are.
pub(crate) const COMMON_AT: u64 = 0;
pub(crate) const ISR_AT: u64 = 0x1000;
pub(crate) const DEVICE_AT: u64 = 0x2000;
pub(crate) const NOTIFY_AT: u64 = 0x3000;
pub(crate) const NOTIFY_LEN: u64 = 0x1000;
pub(crate) const BAR_LEN: u64 = 0x4000;

impl<T: DeviceType> Core<T> {
    pub(crate) fn register_read(&mut self, bus: &mut dyn Bus, offset: u64, len: usize) -> u64 {
        if self.removed {
            return u64::MAX;
        }
        match offset {
            COMMON_AT..ISR_AT => self.common_read(bus, offset, len),
            ISR_AT => u8::from(self.interrupts.take_status(bus)).into(),
            DEVICE_AT..NOTIFY_AT => {
                self.configuration_changed = false;
                let configuration = self.device.configuration();
                let start = usize::try_from(offset - DEVICE_AT).unwrap_or(usize::MAX);
                let mut value = [0; 8];
                for (target, source) in value.iter_mut().zip(configuration.iter().skip(start)).take(len) {
                    *target = *source;
                }
                u64::from_le_bytes(value)
            }
            _ => {
                self.note(Violation::Register { offset, len });
                0
            }
        }
    }

    /// How wide a field of the common configuration is; the halves of addresses by themselves.
    fn width(offset: u64) -> Option<usize> {
        Some(match offset {
            common::DEVICE_STATUS | common::CONFIG_GENERATION => 1,
            0x00 | 0x04 | 0x08 | 0x0c | 0x20 | 0x24 | 0x28 | 0x2c | 0x30 | 0x34 => 4,
            0x10 | 0x12 | 0x16..=0x1e | 0x38 | 0x3a if offset.is_multiple_of(2) => 2,
            _ => return None,
        })
    }

    fn common_read(&mut self, bus: &mut dyn Bus, offset: u64, len: usize) -> u64 {
        if Self::width(offset) != Some(len) {
            self.note(Violation::Register { offset, len });
            return 0;
        }
        let half = |value: u64, select: u32| match select {
            0 => value & u64::from(u32::MAX),
            1 => value >> 32,
            _ => 0,
        };
        let generation = self.generation;
        let now = bus.now();
        let queue = self.queues.get(usize::from(self.queue_select));
        let area = |queue: &Queue, which: usize, high: bool| {
            let area = queue.areas.get(which).copied().unwrap_or(0);
            if high { area >> 32 } else { area & u64::from(u32::MAX) }
        };
        match offset {
            common::DEVICE_FEATURE_SELECT => self.device_feature_select.into(),
            common::DEVICE_FEATURE => half(self.offered().bits(), self.device_feature_select),
            common::DRIVER_FEATURE_SELECT => self.driver_feature_select.into(),
            common::DRIVER_FEATURE => half(self.accepted.bits(), self.driver_feature_select),
            common::CONFIG_MSIX_VECTOR => self.configuration_vector.into(),
            common::NUM_QUEUES => u64::try_from(self.queues.len()).unwrap_or(0),
            common::DEVICE_STATUS => {
                self.finish_reset(now);
                // Until the reset is over something of it is still there.
                if self.reset_at.is_some() { 1 } else { u8::from(self.status).into() }
            }
            common::CONFIG_GENERATION => generation.into(),
            // Every queue has a notification address of its own.
            common::QUEUE_SELECT | common::QUEUE_NOTIFY_OFF => self.queue_select.into(),
            common::QUEUE_SIZE => queue.map_or(0, |queue| queue.size.into()),
            common::QUEUE_MSIX_VECTOR => queue.map_or(NO_VECTOR, |queue| queue.vector).into(),
            common::QUEUE_ENABLE => queue.map_or(0, |queue| u64::from(queue.enabled)),
            common::QUEUE_RESET => {
                let select = self.queue_select;
                self.finish_queue_reset(select, now);
                let queue = self.queues.get(usize::from(select));
                queue.map_or(0, |queue| u64::from(queue.reset_at.is_some()))
            }
            0x20..0x38 => {
                let (which, high) = ((offset - 0x20) / 8, offset & 4 != 0);
                queue.map_or(0, |queue| area(queue, usize::try_from(which).unwrap_or(0), high))
            }
            _ => 0,
        }
    }

    pub(crate) fn register_write(&mut self, bus: &mut dyn Bus, offset: u64, len: usize, value: u64) {
        if self.removed {
            return;
        }
        match offset {
            COMMON_AT..ISR_AT => self.common_write(bus, offset, len, value),
            DEVICE_AT..NOTIFY_AT => {
                let bytes = value.to_le_bytes();
                let start = usize::try_from(offset - DEVICE_AT).unwrap_or(usize::MAX);
                let bytes = bytes.get(..len).unwrap_or(&bytes);
                if !self.device.write_configuration(start, bytes) {
                    self.note(Violation::ReadOnlyWrite { offset });
                }
            }
            NOTIFY_AT..BAR_LEN => self.notification(bus, offset - NOTIFY_AT, len, value),
            _ => self.note(Violation::ReadOnlyWrite { offset }),
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "fields take what fits into them")]
    fn common_write(&mut self, bus: &mut dyn Bus, offset: u64, len: usize, value: u64) {
        if Self::width(offset) != Some(len) {
            self.note(Violation::Register { offset, len });
            return;
        }
        let (word, dword) = (value as u16, value as u32);
        match offset {
            common::DEVICE_FEATURE_SELECT => self.device_feature_select = dword,
            common::DRIVER_FEATURE_SELECT => self.driver_feature_select = dword,
            common::DRIVER_FEATURE => self.accept_features(dword),
            common::CONFIG_MSIX_VECTOR => self.configuration_vector = self.take_vector(word),
            common::DEVICE_STATUS => self.set_status(bus, DeviceStatus::from(value as u8)),
            common::QUEUE_SELECT => self.queue_select = word,
            common::QUEUE_SIZE
            | common::QUEUE_MSIX_VECTOR
            | common::QUEUE_ENABLE
            | common::QUEUE_RESET
            | 0x20..0x38 => self.queue_write(bus, offset, word, dword),
            _ => self.note(Violation::ReadOnlyWrite { offset }),
        }
    }

    fn accept_features(&mut self, half: u32) {
        if self.status.features_ok() || !self.status.driver() {
            self.note(Violation::Order { what: "accepting features" });
        }
        let shift = match self.driver_feature_select {
            0 => 0,
            1 => 32,
            _ => return,
        };
        let kept = self.accepted.bits() & !(u64::from(u32::MAX) << shift);
        self.accepted = Features::from_bits_retain(kept | u64::from(half) << shift);
    }

    /// A vector, or none where there are no resources for it.
    fn take_vector(&self, vector: u16) -> u16 {
        let taken = usize::from(self.configuration_vector != NO_VECTOR)
            + self.queues.iter().filter(|queue| queue.vector != NO_VECTOR).count();
        let room = taken < usize::from(self.config.vector_resources);
        if vector < self.config.msix_vectors && room { vector } else { NO_VECTOR }
    }

    fn set_status(&mut self, bus: &mut dyn Bus, status: DeviceStatus) {
        self.finish_reset(bus.now());
        if status == DeviceStatus::RESET {
            self.forget();
            self.interrupts.reset();
            let never = self.faults.lifecycle(|&fault| fault == LifecycleFault::NeverReset);
            let after = if never { std::time::Duration::MAX } else { self.config.latency.reset };
            self.reset_at = Some(bus.now().plus(after));
            return;
        }
        if self.reset_at.is_some() {
            self.note(Violation::Order { what: "a status before the reset was over" });
            return;
        }
        let before = self.status;
        // Bits are only ever added (section 2.1.1). NEEDS_RESET is the device's.
        let kept = before.with_needs_reset(false);
        if u8::from(status) & u8::from(kept) != u8::from(kept) {
            self.note(Violation::Order { what: "taking back a status bit" });
        }
        self.status = status.with_needs_reset(before.needs_reset());
        if status.features_ok() && !before.features_ok() {
            self.check_features();
        }
        if status.driver_ok() && !before.driver_ok() {
            if self.status.features_ok() {
                self.statistics.starts += 1;
            } else {
                self.note(Violation::Order { what: "DRIVER_OK without FEATURES_OK" });
            }
        }
    }

    fn check_features(&mut self) {
        let accepted = self.accepted;
        let bad = accepted - self.offered();
        if !bad.is_empty() || !accepted.contains(Features::VERSION_1) {
            self.note(Violation::Feature { bits: bad.bits() });
            self.status.set_features_ok(false);
        } else if !self.device.is_consistent(accepted) {
            self.note(Violation::Feature { bits: accepted.bits() });
            self.status.set_features_ok(false);
        } else if self.faults.lifecycle(|&fault| fault == LifecycleFault::RefuseFeatures) {
            self.status.set_features_ok(false);
        } else {
            self.device.negotiated(accepted);
        }
    }

    /// Ends a reset that is over.
    pub(crate) fn finish_reset(&mut self, now: redox_driver_sys::time::Time) {
        if self.reset_at.take_if(|at| *at <= now).is_some() {
            self.statistics.resets += 1;
        }
    }

    /// Ends a reset of a queue that is over (section 2.6.1).
    pub(crate) fn finish_queue_reset(&mut self, queue: u16, now: redox_driver_sys::time::Time) {
        let most = self.config.queue_size;
        let Some(slot) = self.queues.get_mut(usize::from(queue)) else { return };
        if slot.reset_at.take_if(|at| *at <= now).is_some() {
            *slot = Queue::new(most);
            self.statistics.queue_resets += 1;
        }
    }

    fn queue_write(&mut self, bus: &mut dyn Bus, offset: u64, word: u16, dword: u32) {
        let select = self.queue_select;
        let most = self.config.queue_size;
        let vector = self.take_vector(word);
        let accepted = self.accepted;
        let (packed, features_ok) = (accepted.contains(Features::RING_PACKED), self.status.features_ok());
        let setup = |what| Violation::QueueSetup { queue: select, what };
        let Some(queue) = self.queues.get_mut(usize::from(select)) else {
            return self.note(setup("there is none"));
        };
        if queue.enabled && offset != common::QUEUE_RESET {
            return self.note(setup("set up while it is in use"));
        }
        match offset {
            common::QUEUE_SIZE if word == 0 || word > most || (!packed && !word.is_power_of_two()) => {
                self.note(setup("a size that is not possible"));
            }
            common::QUEUE_SIZE => queue.size = word,
            common::QUEUE_MSIX_VECTOR => queue.vector = vector,
            common::QUEUE_ENABLE if word != 1 || !features_ok => self.note(setup("enabled in a wrong way")),
            common::QUEUE_ENABLE => {
                let alignment = if packed { [16, 4, 4] } else { [16, 2, 4] };
                let aligned =
                    queue.areas.iter().zip(alignment).all(|(area, alignment)| area.is_multiple_of(alignment));
                queue.enable(accepted);
                queue.look_at = Some(bus.now());
                if !aligned {
                    self.note(setup("an area that is not aligned"));
                }
            }
            common::QUEUE_RESET if word == 1 && accepted.contains(Features::RING_RESET) => {
                let never = self.faults.lifecycle(|&fault| fault == LifecycleFault::NeverResetQueue);
                let after = if never { std::time::Duration::MAX } else { self.config.latency.queue_reset };
                queue.ring = None;
                queue.order.clear();
                queue.waiting.clear();
                queue.held = None;
                queue.reset_at = Some(bus.now().plus(after));
                self.requests.clear_queue(select);
            }
            common::QUEUE_RESET => self.note(setup("reset in a wrong way")),
            _ => {
                let which = usize::try_from((offset - 0x20) / 8).unwrap_or(0);
                if let Some(area) = queue.areas.get_mut(which) {
                    let shift = if offset & 4 != 0 { 32 } else { 0 };
                    *area = *area & !(u64::from(u32::MAX) << shift) | u64::from(dword) << shift;
                }
            }
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "a notification is 16 or 32 bits wide")]
    fn notification(&mut self, bus: &mut dyn Bus, offset: u64, len: usize, value: u64) {
        self.statistics.notifications += 1;
        let data = self.accepted.contains(Features::NOTIFICATION_DATA);
        let wrong = Violation::Notification { value: value as u32 };
        if len != if data { 4 } else { 2 } || !self.status.driver_ok() {
            return self.note(wrong);
        }
        let (number, next) = if data {
            let data = NotificationData::from(value as u32);
            (data.queue(), Some(data.next()))
        } else {
            (value as u16, None)
        };
        let expected = u64::from(number) * u64::from(self.config.notify_multiplier);
        let now = bus.now();
        match self.queues.get_mut(usize::from(number)) {
            Some(queue) if queue.enabled && offset == expected => {
                let plausible = match (&queue.ring, next) {
                    (Some(ring), Some(next)) => ring.is_plausible(bus, next),
                    _ => true,
                };
                let due = now.plus(self.config.latency.notification);
                queue.look_at = Some(queue.look_at.map_or(due, |at| at.min(due)));
                if !plausible {
                    self.note(wrong);
                }
            }
            _ => self.note(wrong),
        }
    }
}
