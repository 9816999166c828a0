//! Bodies of messages (section 3).

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! bodies {
    ($($(#[$meta:meta])* pub struct $name:ident: $size:literal { $($(#[$field_meta:meta])* pub $field:ident: $kind:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $kind,)*
        }

        const _: () = assert!(size_of::<$name>() == $size);
    )*};
}

/// A set of flags as its bits: what a peer sends may have any.
macro_rules! flags {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$flag_meta:ident $($flag_arguments:tt)*])* $flag:ident = $value:expr;)* })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
            #[repr(transparent)]
            pub struct $name(u32);

            bitflags! {
                impl $name: u32 {
                    $($(#[$flag_meta $($flag_arguments)*])* const $flag = $value;)*
                }
            }

            impl $name {
                /// Whether bits are set that mean nothing.
                pub fn is_unknown(self) -> bool {
                    !$name::all().contains(self)
                }
            }
        )*
    };
}

flags! {
    /// How a piece is mapped.
    pub struct MapFlags {
        /// The device may read.
        READ = 1 << 0;
        /// The device may write.
        WRITE = 1 << 1;
        /// At the address that the piece names; otherwise the daemon chooses one.
        FIXED = 1 << 2;
        /// A page behind it stays unmapped for as long as it is mapped.
        GUARD = 1 << 3;
    }
    /// What is known of an event.
    pub struct EventFlags {
        /// The device wrote; otherwise it read.
        WRITE = 1 << 0;
        /// There was a mapping, which did not permit the access.
        PRESENT = 1 << 1;
        /// An interrupt, no memory access.
        INTERRUPT = 1 << 2;
    }
    /// What a unit does.
    pub struct UnitFlags {
        /// It carries out commands.
        WORKING = 1 << 0;
        /// Its interrupt entries have 128 bits.
        WIDE_INTERRUPTS = 1 << 1;
        /// Interrupts go to x2APIC ids.
        X2APIC = 1 << 2;
    }
}

