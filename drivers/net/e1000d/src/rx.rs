//! A receive ring (8254x section 3.2, 82574 section 7.1).

use driver_network::{MAX_FRAGMENTS, NetError, Received, RxChecksum, RxFragment, RxMetadata};
use e1000_spec::{
    Chip,
    receive::{ExtendedRx, ExtendedRxRead, LegacyRx, RxErrors, RxStatus},
};
use redox_driver_sys::{
    dma::{DmaAddr, DmaAllocator, DmaSlice, Segment},
    mmio::{Register, WriteOnly},
};
use zerocopy::transmute;

use crate::tx::Found;

/// Where the status is in a legacy descriptor, which has 8 bits of it, and in an extended one.
const LEGACY_STATUS: usize = 12;
const EXTENDED_STATUS: usize = 8;

/// A receive ring.
#[derive(Debug)]
pub(crate) struct RxRing {
    chip: &'static Chip,
    descriptors: DmaSlice<ExtendedRxRead>,
    tail: Register<u32, WriteOnly>,
    count: u16,
    buffer_len: u32,
    /// The buffer of each descriptor.
    tags: Vec<u16>,
    next: u16,
    clean: u16,
    consumed: u64,
    posted: u16,
    uncommitted: bool,
    pub(crate) counts: Counts,
}

/// What was wrong, or right, with packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) checksum_good: u64,
    pub(crate) checksum_bad: u64,
    pub(crate) damaged: u64,
}

/// A descriptor that was written back, of either kind.
#[derive(Clone, Copy, Debug)]
struct Done {
    status: RxStatus,
    errors: RxErrors,
    length: u16,
    vlan: u16,
    hash: Option<u32>,
}

impl RxRing {
    pub(crate) fn new(
        chip: &'static Chip,
        dma: &DmaAllocator,
        count: u16,
        buffer_len: u32,
        tail: Register<u32, WriteOnly>,
    ) -> redox_driver_sys::Result<Self> {
        Ok(RxRing {
            chip,
            descriptors: dma.allocate_slice(count.into())?,
            tail,
            count,
            buffer_len,
            tags: vec![0; count.into()],
            next: 0,
            clean: 0,
            consumed: 0,
            posted: 0,
            uncommitted: false,
            counts: Counts::default(),
        })
    }

    pub(crate) fn address(&self) -> DmaAddr {
        self.descriptors.addr()
    }

    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    /// Head and tail that are equal mean that the device has nothing.
    pub(crate) fn depth(&self) -> u16 {
        self.count - 1
    }

    pub(crate) fn buffer_len(&self) -> u32 {
        self.buffer_len
    }

    /// Descriptors that were taken since the last restart. The next one is this, modulo the ring's entries.
    pub(crate) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// The device does not receive; it forgot everything.
    pub(crate) fn restart(&mut self, buffer_len: u32) {
        self.descriptors.clear();
        self.buffer_len = buffer_len;
        (self.next, self.clean, self.posted) = (0, 0, 0);
        self.consumed = 0;
        self.uncommitted = false;
    }

    fn after(&self, index: u16) -> u16 {
        if index + 1 == self.count { 0 } else { index + 1 }
    }

    pub(crate) fn post(&mut self, tag: u16, buffer: Segment) {
        if self.posted == self.depth() || buffer.len < self.buffer_len {
            log::error!("a receive buffer too many, or too short: {tag}");
            return;
        }
        let index = usize::from(self.next);
        if let Some(slot) = self.tags.get_mut(index) {
            *slot = tag;
        }
        self.descriptors.write(index, ExtendedRxRead { address: buffer.addr.get(), zero: 0 });
        self.next = self.after(self.next);
        self.posted += 1;
        self.uncommitted = true;
    }

    pub(crate) fn commit(&mut self) {
        if std::mem::take(&mut self.uncommitted) {
            self.tail.write(self.next.into());
        }
    }

    /// Whether the device is done with a descriptor, and the packet ends there.
    fn peek(&self, index: u16) -> Option<bool> {
        let status = if self.chip.extended_rx {
            RxStatus::from(self.descriptors.load_acquire::<u32>(index.into(), EXTENDED_STATUS))
        } else {
            let status: u8 = self.descriptors.load_acquire(index.into(), LEGACY_STATUS);
            RxStatus::from(u32::from(status))
        };
        status.dd().then(|| status.eop())
    }

    fn read(&self, index: u16) -> Done {
        let raw = self.descriptors.read(index.into());
        if self.chip.extended_rx {
            let ExtendedRx { mrq, hash, status, length, vlan } = transmute!(raw);
            let status = RxStatus::from(status);
            let hash = (mrq & 0xf != 0).then_some(hash);
            Done { status, errors: status.errors(), length, vlan, hash }
        } else {
            let LegacyRx { status, errors, length, vlan, .. } = transmute!(raw);
            let status = RxStatus::from(u32::from(status));
            Done { status, errors: RxErrors::from(errors), length, vlan, hash: None }
        }
    }

    /// How many descriptors the next packet takes; `None` if not all of it is here. One that runs out of descriptors waits for more in its
    /// middle.
    fn whole(&self) -> Result<Option<u16>, NetError> {
        let mut index = self.clean;
        for parts in 1..=self.posted {
            match self.peek(index) {
                None => return Ok(None),
                Some(true) => return Ok(Some(parts)),
                Some(false) if usize::from(parts) > MAX_FRAGMENTS => return Err(NetError::Protocol),
                Some(false) => index = self.after(index),
            }
        }
        Ok(None)
    }

    /// Appends at most `budget` packets.
    pub(crate) fn receive(&mut self, budget: usize, received: &mut Received) -> Result<Found, NetError> {
        let mut found = Found::default();
        for _ in 0..budget {
            let Some(parts) = self.whole()? else { break };
            found.packets += 1;
            found.bytes += self.packet(parts, received)?;
        }
        Ok(found)
    }

    /// Appends the packet that takes the next `parts` descriptors; its length.
    fn packet(&mut self, parts: u16, received: &mut Received) -> Result<u64, NetError> {
        let mut bytes = 0;
        let mut damaged = false;
        for part in 1..=parts {
            let done = self.read(self.clean);
            let tag = self.tags.get(usize::from(self.clean)).copied().ok_or(NetError::Protocol)?;
            let len = u32::from(done.length);
            let ends = part == parts;
            // Each buffer but the last is full.
            if len > self.buffer_len || (!ends && len != self.buffer_len) {
                return Err(NetError::Protocol);
            }
            self.clean = self.after(self.clean);
            self.consumed += 1;
            self.posted -= 1;
            received.fragment(RxFragment { tag, offset: 0, len });
            bytes += u64::from(len);
            damaged |= done.errors.damaged();
            if !ends {
                continue;
            }
            if damaged || bytes > u64::from(self.chip.max_frame) || bytes < 14 {
                self.counts.damaged += 1;
                received.discard();
            } else {
                let metadata = self.metadata(&done);
                received.complete(metadata);
            }
        }
        Ok(bytes)
    }

    fn metadata(&mut self, done: &Done) -> RxMetadata {
        let Done { status, errors, .. } = done;
        let looked = !status.ixsm() && status.tcpcs();
        let wrong = errors.tcpe() || errors.ipe();
        let checksum = match looked && !wrong {
            true => RxChecksum::Good,
            false => RxChecksum::Unknown,
        };
        if looked && wrong {
            self.counts.checksum_bad += 1;
        } else if looked {
            self.counts.checksum_good += 1;
        }
        let vlan = status.vp().then_some(done.vlan);
        RxMetadata { checksum, vlan, coalesced: None, hash: done.hash }
    }
}
