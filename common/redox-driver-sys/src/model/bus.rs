//! What a model may do to the machine.

use std::collections::BTreeMap;
use std::ptr::NonNull;

use super::host::Lines;
use crate::{irq::InterruptKind, time::Time};

/// A DMA access that the model's IOMMU blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaFault {
    /// Address as the device sees it.
    pub addr: u64,
    /// Length in bytes.
    pub len: usize,
    /// Whether the device wrote.
    pub write: bool,
}

/// The machine as a device model sees it: memory, interrupts and time. [`super::Host`] implements it for tests in the
/// process; a server of models for a virtual machine implements it over that machine's memory.
pub trait Bus {
    /// Reads memory by DMA.
    ///
    /// # Errors
    /// The fault, when the device may not.
    fn dma_read(&mut self, addr: u64, target: &mut [u8]) -> Result<(), DmaFault>;
    /// Writes memory by DMA.
    ///
    /// # Errors
    /// The fault, when the device may not; nothing is written then.
    fn dma_write(&mut self, addr: u64, source: &[u8]) -> Result<(), DmaFault>;
    /// How the driver asked to be interrupted; `None`: not at all.
    fn interrupt_kind(&self) -> Option<InterruptKind>;
    /// Sends message `vector` (MSI-X or MSI). Vectors that the driver did not enable are lost.
    fn message(&mut self, vector: u16);
    /// Sets the level of the interrupt pin.
    fn set_intx(&mut self, asserted: bool);
    /// The current time.
    fn now(&self) -> Time;
}

/// Memory that a driver made visible to the device.
pub(super) struct Window {
    pub(super) memory: NonNull<u8>,
    pub(super) len: usize,
    pub(super) device_reads: bool,
    pub(super) device_writes: bool,
}

// SAFETY: the window's memory is plain bytes that its owner keeps until the window is removed.
unsafe impl Send for Window {}

/// The machine's side of [`super::Host`].
pub(super) struct Machine {
    pub(super) now: Time,
    pub(super) windows: BTreeMap<u64, Window>,
    pub(super) faults: Vec<DmaFault>,
    pub(super) lines: Lines,
    pub(super) bus_master: bool,
    pub(super) connected: bool,
}

/// Faults beyond this many are counted by nobody: a device that runs wild must not eat the memory.
const MOST_FAULTS: usize = 4096;

impl Machine {
    /// Splits a range over adjacent windows and gives each piece to `piece`; all or nothing.
    fn access(
        &mut self,
        addr: u64,
        len: usize,
        write: bool,
        mut piece: impl FnMut(NonNull<u8>, usize, usize),
    ) -> Result<(), DmaFault> {
        let fault = DmaFault { addr, len, write };
        let mut pieces = Vec::new();
        let mut done = 0;
        while done < len {
            let at = addr.checked_add(done as u64);
            let window = at.and_then(|at| Some((at, self.windows.range(..=at).next_back()?)));
            let found = window.and_then(|(at, (start, window))| {
                let skip = usize::try_from(at - start).ok()?;
                let allowed = if write { window.device_writes } else { window.device_reads };
                (skip < window.len && allowed).then_some((window, skip))
            });
            let Some((window, skip)) = found.filter(|_| self.bus_master && self.connected) else {
                if self.faults.len() < MOST_FAULTS {
                    self.faults.push(fault);
                }
                return Err(fault);
            };
            let count = (window.len - skip).min(len - done);
            // SAFETY: `skip` is inside the window.
            pieces.push((unsafe { window.memory.add(skip) }, done, count));
            done += count;
        }
        for (memory, done, count) in pieces {
            piece(memory, done, count);
        }
        Ok(())
    }
}

impl Bus for Machine {
    fn dma_read(&mut self, addr: u64, target: &mut [u8]) -> Result<(), DmaFault> {
        let len = target.len();
        self.access(addr, len, false, |memory, done, count| {
            // SAFETY: `count` bytes from `memory` are inside a window; the target is another object.
            unsafe { memory.as_ptr().copy_to_nonoverlapping(target[done..done + count].as_mut_ptr(), count) };
        })
    }

    fn dma_write(&mut self, addr: u64, source: &[u8]) -> Result<(), DmaFault> {
        self.access(addr, source.len(), true, |memory, done, count| {
            // SAFETY: `count` bytes from `memory` are inside a window that the device may write; no reference to it
            // exists (shared memory is accessed by value, lent memory not at all).
            unsafe { memory.as_ptr().copy_from_nonoverlapping(source[done..done + count].as_ptr(), count) };
        })
    }

    fn interrupt_kind(&self) -> Option<InterruptKind> {
        self.lines.kind()
    }

    fn message(&mut self, vector: u16) {
        if self.bus_master && self.connected {
            self.lines.message(vector);
        }
    }

    fn set_intx(&mut self, asserted: bool) {
        if self.connected {
            self.lines.set_intx(asserted);
        }
    }

    fn now(&self) -> Time {
        self.now
    }
}
