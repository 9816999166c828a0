//! Packets on their way between the framework and a driver.

use redox_driver_sys::dma::Segment;

/// Most pieces of memory that one packet lies in, either way.
pub const MAX_FRAGMENTS: usize = 64;

/// The version of the Internet Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A checksum of the Internet family that the device is to put into a packet. All offsets are bytes from the start of
/// the packet, which is that of its Ethernet header.
///
/// The field holds the sum over the pseudo header when the packet is submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// Where the network header is.
    pub network: u16,
    /// The network header's version; `None` when it is neither.
    pub ip: Option<IpVersion>,
    /// Where summing starts, up to the end of the packet: the transport header.
    pub start: u16,
    /// Where the sum goes.
    pub field: u16,
    /// Whether the transport is TCP, or else UDP or something else.
    pub tcp: bool,
}

/// That the device is to cut a packet into several that each fit the MTU (TSO). The packet has a [`Checksum`] with
/// `tcp` and `ip` set. The transport checksum's field is what [`Capabilities::pseudo_header`] asks for.
///
/// [`Capabilities::pseudo_header`]: crate::Capabilities::pseudo_header
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// Most bytes of payload of each segment, at least 1.
    pub mss: u16,
    /// Bytes of the Ethernet, network and transport headers, which go before each segment.
    pub header_len: u16,
}

/// What the device is to do to a packet that it sends: only what is among the active features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxOffload {
    /// Put a checksum in.
    pub checksum: Option<Checksum>,
    /// Cut it. Never without `checksum`.
    pub segmentation: Option<Segmentation>,
    /// Insert an 802.1Q tag with this tag control information.
    pub vlan: Option<u16>,
}

/// A packet to send: an Ethernet frame without its frame check sequence.
#[derive(Clone, Copy, Debug)]
pub struct TxPacket<'a> {
    /// Where it lies: 1 to [`Capabilities::max_segments`](crate::Capabilities::max_segments) pieces, none of them empty.
    /// Headers lie in the first one as a whole.
    pub segments: &'a [Segment],
    /// Its length in bytes: that of all segments. At least 14.
    pub len: u32,
    /// What the device is to do to it.
    pub offload: TxOffload,
}

/// What is known about the checksum of a received packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RxChecksum {
    /// Nothing, or that it is wrong: whoever gets the packet looks itself.
    #[default]
    Unknown,
    /// The device found that of the transport right, and that of the IPv4 header if there is one.
    Good,
    /// It is not there yet (a packet that never was on a wire): it starts at `start`, and goes to `field`.
    Partial {
        /// Where summing starts.
        start: u16,
        /// Where the sum goes, from the start of the packet.
        field: u16,
    },
}

/// That the device put several TCP packets together into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coalesced {
    /// Their version of IP.
    pub ip: IpVersion,
    /// Bytes of payload of each but the last.
    pub mss: u16,
}

/// What the device says about a received packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RxMetadata {
    /// About its checksum.
    pub checksum: RxChecksum,
    /// Tag control information of an 802.1Q tag that was taken out.
    pub vlan: Option<u16>,
    /// That it was several packets on the wire.
    pub coalesced: Option<Coalesced>,
    /// The hash by which the device chose the queue (RSS).
    pub hash: Option<u32>,
}

/// A part of a received packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RxFragment {
    /// Names the buffer that it is in, as it was posted.
    pub tag: u16,
    /// Where in the buffer it starts.
    pub offset: u32,
    /// Its length in bytes.
    pub len: u32,
}

/// A received packet: an Ethernet frame without its frame check sequence.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Its parts in order.
    pub fragments: &'a [RxFragment],
    /// What the device says about it.
    pub metadata: RxMetadata,
}

/// Packets that a driver found in its receive ring. Reused from batch to batch, so that none of them allocates.
#[derive(Debug, Default)]
pub struct Received {
    fragments: Vec<RxFragment>,
    /// End of each packet in `fragments`; `None` for what was received and is of no use.
    packets: Vec<(usize, Option<RxMetadata>)>,
}

impl Received {
    /// An empty batch with room for `packets` packets.
    pub fn with_capacity(packets: usize) -> Self {
        Received { fragments: Vec::with_capacity(2 * packets), packets: Vec::with_capacity(packets) }
    }

    /// The next part of the packet that is being put together.
    pub fn fragment(&mut self, fragment: RxFragment) {
        self.fragments.push(fragment);
    }

    /// The packet is complete.
    pub fn complete(&mut self, metadata: RxMetadata) {
        self.packets.push((self.fragments.len(), Some(metadata)));
    }

    /// What was put together is no good packet; its buffers go back.
    pub fn discard(&mut self) {
        self.packets.push((self.fragments.len(), None));
    }

    /// Number of packets, good or not.
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// The good packets in order.
    pub fn packets(&self) -> impl Iterator<Item = Packet<'_>> {
        let mut start = 0;
        self.packets.iter().filter_map(move |&(end, metadata)| {
            let fragments = self.fragments.get(start..end).unwrap_or_default();
            start = end;
            metadata.map(|metadata| Packet { fragments, metadata })
        })
    }

    /// The tag of every buffer that came back, of good packets and others.
    pub fn tags(&self) -> impl Iterator<Item = u16> {
        self.fragments.iter().map(|fragment| fragment.tag)
    }

    /// Forgets all packets.
    pub fn clear(&mut self) {
        self.fragments.clear();
        self.packets.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_have_their_own_fragments() {
        let mut received = Received::with_capacity(4);
        let part = |tag| RxFragment { tag, offset: 0, len: 100 };
        for tag in [1, 2] {
            received.fragment(part(tag));
        }
        received.complete(RxMetadata::default());
        received.fragment(part(3));
        received.discard();
        received.fragment(part(4));
        received.complete(RxMetadata { vlan: Some(7), ..RxMetadata::default() });
        let packets: Vec<_> = received.packets().collect();
        assert_eq!(packets.len(), 2);
        assert_eq!(packets[0].fragments, [part(1), part(2)]);
        assert_eq!(packets[1].fragments, [part(4)]);
        assert_eq!(packets[1].metadata.vlan, Some(7));
        assert_eq!(received.tags().collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(received.len(), 3);
        received.clear();
        assert!(received.is_empty() && received.tags().next().is_none());
    }
}
