//! What a driver must not do.

use std::fmt;

/// Something that a driver must not do. A real controller may do anything then; the model notes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A register was accessed that the chip does not have, or in another width than its own.
    Register {
        /// Its offset.
        offset: u64,
        /// Bytes of the access.
        len: usize,
    },
    /// A register was written that is read only.
    ReadOnly(u64),
    /// A register was written that CR9346 protects.
    Locked(u64),
    /// A register was accessed while the device was being reset.
    DuringReset(u64),
    /// A ring was moved while its direction was on.
    RingWhileEnabled(u64),
    /// A ring does not start at a multiple of 256, or the counters' memory at one of 64.
    Alignment(u64),
    /// A descriptor makes no sense.
    Descriptor(&'static str),
    /// A packet is longer than the chip can send, as it is set up, or shorter than 14 bytes.
    FrameLength(usize),
    /// A register behind a register was accessed while an access was under way.
    Busy(u64),
    /// Remote management has the device still.
    OutOfBand,
    /// Something was asked of the counters that they cannot.
    Tally,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
