//! Descriptors: 16 bytes each, up to 1024 in a ring that starts at a multiple of 256 bytes (8168B chapter 6).

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a descriptor.
pub const DESCRIPTOR: usize = 16;
/// Where rings may start.
pub const ALIGN: usize = 256;
/// Most descriptors of a ring.
pub const MAX_RING: u16 = 1024;
/// Where the first dword, with OWN, is in a descriptor.
pub const OPTS1: usize = 0;
/// Most bytes of a receive buffer.
pub const MAX_BUFFER: u32 = 0x3ff8;
/// Largest segment size of either generation: 11 bits.
pub const MAX_MSS: u16 = 0x7ff;

/// A descriptor of either ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Descriptor {
    /// [`TxFirst`], [`RxPosted`] or [`RxDone`].
    pub opts1: u32,
    /// [`TxSecond`] or [`RxSecond`].
    pub opts2: u32,
    /// Where the buffer is.
    pub address: u64,
}

const _: () = assert!(size_of::<Descriptor>() == DESCRIPTOR);

/// The first dword of a transmit descriptor. What is to be done to a packet counts in its first descriptor.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct TxFirst {
    /// Bytes of the buffer.
    #[bits(16)]
    pub length: u16,
    /// What is to be done: [`Work1`] in chips of the first generation, [`Work2`] in those of the second.
    #[bits(12)]
    pub work: u16,
    /// LS: the packet ends here.
    pub ls: bool,
    /// FS: it starts here.
    pub fs: bool,
    /// EOR: the ring ends here.
    pub eor: bool,
    /// OWN: the device has it.
    pub own: bool,
}

/// [`TxFirst::work`] in chips of the first generation (8168B section 6.1).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Work1 {
    /// TCPCS: put the TCP checksum in; or the lowest bits of the segment size.
    pub tcp: bool,
    /// UDPCS.
    pub udp: bool,
    /// IPCS.
    pub ip: bool,
    __: bool,
    #[bits(7)]
    __: u8,
    /// LGSEN: cut the packet; the bits below are the segment size.
    pub cut: bool,
    #[bits(4)]
    __: u8,
}

impl Work1 {
    /// Cuts a packet into segments of so many bytes.
    pub const fn cut_at(mss: u16) -> Self {
        Work1::from_bits(mss & MAX_MSS | 1 << 11)
    }

    /// Bytes of each segment; means nothing without [`cut`](Self::cut).
    pub const fn mss(self) -> u16 {
        self.into_bits() & MAX_MSS
    }
}

/// [`TxFirst::work`] in chips of the second generation (Linux: rtl_tx_desc_bit_1).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Work2 {
    #[bits(2)]
    __: u8,
    /// GTTCPHO: where the TCP header is, when the packet is cut.
    #[bits(7)]
    pub transport: u8,
    /// GTSENV6: cut an IPv6 packet.
    pub cut_v6: bool,
    /// GTSENV4: cut an IPv4 packet.
    pub cut_v4: bool,
    #[bits(5)]
    __: u8,
}

/// The second dword of a transmit descriptor. Chips of the first generation know the tag alone.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct TxSecond {
    /// The tag's control information, its bytes swapped.
    #[bits(16)]
    pub tag: u16,
    _0: bool,
    /// TAGC: insert the tag.
    pub insert_tag: bool,
    /// TCPHO: where the transport header is, 10 bits, when a checksum is put in; or the segment size, 11 bits of which overlap with the
    /// next, when the packet is cut.
    #[bits(10)]
    pub transport: u16,
    /// Put a checksum into an IPv6 packet.
    pub v6: bool,
    /// Put checksums into an IPv4 packet, that of the IP header among them.
    pub v4: bool,
    /// That of TCP.
    pub tcp: bool,
    /// That of UDP.
    pub udp: bool,
}

impl TxSecond {
    const MSS: u32 = (MAX_MSS as u32) << 18;

    /// With a segment size in place of offset and checksums.
    #[must_use]
    pub const fn with_mss(self, mss: u16) -> Self {
        TxSecond::from_bits(self.into_bits() & !Self::MSS | (mss as u32) << 18 & Self::MSS)
    }

    /// The segment size of a packet that is cut.
    pub const fn mss(self) -> u16 {
        #[allow(clippy::cast_possible_truncation, reason = "11 bits")]
        {
            ((self.into_bits() & Self::MSS) >> 18) as u16
        }
    }

    /// With a tag to insert.
    #[must_use]
    pub const fn with_vlan(self, tag: u16) -> Self {
        self.with_tag(tag.swap_bytes()).with_insert_tag(true)
    }

