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

    /// All segments in order, and whether the device writes them.
    #[inline]
    pub(super) fn segments(&self) -> impl Iterator<Item = (&'a Segment, bool)> + use<'a> {
        let [a, b] = self.readable;
        let [c, d] = self.writable;
        let readable = a.iter().chain(b).map(|segment| (segment, false));
        readable.chain(c.iter().chain(d).map(|segment| (segment, true)))
    }

    /// How many bytes the device may write; `None` for a chain that is not allowed: without segments, with an empty one, or with 4
    /// GiB or more in all (section 2.7.4).
    #[inline]
    pub(super) fn writable_bytes(&self) -> Option<u32> {
        let (mut total, mut writable) = (0u32, 0u32);
        for (segment, write) in self.segments() {
            if segment.len == 0 {
                return None;
            }
            total = total.checked_add(segment.len)?;
            if write {
                writable += segment.len;
            }
        }
        (total > 0).then_some(writable)
    }
}
