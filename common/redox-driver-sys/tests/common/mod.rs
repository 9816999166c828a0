//! A device for the tests of the boundary: a copier. It copies `LENGTH` bytes from `SOURCE` to `TARGET` by DMA
//! [`DELAY`] after the doorbell was rung, counts what it did, and interrupts.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a model and helpers of tests")]

use std::time::Duration;

use redox_driver_sys::{
    irq::InterruptKind,
    mmio::{Mmio, ReadWrite, WriteOnly},
    model::{Bus, ConfigSpace, Device, DmaFault, Host},
    pci::{PciFunction, PciIds},
    time::Time,
};

pub const BAR_LEN: u64 = 0x1000;
pub const MAGIC: u32 = 0x7e57_de71;
pub const DELAY: Duration = Duration::from_micros(50);

/// 32 bits, read-only: [`MAGIC`].
pub const ID: u64 = 0x00;
/// 64 bits, scratch.
pub const SCRATCH: u64 = 0x08;
/// 64 bits each.
pub const SOURCE: u64 = 0x10;
pub const TARGET: u64 = 0x18;
/// 32 bits.
pub const LENGTH: u64 = 0x20;
/// 32 bits: rings; the value is the vector that is interrupted.
pub const DOORBELL: u64 = 0x24;
/// 32 bits: copies done, cleared by reading.
pub const DONE: u64 = 0x28;
/// 32 bits: whether INTx is asserted; any write takes it back.
pub const STATUS: u64 = 0x2c;

pub struct Copier {
    config: ConfigSpace,
    scratch: [u8; 8],
    source: u64,
    target: u64,
    length: usize,
    /// When the copy is due, and the vector.
    due: Option<(Time, u16)>,
    done: u32,
    asserted: bool,
    pub resets: u32,
    pub last: Option<Result<(), DmaFault>>,
}

impl Copier {
    fn copy(&mut self, bus: &mut dyn Bus) -> Result<(), DmaFault> {
        let mut bytes = vec![0; self.length];
        bus.dma_read(self.source, &mut bytes)?;
        bus.dma_write(self.target, &bytes)
    }
}

impl Device for Copier {
    fn config(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn mmio_read(&mut self, _bus: &mut dyn Bus, _bar: u8, offset: u64, len: usize) -> u64 {
        match offset {
            ID => MAGIC.into(),
            SOURCE => self.source,
            TARGET => self.target,
            LENGTH => self.length as u64,
            DONE => std::mem::take(&mut self.done).into(),
            STATUS => self.asserted.into(),
            SCRATCH..SOURCE => {
                let start = (offset - SCRATCH) as usize;
                let mut value = [0; 8];
                value[..len].copy_from_slice(&self.scratch[start..start + len]);
                u64::from_le_bytes(value)
            }
            _ => 0,
        }
    }

    fn mmio_write(&mut self, bus: &mut dyn Bus, _bar: u8, offset: u64, len: usize, value: u64) {
        match offset {
            SOURCE => self.source = value,
            TARGET => self.target = value,
            LENGTH => self.length = value as usize,
            DOORBELL => self.due = Some((bus.now().plus(DELAY), value as u16)),
            STATUS => {
                self.asserted = false;
                bus.set_intx(false);
            }
            SCRATCH..SOURCE => {
                let start = (offset - SCRATCH) as usize;
                self.scratch[start..start + len].copy_from_slice(&value.to_le_bytes()[..len]);
            }
            _ => {}
        }
    }

    fn run(&mut self, bus: &mut dyn Bus) {
        if let Some((_, vector)) = self.due.take_if(|(due, _)| *due <= bus.now()) {
            self.last = Some(self.copy(bus));
            self.done += 1;
            if bus.interrupt_kind() == Some(InterruptKind::Intx) {
                self.asserted = true;
                bus.set_intx(true);
            } else {
                bus.message(vector);
            }
        }
    }

    fn next_event(&self) -> Option<Time> {
        self.due.map(|(due, _)| due)
    }

    fn reset(&mut self) {
        self.due = None;
        self.asserted = false;
        self.resets += 1;
    }
}

pub fn ids() -> PciIds {
    PciIds {
        vendor: 0x1234,
        device: 0xabcd,
        subsystem_vendor: 0x5678,
        subsystem: 0x0042,
        class: 0xff,
        subclass: 1,
        interface: 2,
        revision: 3,
    }
}

/// Everything a function can have.
pub fn full_config() -> ConfigSpace {
    ConfigSpace::new(ids())
        .with_memory_bar(0, BAR_LEN)
        .with_pci_express()
        .with_msi(4)
        .with_msix(8, 0, 0x800, 0xc00)
}

pub fn host_with(config: ConfigSpace) -> Host {
    Host::new(Box::new(Copier {
        config,
        scratch: [0; 8],
        source: 0,
        target: 0,
        length: 0,
        due: None,
        done: 0,
        asserted: false,
        resets: 0,
        last: None,
    }))
}

pub fn host() -> Host {
    host_with(full_config())
}

/// Has the device copy, waits until it is done, and returns what it ran into.
pub fn copy(host: &Host, registers: &Mmio, source: u64, target: u64, length: u32) -> Vec<DmaFault> {
    start(registers, source, target, length, 0);
    host.advance(DELAY * 2);
    host.take_faults()
}

pub fn start(registers: &Mmio, source: u64, target: u64, length: u32, vector: u32) {
    registers.register::<u64, ReadWrite>(SOURCE).unwrap().write(source);
    registers.register::<u64, ReadWrite>(TARGET).unwrap().write(target);
    registers.register::<u32, ReadWrite>(LENGTH).unwrap().write(length);
    registers.register::<u32, WriteOnly>(DOORBELL).unwrap().write(vector);
}

/// The function of a machine, allowed to do everything, and its registers.
pub fn started(function: PciFunction) -> (PciFunction, Mmio) {
    function.enable_memory().unwrap();
    function.set_bus_master(true).unwrap();
    let registers = function.map_bar(0).unwrap();
    (function, registers)
}
