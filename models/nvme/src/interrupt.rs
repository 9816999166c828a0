//! Interrupts: masks (sections 3.1.3 and 3.1.4), levels and coalescing (section 7.5).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use nvme_spec::InterruptCoalescing;
use redox_driver_sys::{irq::InterruptKind, model::Bus, time::Time};

/// Unit of the coalescing time.
const COALESCING_UNIT: Duration = Duration::from_micros(100);

#[derive(Debug, Default)]
pub(crate) struct Interrupts {
    /// INTMS and INTMC.
    pub(crate) mask: u32,
    /// Vectors with entries that the host has not taken, as the pin shows them.
    raised: BTreeSet<u16>,
    /// MSI vectors that were due while they were masked.
    pending: u32,
    pin: bool,
    /// The pin must be lowered, as soon as there is a machine to lower it in.
    stale_pin: bool,
    pub(crate) coalescing: InterruptCoalescing,
    /// Vectors to which coalescing does not apply.
    pub(crate) exempt: BTreeSet<u16>,
    /// Entries that were aggregated, and when the interrupt is due.
    aggregated: BTreeMap<u16, (u32, Time)>,
    sent: u64,
}

impl Interrupts {
    /// A completion was written to a queue with `vector`.
    pub(crate) fn completion(&mut self, bus: &mut dyn Bus, vector: u16, admin: bool) {
        if admin || self.coalescing.time() == 0 || self.exempt.contains(&vector) {
            self.fire(bus, vector);
            return;
        }
        let due = bus.now().plus(COALESCING_UNIT * u32::from(self.coalescing.time()));
        let (count, _) = self.aggregated.entry(vector).or_insert((0, due));
        *count += 1;
        if *count > u32::from(self.coalescing.threshold()) {
            self.fire(bus, vector);
        }
    }

    /// Sends the interrupt of `vector` now.
    pub(crate) fn fire(&mut self, bus: &mut dyn Bus, vector: u16) {
        self.aggregated.remove(&vector);
        match bus.interrupt_kind() {
            Some(InterruptKind::MsiX) => self.send(bus, vector),
            Some(InterruptKind::Msi) => {
                let bit = mask_bit(vector);
                if self.mask & bit == 0 {
                    self.send(bus, vector);
                } else {
                    self.pending |= bit;
                }
            }
            Some(InterruptKind::Intx) => {
                self.raised.insert(vector);
                self.update_pin(bus);
            }
            None => {}
        }
    }

    fn send(&mut self, bus: &mut dyn Bus, vector: u16) {
        self.sent += 1;
        bus.message(vector);
    }

    /// An interrupt without a reason.
    pub(crate) fn spurious(&mut self, bus: &mut dyn Bus, vector: u16) {
        if bus.interrupt_kind() == Some(InterruptKind::Intx) {
            bus.set_intx(true);
            bus.set_intx(self.pin);
        } else {
            self.send(bus, vector);
        }
    }

    /// The host has taken all entries of the queues with `vector`.
    pub(crate) fn drained(&mut self, bus: &mut dyn Bus, vector: u16) {
        self.aggregated.remove(&vector);
        self.pending &= !mask_bit(vector);
        if self.raised.remove(&vector) {
            self.update_pin(bus);
        }
    }

    /// Applies a new mask.
    pub(crate) fn set_mask(&mut self, bus: &mut dyn Bus, mask: u32) {
        self.mask = mask;
        let due = self.pending & !mask;
        self.pending &= mask;
        for vector in (0..32).filter(|&vector| due & mask_bit(vector) != 0) {
            self.send(bus, vector);
        }
        self.update_pin(bus);
    }

    fn update_pin(&mut self, bus: &mut dyn Bus) {
        let level = self.raised.iter().any(|&vector| self.mask & mask_bit(vector) == 0);
        if level != self.pin {
            self.pin = level;
            self.sent += u64::from(level);
            bus.set_intx(level);
        }
    }

    /// Sends what was aggregated long enough.
    pub(crate) fn run(&mut self, bus: &mut dyn Bus) {
        if std::mem::take(&mut self.stale_pin) {
            bus.set_intx(self.pin);
        }
        let now = bus.now();
        let due: Vec<u16> =
            self.aggregated.iter().filter(|(_, (_, due))| *due <= now).map(|(&vector, _)| vector).collect();
        for vector in due {
            self.fire(bus, vector);
        }
    }

    pub(crate) fn next_event(&self) -> Option<Time> {
        let aggregated = self.aggregated.values().map(|&(_, due)| due).min();
        if self.stale_pin { Some(Time::default()) } else { aggregated }
    }

    /// Back to the state after a reset. The count of what was sent stays.
    pub(crate) fn reset(&mut self, bus: Option<&mut dyn Bus>) {
        let mut stale_pin = self.pin || self.stale_pin;
        if let Some(bus) = bus.filter(|_| stale_pin) {
            bus.set_intx(false);
            stale_pin = false;
        }
        *self = Interrupts { sent: self.sent, stale_pin, ..Interrupts::default() };
    }

    /// Messages and rises of the pin so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }
}

/// Bit of `vector` in the mask registers, which have 32.
fn mask_bit(vector: u16) -> u32 {
    1u32.checked_shl(vector.into()).unwrap_or(0)
}
