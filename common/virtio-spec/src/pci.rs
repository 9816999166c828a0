//! The PCI transport (section 4.1).

use redox_driver_sys::register_values;

/// Vendor of every virtio device (section 4.1.2).
pub const VENDOR: u16 = 0x1af4;
/// A device of type `t` that follows version 1 has device id `MODERN + t` (section 4.1.2.1).
pub const MODERN: u16 = 0x1040;
/// Device id of a transitional network device.
pub const TRANSITIONAL_NET: u16 = 0x1000;
/// Device id of a transitional block device.
pub const TRANSITIONAL_BLOCK: u16 = 0x1001;
/// A queue, or the configuration, without an MSI-X vector (section 4.1.5.1.2).
pub const NO_VECTOR: u16 = 0xffff;

/// A capability that says where a structure is (`virtio_pci_cap`, section 4.1.4): offsets of its fields, in bytes.
pub mod capability {
    /// Which structure: one of the constants of [`super::structure`].
    pub const CFG_TYPE: u16 = 3;
    /// In which BAR: 0 to 5. Others are reserved and to be ignored.
    pub const BAR: u16 = 4;
    /// Tells structures of the same type apart.
    pub const ID: u16 = 5;
    /// Where in the BAR, 32 bits.
    pub const OFFSET: u16 = 8;
    /// How long it is, 32 bits.
    pub const LENGTH: u16 = 12;
    /// Of the notification structure: what a queue's `queue_notify_off` is multiplied by, 32 bits (section 4.1.4.4).
    pub const NOTIFY_OFF_MULTIPLIER: u16 = 16;
    /// Length of a capability without anything special.
    pub const LEN: u8 = 16;
    /// Length of the capability of the notification structure.
    pub const NOTIFY_LEN: u8 = 20;
}

/// Types of structures (section 4.1.4).
pub mod structure {
    /// Common configuration.
    pub const COMMON: u8 = 1;
    /// Notifications.
    pub const NOTIFY: u8 = 2;
    /// Interrupt status.
    pub const ISR: u8 = 3;
    /// Configuration of the device's type.
    pub const DEVICE: u8 = 4;
    /// Access to BARs through configuration space.
    pub const PCI: u8 = 5;
}

/// The common configuration structure (`virtio_pci_common_cfg`, section 4.1.4.3): offsets of its fields, in bytes.
pub mod common {
    /// Which 32 feature bits `DEVICE_FEATURE` shows, 32 bits.
    pub const DEVICE_FEATURE_SELECT: u64 = 0x00;
    /// Features that the device offers, 32 bits.
    pub const DEVICE_FEATURE: u64 = 0x04;
    /// Which 32 feature bits `DRIVER_FEATURE` takes, 32 bits.
    pub const DRIVER_FEATURE_SELECT: u64 = 0x08;
    /// Features that the driver accepts, 32 bits.
    pub const DRIVER_FEATURE: u64 = 0x0c;
    /// Vector of changes of the configuration, 16 bits.
    pub const CONFIG_MSIX_VECTOR: u64 = 0x10;
    /// Most queues that the device has, 16 bits.
    pub const NUM_QUEUES: u64 = 0x12;
    /// [`DeviceStatus`](crate::DeviceStatus), 8 bits.
    pub const DEVICE_STATUS: u64 = 0x14;
    /// Changes with the device's configuration, 8 bits.
    pub const CONFIG_GENERATION: u64 = 0x15;
    /// Which queue the fields below are of, 16 bits.
    pub const QUEUE_SELECT: u64 = 0x16;
    /// Entries of the queue: the most there can be, until the driver writes fewer; 0: no such queue. 16 bits.
    pub const QUEUE_SIZE: u64 = 0x18;
    /// Vector of the queue, 16 bits.
    pub const QUEUE_MSIX_VECTOR: u64 = 0x1a;
    /// Whether the queue is used, 16 bits.
    pub const QUEUE_ENABLE: u64 = 0x1c;
    /// Where the queue's notifications go, in units of the multiplier, 16 bits.
    pub const QUEUE_NOTIFY_OFF: u64 = 0x1e;
    /// Address of the descriptor area, 64 bits.
    pub const QUEUE_DESC: u64 = 0x20;
    /// Address of the driver area, 64 bits.
    pub const QUEUE_DRIVER: u64 = 0x28;
    /// Address of the device area, 64 bits.
    pub const QUEUE_DEVICE: u64 = 0x30;
    /// Number to put into notifications, 16 bits, with NOTIF_CONFIG_DATA.
    pub const QUEUE_NOTIF_CONFIG_DATA: u64 = 0x38;
    /// Resets the queue, 16 bits, with RING_RESET.
    pub const QUEUE_RESET: u64 = 0x3a;
    /// Length of the structure without the optional fields.
    pub const LEN: u64 = 0x38;
    /// Length with `QUEUE_RESET`.
    pub const LEN_WITH_RESET: u64 = 0x3c;
}

/// The interrupt status (section 4.1.4.5). Reading it clears it and takes the interrupt pin back.
#[bitfield_struct::bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct InterruptStatus {
    /// A queue has used buffers.
    pub queue: bool,
    /// The configuration changed.
    pub configuration: bool,
    #[bits(6)]
    __: u8,
}

/// What a notification says with NOTIFICATION_DATA (section 4.1.5.2).
#[bitfield_struct::bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct NotificationData {
    /// The queue.
    pub queue: u16,
    /// Split: the available index. Packed: the offset of the next descriptor to be written in the low 15 bits, its wrap
    /// counter above.
    pub next: u16,
}

register_values!(InterruptStatus: u8, NotificationData: u32);
