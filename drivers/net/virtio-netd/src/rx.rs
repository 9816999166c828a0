//! Receiving packets (section 5.1.6.4).

use driver_network::{
    Coalesced, Features, IpVersion, MAX_FRAGMENTS, NetError, Received, RxChecksum, RxFragment, RxMetadata,
};
use redox_driver_sys::dma::{DmaBuffer, Segment};
use virtio_core::{Chain, Used, VirtQueue};
use virtio_spec::net::{GsoType, NetHeader, PacketHeader};

use crate::tx::{ETHERNET, MAX_TSO};

#[allow(clippy::cast_possible_truncation, reason = "12 bytes")]
const HEADER: u32 = size_of::<PacketHeader>() as u32;
/// Shortest frame that is one.
const LEAST: u32 = 14;

/// A receive queue.
#[derive(Debug)]
pub(crate) struct RxQueue {
    pub(crate) queue: VirtQueue,
    /// The framework's buffers, by tag.
    buffers: Vec<DmaBuffer>,
    buffer_len: u32,
    mergeable: bool,
    longest: u32,
    pub(crate) counts: Counts,
}

/// What was received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Packets in several buffers.
    pub(crate) merged: u64,
    /// Packets of an impossible length, or about which the device says what makes no sense.
    pub(crate) dropped: u64,
}

/// Length of receive buffers: one of them holds a packet, unless packets may take several.
fn buffer_len(mergeable: bool, mtu: u16) -> u32 {
    let whole = (HEADER + ETHERNET + u32::from(mtu)).next_multiple_of(64).max(2048);
    if mergeable { 2048 } else { whole }
}

impl RxQueue {
    pub(crate) fn new(queue: VirtQueue, mergeable: bool, mtu: u16) -> Self {
        let mut ring = RxQueue {
            queue,
            buffers: Vec::new(),
            buffer_len: 0,
            mergeable,
            longest: 0,
            counts: Counts::default(),
        };
        ring.reset(mtu);
        ring
    }

    /// The device was reset.
    pub(crate) fn reset(&mut self, mtu: u16) {
        self.queue.reset();
        // The framework's may be longer next time, and these have to go before.
        self.buffers.clear();
        self.buffer_len = buffer_len(self.mergeable, mtu);
        self.longest = u32::from(mtu) + ETHERNET;
    }

    pub(crate) fn depth(&self) -> u16 {
        self.queue.chains(1)
    }

    pub(crate) fn buffer_len(&self) -> u32 {
        self.buffer_len
    }

    pub(crate) fn lend(&mut self, buffers: &[DmaBuffer]) {
        self.buffers.clear();
        self.buffers.extend_from_slice(buffers);
    }

    #[inline]
    pub(crate) fn post(&mut self, tag: u16, buffer: Segment) {
        let segments = [buffer];
        let chain = Chain { readable: [&[], &[]], writable: [&segments, &[]] };
        if let Err(error) = self.queue.add(&chain, tag) {
            // A broken queue; the next receive asks for the reset.
            log::debug!("queue {}: buffer {tag}: {error}", self.queue.index());
        }
    }

    /// The next buffer that came back.
    #[inline]
    fn pop(&mut self) -> Result<Option<Used>, NetError> {
        self.queue.pop().map_err(|error| {
            log::warn!("queue {}: {error}", self.queue.index());
            NetError::Protocol
        })
    }

    fn broken(&self, what: &str, value: u32) -> NetError {
        log::warn!("queue {}: {what}: {value}", self.queue.index());
        NetError::Protocol
    }

    #[inline]
    pub(crate) fn receive(
        &mut self,
        budget: usize,
        active: Features,
        received: &mut Received,
    ) -> Result<(), NetError> {
        for _ in 0..budget {
            let Some(first) = self.pop()? else { return Ok(()) };
            if first.len < HEADER {
                return Err(self.broken("a packet shorter than its header", first.len));
            }
            let buffer = self.buffers.get(usize::from(first.token));
            let header = buffer.and_then(|buffer| buffer.read::<PacketHeader>(0).ok());
            let Some(PacketHeader { header, num_buffers }) = header else {
                return Err(self.broken("a buffer that was not lent", first.token.into()));
            };
            received.fragment(RxFragment { tag: first.token, offset: HEADER, len: first.len - HEADER });
            let mut len = first.len - HEADER;
            if self.mergeable && num_buffers != 1 {
                len += self.rest(num_buffers, first.len, received)?;
                self.counts.merged += 1;
            }
            match self.metadata(header, len, active) {
                Some(metadata) => {
                    self.counts.packets += 1;
                    self.counts.bytes += u64::from(len);
                    received.complete(metadata);
                }
                None => {
                    self.counts.dropped += 1;
                    received.discard();
                }
            }
        }
        Ok(())
    }

    /// The buffers of a packet after the first one, all of which the device gives back together; returns how many bytes are in them.
    fn rest(&mut self, num_buffers: u16, first: u32, received: &mut Received) -> Result<u32, NetError> {
        if num_buffers == 0 || usize::from(num_buffers) > MAX_FRAGMENTS {
            return Err(self.broken("num_buffers", num_buffers.into()));
        }
        let (mut before, mut total) = (first, 0);
        for _ in 1..num_buffers {
            // All but the last are full.
            if before != self.buffer_len {
                return Err(self.broken("a buffer that is not full before another one", before));
            }
            let Some(used) = self.pop()? else {
                return Err(self.broken("fewer buffers than num_buffers", num_buffers.into()));
            };
            received.fragment(RxFragment { tag: used.token, offset: 0, len: used.len });
            before = used.len;
            total += used.len;
        }
        Ok(total)
    }

    /// What the device says about a frame of `len` bytes; `None` if it makes no sense, or was not asked for. A peer in another guest may
    /// have written it.
    #[inline]
    fn metadata(&self, header: NetHeader, len: u32, active: Features) -> Option<RxMetadata> {
        let mut metadata = RxMetadata::default();
        let checks = active.contains(Features::RX_CHECKSUM);
        if header.flags.needs_csum() {
            let field = header.csum_start.checked_add(header.csum_offset).filter(|_| checks)?;
            (u32::from(field) + 2 <= len).then_some(())?;
            metadata.checksum = RxChecksum::Partial { start: header.csum_start, field };
        } else if header.flags.data_valid() && checks {
            metadata.checksum = RxChecksum::Good;
        }
        let ip = match GsoType(header.gso_type.0 & !GsoType::ECN) {
            GsoType::NONE => return (LEAST..=self.longest).contains(&len).then_some(metadata),
            GsoType::TCPV4 => IpVersion::V4,
            GsoType::TCPV6 => IpVersion::V6,
            _ => return None,
        };
        let wanted = active.contains(Features::RX_LRO) && header.gso_size > 0;
        (wanted && (LEAST..=MAX_TSO).contains(&len)).then_some(())?;
        metadata.coalesced = Some(Coalesced { ip, mss: header.gso_size });
        Some(metadata)
    }
}
