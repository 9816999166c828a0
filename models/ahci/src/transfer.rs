//! Where the data of a command is: the PRDT (AHCI, section 4.2.3.3).

use ahci_spec::PrdtEntry;
use redox_driver_sys::model::Bus;
use zerocopy::FromBytes;

/// Why data was not moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransferError {
    /// The bus refused.
    Bus,
    /// The PRDT describes less.
    Overflow,
}

/// The data of a command, moved from its start to its end.
#[derive(Debug)]
pub(crate) struct Transfer {
    entries: std::vec::IntoIter<PrdtEntry>,
    addr: u64,
    left: u64,
    /// Bytes moved: PRDBC.
    pub(crate) moved: u32,
    /// Whether an entry was odd in address or length.
    pub(crate) odd: bool,
}

impl Transfer {
    /// Reads the PRDT of `count` entries at `addr`.
    pub(crate) fn read(bus: &mut dyn Bus, addr: u64, count: u16) -> Result<Self, TransferError> {
        let mut bytes = vec![0; usize::from(count) * size_of::<PrdtEntry>()];
        bus.dma_read(addr, &mut bytes).map_err(|_| TransferError::Bus)?;
        let entries: Vec<PrdtEntry> = bytes
            .chunks_exact(size_of::<PrdtEntry>())
            .filter_map(|entry| PrdtEntry::read_from_bytes(entry).ok())
            .collect();
        let odd = entries.iter().any(|entry| entry.dba & 1 != 0 || entry.bytes() & 1 != 0);
        Ok(Transfer { entries: entries.into_iter(), addr: 0, left: 0, moved: 0, odd })
    }

    /// Moves the next bytes to the host.
    pub(crate) fn write_host(&mut self, bus: &mut dyn Bus, mut data: &[u8]) -> Result<(), TransferError> {
        while !data.is_empty() {
            let (addr, len) = self.take(data.len())?;
            let (part, rest) = data.split_at(len);
            bus.dma_write(addr, part).map_err(|_| TransferError::Bus)?;
            data = rest;
        }
        Ok(())
    }

    /// Moves the next bytes from the host.
    pub(crate) fn read_host(&mut self, bus: &mut dyn Bus, mut data: &mut [u8]) -> Result<(), TransferError> {
        while !data.is_empty() {
            let (addr, len) = self.take(data.len())?;
            let (part, rest) = data.split_at_mut(len);
            bus.dma_read(addr, part).map_err(|_| TransferError::Bus)?;
            data = rest;
        }
        Ok(())
    }

    fn take(&mut self, most: usize) -> Result<(u64, usize), TransferError> {
        if self.left == 0 {
            let entry = self.entries.next().ok_or(TransferError::Overflow)?;
            self.addr = entry.dba;
            self.left = entry.bytes().into();
        }
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(most);
        let addr = self.addr;
        self.left -= len as u64;
        self.addr = addr.wrapping_add(len as u64);
        self.moved = self.moved.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        Ok((addr, len))
    }
}
