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
    /// The peer's kernel modules.
    pub modules: &'static str,
    /// The PCI driver that has the peer's functions.
    pub pci_driver: &'static str,
    /// The devices of a slot, as `-device` takes them, with `SLOT` where its number belongs. The disk's back end is
    /// `nullSLOT`.
    pub devices: &'static [&'static str],
}

/// nvmed beside Linux's nvme.
pub const NVME: Subject = Subject {
    daemon: "nvmed",
    bench: "nvme-bench",
    peer: "Linux nvme",
    modules: "nvme",
    pci_driver: "nvme",
    devices: &["nvme,serial=benchSLOT,drive=nullSLOT,addr=SLOT"],
};

/// virtio-blkd beside Linux's virtio-blk, on split rings.
pub const VIRTIO_SPLIT: Subject = Subject {
    daemon: "virtio-blkd",
    bench: "virtio-bench",
    peer: "Linux virtio-blk",
    modules: "virtio_blk",
    pci_driver: "virtio-pci",
    devices: &[
        "virtio-blk-pci,disable-legacy=on,iommu_platform=on,serial=benchSLOT,drive=nullSLOT,addr=SLOT",
    ],
};

/// The same on packed rings.
pub const VIRTIO_PACKED: Subject = Subject {
    devices: &[
        "virtio-blk-pci,disable-legacy=on,iommu_platform=on,packed=on,serial=benchSLOT,drive=nullSLOT,addr=SLOT",
    ],
    ..VIRTIO_SPLIT
};

/// ahcid beside Linux's ahci.
pub const AHCI: Subject = Subject {
    daemon: "ahcid",
    bench: "ahci-bench",
    peer: "Linux ahci",
    modules: "ahci sd_mod",
    pci_driver: "ahci",
    devices: &["ich9-ahci,id=benchSLOT,addr=SLOT", "ide-hd,bus=benchSLOT.0,serial=benchSLOT,drive=nullSLOT"],
};
