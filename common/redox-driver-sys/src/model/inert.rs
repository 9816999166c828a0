//! A function that does nothing by itself, for memory that a test's device reaches.

use super::{Bus, ConfigSpace, Device};
use crate::{pci::PciIds, time::Time};

/// A PCI function without registers.
#[derive(Debug)]
pub struct Inert(ConfigSpace);

impl Default for Inert {
    fn default() -> Self {
        Inert(ConfigSpace::new(PciIds {
            vendor: 0x1af4,
            device: 0x1110,
            subsystem_vendor: 0,
            subsystem: 0,
            class: 0xff,
            subclass: 0,
            interface: 0,
            revision: 0,
        }))
    }
}

impl Device for Inert {
    fn config(&mut self) -> &mut ConfigSpace {
        &mut self.0
    }
    fn mmio_read(&mut self, _: &mut dyn Bus, _: u8, _: u64, _: usize) -> u64 {
        u64::MAX
    }
    fn mmio_write(&mut self, _: &mut dyn Bus, _: u8, _: u64, _: usize, _: u64) {}
    fn run(&mut self, _: &mut dyn Bus) {}
    fn next_event(&self) -> Option<Time> {
        None
    }
    fn reset(&mut self) {}
}