bodies! {
    /// Reply to QUERY, before a list of [`UnitInfo`].
    pub struct QueryReply: 48 {
        /// Most domains of a client.
        pub domains: u32,
        /// Most mappings of a client.
        pub mappings: u32,
        /// Bytes of memory that a client may bring in or have allocated.
        pub bytes: u64,
        /// Most memory objects of a client.
        pub objects: u32,
        /// log2 of the smallest page.
        pub page_shift: u32,
        /// First address that a domain may use.
        pub lowest: u64,
        /// Bits of the addresses of a domain, if its creator does not ask for another number; and most.
        pub address_bits: u32,
        /// See `address_bits`.
        pub most_address_bits: u32,
        /// Number of units that follow.
        pub units: u32,
        /// 0.
        pub reserved: u32,
    }
    /// A unit.
    pub struct UnitInfo: 32 {
        /// Physical address of its registers, as its name.
        pub base: u64,
        /// Extended feature register (MMIO offset 30h).
        pub features: u64,
        /// PCI segment.
        pub segment: u16,
        /// The PCI function that it is: bus, device, function in 8, 5 and 3 bits.
        pub device: u16,
        /// Most levels of a page table.
        pub levels: u32,
        /// What it does.
        pub flags: UnitFlags,
        /// 0.
        pub reserved: u32,
    }
    /// CREATE_DOMAIN.
    pub struct CreateDomain: 8 {
        /// Bits of its addresses; 0: as the daemon likes.
        pub address_bits: u32,
        /// 0.
        pub reserved: u32,
    }
    /// A domain: reply to CREATE_DOMAIN, and body of DESTROY_DOMAIN.
    pub struct DomainHandle: 8 {
        /// Its handle, which means something to its creator only.
        pub domain: u32,
        /// 0.
        pub reserved: u32,
    }
    /// ALLOCATE.
    pub struct Allocate: 8 {
        /// Bytes, whole pages.
        pub len: u64,
    }
    /// A memory object: reply to ALLOCATE and IMPORT, and body of FREE.
    pub struct MemoryHandle: 16 {
        /// Its handle, which means something to its owner only.
        pub memory: u32,
        /// 0.
        pub reserved: u32,
        /// Its length in bytes; 0 in FREE.
        pub len: u64,
    }
    /// MAP, before a list of [`MapPiece`].
    pub struct Map: 16 {
        /// Where.
        pub domain: u32,
        /// Number of pieces that follow.
        pub pieces: u32,
        /// The highest address that the device drives.
        pub mask: u64,
    }
    /// What is to be mapped at one address.
    pub struct MapPiece: 40 {
        /// Which memory.
        pub memory: u32,
        /// How.
        pub flags: MapFlags,
        /// First byte of the memory; a page starts there.
        pub offset: u64,
        /// Bytes, whole pages.
        pub len: u64,
        /// A power of two that the address is a multiple of; 0: the daemon chooses.
        pub align: u64,
        /// The address, with FIXED; otherwise 0.
        pub address: u64,
    }
    /// UNMAP, before a list of [`Range`].
    pub struct Unmap: 8 {
        /// Where.
        pub domain: u32,
        /// Number of ranges that follow.
        pub ranges: u32,
    }
    /// What was mapped at one address. In replies to MAP, and in UNMAP, which takes it as it was mapped or not at all.
    pub struct Range: 16 {
        /// First address.
        pub address: u64,
        /// Bytes.
        pub len: u64,
    }
    /// TRANSLATE.
    pub struct Translate: 16 {
        /// Where.
        pub domain: u32,
        /// 0.
        pub reserved: u32,
        /// An address of the domain.
        pub address: u64,
    }
    /// Reply to TRANSLATE.
    pub struct Translated: 16 {
        /// Which memory is there.
        pub memory: u32,
        /// READ and WRITE as it is mapped.
        pub flags: MapFlags,
        /// Which byte of it.
        pub offset: u64,
    }
    /// ASSIGN.
    pub struct Assign: 8 {
        /// The domain that the device is to reach.
        pub domain: u32,
        /// The device.
        pub device: Device,
    }
    /// A PCI function.
    pub struct Device: 4 {
        /// PCI segment.
        pub segment: u16,
        /// Bus, device, function in 8, 5 and 3 bits.
        pub function: u16,
    }
    /// UNASSIGN.
    pub struct Unassign: 8 {
        /// The device.
        pub device: Device,
        /// 0.
        pub reserved: u32,
    }
    /// MAP_INTERRUPT, and UNMAP_INTERRUPT, which looks at device and index only.
    pub struct MapInterrupt: 16 {
        /// Whose.
        pub device: Device,
        /// Which interrupt of the device.
        pub index: u16,
        /// Vector of the processor.
        pub vector: u16,
        /// APIC id.
        pub destination: u32,
        /// 0.
        pub reserved: u32,
    }
    /// Reply to MAP_INTERRUPT: what the device must write.
    pub struct Message: 16 {
        /// Address.
        pub address: u64,
        /// Data.
        pub data: u32,
        /// 0.
        pub reserved: u32,
    }
    /// DRAIN_EVENTS.
    pub struct DrainEvents: 8 {
        /// Most events of the reply.
        pub most: u32,
        /// 0.
        pub reserved: u32,
    }
    /// Reply to DRAIN_EVENTS, before a list of [`EventInfo`].
    pub struct Drained: 16 {
        /// Number of events that follow.
        pub events: u32,
        /// Number of events that are left.
        pub left: u32,
        /// Events of the caller's devices that were lost since the last call, as far as can be known: those for which the
        /// daemon had no room, and one for each time that the unit's own log was full.
        pub lost: u64,
    }
    /// An event of a device.
    pub struct EventInfo: 32 {
        /// The address of the access. QEMU's units log 0.
        pub address: u64,
        /// Nanoseconds of the monotonic clock when the daemon took it out of the unit's log.
        pub time: u64,
        /// The device.
        pub device: Device,
        /// What the unit calls it: EventCode, as 2 for IO_PAGE_FAULT.
        pub code: u32,
        /// What is known of it.
        pub flags: EventFlags,
        /// 0.
        pub reserved: u32,
    }
    /// Reply to INSPECT, before `len` bytes of text.
    pub struct Inspected: 8 {
        /// Bytes of UTF-8 that follow.
        pub len: u32,
        /// 0.
        pub reserved: u32,
    }
}
