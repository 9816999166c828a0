//! The transmit ring (8168B section 6.1).

use std::collections::VecDeque;

use driver_network::{SubmitError, TxPacket};
use redox_driver_sys::{
    dma::{DmaAddr, DmaAllocator, DmaBuffer, DmaSlice},
    mmio::{Register, WriteOnly},
};
use rtl8168_spec::{
    Chip,
    descriptors::{Descriptor, OPTS1, TxFirst},
    registers::NPQ,
};

use crate::offload::Plan;

/// Most bytes of one descriptor.
const LONGEST: u32 = 0x4000;
/// Most pieces of a packet.
pub(crate) const MAX_SEGMENTS: u16 = 24;
/// Bytes of padding that a packet may need.
const PADDING: usize = 60;

/// A packet that the device has.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    tag: u16,
    last: u16,
    len: u32,
}

/// The transmit ring.
#[derive(Debug)]
pub(crate) struct TxRing {
    chip: &'static Chip,
    descriptors: DmaSlice<Descriptor>,
    /// Zeroes that short packets end with.
    padding: DmaBuffer,
    poll: Register<u8, WriteOnly>,
    max_frame: u32,
    count: u16,
    next: u16,
    free: u16,
    in_flight: VecDeque<InFlight>,
    uncommitted: bool,
}

/// Packets and bytes that were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) packets: u32,
    pub(crate) bytes: u64,
}

impl TxRing {
    pub(crate) fn new(
        chip: &'static Chip,
        dma: &DmaAllocator,
        count: u16,
        poll: Register<u8, WriteOnly>,
    ) -> redox_driver_sys::Result<Self> {
        Ok(TxRing {
            chip,
            descriptors: dma.allocate_slice(count.into())?,
            padding: dma.allocate(PADDING)?,
            poll,
            max_frame: 0,
            count,
            next: 0,
            free: count,
            in_flight: VecDeque::with_capacity(count.into()),
            uncommitted: false,
        })
    }

    pub(crate) fn address(&self) -> DmaAddr {
        self.descriptors.addr()
    }

    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    /// A packet takes one descriptor, if it is not a large one.
    pub(crate) fn depth(&self) -> u16 {
        self.count / 2
    }

    /// The device does not transmit; it forgot everything.
    pub(crate) fn restart(&mut self, max_frame: u32) {
        self.descriptors.clear();
        self.max_frame = max_frame;
        self.next = 0;
        self.free = self.count;
        self.in_flight.clear();
        self.uncommitted = false;
    }

    fn after(&self, index: u16) -> u16 {
        if index + 1 == self.count { 0 } else { index + 1 }
    }

    pub(crate) fn submit(&mut self, tag: u16, packet: &TxPacket<'_>) -> Result<(), SubmitError> {
        let plan = Plan::new(self.chip, self.max_frame, packet).ok_or(SubmitError::Refused)?;
        let pieces = packet.segments.iter().map(|segment| segment.len.div_ceil(LONGEST)).sum::<u32>();
        let needed = pieces + u32::from(plan.padding > 0);
        if pieces == 0 || needed >= u32::from(self.count) {
            return Err(SubmitError::Refused);
        }
        if needed > u32::from(self.free) {
            return Err(SubmitError::Full);
        }
        let last = self.pieces(packet, &plan);
        self.in_flight.push_back(InFlight { tag, last, len: packet.len });
        self.uncommitted = true;
        Ok(())
    }

    /// Writes the descriptors of a packet; the index of the last one. The device may look at any time: it gets the first one last.
    fn pieces(&mut self, packet: &TxPacket<'_>, plan: &Plan) -> u16 {
        let start = self.next;
        let mut last = start;
        let mut rest = packet.len;
        let mut held_back = 0;
        let padding = (plan.padding > 0).then_some((self.padding.addr(), u32::from(plan.padding)));
        let whole = packet.segments.iter().map(|segment| (segment.addr, segment.len));
        for (address, len) in whole.chain(padding) {
            let mut offset = 0;
            while offset < len {
                let piece = (len - offset).min(LONGEST);
                let is_padding = rest == 0;
                rest = rest.saturating_sub(piece);
                let ends = rest == 0 && (padding.is_none() || is_padding);
                last = self.next;
                let first = TxFirst::new()
                    .with_length(u16::try_from(piece).unwrap_or(0))
                    .with_work(plan.work)
                    .with_fs(last == start)
                    .with_ls(ends)
                    .with_eor(last + 1 == self.count)
                    .with_own(true)
                    .into_bits();
                let opts1 = if last == start {
                    held_back = first;
                    0
                } else {
                    first
                };
                let (opts2, address) = (plan.second.into_bits(), address.offset(offset.into()).get());
                self.descriptors.write(last.into(), Descriptor { opts1, opts2, address });
                self.next = self.after(last);
                self.free -= 1;
                offset += piece;
            }
        }
        self.descriptors.store_release(start.into(), OPTS1, held_back);
        last
    }

    pub(crate) fn commit(&mut self) {
        if std::mem::take(&mut self.uncommitted) {
            self.poll.write(NPQ);
        }
    }

    /// Appends the tags of packets that were sent.
    pub(crate) fn reap(&mut self, done: &mut Vec<u16>) -> Found {
        let mut found = Found::default();
        while let Some(InFlight { tag, last, len }) = self.in_flight.front().copied() {
            let first = TxFirst::from(self.descriptors.load_acquire::<u32>(last.into(), OPTS1));
            if first.own() {
                break;
            }
            self.in_flight.pop_front();
            done.push(tag);
            found.packets += 1;
            found.bytes += u64::from(len);
            let used = match self.in_flight.is_empty() {
                true => 0,
                false => (self.next + self.count - self.after(last)) % self.count,
            };
            self.free = self.count - used;
        }
        if found.packets > 0 && !self.in_flight.is_empty() {
            // A poll that comes too close behind another one is lost (Linux).
            self.uncommitted = true;
        }
        found
    }
}
