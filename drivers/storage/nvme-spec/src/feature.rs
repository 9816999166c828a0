//! Values of features: command dword 11 of Set Features and completion dword 0 of Get Features (section 5.21.1).

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use redox_driver_sys::{codes, display_code};

codes! {
    /// SEL: which value of a feature Get Features returns (section 5.13).
    pub struct FeatureSelect: u8 {
        CURRENT = 0, "current";
        DEFAULT = 1, "default";
        SAVED = 2, "saved";
        CAPABILITIES = 3, "supported capabilities";
    }
}

display_code!(FeatureSelect);

/// Arbitration (section 5.21.1.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Arbitration {
    /// AB: most commands fetched from a queue at a time, as a power of two; 7: no limit.
    #[bits(3)]
    pub burst: u8,
    #[bits(5)]
    __: u8,
    /// LPW: weight of low priority, less one.
    pub low: u8,
    /// MPW: weight of medium priority, less one.
    pub medium: u8,
    /// HPW: weight of high priority, less one.
    pub high: u8,
}

/// Power Management (section 5.21.1.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct PowerManagement {
    /// PS: power state.
    #[bits(5)]
    pub power_state: u8,
    /// WH: workload hint.
    #[bits(3)]
    pub workload_hint: u8,
    #[bits(24)]
    __: u32,
}

/// Temperature Threshold (section 5.21.1.4).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct TemperatureThreshold {
    /// TMPTH: threshold in kelvin.
    pub kelvin: u16,
    /// TMPSEL: 0 for the composite temperature, 1–8 for a sensor, 15 for all.
    #[bits(4)]
    pub sensor: u8,
    /// THSEL: 0 for over, 1 for under temperature.
    #[bits(2)]
    pub kind: u8,
    #[bits(10)]
    __: u16,
}

impl TemperatureThreshold {
    /// THSEL: event when the temperature is at or over the threshold.
    pub const OVER: u8 = 0;
    /// THSEL: event when the temperature is at or under the threshold.
    pub const UNDER: u8 = 1;
}

/// Volatile Write Cache (section 5.21.1.6).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct VolatileWriteCache {
    /// WCE: the cache is enabled.
    pub enable: bool,
    #[bits(31)]
    __: u32,
}

/// Number of Queues (section 5.21.1.7): asked for in command dword 11, allocated in completion dword 0.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct NumberOfQueues {
    /// NSQR, NSQA: I/O submission queues, less one.
    pub submission: u16,
    /// NCQR, NCQA: I/O completion queues, less one.
    pub completion: u16,
}

/// Interrupt Coalescing (section 5.21.1.8).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct InterruptCoalescing {
    /// THR: entries per interrupt, less one.
    pub threshold: u8,
    /// TIME: longest delay in units of 100 µs; 0: none.
    pub time: u8,
    __: u16,
}

/// Interrupt Vector Configuration (section 5.21.1.9).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct InterruptVectorConfig {
    /// IV: vector.
    pub vector: u16,
    /// CD: coalescing does not apply to the vector.
    pub coalescing_disable: bool,
    #[bits(15)]
    __: u16,
}

/// Asynchronous Event Configuration (section 5.21.1.11).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct AsyncEventConfig {
    /// Critical warnings of the SMART log that send an event, as [`crate::CriticalWarning`] bits.
    pub smart: u8,
    /// Namespace attribute notices.
    pub namespace: bool,
    /// Firmware activation notices.
    pub firmware: bool,
    /// Telemetry log notices.
    pub telemetry: bool,
    /// Asymmetric namespace access change notices.
    pub ana: bool,
    #[bits(20)]
    __: u32,
}

/// Host Memory Buffer (section 5.21.1.13): command dword 11. Dword 12 is the size in memory pages, dwords 13 and 14 the
/// address of the descriptor list, dword 15 the number of its entries.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct HostMemoryBuffer {
    /// EHM: the controller may use the buffer.
    pub enable: bool,
    /// MR: the same memory, with the same contents, as before it was disabled.
    pub memory_return: bool,
    #[bits(30)]
    __: u32,
}

/// Timestamp, the 8-byte data structure (section 5.21.1.14).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Timestamp {
    /// Milliseconds since 1970-01-01T00:00:00Z, 48 bits.
    pub milliseconds: [u8; 6],
    /// Bit 0: the clock may have stopped (Synch). Bits 3:1: 0 counting since reset, 1 since it was set (Timestamp Origin).
    pub attributes: u8,
    /// Reserved.
    pub reserved: u8,
}

const _: () = assert!(size_of::<Timestamp>() == 8);

impl Timestamp {
    /// The time stamp of a time in milliseconds, of which 48 bits count.
    pub const fn at(milliseconds: u64) -> Self {
        let [a, b, c, d, e, f, _, _] = milliseconds.to_le_bytes();
        Timestamp { milliseconds: [a, b, c, d, e, f], attributes: 0, reserved: 0 }
    }

    /// The time in milliseconds.
    pub const fn as_millis(&self) -> u64 {
        let [a, b, c, d, e, f] = self.milliseconds;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }
}
