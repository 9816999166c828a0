//! Network devices (section 5.1).

use bitfield_struct::bitfield;
use redox_driver_sys::{codes, display_code};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

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
