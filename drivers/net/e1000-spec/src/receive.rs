//! Receive descriptors: 16 bytes each, a multiple of 8 of them in a ring.

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a descriptor of either kind.
pub const DESCRIPTOR: usize = 16;

/// Status of a received packet; the low 8 bits are those of a legacy descriptor (8254x section 3.2.3.1, 82574 section 7.1.5.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct RxStatus {
    /// DD: the device is done with the descriptor.
    pub dd: bool,
    /// EOP: the packet ends here.
    pub eop: bool,
    /// IXSM: nothing was looked at; the bits about checksums mean nothing.
    pub ixsm: bool,
    /// VP: it had an 802.1Q tag.
    pub vp: bool,
    /// UDPCS: the UDP checksum was looked at (82574).
    pub udpcs: bool,
    /// TCPCS: the TCP or UDP checksum was looked at.
    pub tcpcs: bool,
    /// IPCS: the IPv4 header checksum was looked at.
    pub ipcs: bool,
    /// PIF: let through by an imperfect filter only.
    pub pif: bool,
    _0: bool,
    /// IPIDV: there is an IP identification (82574).
    pub ipidv: bool,
    /// UDPV: the UDP checksum was not zero (82574).
    pub udpv: bool,
    #[bits(4)]
    __: u8,
    /// ACK: a TCP acknowledgement (82574).
    pub ack: bool,
    #[bits(4)]
    __: u8,
    /// Errors of an extended descriptor, in the upper half of its status and error dword.
    #[bits(12)]
    pub extended_errors: u16,
}

/// Errors of a received packet (8254x section 3.2.3.2). An extended descriptor has them 4 bits higher.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct RxErrors {
    /// CE: wrong CRC, or alignment.
    pub ce: bool,
    /// SE: symbol error.
    pub se: bool,
    /// SEQ: sequence error.
    pub seq: bool,
    _0: bool,
    /// CXE: carrier extension error.
    pub cxe: bool,
    /// TCPE: wrong TCP or UDP checksum.
    pub tcpe: bool,
    /// IPE: wrong IPv4 header checksum.
    pub ipe: bool,
    /// RXE: the data is bad.
    pub rxe: bool,
}

impl RxErrors {
    /// Whether the frame is damaged: all but wrong checksums.
    pub const fn damaged(self) -> bool {
        self.into_bits() & 0b1001_0111 != 0
    }
}

impl RxStatus {
    /// The errors of an extended descriptor (82574 section 7.1.5.2): those of a legacy one, four bits higher.
    pub const fn errors(self) -> RxErrors {
        let [low, _] = (self.extended_errors() >> 4).to_le_bytes();
        RxErrors::from_bits(low)
    }

    /// The same with errors.
    #[must_use]
    pub fn with_errors(self, errors: RxErrors) -> Self {
        self.with_extended_errors(u16::from(errors.into_bits()) << 4)
    }
}

/// A legacy receive descriptor (8254x section 3.2.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LegacyRx {
    /// Where the buffer is.
    pub address: u64,
    /// Bytes that were written, with the frame check sequence unless it is stripped.
    pub length: u16,
    /// Sum over the packet from RXCSUM.PCSS on.
    pub checksum: u16,
    /// The low 8 bits of [`RxStatus`].
    pub status: u8,
    /// [`RxErrors`].
    pub errors: u8,
    /// The tag that was stripped.
    pub vlan: u16,
}

/// An extended receive descriptor as the driver writes it (82574 section 7.1.5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ExtendedRxRead {
    /// Where the buffer is.
    pub address: u64,
    /// Zero; the lowest bit becomes [`RxStatus::dd`].
    pub zero: u64,
}

/// An extended receive descriptor as the device writes it back (82574 section 7.1.5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ExtendedRx {
    /// What the hash was made of, and the queue.
    pub mrq: u32,
    /// The hash, with RXCSUM.PCSD; or else IP identification and packet checksum.
    pub hash: u32,
    /// [`RxStatus`].
    pub status: u32,
    /// Bytes that were written.
    pub length: u16,
    /// The tag that was stripped.
    pub vlan: u16,
}

const _: () = assert!(size_of::<LegacyRx>() == DESCRIPTOR);
const _: () = assert!(size_of::<ExtendedRxRead>() == DESCRIPTOR);
const _: () = assert!(size_of::<ExtendedRx>() == DESCRIPTOR);

/// Types of hash in [`ExtendedRx::mrq`], bits 3:0 (82574 section 7.1.10.1).
pub mod rss_type {
    /// None was made.
    pub const NONE: u32 = 0;
    /// Of IPv4 addresses and TCP ports.
    pub const IPV4_TCP: u32 = 1;
    /// Of IPv4 addresses.
    pub const IPV4: u32 = 2;
    /// Of IPv6 addresses and TCP ports.
    pub const IPV6_TCP: u32 = 3;
    /// Of IPv6 addresses.
    pub const IPV6: u32 = 5;
}
