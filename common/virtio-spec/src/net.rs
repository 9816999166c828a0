//! Network devices (section 5.1).

pub mod control;

use bitfield_struct::bitfield;
use bitflags::bitflags;
use redox_driver_sys::{codes, display_code};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The type of a network device (section 5).
pub const DEVICE_TYPE: u16 = 1;
/// Shortest receive buffer in bytes, with its header, of a device without MRG_RXBUF (section 5.1.6.3.1).
pub const LEAST_BUFFER: u32 = 1526;
/// As [`LEAST_BUFFER`], where GUEST_TSO4 or GUEST_TSO6 was negotiated.
pub const LEAST_BUFFER_TSO: u32 = 65_562;

bitflags! {
    /// Features of a network device (section 5.1.3), as part of [`Features`](crate::Features).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct NetFeatures: u64 {
        /// VIRTIO_NET_F_CSUM: the device puts checksums in.
        const CSUM = 1 << 0;
        /// VIRTIO_NET_F_GUEST_CSUM: the driver takes packets without a checksum, and the device tells which it found right.
        const GUEST_CSUM = 1 << 1;
        /// VIRTIO_NET_F_CTRL_GUEST_OFFLOADS: what the driver takes can be changed.
        const CTRL_GUEST_OFFLOADS = 1 << 2;
        /// VIRTIO_NET_F_MTU: the device tells its largest MTU.
        const MTU = 1 << 3;
        /// VIRTIO_NET_F_MAC: the device has an address.
        const MAC = 1 << 5;
        /// VIRTIO_NET_F_GUEST_TSO4: the driver takes IPv4 TCP packets that were put together.
        const GUEST_TSO4 = 1 << 7;
        /// VIRTIO_NET_F_GUEST_TSO6: likewise of IPv6.
        const GUEST_TSO6 = 1 << 8;
        /// VIRTIO_NET_F_GUEST_ECN: these may have ECN.
        const GUEST_ECN = 1 << 9;
        /// VIRTIO_NET_F_GUEST_UFO: the driver takes UDP packets that are to become fragments.
        const GUEST_UFO = 1 << 10;
        /// VIRTIO_NET_F_HOST_TSO4: the device cuts IPv4 TCP packets.
        const HOST_TSO4 = 1 << 11;
        /// VIRTIO_NET_F_HOST_TSO6: likewise of IPv6.
        const HOST_TSO6 = 1 << 12;
        /// VIRTIO_NET_F_HOST_ECN: these may have ECN.
        const HOST_ECN = 1 << 13;
        /// VIRTIO_NET_F_HOST_UFO: the device makes fragments of UDP packets.
        const HOST_UFO = 1 << 14;
        /// VIRTIO_NET_F_MRG_RXBUF: a packet may take several receive buffers.
        const MRG_RXBUF = 1 << 15;
        /// VIRTIO_NET_F_STATUS: the device tells its link.
        const STATUS = 1 << 16;
        /// VIRTIO_NET_F_CTRL_VQ: there is a control queue.
        const CTRL_VQ = 1 << 17;
        /// VIRTIO_NET_F_CTRL_RX: what is received can be chosen.
        const CTRL_RX = 1 << 18;
        /// VIRTIO_NET_F_CTRL_VLAN: VLANs can be chosen; of others nothing is received.
        const CTRL_VLAN = 1 << 19;
        /// VIRTIO_NET_F_GUEST_ANNOUNCE: the driver announces itself when the device asks for it.
        const GUEST_ANNOUNCE = 1 << 21;
        /// VIRTIO_NET_F_MQ: there are several pairs of queues.
        const MQ = 1 << 22;
        /// VIRTIO_NET_F_CTRL_MAC_ADDR: the address can be set.
        const CTRL_MAC_ADDR = 1 << 23;
        /// VIRTIO_NET_F_NOTIF_COAL: interrupts can be coalesced.
        const NOTIF_COAL = 1 << 53;
        /// VIRTIO_NET_F_HASH_REPORT: the device tells the hash of packets.
        const HASH_REPORT = 1 << 57;
        /// VIRTIO_NET_F_GUEST_HDRLEN: the driver tells the exact length of headers.
        const GUEST_HDRLEN = 1 << 59;
        /// VIRTIO_NET_F_RSS: queues are chosen by a hash.
        const RSS = 1 << 60;
        /// VIRTIO_NET_F_RSC_EXT: the device tells how many packets it put together.
        const RSC_EXT = 1 << 61;
        /// VIRTIO_NET_F_STANDBY: the device stands in for another one with the same address.
        const STANDBY = 1 << 62;
        /// VIRTIO_NET_F_SPEED_DUPLEX: the device tells its speed.
        const SPEED_DUPLEX = 1 << 63;
        const _ = !0;
    }
}

