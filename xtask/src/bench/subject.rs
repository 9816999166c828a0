//! What is measured: a driver of ours, its peer in Linux, and the device that both drive.

/// A driver of ours and its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// Our daemon.
    pub daemon: &'static str,
    /// Our program that drives a disk without a front end.
    pub bench: &'static str,
    /// What reports call the peer.
    pub peer: &'static str,
    /// The peer's kernel module.
    pub module: &'static str,
    /// The PCI driver that has the peer's functions.
    pub pci_driver: &'static str,
    /// The device, as `-device` takes it, less its serial number, drive and slot.
    pub device: &'static str,
}

/// nvmed beside Linux's nvme.
pub const NVME: Subject = Subject {
    daemon: "nvmed",
    bench: "nvme-bench",
    peer: "Linux nvme",
    module: "nvme",
    pci_driver: "nvme",
    device: "nvme",
};

/// virtio-blkd beside Linux's virtio-blk, on split rings.
pub const VIRTIO_SPLIT: Subject = Subject {
    daemon: "virtio-blkd",
    bench: "virtio-bench",
    peer: "Linux virtio-blk",
    module: "virtio_blk",
    pci_driver: "virtio-pci",
    device: "virtio-blk-pci,disable-legacy=on,iommu_platform=on",
};

/// The same on packed rings.
pub const VIRTIO_PACKED: Subject =
    Subject { device: "virtio-blk-pci,disable-legacy=on,iommu_platform=on,packed=on", ..VIRTIO_SPLIT };
