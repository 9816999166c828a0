//! Power states and their autonomous transitions.

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Byte 3 of a power state descriptor (section 5.15.2.2, figure "Identify – Power State Descriptor").
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PowerFlags {
    /// MXPS: maximum power is in units of 0.0001 W, not 0.01 W.
    pub mxps: bool,
    /// NOPS: no I/O is processed in this state.
    pub nops: bool,
    #[bits(6)]
    __: u8,
}

/// Power state descriptor, 32 bytes (section 5.15.2.2, figure "Identify – Power State Descriptor").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PowerStateDescriptor {
    /// MP: maximum power, unit by [`PowerFlags::mxps`].
    pub mp: u16,
    /// Reserved.
    pub reserved2: u8,
    /// Flags.
    pub flags: PowerFlags,
    /// ENLAT: entry latency in µs.
    pub enlat: u32,
    /// EXLAT: exit latency in µs.
    pub exlat: u32,
    /// RRT: relative read throughput, less is better (5 bits).
    pub rrt: u8,
    /// RRL: relative read latency (5 bits).
    pub rrl: u8,
    /// RWT: relative write throughput (5 bits).
    pub rwt: u8,
    /// RWL: relative write latency (5 bits).
    pub rwl: u8,
    /// IDLP: idle power, unit by [`Self::ips`].
    pub idlp: u16,
    /// IPS: unit of idle power in bits 7:6 (1: 0.0001 W, 2: 0.01 W).
    pub ips: u8,
    /// Reserved.
    pub reserved19: u8,
    /// ACTP: active power, unit by [`Self::apw`].
    pub actp: u16,
    /// APW, APS: active power workload in bits 2:0, unit in bits 7:6.
    pub apw: u8,
    /// Reserved.
    pub reserved23: [u8; 9],
}

const _: () = assert!(size_of::<PowerStateDescriptor>() == 32);

impl PowerStateDescriptor {
    /// Maximum power in units of 0.0001 W; 0: not reported.
    pub const fn max_power(&self) -> u32 {
        #[allow(clippy::cast_lossless, reason = "a const function")]
        let mp = self.mp as u32;
        if self.flags.mxps() { mp } else { mp * 100 }
    }
}

/// Entry of the autonomous power state transition table (section 5.21.1.12, figure "Autonomous Power State Transition
/// Data Structure Entry").
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ApstEntry {
    #[bits(3)]
    __: u8,
    /// ITPS: power state to go to; it must be a non-operational one.
    #[bits(5)]
    pub power_state: u8,
    /// ITPT: idle time before, in milliseconds; 0: no transition.
    #[bits(24)]
    pub idle_ms: u32,
    __: u32,
}

/// Autonomous power state transition table, 256 bytes: an entry for each power state that is left (section 5.21.1.12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ApstTable {
    /// By power state.
    pub entries: [ApstEntry; 32],
}

const _: () = assert!(size_of::<ApstTable>() == 256);
