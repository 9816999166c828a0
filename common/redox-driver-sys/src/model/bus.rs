//! What a model may do to the machine.

use std::sync::Arc;

use super::{host::Lines, memory::Memory};
use crate::{dma::PAGE_SIZE, irq::InterruptKind, time::Time};

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

/// An IOMMU between devices and the memory of the machine, modelled for itself.
pub trait Iommu: Send + Sync {
    /// Where an access of `requester` (its bus in bits 15:8, device in 7:3, function in 2:0) to the byte `addr` goes in
    /// physical memory; what follows up to the end of the 4 KiB goes on from there. `None`: nowhere.
    fn translate(&self, requester: u16, addr: u64, write: bool) -> Option<u64>;
    /// Whether an interrupt message of `requester`, a write of `data` to `addr`, arrives.
    fn message(&self, requester: u16, addr: u64, data: u32) -> bool;
}

/// How a device is connected to the IOMMU of its machine.
pub(super) struct Behind {
    pub(super) iommu: Arc<dyn Iommu>,
    pub(super) requester: u16,
}

/// Where messages of interrupts go that the model's machine invents: to processor 0, with the vector's number as data.
const MESSAGES: u64 = 0xfee0_0000;

/// The machine's side of [`super::Host`].
pub(super) struct Machine {
    pub(super) now: Time,
    pub(super) memory: Memory,
    /// `None`: addresses are those of `memory`.
    pub(super) behind: Option<Behind>,
    pub(super) faults: Vec<DmaFault>,
    pub(super) lines: Lines,
    pub(super) bus_master: bool,
    pub(super) connected: bool,
}

/// Faults beyond this many are counted by nobody: a device that runs wild must not eat the memory.
const MOST_FAULTS: usize = 4096;

impl Machine {
    /// Gives the pieces of physical memory that an access is about to `copy`.
    fn access(
        &mut self,
        addr: u64,
        len: usize,
        write: bool,
        copy: impl FnOnce(&Memory, &[(u64, usize)]) -> Result<(), DmaFault>,
    ) -> Result<(), DmaFault> {
        let fault = DmaFault { addr, len, write };
        let result = if !self.bus_master || !self.connected {
            Err(fault)
        } else if let Some(behind) = &self.behind {
            behind.pieces(addr, len, write).ok_or(fault).and_then(|pieces| copy(&self.memory, &pieces))
        } else {
            copy(&self.memory, &[(addr, len)])
        };
        if result.is_err() && self.faults.len() < MOST_FAULTS {
            self.faults.push(fault);
        }
        result.map_err(|_| fault)
    }
}

impl Behind {
    /// Translates a range page by page.
    fn pieces(&self, addr: u64, len: usize, write: bool) -> Option<Vec<(u64, usize)>> {
        let mut pieces = Vec::new();
        let mut done = 0;
        while done < len {
            let at = addr.checked_add(done as u64)?;
            let to_end = PAGE_SIZE - usize::try_from(at % PAGE_SIZE as u64).ok()?;
            let count = to_end.min(len - done);
            pieces.push((self.iommu.translate(self.requester, at, write)?, count));
            done += count;
        }
        Some(pieces)
    }
}

impl Bus for Machine {
    fn dma_read(&mut self, addr: u64, target: &mut [u8]) -> Result<(), DmaFault> {
        self.access(addr, target.len(), false, |memory, pieces| memory.copy_out(pieces, target))
    }

    fn dma_write(&mut self, addr: u64, source: &[u8]) -> Result<(), DmaFault> {
        self.access(addr, source.len(), true, |memory, pieces| memory.copy_in(pieces, source))
    }

    fn interrupt_kind(&self) -> Option<InterruptKind> {
        self.lines.kind()
    }

    fn message(&mut self, vector: u16) {
        let arrives = |behind: &Behind| behind.iommu.message(behind.requester, MESSAGES, vector.into());
        if self.bus_master && self.connected && self.behind.as_ref().is_none_or(arrives) {
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
