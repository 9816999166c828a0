//! Packed virtqueues (section 2.8).

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most entries of a packed queue (section 2.8).
pub const MOST_ENTRIES: u16 = 32768;

/// What a descriptor is, and whose (section 2.8.6).
#[bitfield(u16)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DescriptorFlags {
    /// VIRTQ_DESC_F_NEXT: the list goes on with the next descriptor.
    pub next: bool,
    /// VIRTQ_DESC_F_WRITE: the device writes; otherwise it reads. Of a used descriptor: the device has written.
    pub write: bool,
    /// VIRTQ_DESC_F_INDIRECT: the memory is a table of descriptors.
    pub indirect: bool,
    #[bits(4)]
    __: u8,
    /// VIRTQ_DESC_F_AVAIL: the driver's wrap counter when it made the descriptor available.
    pub avail: bool,
    #[bits(7)]
    __: u8,
    /// VIRTQ_DESC_F_USED: the device's wrap counter when it used the descriptor; the inverse of `avail` before.
    pub used: bool,
}

impl DescriptorFlags {
    /// The marks of a descriptor that a driver with this wrap counter makes available.
    #[must_use]
    pub const fn available(self, wrap: bool) -> Self {
        self.with_avail(wrap).with_used(!wrap)
    }

    /// The marks of a descriptor that a device with this wrap counter has used.
    #[must_use]
    pub const fn marked_used(self, wrap: bool) -> Self {
        self.with_avail(wrap).with_used(wrap)
    }

    /// Whether a device with this wrap counter may take the descriptor.
    pub const fn is_available(self, wrap: bool) -> bool {
        self.avail() == wrap && self.used() != wrap
    }

    /// Whether a driver with this wrap counter finds the descriptor used.
    pub const fn is_used(self, wrap: bool) -> bool {
        self.avail() == wrap && self.used() == wrap
    }
}

/// A descriptor, 16 bytes (`pvirtq_desc`, section 2.8.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Descriptor {
    /// Where the memory is.
    pub addr: u64,
    /// Its length in bytes. Of a used descriptor: how many bytes were written.
    pub len: u32,
    /// By which the buffer is named when it comes back.
    pub id: u16,
    /// What it is for.
    pub flags: DescriptorFlags,
}

impl Descriptor {
    /// Byte of `id` and `flags`, which are written together last.
    pub const PUBLISHED_AT: usize = 12;
}

const _: () = assert!(size_of::<Descriptor>() == 16);
const _: () = assert!(core::mem::offset_of!(Descriptor, id) == Descriptor::PUBLISHED_AT);

/// When a side wants to be notified (`pvirtq_event_suppress`, section 2.8.10), 4 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EventSuppression {
    /// With [`EventFlags::DESCRIPTOR`]: of which descriptor.
    pub position: EventPosition,
    /// When.
    pub flags: EventFlags,
}

const _: () = assert!(size_of::<EventSuppression>() == 4);

/// A place in the ring and the wrap counter there.
#[bitfield(u16)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct EventPosition {
    /// Index of the descriptor.
    #[bits(15)]
    pub offset: u16,
    /// Wrap counter.
    pub wrap: bool,
}

/// When a side wants to be notified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct EventFlags(pub u16);

impl EventFlags {
    /// RING_EVENT_FLAGS_ENABLE: always.
    pub const ENABLE: EventFlags = EventFlags(0);
    /// RING_EVENT_FLAGS_DISABLE: never.
    pub const DISABLE: EventFlags = EventFlags(1);
    /// RING_EVENT_FLAGS_DESC: when the descriptor at the position is reached. With EVENT_IDX.
    pub const DESCRIPTOR: EventFlags = EventFlags(2);
}