impl NetFeatures {
    /// What each feature needs one of (section 5.1.3.1).
    const NEEDS: [(NetFeatures, NetFeatures); 17] = [
        (NetFeatures::GUEST_TSO4, NetFeatures::GUEST_CSUM),
        (NetFeatures::GUEST_TSO6, NetFeatures::GUEST_CSUM),
        (NetFeatures::GUEST_ECN, NetFeatures::GUEST_TSO4.union(NetFeatures::GUEST_TSO6)),
        (NetFeatures::GUEST_UFO, NetFeatures::GUEST_CSUM),
        (NetFeatures::HOST_TSO4, NetFeatures::CSUM),
        (NetFeatures::HOST_TSO6, NetFeatures::CSUM),
        (NetFeatures::HOST_ECN, NetFeatures::HOST_TSO4.union(NetFeatures::HOST_TSO6)),
        (NetFeatures::HOST_UFO, NetFeatures::CSUM),
        (NetFeatures::RSC_EXT, NetFeatures::HOST_TSO4.union(NetFeatures::HOST_TSO6)),
        (NetFeatures::CTRL_GUEST_OFFLOADS, NetFeatures::CTRL_VQ),
        (NetFeatures::CTRL_RX, NetFeatures::CTRL_VQ),
        (NetFeatures::CTRL_VLAN, NetFeatures::CTRL_VQ),
        (NetFeatures::GUEST_ANNOUNCE, NetFeatures::CTRL_VQ),
        (NetFeatures::MQ, NetFeatures::CTRL_VQ),
        (NetFeatures::CTRL_MAC_ADDR, NetFeatures::CTRL_VQ),
        (NetFeatures::NOTIF_COAL, NetFeatures::CTRL_VQ),
        (NetFeatures::RSS, NetFeatures::CTRL_VQ),
    ];

    /// These features less those that lack one that they need.
    #[must_use]
    pub fn consistent(self) -> Self {
        // In this order nothing is taken away that an earlier one was checked against.
        Self::NEEDS.into_iter().fold(self, |features, (feature, needs)| {
            if features.intersects(needs) { features } else { features - feature }
        })
    }
}

/// What the network device says of itself, 24 bytes (`virtio_net_config`, section 5.1.4). Fields of features that were not negotiated
/// mean nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NetConfig {
    /// The address, with MAC.
    pub mac: [u8; 6],
    /// With STATUS.
    pub status: NetStatus,
    /// Most pairs of queues, 1 to 0x8000, with MQ or RSS.
    pub max_virtqueue_pairs: u16,
    /// The largest MTU, with MTU.
    pub mtu: u16,
    /// In megabits per second, [`UNKNOWN_SPEED`](Self::UNKNOWN_SPEED) if it is not known, with SPEED_DUPLEX.
    pub speed: u32,
    /// 0: half, 1: full, others: not known; with SPEED_DUPLEX.
    pub duplex: u8,
    /// Longest hash key in bytes, with RSS or HASH_REPORT.
    pub rss_max_key_size: u8,
    /// Most entries of the indirection table, with RSS.
    pub rss_max_indirection_table_length: u16,
    /// Kinds of hashes, with RSS or HASH_REPORT.
    pub supported_hash_types: u32,
}

