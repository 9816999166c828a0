//! What registers read as and what writing them does (section 3.1).

use nvme_spec::{
    ErrorEvent, EventType, LogPage,
    registers::{
        ACQ, AQA, ASQ, Aqa, CAP, CC, CSTS, Cc, Csts, DOORBELLS, INTMC, INTMS, NSSR, NSSR_RESET, VS, Vs,
    },
};
use redox_driver_sys::{irq::InterruptKind, model::Bus};

use crate::{controller::Controller, violation::Violation};

/// Bits of ASQ and ACQ that are addresses.
const QUEUE_ADDRESS: u64 = !0xfff;
/// The other half of a 64-bit register.
const UPPER: u64 = 4;

#[allow(clippy::cast_possible_truncation, reason = "takes the low half")]
const fn low(value: u64) -> u32 {
    value as u32
}

const fn high(value: u64) -> u32 {
    low(value >> 32)
}

fn with_low(value: u64, half: u32) -> u64 {
    value & !u64::from(u32::MAX) | u64::from(half)
}

fn with_high(value: u64, half: u32) -> u64 {
    value & u64::from(u32::MAX) | u64::from(half) << 32
}

impl Controller {
    /// A load of `len` bytes.
    pub(crate) fn register_read(&mut self, offset: u64, len: usize) -> u64 {
        if self.removed {
            return u64::MAX;
        }
        if offset >= DOORBELLS {
            // Reading a doorbell is undefined.
            return 0;
        }
        let dword = offset & !3;
        let value = u64::from(self.dword(dword));
        match len {
            8 => value | u64::from(self.dword(dword + UPPER)) << 32,
            4 => value,
            _ => {
                self.note(Violation::RegisterWidth { offset, len });
                value >> (8 * (offset & 3))
            }
        }
    }

    fn dword(&self, offset: u64) -> u32 {
        const CAP_UPPER: u64 = CAP + UPPER;
        const ASQ_UPPER: u64 = ASQ + UPPER;
        const ACQ_UPPER: u64 = ACQ + UPPER;
        let (major, minor) = self.config.version;
        let value = match offset {
            CAP => low(self.cap().into()),
            CAP_UPPER => high(self.cap().into()),
            VS => Vs::version(major, minor).into(),
            INTMS | INTMC => self.interrupts.mask,
            CC => self.cc.into(),
            CSTS => self.csts.into(),
            AQA => self.aqa.into(),
            ASQ => low(self.asq),
            ASQ_UPPER => high(self.asq),
            ACQ => low(self.acq),
            ACQ_UPPER => high(self.acq),
            _ => 0,
        };
        self.faults.stick(offset, value)
    }

    /// A store of `len` bytes.
    pub(crate) fn register_write(&mut self, bus: &mut dyn Bus, offset: u64, len: usize, value: u64) {
        const ASQ_UPPER: u64 = ASQ + UPPER;
        const ACQ_UPPER: u64 = ACQ + UPPER;
        if self.removed {
            return;
        }
        let dword = low(value);
        match (offset, len) {
            (DOORBELLS.., 4) => self.doorbell(bus, offset, dword),
            (INTMS, 4) => self.mask(bus, self.interrupts.mask | dword),
            (INTMC, 4) => self.mask(bus, self.interrupts.mask & !dword),
            (CC, 4) => self.configure(bus, Cc::from(dword)),
            (CSTS, 4) => {
                if Csts::from(dword).nssro() {
                    self.csts.set_nssro(false);
                }
            }
            (NSSR, 4) => {
                if self.config.subsystem_reset && dword == NSSR_RESET {
                    self.reset_subsystem(bus);
                }
            }
            (AQA, 4) => self.admin_queue(offset, |controller| controller.aqa = Aqa::from(dword)),
            (ASQ, 8) => self.admin_queue(offset, |controller| controller.asq = value & QUEUE_ADDRESS),
            (ASQ, 4) => self.admin_queue(offset, |controller| {
                controller.asq = with_low(controller.asq, dword) & QUEUE_ADDRESS;
            }),
            (ASQ_UPPER, 4) => {
                self.admin_queue(offset, |controller| controller.asq = with_high(controller.asq, dword));
            }
            (ACQ, 8) => self.admin_queue(offset, |controller| controller.acq = value & QUEUE_ADDRESS),
            (ACQ, 4) => self.admin_queue(offset, |controller| {
                controller.acq = with_low(controller.acq, dword) & QUEUE_ADDRESS;
            }),
            (ACQ_UPPER, 4) => {
                self.admin_queue(offset, |controller| controller.acq = with_high(controller.acq, dword));
            }
            (_, 4 | 8) => self.note(Violation::ReadOnlyWrite { offset }),
            _ => self.note(Violation::RegisterWidth { offset, len }),
        }
    }

    fn admin_queue(&mut self, offset: u64, set: impl FnOnce(&mut Self)) {
        if self.cc.en() {
            self.note(Violation::AdminQueueWhileEnabled { offset });
        } else {
            set(self);
        }
    }

    fn mask(&mut self, bus: &mut dyn Bus, mask: u32) {
        if bus.interrupt_kind() == Some(InterruptKind::MsiX) {
            self.note(Violation::MaskWithMsix);
        } else {
            self.interrupts.set_mask(bus, mask);
        }
    }

    fn doorbell(&mut self, bus: &mut dyn Bus, offset: u64, value: u32) {
        if !self.is_running() {
            // A controller that failed by itself is not the host's mistake.
            if !self.csts.cfs() {
                self.note(Violation::DoorbellNotReady { offset });
            }
            return;
        }
        let shift = 2 + (self.config.doorbell_stride & 0xf);
        let index = (offset - DOORBELLS) >> shift;
        let known = (index << shift) + DOORBELLS == offset;
        let queue = u16::try_from(index / 2).ok().filter(|_| known);
        let submission = index.is_multiple_of(2);
        let valid = match queue {
            Some(queue) if submission => self.sqs.get_mut(&queue).map(|sq| sq.set_tail(value)),
            Some(queue) => self.cqs.get_mut(&queue).map(|cq| cq.set_head(value)),
            None => None,
        };
        match (valid, queue) {
            (Some(true), _) if submission => self.statistics.sq_doorbells += 1,
            (Some(true), Some(queue)) => {
                self.statistics.cq_doorbells += 1;
                self.drained(bus, queue);
            }
            (Some(_), _) => {
                self.note(Violation::DoorbellValue { offset, value });
                self.doorbell_event(ErrorEvent::INVALID_DOORBELL_VALUE);
            }
            (None, _) => {
                self.note(Violation::DoorbellUnknown { offset });
                self.doorbell_event(ErrorEvent::INVALID_DOORBELL_REGISTER);
            }
        }
    }

    fn doorbell_event(&mut self, event: ErrorEvent) {
        self.events.happen(EventType::ERROR, event.0, LogPage::ERROR_INFORMATION);
    }

    /// Entries of completion queue `id` were taken: its vector is quiet when all queues that share it are empty.
    pub(crate) fn drained(&mut self, bus: &mut dyn Bus, id: u16) {
        if let Some(vector) = self.cqs.get(&id).and_then(|cq| cq.vector)
            && !self.cqs.values().any(|cq| cq.vector == Some(vector) && cq.unread() > 0)
        {
            self.interrupts.drained(bus, vector);
        }
    }
}
