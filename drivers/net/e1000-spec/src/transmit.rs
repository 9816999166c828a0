//! Transmit descriptors: 16 bytes each, a multiple of 8 of them in a ring. Both families have the same.

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a descriptor of any kind.
pub const DESCRIPTOR: usize = 16;
/// DTYP of a context descriptor.
pub const CONTEXT: u8 = 0;
/// DTYP of a data descriptor.
pub const DATA: u8 = 1;

/// The second dword of a data descriptor (8254x section 3.3.7, 82574 section 7.2.4).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct DataCommand {
    /// DTALEN: bytes of the buffer.
    #[bits(20)]
    pub length: u32,
    /// DTYP: [`DATA`].
    #[bits(4)]
    pub dtyp: u8,
    /// EOP: the packet ends here.
    pub eop: bool,
    /// IFCS: append the frame check sequence. Counts in the first descriptor of a packet.
    pub ifcs: bool,
    /// TSE: cut the packet.
    pub tse: bool,
    /// RS: report when it is done.
    pub rs: bool,
    _0: bool,
    /// DEXT: not a legacy descriptor.
    pub dext: bool,
    /// VLE: insert the tag. Counts in the last descriptor of a packet.
    pub vle: bool,
    /// IDE: the interrupt may wait for TIDV.
    pub ide: bool,
}

/// STA, the lowest 4 bits: DD, the device is done with the descriptor.
pub const DD: u8 = 1;

/// POPTS of a data descriptor. Counts in the first descriptor of a packet.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct PacketOptions {
    /// IXSM: put the IP checksum in.
    pub ixsm: bool,
    /// TXSM: put the TCP or UDP checksum in.
    pub txsm: bool,
    #[bits(6)]
    __: u8,
}

/// A data descriptor (8254x section 3.3.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DataTx {
    /// Where the buffer is.
    pub address: u64,
    /// [`DataCommand`].
    pub command: u32,
    /// [`DD`].
    pub status: u8,
    /// [`PacketOptions`].
    pub options: u8,
    /// The tag to insert.
    pub vlan: u16,
}

/// The third dword of a context descriptor (8254x section 3.3.6, 82574 section 7.2.3).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ContextCommand {
    /// PAYLEN: bytes behind the headers of a packet to be cut.
    #[bits(20)]
    pub payload: u32,
    /// DTYP: [`CONTEXT`].
    #[bits(4)]
    pub dtyp: u8,
    /// TCP, or else UDP.
    pub tcp: bool,
    /// IP: version 4, or else 6.
    pub ipv4: bool,
    /// TSE: it is about packets to be cut.
    pub tse: bool,
    /// RS: report when it is done.
    pub rs: bool,
    _0: bool,
    /// DEXT: not a legacy descriptor.
    pub dext: bool,
    _1: bool,
    /// IDE: the interrupt may wait for TIDV.
    pub ide: bool,
}

/// A context descriptor: what is to be done to the packets behind it (8254x section 3.3.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ContextTx {
    /// IPCSS: where the IP header starts.
    pub ipcss: u8,
    /// IPCSO: where its checksum goes.
    pub ipcso: u8,
    /// IPCSE: its last byte.
    pub ipcse: u16,
    /// TUCSS: where the TCP or UDP header starts.
    pub tucss: u8,
    /// TUCSO: where its checksum goes.
    pub tucso: u8,
    /// TUCSE: the last byte that is summed; 0 for the end of the packet.
    pub tucse: u16,
    /// [`ContextCommand`].
    pub command: u32,
    /// [`DD`].
    pub status: u8,
    /// HDRLEN: bytes of all headers.
    pub header_len: u8,
    /// MSS: most bytes of payload in a packet.
    pub mss: u16,
}

/// A legacy descriptor (8254x section 3.3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LegacyTx {
    /// Where the buffer is.
    pub address: u64,
    /// Its bytes.
    pub length: u16,
    /// CSO: where the checksum goes.
    pub cso: u8,
    /// [`LegacyCommand`].
    pub command: u8,
    /// [`DD`].
    pub status: u8,
    /// CSS: where summing starts.
    pub css: u8,
    /// The tag to insert.
    pub vlan: u16,
}

/// CMD of a legacy descriptor (8254x section 3.3.3.1).
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct LegacyCommand {
    /// EOP: the packet ends here.
    pub eop: bool,
    /// IFCS: append the frame check sequence.
    pub ifcs: bool,
    /// IC: put the checksum in.
    pub ic: bool,
    /// RS: report when it is done.
    pub rs: bool,
    _0: bool,
    /// DEXT: it is another kind of descriptor.
    pub dext: bool,
    /// VLE: insert the tag.
    pub vle: bool,
    /// IDE: the interrupt may wait for TIDV.
    pub ide: bool,
}

const _: () = assert!(size_of::<DataTx>() == DESCRIPTOR);
const _: () = assert!(size_of::<ContextTx>() == DESCRIPTOR);
const _: () = assert!(size_of::<LegacyTx>() == DESCRIPTOR);
