//! Feature bits that do not depend on the device's type (section 6).

use bitflags::bitflags;

bitflags! {
    /// Features of the rings and the transport. Bits 0 to 23 and 50 upwards belong to the type of the device; they are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Features: u64 {
        /// VIRTIO_F_INDIRECT_DESC: descriptors may refer to a table of descriptors.
        const INDIRECT_DESC = 1 << 28;
        /// VIRTIO_F_EVENT_IDX: notifications are asked for by index.
        const EVENT_IDX = 1 << 29;
        /// VIRTIO_F_VERSION_1: the device follows version 1 or later of the specification.
        const VERSION_1 = 1 << 32;
        /// VIRTIO_F_ACCESS_PLATFORM: addresses are those of the platform's DMA, behind its IOMMU.
        const ACCESS_PLATFORM = 1 << 33;
        /// VIRTIO_F_RING_PACKED: packed virtqueues.
        const RING_PACKED = 1 << 34;
        /// VIRTIO_F_IN_ORDER: buffers are used in the order in which they were made available.
        const IN_ORDER = 1 << 35;
        /// VIRTIO_F_ORDER_PLATFORM: memory accesses are ordered as the platform orders those of hardware.
        const ORDER_PLATFORM = 1 << 36;
        /// VIRTIO_F_SR_IOV: single root I/O virtualization.
        const SR_IOV = 1 << 37;
        /// VIRTIO_F_NOTIFICATION_DATA: notifications say how far the driver has come.
        const NOTIFICATION_DATA = 1 << 38;
        /// VIRTIO_F_NOTIF_CONFIG_DATA: notifications carry a number of the device's choice.
        const NOTIF_CONFIG_DATA = 1 << 39;
        /// VIRTIO_F_RING_RESET: a queue can be reset by itself.
        const RING_RESET = 1 << 40;
        const _ = !0;
    }
}
