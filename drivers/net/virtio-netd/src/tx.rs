//! Sending packets (section 5.1.6.2).

use driver_network::{Features, IpVersion, NetError, SubmitError, TxOffload, TxPacket};
use redox_driver_sys::dma::{DmaAllocator, DmaSlice, Segment};
use virtio_core::{AddError, Chain, VirtQueue};
use virtio_spec::net::{GsoType, NetHeader, NetHeaderFlags, PacketHeader};

/// Most pieces of a packet.
pub(crate) const MAX_SEGMENTS: u16 = 16;
/// The longest packet of a network stack: 64 KiB of IP, behind an Ethernet header with two tags.
pub(crate) const MAX_TSO: u32 = (1 << 16) + 22;
/// An Ethernet header with a tag.
pub(crate) const ETHERNET: u32 = 18;

/// A transmit queue.
#[derive(Debug)]
pub(crate) struct TxQueue {
    pub(crate) queue: VirtQueue,
    /// What is before each packet, by tag.
    headers: DmaSlice<PacketHeader>,
    depth: u16,
    /// What was negotiated.
    features: Features,
    longest: u32,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

impl TxQueue {
    pub(crate) fn new(
        queue: VirtQueue,
        dma: &DmaAllocator,
        features: Features,
        mtu: u16,
    ) -> redox_driver_sys::Result<Self> {
        // A header and one piece; more where there is room.
        let depth = queue.chains(2);
        Ok(TxQueue {
            headers: dma.allocate_slice(usize::from(depth))?,
            queue,
            depth,
            features,
            longest: u32::from(mtu) + ETHERNET,
            packets: 0,
            bytes: 0,
        })
    }

    pub(crate) fn depth(&self) -> u16 {
        self.depth
    }

    /// The device was reset.
    pub(crate) fn reset(&mut self, mtu: u16) {
        self.queue.reset();
        self.longest = u32::from(mtu) + ETHERNET;
    }

    /// What the device is told about a packet.
    fn header(&self, packet: &TxPacket<'_>) -> Option<NetHeader> {
        let TxOffload { checksum, segmentation, vlan } = packet.offload;
        let mut header = NetHeader::default();
        let longest = if segmentation.is_some() { MAX_TSO } else { self.longest };
        if vlan.is_some() || packet.len > longest {
            return None;
        }
        if let Some(sum) = checksum {
            let fits =
                self.features.contains(Features::TX_CHECKSUM) && u32::from(sum.field) + 2 <= packet.len;
            header.flags = NetHeaderFlags::new().with_needs_csum(true);
            header.csum_start = sum.start;
            header.csum_offset = sum.field.checked_sub(sum.start).filter(|_| fits)?;
        }
        if let Some(cut) = segmentation {
            let (feature, kind) = match checksum.filter(|sum| sum.tcp)?.ip? {
                IpVersion::V4 => (Features::TSO4, GsoType::TCPV4),
                IpVersion::V6 => (Features::TSO6, GsoType::TCPV6),
            };
            let possible = self.features.contains(feature) && cut.mss > 0;
            header.gso_type = Some(kind).filter(|_| possible)?;
            header.gso_size = cut.mss;
            header.hdr_len = cut.header_len;
        }
        Some(header)
    }

    #[inline]
    pub(crate) fn submit(&mut self, tag: u16, packet: &TxPacket<'_>) -> Result<(), SubmitError> {
        #[allow(clippy::cast_possible_truncation, reason = "12 bytes")]
        const HEADER: u32 = size_of::<PacketHeader>() as u32;
        if tag >= self.depth || packet.segments.len() > usize::from(MAX_SEGMENTS) {
            return Err(SubmitError::Refused);
        }
        let header = self.header(packet).ok_or(SubmitError::Refused)?;
        let at = usize::from(tag);
        self.headers.write(at, PacketHeader { header, num_buffers: 0 });
        let header = [Segment { addr: self.headers.addr_of(at), len: HEADER }];
        let chain = Chain { readable: [&header, packet.segments], writable: [&[], &[]] };
        match self.queue.add(&chain, tag) {
            Ok(()) => {}
            // A broken queue takes nothing until the reset that the next reap asks for.
            Err(AddError::Full | AddError::Broken(_)) => return Err(SubmitError::Full),
            Err(AddError::Invalid) => return Err(SubmitError::Refused),
        }
        self.packets += 1;
        self.bytes += u64::from(packet.len);
        Ok(())
    }

    #[inline]
    pub(crate) fn reap(&mut self, done: &mut Vec<u16>) -> Result<(), NetError> {
        // A device returns no more than it has.
        for _ in 0..self.depth {
            match self.queue.pop() {
                Ok(Some(used)) => done.push(used.token),
                Ok(None) => break,
                Err(error) => {
                    log::warn!("queue {}: {error}", self.queue.index());
                    return Err(NetError::Protocol);
                }
            }
        }
        Ok(())
    }
}
