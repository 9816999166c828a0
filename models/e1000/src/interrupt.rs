//! Interrupts: causes, masks, throttles and delays (8254x section 13.4.17, 82574 section 7.4).

use std::time::Duration;

use e1000_spec::registers::{self as reg, Causes, CtrlExt, DELAY_UNIT_NANOS, Ivar, THROTTLE_UNIT_NANOS};
use redox_driver_sys::{irq::InterruptKind, model::Bus, time::Time};

use crate::core::Core;

/// Causes that an 82574 sums up as Other: LSC, RXSEQ, RXO, MDAC, SRPD, ACK, MNG.
const OTHERS: u32 = 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9 | 1 << 16 | 1 << 17 | 1 << 18;
/// Vectors of an 82574.
pub(crate) const VECTORS: usize = 5;

#[derive(Debug, Default)]
pub(crate) struct Interrupts {
    pub(crate) icr: u32,
    pub(crate) ims: u32,
    /// Causes that were told by a message and are still there.
    told: u32,
    /// Before this no vector may speak again.
    quiet: [Time; VECTORS],
    /// When a throttled interrupt is due.
    pub(crate) retry: Option<Time>,
    pub(crate) pin: bool,
}

impl Interrupts {
    pub(crate) fn reset(&mut self) {
        *self = Interrupts::default();
    }
}

/// An interrupt that waits for company.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delay {
    packet: Option<Time>,
    absolute: Option<Time>,
}

impl Delay {
    pub(crate) fn due(self) -> Option<Time> {
        [self.packet, self.absolute].into_iter().flatten().min()
    }

    /// Another packet: the packet timer starts anew, the absolute one goes on. `None` for a timer that is off.
    fn start(&mut self, now: Time, packet: Duration, absolute: Duration) {
        self.packet = Some(now.plus(packet));
        if self.absolute.is_none() && !absolute.is_zero() {
            self.absolute = Some(now.plus(absolute));
        }
    }
}

fn delay(units: u32) -> Duration {
    Duration::from_nanos(u64::from(units & 0xffff) * u64::from(DELAY_UNIT_NANOS))
}

impl Core {
    fn throttle(&self, offset: u64) -> Duration {
        Duration::from_nanos(u64::from(self.get(offset) & 0xffff) * u64::from(THROTTLE_UNIT_NANOS))
    }

    /// Something happened.
    pub(crate) fn raise(&mut self, bus: &mut dyn Bus, causes: Causes) {
        let mut causes = causes.into_bits();
        if self.config.chip.is_express() && causes & OTHERS != 0 {
            causes |= Causes::new().with_other(true).into_bits();
        }
        self.interrupts.icr |= causes;
        // What happens again is told again.
        self.interrupts.told &= !causes;
        self.update_interrupts(bus);
    }

    /// A packet of `queue` was sent and reported; `may_wait`: its descriptor says so.
    pub(crate) fn packet_sent(&mut self, bus: &mut dyn Bus, queue: u16, may_wait: bool) {
        let (packet, absolute) = (delay(self.get(reg::TIDV)), delay(self.get(reg::TADV)));
        if !may_wait || packet.is_zero() {
            self.raise(bus, sent_causes(queue, self.config.chip.is_express()));
        } else if let Some(queue) = self.tx.get_mut(usize::from(queue)) {
            queue.delay.start(bus.now(), packet, absolute);
        }
    }

    /// A packet was stored in `queue`.
    pub(crate) fn packet_stored(&mut self, bus: &mut dyn Bus, queue: u16) {
        let (packet, absolute) = (delay(self.get(reg::RDTR)), delay(self.get(reg::RADV)));
        if packet.is_zero() {
            self.raise(bus, stored_causes(queue, self.config.chip.is_express()));
        } else if let Some(queue) = self.rx.get_mut(usize::from(queue)) {
            queue.delay.start(bus.now(), packet, absolute);
        }
    }

    pub(crate) fn run_delays(&mut self, bus: &mut dyn Bus) {
        let (now, express) = (bus.now(), self.config.chip.is_express());
        for queue in 0..self.config.chip.queues {
            let at = usize::from(queue);
            if self.tx[at].delay.due().is_some_and(|due| due <= now) {
                self.tx[at].delay = Delay::default();
                self.raise(bus, sent_causes(queue, express));
            }
            if self.rx[at].delay.due().is_some_and(|due| due <= now) {
                self.rx[at].delay = Delay::default();
                self.raise(bus, stored_causes(queue, express));
            }
        }
    }

