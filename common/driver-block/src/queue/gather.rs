//! Scatter-gather lists against a disk's limits: what fits into one command, and where a longer request may be cut.

use redox_driver_sys::dma::Segment;

/// A place in a request's segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) segment: u32,
    pub(super) offset: u32,
}

/// The limits that concern memory, prepared for the hot path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Most bytes of a transfer; a multiple of `granule`.
    pub(super) max_bytes: u32,
    /// Most segments.
    pub(super) max_segments: u32,
    /// Address bits that are clear where segments meet.
    pub(super) boundary_mask: u64,
    /// Transfers are cut only at multiples of this: a power of two, at least the logical block.
    pub(super) granule: u32,
}

/// How far a command's list has grown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gather {
    /// Entries, after joining what is contiguous for the device.
    pub(super) entries: u32,
    /// Bytes in them.
    pub(super) bytes: u32,
    /// Where the last one ends.
    end: u64,
}

impl Gather {
    /// How many of the `len` bytes at `addr` can follow what is there, as far as the limits go.
    fn room(&self, shape: &Shape, addr: u64, len: u32) -> u32 {
        let meets = self.entries == 0
            || self.end == addr
            || (self.entries < shape.max_segments && (self.end | addr) & shape.boundary_mask == 0);
        if meets { len.min(shape.max_bytes - self.bytes) } else { 0 }
    }

    fn add(&mut self, addr: u64, len: u32) {
        if self.entries == 0 || self.end != addr {
            self.entries += 1;
        }
        self.end = addr.wrapping_add(u64::from(len));
        self.bytes += len;
    }

    /// Adds all of `segments`, or says that they do not fit.
    pub(super) fn add_all(&mut self, shape: &Shape, segments: &[Segment]) -> bool {
        segments.iter().all(|segment| {
            let addr = segment.addr.get();
            let fits = self.room(shape, addr, segment.len) == segment.len;
            if fits {
                self.add(addr, segment.len);
            }
            fits
        })
    }
}

/// The part of a request that one command carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Its bytes; 0: the segments are such that not even one granule fits into a command.
    pub(super) bytes: u32,
    /// Where the next piece starts.
    pub(super) end: Cursor,
}

/// The longest piece of `segments` from `start` that one command can carry.
pub(super) fn next_piece(shape: &Shape, segments: &[Segment], start: Cursor) -> Piece {
    let mut gather = Gather::default();
    let mut piece = Piece { bytes: 0, end: start };
    let mut at = start;
    while let Some(segment) = segments.get(at.segment as usize) {
        let addr = segment.addr.get().wrapping_add(u64::from(at.offset));
        let left = segment.len - at.offset;
        let taken = gather.room(shape, addr, left);
        if taken == 0 {
            break;
        }
        gather.add(addr, taken);
        // The last cut that is allowed: inside what was just taken, or no better than the one before.
        let beyond = gather.bytes & (shape.granule - 1);
        if beyond < taken {
            let offset = at.offset + taken - beyond;
            let end = if offset == segment.len {
                Cursor { segment: at.segment + 1, offset: 0 }
            } else {
                Cursor { segment: at.segment, offset }
            };
            piece = Piece { bytes: gather.bytes - beyond, end };
        }
        if taken < left {
            break;
        }
        at = Cursor { segment: at.segment + 1, offset: 0 };
    }
    piece
}

/// Whether all of `segments` can be carried, in one or more commands.
pub(super) fn expressible(shape: &Shape, segments: &[Segment]) -> bool {
    let mut at = Cursor::default();
    while (at.segment as usize) < segments.len() {
        let piece = next_piece(shape, segments, at);
        if piece.bytes == 0 {
            return false;
        }
        at = piece.end;
    }
    true
}

/// Appends the `bytes` bytes of `segments` from `start` to `list`, joining what is contiguous for the device.
pub(super) fn collect(list: &mut Vec<Segment>, segments: &[Segment], start: Cursor, bytes: u32) {
    let mut left = bytes;
    let mut skip = start.offset;
    for segment in segments.iter().skip(start.segment as usize) {
        if left == 0 {
            break;
        }
        let addr = segment.addr.offset(u64::from(skip));
        let len = (segment.len - skip).min(left);
        match list.last_mut() {
            Some(last) if last.addr.offset(u64::from(last.len)) == addr => last.len += len,
            _ => list.push(Segment { addr, len }),
        }
        left -= len;
        skip = 0;
    }
}

#[cfg(test)]
mod tests {
    use redox_driver_sys::dma::DmaAddr;

    use super::*;

    fn segment(addr: u64, len: u32) -> Segment {
        Segment { addr: DmaAddr::new(addr), len }
    }

    fn pieces(shape: &Shape, segments: &[Segment]) -> Vec<u32> {
        let mut at = Cursor::default();
        let mut found = Vec::new();
        while (at.segment as usize) < segments.len() {
            let piece = next_piece(shape, segments, at);
            found.push(piece.bytes);
            if piece.bytes == 0 {
                break;
            }
            at = piece.end;
        }
        found
    }

    const PRP: Shape = Shape { max_bytes: 16384, max_segments: 5, boundary_mask: 4095, granule: 512 };

    #[test]
    fn cuts_at_the_transfer_limit() {
        assert_eq!(pieces(&PRP, &[segment(0x1000, 40960)]), [16384, 16384, 8192]);
    }

    #[test]
    fn cuts_where_segments_must_not_meet() {
        // Ends in the middle of a page: the next command starts there.
        assert_eq!(pieces(&PRP, &[segment(0x1000, 1024), segment(0x8000, 4096)]), [1024, 4096]);
        // Meets at page boundaries only.
        assert_eq!(pieces(&PRP, &[segment(0x1c00, 1024), segment(0x8000, 1024)]), [2048]);
        // Contiguous memory is one entry wherever it is cut.
        assert_eq!(pieces(&PRP, &[segment(0x1000, 1024), segment(0x1400, 1024)]), [2048]);
    }

    #[test]
    fn cuts_at_the_segment_limit() {
        let shape = Shape { max_segments: 2, ..PRP };
        let scattered: Vec<_> = (0..5).map(|n| segment(0x10_0000 * (n + 1), 4096)).collect();
        assert_eq!(pieces(&shape, &scattered), [8192, 8192, 4096]);
    }

    #[test]
    fn cuts_back_to_a_whole_block() {
        // 768 bytes fit before the forbidden meeting point: one block of 512 does, the rest starts inside the segment.
        let list = [segment(0x1000, 768), segment(0x8000, 256), segment(0x8100, 512)];
        assert_eq!(pieces(&PRP, &list), [512, 0]);
        assert!(!expressible(&PRP, &list));
        let free = Shape { boundary_mask: 0, ..PRP };
        assert_eq!(pieces(&free, &list), [1536]);
        let two = Shape { max_segments: 2, boundary_mask: 0, ..PRP };
        let list = [segment(0x1000, 768), segment(0x8000, 256), segment(0x9000, 512)];
        assert_eq!(pieces(&two, &list), [1024, 512]);
    }

    #[test]
    fn collects_exactly_the_piece() {
        let list = [segment(0x1000, 1024), segment(0x1400, 1024), segment(0x8000, 4096)];
        let mut found = Vec::new();
        collect(&mut found, &list, Cursor { segment: 0, offset: 512 }, 2048);
        assert_eq!(found, [segment(0x1200, 1536), segment(0x8000, 512)]);
    }
}
