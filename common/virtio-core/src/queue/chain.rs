//! What a driver gives a device.

use redox_driver_sys::dma::Segment;

/// Memory for one exchange: first what the device reads, then what it writes (section 2.7.4.2). Each in two parts, so that a header
/// or a status can stand beside data without being copied together.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a> {
    /// What the device reads.
    pub readable: [&'a [Segment]; 2],
    /// What the device writes.
    pub writable: [&'a [Segment]; 2],
}

impl<'a> Chain<'a> {
    /// Number of segments.
    #[inline]
    pub(super) fn len(&self) -> usize {
        let [a, b] = self.readable;
        let [c, d] = self.writable;
        a.len() + b.len() + c.len() + d.len()
    }

    /// The parts in order, and whether the device writes them. Four short loops cost less than one over chained iterators.
    #[inline(always)]
    pub(super) fn parts(&self) -> [(&'a [Segment], bool); 4] {
        let [a, b] = self.readable;
        let [c, d] = self.writable;
        [(a, false), (b, false), (c, true), (d, true)]
    }

    /// How many bytes the device may write; `None` for a chain that is not allowed: without segments, with an empty one, or with 4
    /// GiB or more in all (section 2.7.4).
    #[inline]
    pub(super) fn writable_bytes(&self) -> Option<u32> {
        let (mut total, mut writable) = (0u32, 0u32);
        for (segments, write) in self.parts() {
            let before = total;
            for segment in segments {
                if segment.len == 0 {
                    return None;
                }
                total = total.checked_add(segment.len)?;
            }
            if write {
                writable += total - before;
            }
        }
        (total > 0).then_some(writable)
    }
}
