//! The guest's memory, as far as the device may reach it.

use std::{collections::BTreeMap, fs::File, io};

use redox_driver_sys::model::DmaFault;
use vm_memory::{Bytes, FileOffset, MmapRegion, VolatileMemory, mmap::MmapRegionError};

/// A range could not be mapped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MapError {
    /// The range is empty, wraps, or overlaps another one.
    #[error("{len:#x} bytes at {addr:#x} cannot be mapped there")]
    Range {
        /// Where the device sees it.
        addr: u64,
        /// Its length in bytes.
        len: u64,
    },
    /// The operating system refused.
    #[error("cannot map {len:#x} bytes at {addr:#x}")]
    Mmap {
        /// Where the device sees it.
        addr: u64,
        /// Its length in bytes.
        len: u64,
        /// What it said.
        #[source]
        source: MmapRegionError,
    },
}

impl From<MapError> for io::Error {
    fn from(error: MapError) -> Self {
        io::Error::new(io::ErrorKind::InvalidInput, error)
    }
}

/// What the device may do with a range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

struct Window {
    region: MmapRegion,
    access: Access,
}

/// Ranges of the guest's memory by the address at which the device sees them.
#[derive(Default)]
pub(crate) struct GuestMemory {
    windows: BTreeMap<u64, Window>,
}

impl GuestMemory {
    /// Maps `len` bytes of `file` from `offset` on at `addr`.
    ///
    /// # Errors
    /// [`MapError`]; nothing is mapped then.
    pub(crate) fn map(
        &mut self,
        addr: u64,
        len: u64,
        access: Access,
        file: File,
        offset: u64,
    ) -> Result<(), MapError> {
        let range = MapError::Range { addr, len };
        let (Some(end), Ok(size)) = (addr.checked_add(len), usize::try_from(len)) else { return Err(range) };
        let before = self.windows.range(..end).next_back();
        if len == 0 || before.is_some_and(|(start, window)| start + window.region.size() as u64 > addr) {
            return Err(range);
        }
        let region = MmapRegion::from_file(FileOffset::new(file, offset), size)
            .map_err(|source| MapError::Mmap { addr, len, source })?;
        self.windows.insert(addr, Window { region, access });
        Ok(())
    }

    /// Unmaps every range that begins within the `len` bytes from `addr` on.
    pub(crate) fn unmap(&mut self, addr: u64, len: u64) {
        let end = addr.saturating_add(len);
        self.windows.retain(|start, _| !(addr..end).contains(start));
    }

    /// Unmaps everything.
    pub(crate) fn clear(&mut self) {
        self.windows.clear();
    }

    /// Reads what the device may read.
    ///
    /// # Errors
    /// The fault; the target is as it was, or read in part.
    pub(crate) fn read(&self, addr: u64, target: &mut [u8]) -> Result<(), DmaFault> {
        let fault = DmaFault { addr, len: target.len(), write: false };
        let mut done = 0;
        while let Some(rest) = target.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let (window, skip) = self.find(addr, done).filter(|(w, _)| w.access.read).ok_or(fault)?;
            let slice = window.region.as_volatile_slice();
            done += slice.read(rest, skip).map_err(|_| fault)?;
        }
        Ok(())
    }

    /// Writes what the device may write.
    ///
    /// # Errors
    /// The fault; nothing is written then.
    pub(crate) fn write(&self, addr: u64, source: &[u8]) -> Result<(), DmaFault> {
        let fault = DmaFault { addr, len: source.len(), write: true };
        let mut pieces = Vec::new();
        let mut done = 0;
        while done < source.len() {
            let (window, skip) = self.find(addr, done).filter(|(w, _)| w.access.write).ok_or(fault)?;
            let count = (window.region.size() - skip).min(source.len() - done);
            pieces.push((window, skip, done..done + count));
            done += count;
        }
        for (window, skip, range) in pieces {
            let piece = source.get(range).ok_or(fault)?;
            window.region.as_volatile_slice().write_slice(piece, skip).map_err(|_| fault)?;
        }
        Ok(())
    }

    /// The window with the byte `skip` bytes after `addr`, and where in it that byte is.
    fn find(&self, addr: u64, skip: usize) -> Option<(&Window, usize)> {
        let at = addr.checked_add(skip as u64)?;
        let (start, window) = self.windows.range(..=at).next_back()?;
        let within = usize::try_from(at - start).ok()?;
        (within < window.region.size()).then_some((window, within))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const BOTH: Access = Access { read: true, write: true };

    fn file() -> File {
        let file = File::from(rustix::fs::memfd_create("guest", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        file.set_len(0x4000).unwrap();
        file
    }

    #[test]
    fn accesses_cross_from_one_range_into_the_next() {
        let mut memory = GuestMemory::default();
        let file = file();
        memory.map(0x1000, 0x1000, BOTH, file.try_clone().unwrap(), 0x2000).unwrap();
        memory.map(0x2000, 0x1000, BOTH, file, 0).unwrap();
        memory.write(0x1ffe, &[1, 2, 3, 4]).unwrap();
        let mut read = [0; 6];
        memory.read(0x1ffd, &mut read).unwrap();
        assert_eq!(read, [0, 1, 2, 3, 4, 0]);
        memory.unmap(0x1000, 0x1000);
        assert_eq!(memory.read(0x1ffd, &mut read), Err(DmaFault { addr: 0x1ffd, len: 6, write: false }));
        memory.read(0x2000, &mut read[..2]).unwrap();
        assert_eq!(read[..2], [3, 4]);
    }

    #[test]
    fn a_write_that_may_not_be_done_as_a_whole_is_not_done() {
        let mut memory = GuestMemory::default();
        let file = file();
        memory.map(0x1000, 0x1000, BOTH, file.try_clone().unwrap(), 0).unwrap();
        memory.map(0x2000, 0x1000, Access { write: false, read: true }, file, 0x1000).unwrap();
        assert!(memory.write(0x1ffe, &[1, 2, 3, 4]).is_err());
        assert!(memory.write(u64::MAX - 1, &[1, 2, 3, 4]).is_err());
        let mut read = [9; 4];
        memory.read(0x1ffe, &mut read).unwrap();
        assert_eq!(read, [0; 4]);
    }

    #[test]
    fn ranges_that_cannot_be_are_refused() {
        let mut memory = GuestMemory::default();
        memory.map(0x1000, 0x2000, BOTH, file(), 0).unwrap();
        for (addr, len) in [(0x2000, 0x1000), (0, 0x1001), (0x1000, 0x2000), (0x8000, 0), (u64::MAX, 0x1000)]
        {
            let refused = memory.map(addr, len, BOTH, file(), 0);
            assert!(matches!(refused, Err(MapError::Range { .. })), "{addr:#x} {refused:?}");
        }
    }
}