    /// The tag to insert.
    pub const fn vlan(self) -> Option<u16> {
        if self.insert_tag() { Some(self.tag().swap_bytes()) } else { None }
    }
}

/// The first dword of a receive descriptor, as the driver writes it (8168B section 6.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct RxPosted {
    /// Bytes of the buffer, a multiple of 8.
    #[bits(14)]
    pub length: u16,
    #[bits(16)]
    __: u16,
    /// EOR: the ring ends here.
    pub eor: bool,
    /// OWN: the device has it.
    pub own: bool,
}

/// The first dword of a receive descriptor, as the device leaves it (8168B section 6.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct RxDone {
    /// Bytes of the frame, with its frame check sequence; counts with [`ls`](Self::ls).
    #[bits(14)]
    pub length: u16,
    /// TCPF: the TCP checksum is wrong.
    pub tcp_wrong: bool,
    /// UDPF: the UDP checksum is wrong.
    pub udp_wrong: bool,
    /// IPF: the IPv4 header's checksum is wrong.
    pub ip_wrong: bool,
    /// PID: 1 for TCP, 2 for UDP, 3 for IP, 0 for something else.
    #[bits(2)]
    pub protocol: u8,
    /// CRC: the frame check sequence is wrong.
    pub crc: bool,
    /// RUNT: shorter than 64 bytes.
    pub runt: bool,
    /// RES: an error; the others tell which.
    pub res: bool,
    /// RWT: longer than 8192 bytes.
    pub rwt: bool,
    #[bits(2)]
    __: u8,
    /// BAR: to everybody.
    pub bar: bool,
    /// PAM: to the own address.
    pub pam: bool,
    /// MAR: to a group.
    pub mar: bool,
    /// LS: the frame ends here.
    pub ls: bool,
    /// FS: it starts here.
    pub fs: bool,
    /// EOR, as the driver wrote it.
    pub eor: bool,
    /// OWN: the device still has it.
    pub own: bool,
}

impl RxDone {
    /// [`protocol`](Self::protocol): TCP.
    pub const TCP: u8 = 1;
    /// [`protocol`](Self::protocol): UDP.
    pub const UDP: u8 = 2;
    /// [`protocol`](Self::protocol): another one on IP.
    pub const IP: u8 = 3;
}

/// The second dword of a receive descriptor, as the device leaves it.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct RxSecond {
    /// The tag's control information, its bytes swapped.
    #[bits(16)]
    pub tag: u16,
    /// TAVA: a tag was taken out.
    pub tagged: bool,
    #[bits(13)]
    __: u16,
    /// IPv4 (FreeBSD: RL_RDESC_IPV4; second generation).
    pub v4: bool,
    /// IPv6 (FreeBSD: RL_RDESC_IPV6; second generation).
    pub v6: bool,
}

impl RxSecond {
    /// With a tag that was taken out.
    #[must_use]
    pub const fn with_vlan(self, tag: u16) -> Self {
        self.with_tag(tag.swap_bytes()).with_tagged(true)
    }

    /// The tag that was taken out.
    pub const fn vlan(self) -> Option<u16> {
        if self.tagged() { Some(self.tag().swap_bytes()) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_drivers_of_others_have_them() {
        let first = TxFirst::new().with_own(true).with_fs(true).with_length(60);
        assert_eq!(
            first.with_work(Work1::cut_at(1448).into_bits()).into_bits(),
            0xa000_003c | 1 << 27 | 1448 << 16
        );
        let ip_tcp = Work1::new().with_ip(true).with_tcp(true).into_bits();
        assert_eq!(first.with_work(ip_tcp).into_bits(), 0xa000_003c | 1 << 18 | 1 << 16);
        let cut = Work2::new().with_cut_v4(true).with_transport(34).into_bits();
        assert_eq!(first.with_work(cut).into_bits(), 0xa000_003c | 1 << 26 | 34 << 18);
        let sums = TxSecond::new().with_v4(true).with_udp(true).with_transport(34).with_vlan(0x2005);
        assert_eq!(sums.into_bits(), 1 << 29 | 1 << 31 | 34 << 18 | 1 << 17 | 0x0520);
        assert_eq!(TxSecond::new().with_mss(MAX_MSS).into_bits(), 0x7ff << 18);
        assert_eq!((sums.vlan(), TxSecond::new().with_mss(1448).mss()), (Some(0x2005), 1448));
        let done = RxDone::new().with_protocol(RxDone::UDP).with_udp_wrong(true).with_crc(true);
        assert_eq!(done.into_bits(), 1 << 18 | 1 << 15 | 1 << 19);
    }
}
