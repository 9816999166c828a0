//! Where the data of a command is: PRP entries (section 4.3).

use nvme_spec::Status;
use redox_driver_sys::model::Bus;

/// A contiguous part of host memory; no address for a bit bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) addr: Option<u64>,
    pub(crate) len: usize,
}

/// The data of a command, moved from its start to its end.
#[derive(Debug)]
pub(crate) struct Transfer {
    segments: std::vec::IntoIter<Segment>,
    current: Option<Segment>,
}

impl Transfer {
    pub(crate) fn new(segments: Vec<Segment>) -> Self {
        Transfer { segments: segments.into_iter(), current: None }
    }

    /// `len` contiguous bytes, as metadata is.
    pub(crate) fn contiguous(addr: u64, len: usize) -> Self {
        Transfer::new(vec![Segment { addr: Some(addr), len }])
    }

    /// `len` bytes that two PRP entries describe, with memory pages of `page` bytes.
    pub(crate) fn prp(bus: &mut dyn Bus, dptr: [u64; 2], len: usize, page: u64) -> Result<Self, Status> {
        prp_segments(bus, dptr, len, page).map(Transfer::new)
    }

    /// Moves the next bytes to the host.
    pub(crate) fn write_host(&mut self, bus: &mut dyn Bus, mut data: &[u8]) -> Result<(), Status> {
        while !data.is_empty() {
            let (addr, len) = self.take(data.len())?;
            let (part, rest) = data.split_at(len);
            if let Some(addr) = addr {
                bus.dma_write(addr, part).map_err(|_| Status::DATA_TRANSFER_ERROR)?;
            }
            data = rest;
        }
        Ok(())
    }

    /// Moves the next bytes from the host.
    pub(crate) fn read_host(&mut self, bus: &mut dyn Bus, mut data: &mut [u8]) -> Result<(), Status> {
        while !data.is_empty() {
            let (addr, len) = self.take(data.len())?;
            let (part, rest) = data.split_at_mut(len);
            if let Some(addr) = addr {
                bus.dma_read(addr, part).map_err(|_| Status::DATA_TRANSFER_ERROR)?;
            }
            data = rest;
        }
        Ok(())
    }

    /// Takes at most `most` bytes from the segments.
    fn take(&mut self, most: usize) -> Result<(Option<u64>, usize), Status> {
        let mut segment = match self.current.take() {
            Some(segment) => segment,
            None => self.segments.find(|segment| segment.len > 0).ok_or(Status::DATA_SGL_LENGTH)?,
        };
        let len = segment.len.min(most);
        let addr = segment.addr;
        segment.len -= len;
        segment.addr = addr.map(|addr| addr.wrapping_add(len as u64));
        self.current = (segment.len > 0).then_some(segment);
        Ok((addr, len))
    }
}

fn prp_segments(
    bus: &mut dyn Bus,
    [prp1, prp2]: [u64; 2],
    len: usize,
    page: u64,
) -> Result<Vec<Segment>, Status> {
    let offset = prp1 % page;
    if !offset.is_multiple_of(4) {
        return Err(Status::INVALID_PRP_OFFSET);
    }
    let len = len as u64;
    let mut segments = Vec::new();
    let first = len.min(page - offset);
    push(&mut segments, prp1, first);
    let mut left = len - first;
    if left == 0 {
        return Ok(segments);
    }
    if left <= page {
        if !prp2.is_multiple_of(page) {
            return Err(Status::INVALID_PRP_OFFSET);
        }
        push(&mut segments, prp2, left);
        return Ok(segments);
    }
    // The first list may begin anywhere in a page, those that follow begin at a page.
    let mut list = prp2;
    if !list.is_multiple_of(8) {
        return Err(Status::INVALID_PRP_OFFSET);
    }
    loop {
        let room = (page - list % page) / 8;
        let needed = left.div_ceil(page);
        let count = needed.min(room);
        let entries = read_list(bus, list, count)?;
        let chained = needed > room;
        let data = if chained { count - 1 } else { count };
        for (index, &entry) in (0..).zip(&entries) {
            if !entry.is_multiple_of(page) {
                return Err(Status::INVALID_PRP_OFFSET);
            }
            if index < data {
                let part = left.min(page);
                push(&mut segments, entry, part);
                left -= part;
            } else {
                list = entry;
            }
        }
        if !chained {
            return Ok(segments);
        }
    }
}

fn read_list(bus: &mut dyn Bus, addr: u64, count: u64) -> Result<Vec<u64>, Status> {
    // At most a memory page of entries.
    let mut bytes = vec![0; usize::try_from(count * 8).map_err(|_| Status::INTERNAL_ERROR)?];
    bus.dma_read(addr, &mut bytes).map_err(|_| Status::DATA_TRANSFER_ERROR)?;
    let (entries, _) = bytes.as_chunks();
    Ok(entries.iter().copied().map(u64::from_le_bytes).collect())
}

/// Appends a part, joined with the last one where it continues it.
fn push(segments: &mut Vec<Segment>, addr: u64, len: u64) {
    let Ok(len) = usize::try_from(len) else { return };
    if let Some(last) = segments.last_mut()
        && last.addr.and_then(|start| start.checked_add(last.len as u64)) == Some(addr)
    {
        last.len += len;
        return;
    }
    segments.push(Segment { addr: Some(addr), len });
}
