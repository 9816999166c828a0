//! What a driver must not do.

use std::fmt;

/// Something the manuals forbid the host. A real controller may do anything then; the model notes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A register was accessed that the chip does not have.
    UnknownRegister(u64),
    /// A register was written that is read only.
    ReadOnly(u64),
    /// A register was accessed in another width than 32 bits.
    Width(u64),
    /// A register was accessed while the device was being reset.
    DuringReset(u64),
    /// A ring's base, length or head was written while its direction was on.
    RingWhileEnabled(u64),
    /// A ring's length is no multiple of 128, or its base none of 16.
    RingShape(u64),
    /// A tail is not in its ring.
    Tail(u32),
    /// A descriptor is of no kind that there is, or the combination of bits is reserved.
    Descriptor(&'static str),
    /// A descriptor of an extended ring was posted with its DD set.
    StaleDescriptor,
    /// A frame is longer than the chip can send.
    FrameLength(usize),
    /// The PHY was accessed while an access was under way, or without the right to.
    Mdio,
    /// The receive buffer length is reserved.
    BufferLength,
    /// Receive descriptors of a type that the chip or the model does not have, as those that split packets (82574): nothing is
    /// received.
    DescriptorType(u8),
    /// Bits that the chip's errata ask for were not what they should be when a ring was started.
    Fix(u64),
    /// Something may still do DMA while the bus is closed for reset.
    ResetWhileBusy,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
