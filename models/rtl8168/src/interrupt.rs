//! Interrupts: events, their mask, and how long packets' may wait (8168B sections 2.5, 2.6).

use std::time::Duration;

use redox_driver_sys::{irq::InterruptKind, model::Bus, time::Time};
use rtl8168_spec::registers::{CPLUS, CPlus, Events, INT_MITIGATE, Mitigation};

use crate::core::Core;

#[derive(Debug, Default)]
pub(crate) struct Interrupts {
    pub(crate) isr: u16,
    pub(crate) imr: u16,
    /// Events that were told by a message and are still there.
    told: u16,
    pub(crate) pin: bool,
    /// Packets that wait for company, each way.
    received: Waiting,
    sent: Waiting,
}

/// Packets that were not told of yet.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    packets: u32,
    until: Option<Time>,
}

impl Interrupts {
    pub(crate) fn due(&self) -> Option<Time> {
        [self.received.until, self.sent.until].into_iter().flatten().min()
    }
}

impl Core {
    /// Something happened.
    pub(crate) fn raise(&mut self, bus: &mut dyn Bus, events: Events) {
        let events = events.into_bits();
        self.interrupts.isr |= events;
        // What happens again is told again.
        self.interrupts.told &= !events;
        self.update_interrupts(bus);
    }

    pub(crate) fn write_isr(&mut self, bus: &mut dyn Bus, value: u16) {
        self.interrupts.isr &= !value;
        self.interrupts.told &= self.interrupts.isr;
        self.update_interrupts(bus);
    }

    pub(crate) fn write_imr(&mut self, bus: &mut dyn Bus, value: u16) {
        self.interrupts.imr = value;
        self.interrupts.told &= value;
        self.update_interrupts(bus);
    }

    /// A frame was stored, or a packet sent: told now, or later together with others.
    pub(crate) fn packet_done(&mut self, bus: &mut dyn Bus, sent: bool) {
        let mitigation = Mitigation::from(self.get16(INT_MITIGATE));
        let (frames, time) = if sent {
            (mitigation.tx_frames(), mitigation.tx_time())
        } else {
            (mitigation.rx_frames(), mitigation.rx_time())
        };
        let speed = self.phy.link(crate::core::elapsed(bus.now())).map_or(0, |link| link.speed);
        let unit = Mitigation::unit_nanos(CPlus::from(self.get16(CPLUS)).time_unit(), speed);
        let wait = Duration::from_nanos(u64::from(unit) * u64::from(time));
        let now = bus.now();
        let waiting = if sent { &mut self.interrupts.sent } else { &mut self.interrupts.received };
        waiting.packets += 1;
        let enough = frames > 0 && waiting.packets >= u32::from(frames) * Mitigation::FRAMES;
        if wait.is_zero() || enough {
            self.tell(bus, sent);
        } else if waiting.until.is_none() {
            waiting.until = Some(now.plus(wait));
        }
    }

    fn tell(&mut self, bus: &mut dyn Bus, sent: bool) {
        if sent {
            self.interrupts.sent = Waiting::default();
            self.raise(bus, Events::new().with_tok(true));
        } else {
            self.interrupts.received = Waiting::default();
            self.raise(bus, Events::new().with_rok(true));
        }
    }

    pub(crate) fn run_mitigation(&mut self, bus: &mut dyn Bus) {
        let now = bus.now();
        let over = |waiting: Waiting| waiting.until.is_some_and(|until| until <= now);
        if over(self.interrupts.sent) {
            self.tell(bus, true);
        }
        if over(self.interrupts.received) {
            self.tell(bus, false);
        }
    }

    /// Interrupts, if there is a reason and nothing masks it.
    pub(crate) fn update_interrupts(&mut self, bus: &mut dyn Bus) {
        let pending = self.interrupts.isr & self.interrupts.imr;
        match bus.interrupt_kind() {
            Some(InterruptKind::Intx) => self.set_pin(bus, pending != 0),
            Some(_) if pending & !self.interrupts.told != 0 => {
                self.interrupts.told = pending;
                self.statistics.interrupts += 1;
                bus.message(0);
            }
            Some(_) | None => {}
        }
    }

    pub(crate) fn set_pin(&mut self, bus: &mut dyn Bus, level: bool) {
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
