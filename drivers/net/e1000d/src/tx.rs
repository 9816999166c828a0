//! A transmit ring (8254x section 3.4, 82574 section 7.2).

use std::collections::VecDeque;

use driver_network::{SubmitError, TxPacket};
use e1000_spec::{
    Chip,
    transmit::{ContextTx, DD, DataTx},
};
use redox_driver_sys::{
    dma::{DmaAddr, DmaAllocator, DmaSlice},
    mmio::{Register, WriteOnly},
};
use zerocopy::transmute;

use crate::offload::Plan;

/// Most bytes of one descriptor. The manuals allow more; Intel's drivers have kept to this since the 82544.
const LONGEST: u32 = 4096;
/// Bytes of a descriptor of its own at the end of a packet that is cut.
const SENTINEL: u32 = 4;
/// Most pieces of a packet.
pub(crate) const MAX_SEGMENTS: u16 = 32;
/// Most bytes of a packet that is to be cut: 64 KiB behind its headers.
pub(crate) const MAX_TSO: u32 = 0x1_0000 + 128;
/// Where STA is in a descriptor.
const STATUS: usize = 12;

/// A packet that the device has.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    tag: u16,
    last: u16,
    len: u32,
}

/// A transmit ring.
#[derive(Debug)]
pub(crate) struct TxRing {
    chip: &'static Chip,
    descriptors: DmaSlice<DataTx>,
    tail: Register<u32, WriteOnly>,
    count: u16,
    next: u16,
    free: u16,
    in_flight: VecDeque<InFlight>,
    /// What the device was told last.
    context: Option<ContextTx>,
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
        tail: Register<u32, WriteOnly>,
    ) -> redox_driver_sys::Result<Self> {
        let descriptors = dma.allocate_slice(count.into())?;
        let in_flight = VecDeque::with_capacity(count.into());
        Ok(TxRing {
            chip,
            descriptors,
            tail,
            count,
            next: 0,
            free: count - 1,
            in_flight,
            context: None,
            uncommitted: false,
        })
    }

    pub(crate) fn address(&self) -> DmaAddr {
        self.descriptors.addr()
    }

    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    /// A packet takes two descriptors, if it is not a large one.
    pub(crate) fn depth(&self) -> u16 {
        self.count / 2
    }

    /// The device does not transmit; it forgot everything.
    pub(crate) fn restart(&mut self) {
        self.descriptors.clear();
        self.next = 0;
        self.free = self.count - 1;
        self.in_flight.clear();
        self.context = None;
        self.uncommitted = false;
    }

    pub(crate) fn submit(&mut self, tag: u16, packet: &TxPacket<'_>) -> Result<(), SubmitError> {
        let plan = Plan::new(self.chip, packet).ok_or(SubmitError::Refused)?;
        let sentinel = plan.command.tse() && self.chip.tso_sentinel;
        let pieces = packet.segments.iter().map(|segment| segment.len.div_ceil(LONGEST)).sum::<u32>();
        let context = plan.context.filter(|context| self.context != Some(*context));
        let needed = pieces + u32::from(context.is_some()) + u32::from(sentinel);
        if pieces == 0 || needed >= u32::from(self.count) {
            return Err(SubmitError::Refused);
        }
        if needed > u32::from(self.free) {
            return Err(SubmitError::Full);
        }
        if let Some(context) = context {
            self.put(transmute!(context));
            self.context = Some(context);
        }
        let last = self.pieces(packet, &plan, sentinel);
        self.in_flight.push_back(InFlight { tag, last, len: packet.len });
        self.uncommitted = true;
        Ok(())
    }

    /// Writes the data descriptors of a packet; the index of the last one.
    fn pieces(&mut self, packet: &TxPacket<'_>, plan: &Plan, sentinel: bool) -> u16 {
        let options = plan.options.into_bits();
        let mut rest = packet.len;
        let mut last = self.next;
        for segment in packet.segments {
            let mut offset = 0;
            while offset < segment.len {
                let mut len = (segment.len - offset).min(LONGEST);
                if sentinel && len == rest && len > SENTINEL {
                    len -= SENTINEL;
                }
                rest = rest.saturating_sub(len);
                let ends = rest == 0;
                let command = plan.command.with_length(len).with_eop(ends).with_rs(ends).with_ide(ends);
                let address = segment.addr.offset(offset.into()).get();
                let command = command.into_bits();
                last = self.put(DataTx { address, command, status: 0, options, vlan: plan.vlan });
                offset += len;
            }
        }
        last
    }

    fn put(&mut self, descriptor: DataTx) -> u16 {
        let index = self.next;
        self.descriptors.write(index.into(), descriptor);
        self.next = if index + 1 == self.count { 0 } else { index + 1 };
        self.free -= 1;
        index
    }

    pub(crate) fn commit(&mut self) {
        if std::mem::take(&mut self.uncommitted) {
            self.tail.write(self.next.into());
        }
    }

    /// Appends the tags of packets that were sent.
    pub(crate) fn reap(&mut self, done: &mut Vec<u16>) -> Found {
        let mut found = Found::default();
        while let Some(InFlight { tag, last, len }) = self.in_flight.front().copied() {
            let status: u8 = self.descriptors.load_acquire(last.into(), STATUS);
            if status & DD == 0 {
                break;
            }
            self.in_flight.pop_front();
            let first_free = if last + 1 == self.count { 0 } else { last + 1 };
            let used = (self.next + self.count - first_free) % self.count;
            self.free = self.count - 1 - used;
            done.push(tag);
            found.packets += 1;
            found.bytes += u64::from(len);
        }
        found
    }
}
