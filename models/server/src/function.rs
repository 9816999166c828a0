//! The model in its slot: what reaches it from the guest, and what it does to the guest.

use std::time::Instant;

use redox_driver_sys::{
    irq::InterruptKind,
    model::{Bus, Device, DmaFault},
    pci::header,
    time::Time,
};

use crate::{interrupts::Interrupts, memory::GuestMemory};

/// Bit of the status register: the pin has a reason (PCI Local Bus 3.0, section 6.2.3). VFIO believes an interrupt by it.
const INTERRUPT_STATUS: u8 = 1 << 3;
/// Bit of the command register: the pin does not interrupt (section 6.2.2).
const INTERRUPT_DISABLE: u32 = 1 << 10;

/// A model and the machine around it.
pub(crate) struct Function {
    pub(crate) device: Box<dyn Device>,
    pub(crate) machine: Machine,
}

/// The guest as the model sees it.
pub(crate) struct Machine {
    pub(crate) memory: GuestMemory,
    pub(crate) interrupts: Interrupts,
    bus_master: bool,
    started: Instant,
}

impl Bus for Machine {
    fn dma_read(&mut self, addr: u64, target: &mut [u8]) -> Result<(), DmaFault> {
        let fault = DmaFault { addr, len: target.len(), write: false };
        if !self.bus_master {
            return Err(fault);
        }
        self.memory.read(addr, target)
    }

    fn dma_write(&mut self, addr: u64, source: &[u8]) -> Result<(), DmaFault> {
        let fault = DmaFault { addr, len: source.len(), write: true };
        if !self.bus_master {
            return Err(fault);
        }
        self.memory.write(addr, source)
    }

    fn interrupt_kind(&self) -> Option<InterruptKind> {
        self.interrupts.kind()
    }

    fn message(&mut self, vector: u16) {
        if self.bus_master {
            self.interrupts.message(vector);
        }
    }

    fn set_intx(&mut self, asserted: bool) {
        self.interrupts.set_pin(asserted);
    }

    fn now(&self) -> Time {
        Time::from_nanos(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Function {
    pub(crate) fn new(device: Box<dyn Device>) -> Self {
        let machine = Machine {
            memory: GuestMemory::default(),
            interrupts: Interrupts::default(),
            bus_master: false,
            started: Instant::now(),
        };
        Function { device, machine }
    }

    /// Does what is due; returns when there is something to do next.
    pub(crate) fn run(&mut self) -> Option<Time> {
        let next = self.device.next_event()?;
        if next <= self.machine.now() {
            self.device.run(&mut self.machine);
        }
        self.device.next_event()
    }

    pub(crate) fn read_bar(&mut self, bar: u8, offset: u64, data: &mut [u8]) {
        self.run();
        for (offset, piece) in pieces(offset, data.len()) {
            let value = self.device.mmio_read(&mut self.machine, bar, offset, piece.len());
            if let Some(target) = data.get_mut(piece) {
                target.iter_mut().zip(value.to_le_bytes()).for_each(|(target, byte)| *target = byte);
            }
        }
    }

    pub(crate) fn write_bar(&mut self, bar: u8, offset: u64, data: &[u8]) {
        self.run();
        for (offset, piece) in pieces(offset, data.len()) {
            let source = data.get(piece).unwrap_or_default();
            self.device.mmio_write(&mut self.machine, bar, offset, source.len(), number(source));
        }
    }

    pub(crate) fn read_config(&mut self, offset: u64, data: &mut [u8]) {
        for (at, byte) in (offset..).zip(data) {
            // Beyond the end everything reads as ones.
            let value = u16::try_from(at).map_or(u32::MAX, |at| self.device.config().read(at, 1));
            [*byte, ..] = value.to_le_bytes();
            if at == u64::from(header::STATUS) && self.machine.interrupts.is_asserted() {
                *byte |= INTERRUPT_STATUS;
            }
        }
    }

    pub(crate) fn write_config(&mut self, offset: u64, data: &[u8]) {
        for (offset, piece) in pieces(offset, data.len()) {
            let source = data.get(piece).unwrap_or_default();
            let (Ok(at), Ok(len)) = (u16::try_from(offset), u16::try_from(source.len())) else { return };
            #[allow(clippy::cast_possible_truncation, reason = "at most four bytes")]
            if self.device.config().write(at, len, number(source) as u32) {
                self.reset();
            }
        }
        self.machine.bus_master = self.device.config().bus_master();
        let command = self.device.config().read(header::COMMAND, 2);
        self.machine.interrupts.set_disabled(command & INTERRUPT_DISABLE != 0);
    }

    pub(crate) fn reset(&mut self) {
        self.device.config().reset();
        self.device.reset();
        self.machine.interrupts.reset();
        self.machine.bus_master = false;
    }
}

/// Cuts an access into aligned ones of 1, 2 or 4 bytes, or one of 8: the offset of each, and its bytes.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let left = len.checked_sub(done).filter(|&left| left > 0)?;
        let at = offset + done as u64;
        let fits = [8, 4, 2].into_iter().find(|&size| left >= size && at.is_multiple_of(size as u64));
        let piece = done..done + fits.unwrap_or(1);
        done = piece.end;
        Some((at, piece))
    })
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_are_cut_where_registers_end() {
        let cut = |offset, len| pieces(offset, len).map(|(at, piece)| (at, piece.len())).collect::<Vec<_>>();
        assert_eq!(cut(8, 8), [(8, 8)]);
        assert_eq!(cut(4, 8), [(4, 4), (8, 4)]);
        assert_eq!(cut(1, 4), [(1, 1), (2, 2), (4, 1)]);
        assert_eq!(cut(4, 0), []);
        assert_eq!(number(&[1, 2, 3]), 0x30201);
    }

    #[test]
    fn the_pin_is_seen_in_the_status_register() {
        let (device, _) = model_e1000::E1000::new(model_e1000::Config::named("82540EM"));
        let mut function = Function::new(Box::new(device));
        let status = |function: &mut Function| {
            let mut bytes = [0; 4];
            function.read_config(header::COMMAND.into(), &mut bytes);
            bytes[2] & INTERRUPT_STATUS != 0
        };
        assert!(!status(&mut function));
        // Even while it is disabled.
        function.write_config(header::COMMAND.into(), &0x0400u16.to_le_bytes());
        function.machine.set_intx(true);
        assert!(status(&mut function));
        function.reset();
        assert!(!status(&mut function));
    }
}
