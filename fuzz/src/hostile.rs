//! A device that does its work and lies about it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use redox_driver_sys::{
    irq::InterruptKind,
    model::{Bus, ConfigSpace, Device, DmaFault},
    time::Time,
};

use crate::input::Input;

/// Decisions from here on tamper; those below leave things alone.
const TAMPER: u8 = 192;

/// Wraps a model. Each register that is read, each piece of memory that is written and each interrupt asks the fuzzer
/// whether it is to be tampered with, so that the driver behind is reached as deep as a working device leads it.
pub struct Hostile<D> {
    device: D,
    input: Input,
    tampered: Arc<AtomicBool>,
}

impl<D: Device> Hostile<D> {
    /// A device that lies as `input` says, and whether it did.
    pub fn new(device: D, input: Input) -> (Self, Arc<AtomicBool>) {
        let tampered = Arc::new(AtomicBool::new(false));
        (Hostile { device, input, tampered: tampered.clone() }, tampered)
    }

    fn with_bus<R>(&mut self, bus: &mut dyn Bus, work: impl FnOnce(&mut D, &mut dyn Bus) -> R) -> R {
        let mut bus = HostileBus { bus, input: &self.input, tampered: &self.tampered };
        work(&mut self.device, &mut bus)
    }
}

impl<D: Device> Device for Hostile<D> {
    fn config(&mut self) -> &mut ConfigSpace {
        self.device.config()
    }

    fn mmio_read(&mut self, bus: &mut dyn Bus, bar: u8, offset: u64, len: usize) -> u64 {
        let value = self.with_bus(bus, |device, bus| device.mmio_read(bus, bar, offset, len));
        let how = self.input.byte();
        if how < TAMPER {
            return value;
        }
        self.tampered.store(true, Ordering::Relaxed);
        match how % 4 {
            0 => value ^ 1 << (self.input.byte() % 64),
            1 => value ^ 1 << (self.input.byte() % 64) ^ 1 << (self.input.byte() % 64),
            2 => self.input.long(),
            _ => u64::MAX,
        }
    }

    fn mmio_write(&mut self, bus: &mut dyn Bus, bar: u8, offset: u64, len: usize, value: u64) {
        self.with_bus(bus, |device, bus| device.mmio_write(bus, bar, offset, len, value));
    }

    fn run(&mut self, bus: &mut dyn Bus) {
        self.with_bus(bus, |device, bus| device.run(bus));
    }

    fn next_event(&self) -> Option<Time> {
        self.device.next_event()
    }

    fn reset(&mut self) {
        self.device.reset();
    }
}

struct HostileBus<'a> {
    bus: &'a mut dyn Bus,
    input: &'a Input,
    tampered: &'a AtomicBool,
}

impl HostileBus<'_> {
    fn decide(&self) -> Option<u8> {
        let how = self.input.byte().checked_sub(TAMPER)?;
        self.tampered.store(true, Ordering::Relaxed);
        Some(how)
    }
}

impl Bus for HostileBus<'_> {
    fn dma_read(&mut self, addr: u64, target: &mut [u8]) -> Result<(), DmaFault> {
        self.bus.dma_read(addr, target)
    }

    fn dma_write(&mut self, addr: u64, source: &[u8]) -> Result<(), DmaFault> {
        let Some(how) = self.decide() else { return self.bus.dma_write(addr, source) };
        let mut data = source.to_vec();
        let mut addr = addr;
        match how % 8 {
            // A few bytes are others.
            0..=3 => {
                let start = self.input.below(data.len());
                let count = usize::from(self.input.byte() % 16) + 1;
                for byte in data.iter_mut().skip(start).take(count) {
                    *byte = self.input.byte();
                }
            }
            // All of them.
            4 => {
                let fill = self.input.byte();
                let mut known = usize::from(self.input.byte());
                for byte in &mut data {
                    *byte = if known > 0 { self.input.byte() } else { fill };
                    known = known.saturating_sub(1);
                }
            }
            // Not written at all.
            5 => return Ok(()),
            // Somewhere near.
            6 => addr = addr.wrapping_add(u64::from(self.input.word())).wrapping_sub(1 << 15),
            // Also somewhere near.
            _ => drop(self.bus.dma_write(addr.wrapping_add(u64::from(self.input.byte())), &data)),
        }
        self.bus.dma_write(addr, &data)
    }

    fn interrupt_kind(&self) -> Option<InterruptKind> {
        self.bus.interrupt_kind()
    }

    fn message(&mut self, vector: u16) {
        match self.decide() {
            None => self.bus.message(vector),
            Some(how) if how % 2 == 0 => {}
            Some(_) => self.bus.message(self.input.word() % 64),
        }
    }

    fn set_intx(&mut self, asserted: bool) {
        let inverted = self.decide().is_some();
        self.bus.set_intx(asserted != inverted);
    }

    fn now(&self) -> Time {
        self.bus.now()
    }
}
