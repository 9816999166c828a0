//! The machine that a disk without a device pretends to be in.

use std::sync::Arc;

use redox_driver_sys::{
    Result,
    dma::{DmaAllocator, Segment},
    model::{Host, Inert},
    pci::PciFunction,
    time::Clock,
};

/// A model host whose only function gives out DMA memory.
#[derive(Clone, Debug)]
pub struct Machine {
    host: Host,
    function: Arc<PciFunction>,
}

impl Machine {
    /// A machine of its own.
    ///
    /// # Errors
    /// The model refuses to master the bus.
    pub fn new() -> Result<Self> {
        let host = Host::new(Box::new(Inert::default()));
        let function = host.function();
        function.set_bus_master(true)?;
        Ok(Machine { host, function: Arc::new(function) })
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Memory that the disk reaches.
    ///
    /// # Errors
    /// The model has none.
    pub fn dma(&self) -> Result<DmaAllocator> {
        self.function.dma()
    }

    /// The machine's virtual clock.
    pub fn clock(&self) -> Clock {
        self.host.clock()
    }

    /// Reads all of `segments` as the device does; `false` if any is out of its reach.
    pub(super) fn gather(&self, segments: &[Segment], target: &mut [u8]) -> bool {
        self.host.with_device(|_, bus| {
            let mut rest = target;
            segments.iter().all(|segment| {
                let (part, left) =
                    std::mem::take(&mut rest).split_at_mut_checked(segment.len as usize).unwrap_or_default();
                rest = left;
                part.len() == segment.len as usize && bus.dma_read(segment.addr.get(), part).is_ok()
            })
        })
    }

    /// Writes all of `segments` as the device does; `false` if any is out of its reach.
    pub(super) fn scatter(&self, segments: &[Segment], source: &[u8]) -> bool {
        self.host.with_device(|_, bus| {
            let mut rest = source;
            segments.iter().all(|segment| {
                let (part, left) = rest.split_at_checked(segment.len as usize).unwrap_or_default();
                rest = left;
                part.len() == segment.len as usize && bus.dma_write(segment.addr.get(), part).is_ok()
            })
        })
    }

    /// How often a device went beyond its memory.
    pub fn stray_accesses(&self) -> usize {
        self.host.take_faults().len()
    }
}