const _: () = assert!(size_of::<NetConfig>() == 24);

impl NetConfig {
    /// How wide the accesses to it must be, in bytes, from its start on: as wide as the fields (section 4.1.3.1).
    pub const WIDTHS: [u8; 14] = [1, 1, 1, 1, 1, 1, 2, 2, 2, 4, 1, 1, 2, 4];
    /// A speed that is not known.
    pub const UNKNOWN_SPEED: u32 = u32::MAX;
}

/// The state of the link (section 5.1.4, `status`).
#[bitfield(u16)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct NetStatus {
    /// VIRTIO_NET_S_LINK_UP.
    pub link_up: bool,
    /// VIRTIO_NET_S_ANNOUNCE: the driver is to announce itself.
    pub announce: bool,
    #[bits(14)]
    __: u16,
}

/// What is the matter with a packet's checksum (section 5.1.6, `flags`).
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct NetHeaderFlags {
    /// VIRTIO_NET_HDR_F_NEEDS_CSUM: it is to be put in.
    pub needs_csum: bool,
    /// VIRTIO_NET_HDR_F_DATA_VALID: it has been found right.
    pub data_valid: bool,
    #[bits(6)]
    __: u8,
}

codes! {
    /// How a packet is to be cut, or was put together (section 5.1.6, `gso_type`).
    #[derive(Default)]
    pub struct GsoType: u8 {
        NONE = 0, "VIRTIO_NET_HDR_GSO_NONE";
        TCPV4 = 1, "VIRTIO_NET_HDR_GSO_TCPV4";
        UDP = 3, "VIRTIO_NET_HDR_GSO_UDP";
        TCPV6 = 4, "VIRTIO_NET_HDR_GSO_TCPV6";
        UDP_L4 = 5, "VIRTIO_NET_HDR_GSO_UDP_L4";
    }
}

display_code!(GsoType);

impl GsoType {
    /// VIRTIO_NET_HDR_GSO_ECN, which is added to one of TCP: the packet has ECN.
    pub const ECN: u8 = 0x80;
}

/// What is before a packet, 10 bytes (`virtio_net_hdr` without `num_buffers`, section 5.1.6). Linux's TAP has the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NetHeader {
    /// About the checksum.
    pub flags: NetHeaderFlags,
    /// Whether and as what it is to be cut.
    pub gso_type: GsoType,
    /// Length in bytes of the headers: a hint.
    pub hdr_len: u16,
    /// Bytes of payload of each part.
    pub gso_size: u16,
    /// Where the checksum's range starts.
    pub csum_start: u16,
    /// Where the checksum goes, from there.
    pub csum_offset: u16,
}

const _: () = assert!(size_of::<NetHeader>() == 10);

/// What is before a packet of a device that follows version 1, 12 bytes (`virtio_net_hdr`, section 5.1.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PacketHeader {
    /// About its checksum, and how it is to be cut.
    pub header: NetHeader,
    /// How many receive buffers it takes; 0 in a packet that is sent.
    pub num_buffers: u16,
}

const _: () = assert!(size_of::<PacketHeader>() == 12);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_without_what_they_need_are_dropped() {
        let tso = NetFeatures::HOST_TSO4 | NetFeatures::HOST_ECN | NetFeatures::MAC;
        assert_eq!(tso.consistent(), NetFeatures::MAC, "ECN goes with TSO, which goes with checksums");
        let whole = tso | NetFeatures::CSUM;
        assert_eq!(whole.consistent(), whole);
        assert_eq!((NetFeatures::MQ | NetFeatures::CTRL_RX).consistent(), NetFeatures::empty());
    }

    #[test]
    fn widths_are_those_of_the_configuration() {
        assert_eq!(NetConfig::WIDTHS.map(usize::from).iter().sum::<usize>(), size_of::<NetConfig>());
    }
}
