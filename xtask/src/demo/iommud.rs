//! The demo of iommud: the kernel leaves the IOMMU alone, and nvmed works through the daemon.

use std::time::Duration;

use anyhow::Result;

use super::{Driver, Expected, Plan, ours};
use crate::rig::Guest;

const MIB: u64 = 1 << 20;

/// The demo of iommud.
pub(super) const DRIVER: Driver = Driver {
    name: "iommud",
    summary: "an IOMMU owned by a daemon, a file system behind it, and devices and clients that misbehave",
    daemons: &["iommud", "nvmed"],
    tools: &["stray-dma"],
    plans: &[Plan {
        name: "iommud",
        title: "A file system through iommud",
        script: "iommud.sh",
        build: main,
        checks: MAIN,
        curves: &[],
    }],
};

const MAIN: &[Expected] = &[
    ours("the kernel leaves the IOMMU alone"),
    ours("iommud owns the unit"),
    ours("nvmed serves a disk through it"),
    ours("mkfs.ext4 and mount"),
    ours("5,000 files copied and compared"),
    ours("fsync reaches the controller"),
    ours("e2fsck finds nothing"),
    ours("five aims of a device are blocked and told of"),
    ours("inspect tells of the events"),
    ours("memory of a killed driver is out of reach"),
    ours("misbehaving clients get errors and harm nobody"),
    ours("a second daemon is refused"),
    ours("no stray DMA while there is no iommud"),
    ours("iommud killed and restarted, its driver ends cleanly"),
    ours("the next driver finds everything"),
    ours("fio verifies random sizes, 2 jobs at QD32"),
    ours("the data path asks the daemon for nothing"),
    ours("SIGTERM ends both cleanly"),
];

fn main(guest: Guest<'_>) -> Result<Guest<'_>> {
    Ok(guest
        .device("amd-iommu,intremap=on,xtsup=on,dma-remap=on")
        .cmdline("amd_iommu=off")
        .disk("ours", 512 * MIB)?
        .device("nvme,serial=ours,drive=ours,addr=4")
        .disk("stray", 64 * MIB)?
        .device("nvme,serial=stray,drive=stray,addr=5")
        .trace("pci_nvme_flush*")
        .deadline(Duration::from_secs(900)))
}