    /// What ICR reads as, and what reading it does.
    pub(crate) fn read_icr(&mut self, bus: &mut dyn Bus) -> u32 {
        let pending = self.interrupts.icr & self.interrupts.ims != 0;
        let express = self.config.chip.is_express();
        let value = Causes::from(self.interrupts.icr).with_asserted(express && pending);
        // With MSI-X, while nothing asks for an interrupt, what is masked stays (82574 section 7.4.5); Linux's driver
        // relies on all being cleared otherwise.
        let messages = express && bus.interrupt_kind() == Some(InterruptKind::MsiX);
        let kept = messages && self.interrupts.ims != 0 && !pending;
        if !kept {
            self.interrupts.icr = 0;
        }
        if express && CtrlExt::from(self.get(reg::CTRL_EXT)).iame() {
            self.interrupts.ims &= !self.get(reg::IAM);
        }
        self.update_interrupts(bus);
        value.into_bits()
    }

    /// Interrupts, if there is a reason, nothing masks it and no throttle holds it up.
    pub(crate) fn update_interrupts(&mut self, bus: &mut dyn Bus) {
        let pending = self.interrupts.icr & self.interrupts.ims;
        self.interrupts.told &= pending;
        self.interrupts.retry = None;
        match bus.interrupt_kind() {
            Some(InterruptKind::MsiX) => self.send_vectors(bus),
            Some(InterruptKind::Msi) => self.send_message(bus, pending),
            Some(InterruptKind::Intx) => {
                if pending == 0 {
                    self.set_pin(bus, false);
                } else if !self.interrupts.pin && self.speak(bus.now(), 0, reg::ITR) {
                    self.set_pin(bus, true);
                }
            }
            None => {}
        }
    }

    fn send_message(&mut self, bus: &mut dyn Bus, pending: u32) {
        if pending & !self.interrupts.told != 0 && self.speak(bus.now(), 0, reg::ITR) {
            self.interrupts.told = pending;
            self.statistics.interrupts += 1;
            bus.message(0);
        }
    }

    fn send_vectors(&mut self, bus: &mut dyn Bus) {
        let ivar = Ivar::from(self.get(reg::IVAR));
        let causes = Causes::new();
        let fields = [
            (ivar.rxq0(), causes.with_rxq0(true)),
            (ivar.rxq1(), causes.with_rxq1(true)),
            (ivar.txq0(), causes.with_txq0(true)),
            (ivar.txq1(), causes.with_txq1(true)),
            (ivar.other(), causes.with_other(true)),
        ];
        for (field, cause) in fields {
            let cause = cause.into_bits();
            let due = self.interrupts.icr & self.interrupts.ims & !self.interrupts.told & cause != 0;
            let vector = u16::from(field & 7);
            if !due || field & Ivar::VALID == 0 || !self.speak(bus.now(), vector, reg::eitr(vector)) {
                continue;
            }
            self.interrupts.told |= cause;
            self.interrupts.icr &= !(self.get(reg::EIAC) & cause);
            if CtrlExt::from(self.get(reg::CTRL_EXT)).eiame() {
                self.interrupts.ims &= !(self.get(reg::IAM) & cause);
            }
            self.interrupts.told &= self.interrupts.icr & self.interrupts.ims;
            self.statistics.interrupts += 1;
            bus.message(vector);
        }
    }

    /// Whether a vector may interrupt now; if so, its throttle starts.
    fn speak(&mut self, now: Time, vector: u16, throttle: u64) -> bool {
        let interval = self.throttle(throttle);
        let Some(quiet) = self.interrupts.quiet.get_mut(usize::from(vector)) else { return false };
        if now < *quiet {
            let retry = self.interrupts.retry.map_or(*quiet, |retry| retry.min(*quiet));
            self.interrupts.retry = Some(retry);
            return false;
        }
        *quiet = now.plus(interval);
        true
    }

    fn set_pin(&mut self, bus: &mut dyn Bus, level: bool) {
        if level != self.interrupts.pin {
            self.interrupts.pin = level;
            self.statistics.interrupts += u64::from(level);
            bus.set_intx(level);
        }
    }

    /// An interrupt for nothing.
    pub(crate) fn spurious(&mut self, bus: &mut dyn Bus) {
        self.statistics.interrupts += 1;
        match bus.interrupt_kind() {
            Some(InterruptKind::Intx) => {
                bus.set_intx(true);
                bus.set_intx(self.interrupts.pin);
            }
            Some(_) => bus.message(0),
            None => {}
        }
    }
}

fn sent_causes(queue: u16, express: bool) -> Causes {
    let causes = Causes::new().with_txdw(true);
    causes.with_txq0(express && queue == 0).with_txq1(express && queue == 1)
}

fn stored_causes(queue: u16, express: bool) -> Causes {
    let causes = Causes::new().with_rxt0(true);
    causes.with_rxq0(express && queue == 0).with_rxq1(express && queue == 1)
}
