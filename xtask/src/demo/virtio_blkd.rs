//! The demo of virtio-blkd: an ext4 file system on our driver, beside Linux's own.

use std::time::Duration;

use anyhow::Result;

use super::{Curve, Driver, Expected, Plan, always, ours};
use crate::rig::Guest;

const MIB: u64 = 1 << 20;

/// A device that follows version 1 alone (1af4:1042), behind the IOMMU. The peer is a transitional one (1af4:1001), and those that
/// a script starts daemons for are of another class: the guest's pcid.d does not name them.
const OURS: &str = "virtio-blk-pci,disable-legacy=on,iommu_platform=on";

const PCID: &str = "[[drivers]]\n\
                    name = \"virtio block device\"\n\
                    class = 0x01\n\
                    subclass = 0x00\n\
                    ids = { 0x1af4 = [0x1042] }\n\
                    command = [\"virtio-blkd\"]\n";

/// The demo of virtio-blkd.
pub(super) const DRIVER: Driver = Driver {
    name: "virtio-blkd",
    summary: "a virtio block device with an ext4 file system, crashes and every shape of ring included",
    daemons: &["virtio-blkd", "pcid-spawner"],
    tools: &["stray-dma"],
    plans: &[
        Plan {
            name: "virtio-blkd",
            title: "A file system on virtio-blkd",
            script: "virtio-blkd.sh",
            build: main,
            checks: MAIN,
            curves: &[Curve {
                file: "kill_iops.1.log",
                title: "Write requests per second while the daemon is killed",
                mark: ("kill.at", "SIGKILL"),
            }],
        },
        Plan {
            name: "virtio-blkd-shapes",
            title: "Rings of every shape, odd devices and failing blocks",
            script: "virtio-blkd-shapes.sh",
            build: shapes,
            checks: SHAPES,
            curves: &[],
        },
    ],
};

const MAIN: &[Expected] = &[
    always("the peer is Linux's"),
    always("enumerated"),
    ours("spawned by pcid-spawner"),
    ours("a mounted device is left alone"),
    always("mkfs.ext4 and mount"),
    always("5,000 files copied and compared"),
    always("fsync reaches the device"),
    always("fstrim shrinks the host image"),
    always("GPT partitions"),
    always("secure erase is refused"),
    always("fio verifies random sizes, 2 jobs at QD32"),
    ours("resident memory below 24 MiB"),
    ours("the running daemon can be inspected"),
    ours("SIGKILL in the middle of a verifying fio"),
    ours("20 kills"),
    ours("file system is clean after the kills"),
    ours("SIGTERM ends the daemon cleanly"),
    always("DMA outside a map is blocked"),
    ours("a device in use is refused"),
    ours("a mounted device is refused by pcid-spawner"),
    ours("a device that is no block device is refused"),
];

fn main(guest: Guest<'_>) -> Result<Guest<'_>> {
    Ok(common(guest)
        .disk("ours", 2048 * MIB)?
        .device(&format!("{OURS},id=ours,serial=ours,drive=ours,packed=on,addr=4"))
        .disk("peer", 1024 * MIB)?
        .device("virtio-blk-pci,serial=peer,drive=peer,addr=5")
        .disk("mounted", 64 * MIB)?
        .device(&format!("{OURS},serial=mounted,drive=mounted,addr=6"))
        .trace("virtio_set_status")
        .deadline(Duration::from_secs(1200)))
}

const SHAPES: &[Expected] = &[
    always("split ring"),
    always("packed ring"),
    always("packed ring without event_idx"),
    always("split ring without event_idx"),
    always("split ring without indirect descriptors"),
    always("packed ring without indirect descriptors"),
    always("queues of 4 entries"),
    always("queues of 16 entries, packed"),
    always("4 queues"),
    always("1 queue"),
    always("1 interrupt vector"),
    always("the interrupt pin"),
    always("4096-byte blocks"),
    always("resize by QMP"),
    always("read-only"),
    always("a failing block is EIO to its reader alone"),
    always("a failing block is EIO to its writer alone"),
    ours("the daemons outlive all of that"),
    ours("a legacy device (disable-modern=on) is refused"),
    ours("a device that goes around the IOMMU is refused"),
    ours("queues of 1024 entries"),
    ours("answers in order"),
    ours("polled"),
    ours("the write cache is switched"),
];

/// Slot, name and properties of devices that differ in nothing else.
const RINGS: &[(&str, &str, &str)] = &[
    ("0x4", "split", "packed=off"),
    ("0x5", "packed", "packed=on"),
    ("0x6", "packed-flags", "packed=on,event_idx=off"),
    ("0x7", "split-flags", "event_idx=off"),
    ("0x8", "split-direct", "indirect_desc=off"),
    ("0x9", "packed-direct", "packed=on,indirect_desc=off"),
    ("0xa", "tiny", "queue-size=4,seg-max-adjust=off"),
    ("0xb", "sixteen", "queue-size=16,packed=on"),
    ("0xc", "four", "num-queues=4"),
    ("0xd", "one", "num-queues=1"),
    ("0xe", "vector", "vectors=1"),
    ("0xf", "pin", "vectors=0"),
    ("0x10", "big", "logical_block_size=4096,physical_block_size=8192"),
];

fn shapes(guest: Guest<'_>) -> Result<Guest<'_>> {
    let mut guest = common(guest).processors(4);
    for (slot, name, properties) in RINGS {
        guest = guest
            .disk(name, 64 * MIB)?
            .device(&format!("{OURS},serial={name},drive={name},{properties},addr={slot}"));
    }
    guest =
        guest.disk("resized", 64 * MIB)?.device(&format!("{OURS},serial=resized,drive=resized,addr=0x11"));
    // Sectors of 512 bytes: reading 20480 fails, writing 40960 fails.
    let path = guest.image("faulty", 64 * MIB)?;
    guest = guest.blockdev(&format!(
        "driver=blkdebug,node-name=faulty,image.driver=file,image.filename={},\
         inject-error.0.event=none,inject-error.0.iotype=read,inject-error.0.errno=5,\
         inject-error.0.sector=20480,inject-error.0.once=off,\
         inject-error.1.event=none,inject-error.1.iotype=write,inject-error.1.errno=5,\
         inject-error.1.sector=40960,inject-error.1.once=off",
        path.display().to_string().replace(',', ",,")
    ));
    let path = guest.image("fixed", 16 * MIB)?;
    guest = guest.blockdev(&format!(
        "driver=file,node-name=fixed,read-only=on,filename={}",
        path.display().to_string().replace(',', ",,")
    ));
    Ok(guest
        .device(&format!("{OURS},serial=faulty,drive=faulty,addr=0x12"))
        .device(&format!("{OURS},serial=fixed,drive=fixed,addr=0x13"))
        // Not for pcid-spawner: the script hands them to VFIO.
        .null_disk("legacy", 16 * MIB)
        .device("virtio-blk-pci,disable-modern=on,disable-legacy=off,serial=legacy,drive=legacy,addr=0x14")
        .null_disk("bypass", 16 * MIB)
        .device("virtio-blk-pci,disable-legacy=off,serial=bypass,drive=bypass,addr=0x15")
        .disk("hand", 64 * MIB)?
        .device(&format!("{OURS},serial=hand,drive=hand,in_order=on,queue-size=1024,class=0x0180,addr=0x16"))
        .deadline(Duration::from_secs(1200)))
}

fn common(guest: Guest<'_>) -> Guest<'_> {
    guest.device("intel-iommu,intremap=on").cmdline("intel_iommu=on").file("pcid.d/10-virtio-blkd.toml", PCID)
}
