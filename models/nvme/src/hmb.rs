//! The host memory buffer (sections 5.21.1.13 and 8.9).
//!
//! While it is enabled, the model keeps a mark at the start of each page, looks at one with every I/O command and moves
//! it on. A host that writes there, or takes the memory away, is found out.

use redox_driver_sys::model::Bus;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::violation::Violation;

/// Pages that are marked; a larger buffer is used in part.
const MOST_PAGES: usize = 4096;
const MAGIC: u64 = 0x6272_6d68_6d72_6276;

#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Mark {
    address: u64,
    turn: u64,
}

#[derive(Debug, Default)]
pub(crate) struct HostMemory {
    enabled: bool,
    /// The pages in use, with what was last written to each; kept when the buffer is disabled.
    pages: Vec<(u64, u64)>,
    next: usize,
    turn: u64,
}

impl HostMemory {
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Takes over `areas` (address and length in bytes). `returned`: the host promises that they are the ones that were
    /// disabled, as they were then.
    pub(crate) fn enable(
        &mut self,
        bus: &mut dyn Bus,
        areas: &[(u64, u64)],
        page: u64,
        returned: bool,
    ) -> Option<Violation> {
        let pages = areas.iter().flat_map(|&(addr, len)| (0..len / page).map(move |n| addr + n * page));
        let pages: Vec<u64> = pages.take(MOST_PAGES).collect();
        let same = pages.iter().copied().eq(self.pages.iter().map(|&(addr, _)| addr));
        self.enabled = true;
        self.next = 0;
        if returned && !self.pages.is_empty() {
            if !same {
                let address = pages.first().copied().unwrap_or(0);
                self.mark_all(bus, pages);
                return Some(Violation::HostMemoryChanged { address });
            }
            return (0..self.pages.len()).find_map(|at| self.check(bus, at));
        }
        self.mark_all(bus, pages)
    }

    fn mark_all(&mut self, bus: &mut dyn Bus, pages: Vec<u64>) -> Option<Violation> {
        self.pages = pages.into_iter().map(|addr| (addr, 0)).collect();
        (0..self.pages.len()).find_map(|at| self.write(bus, at))
    }

    /// Gives the memory back: it is not touched again.
    pub(crate) fn disable(&mut self) {
        self.enabled = false;
    }

    /// Forgets what was there, too.
    pub(crate) fn forget(&mut self) {
        *self = HostMemory::default();
    }

    /// Uses the buffer. Returns whether it did, and what is wrong with it.
    pub(crate) fn touch(&mut self, bus: &mut dyn Bus) -> (bool, Option<Violation>) {
        if !self.enabled || self.pages.is_empty() {
            return (false, None);
        }
        let at = self.next % self.pages.len();
        self.next = at + 1;
        let wrong = self.check(bus, at);
        (true, wrong.or_else(|| self.write(bus, at)))
    }

    fn check(&self, bus: &mut dyn Bus, at: usize) -> Option<Violation> {
        let &(address, turn) = self.pages.get(at)?;
        let mut bytes = [0; size_of::<Mark>()];
        if bus.dma_read(address, &mut bytes).is_err() {
            return Some(Violation::HostMemoryGone { address });
        }
        let found: Mark = zerocopy::transmute!(bytes);
        (found != mark(address, turn)).then_some(Violation::HostMemoryChanged { address })
    }

    fn write(&mut self, bus: &mut dyn Bus, at: usize) -> Option<Violation> {
        let (address, turn) = self.pages.get_mut(at)?;
        self.turn += 1;
        *turn = self.turn;
        let gone = bus.dma_write(*address, mark(*address, *turn).as_bytes()).is_err();
        gone.then_some(Violation::HostMemoryGone { address: *address })
    }
}

fn mark(address: u64, turn: u64) -> Mark {
    Mark { address: address ^ MAGIC, turn }
}
