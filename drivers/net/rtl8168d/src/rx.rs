//! The receive ring (8168B section 6.2). Each frame takes one buffer, which is as long as the longest frame.

use driver_network::{NetError, Received, RxChecksum, RxFragment, RxMetadata};
use redox_driver_sys::dma::{DmaAddr, DmaAllocator, DmaSlice, Segment};
use rtl8168_spec::{
    Chip,
    descriptors::{Descriptor, OPTS1, RxDone, RxPosted, RxSecond},
};

use crate::tx::Found;

const FCS: u16 = 4;
/// Shortest frame without its frame check sequence.
const SHORTEST: u16 = 14;

/// The receive ring.
#[derive(Debug)]
pub(crate) struct RxRing {
    chip: &'static Chip,
    descriptors: DmaSlice<Descriptor>,
    count: u16,
    buffer_len: u16,
    /// The buffer of each descriptor.
    tags: Vec<u16>,
    next: u16,
    clean: u16,
    posted: u16,
    pub(crate) counts: Counts,
}

/// What was wrong, or right, with packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) checksum_good: u64,
    pub(crate) checksum_bad: u64,
    pub(crate) damaged: u64,
}

impl RxRing {
    pub(crate) fn new(chip: &'static Chip, dma: &DmaAllocator, count: u16) -> redox_driver_sys::Result<Self> {
        Ok(RxRing {
            chip,
            descriptors: dma.allocate_slice(count.into())?,
            count,
            buffer_len: 0,
            tags: vec![0; count.into()],
            next: 0,
            clean: 0,
            posted: 0,
            counts: Counts::default(),
        })
    }

    pub(crate) fn address(&self) -> DmaAddr {
        self.descriptors.addr()
    }

    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    pub(crate) fn depth(&self) -> u16 {
        self.count
    }

    pub(crate) fn buffer_len(&self) -> u32 {
        self.buffer_len.into()
    }

    /// The device does not receive; it forgot everything.
    pub(crate) fn restart(&mut self, buffer_len: u16) {
        self.descriptors.clear();
        self.buffer_len = buffer_len;
        (self.next, self.clean, self.posted) = (0, 0, 0);
    }

    fn after(&self, index: u16) -> u16 {
        if index + 1 == self.count { 0 } else { index + 1 }
    }

    /// The device may have it at once.
    pub(crate) fn post(&mut self, tag: u16, buffer: Segment) {
        if self.posted == self.depth() || buffer.len < self.buffer_len() {
            log::error!("a receive buffer too many, or too short: {tag}");
            return;
        }
        let index = self.next;
        if let Some(slot) = self.tags.get_mut(usize::from(index)) {
            *slot = tag;
        }
        let posted =
            RxPosted::new().with_length(self.buffer_len).with_eor(index + 1 == self.count).with_own(true);
        let address = buffer.addr.get();
        self.descriptors.write(index.into(), Descriptor { opts1: 0, opts2: 0, address });
        self.descriptors.store_release(index.into(), OPTS1, posted.into_bits());
        self.next = self.after(index);
        self.posted += 1;
    }

    fn is_done(&self, index: u16) -> bool {
        !RxDone::from(self.descriptors.load_acquire::<u32>(index.into(), OPTS1)).own()
    }

    /// Whether the device went past a descriptor without giving it back, as far as the next `depth` ones tell: it never will.
    pub(crate) fn is_passed_over(&self, depth: u16) -> bool {
        let mut index = self.clean;
        for _ in 1..self.posted.min(depth) {
            index = self.after(index);
            if self.is_done(index) {
                // They come in order: the first one would be seen by now.
                return !self.is_done(self.clean);
            }
        }
        false
    }

    /// Appends at most `budget` packets.
    pub(crate) fn receive(&mut self, budget: usize, received: &mut Received) -> Result<Found, NetError> {
        let mut found = Found::default();
        for _ in 0..budget {
            if self.posted == 0 || !self.is_done(self.clean) {
                break;
            }
            found.packets += 1;
            found.bytes += u64::from(self.packet(received)?);
        }
        Ok(found)
    }

    /// Appends the packet in the next descriptor; its length.
    fn packet(&mut self, received: &mut Received) -> Result<u16, NetError> {
        let Descriptor { opts1, opts2, .. } = self.descriptors.read(self.clean.into());
        let (done, second) = (RxDone::from(opts1), RxSecond::from(opts2));
        let tag = self.tags.get(usize::from(self.clean)).copied().ok_or(NetError::Protocol)?;
        if done.length() > self.buffer_len {
            return Err(NetError::Protocol);
        }
        self.clean = self.after(self.clean);
        self.posted -= 1;
        let len = done.length().saturating_sub(FCS);
        received.fragment(RxFragment { tag, offset: 0, len: len.into() });
        if done.res() || !done.fs() || !done.ls() || len < SHORTEST {
            self.counts.damaged += 1;
            received.discard();
        } else {
            received.complete(self.metadata(done, second));
        }
        Ok(len)
    }

    fn metadata(&mut self, done: RxDone, second: RxSecond) -> RxMetadata {
        let (looked, wrong) = match done.protocol() {
            RxDone::TCP => (true, done.tcp_wrong()),
            RxDone::UDP => (true, done.udp_wrong()),
            _ => (false, false),
        };
        // Chips of the first generation look at IPv4 alone, later ones say at which.
        let v6 = self.chip.offloads == rtl8168_spec::Offloads::Second && second.v6();
        let wrong = wrong || done.ip_wrong() && !v6;
        let checksum = if looked && !wrong { RxChecksum::Good } else { RxChecksum::Unknown };
        if looked && wrong {
            self.counts.checksum_bad += 1;
        } else if looked {
            self.counts.checksum_good += 1;
        }
        RxMetadata { checksum, vlan: second.vlan(), coalesced: None, hash: None }
    }
}
