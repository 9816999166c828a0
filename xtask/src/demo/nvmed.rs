//! The demo of nvmed: an ext4 file system on our driver, beside Linux's own.

use std::time::Duration;

use anyhow::Result;

use super::{Curve, Driver, Expected, Plan, always, ours};
use crate::rig::Guest;

const MIB: u64 = 1 << 20;

/// QEMU's controller can carry two ids. Ours is told from the peer by this one (8086:5845), which
/// the guest's pcid.d names.
const OURS: &str = "use-intel-id=on";

const PCID: &str = "[[drivers]]\n\
                    name = \"NVMe storage\"\n\
                    class = 0x01\n\
                    subclass = 0x08\n\
                    interface = 0x02\n\
                    ids = { 0x8086 = [0x5845] }\n\
                    command = [\"nvmed\"]\n";

/// The demo of nvmed.
pub(super) const DRIVER: Driver = Driver {
    name: "nvmed",
    summary: "an NVMe controller with an ext4 file system, crashes and odd controllers included",
    daemons: &["nvmed", "pcid-spawner"],
    tools: &["stray-dma", "null-ublk"],
    plans: &[
        Plan {
            name: "nvmed",
            title: "A file system on nvmed",
            script: "nvmed.sh",
            build: main,
            checks: MAIN,
            curves: &[Curve {
                file: "kill_iops.1.log",
                title: "Write requests per second while the daemon is killed",
                mark: ("kill.at", "SIGKILL"),
            }],
        },
        Plan {
            name: "nvmed-shapes",
            title: "Odd controllers and failing blocks",
            script: "nvmed-shapes.sh",
            build: shapes,
            checks: SHAPES,
            curves: &[],
        },
        Plan {
            name: "nvmed-refusals",
            title: "Refusals: one clear line, nothing changed",
            script: "nvmed-refusals.sh",
            build: refusals,
            checks: REFUSALS,
            curves: &[],
        },
    ],
};

const MAIN: &[Expected] = &[
    always("the peer is Linux's"),
    always("enumerated"),
    ours("spawned by pcid-spawner"),
    ours("a mounted device is left alone"),
    ours("each queue's vector has its processor"),
    ours("a device of another daemon is refused"),
    always("mkfs.ext4 and mount"),
    always("5,000 files copied and compared"),
    always("fsync reaches the controller"),
    always("fstrim shrinks the host image"),
    always("GPT partitions"),
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
    ours("a device that is no NVMe controller is refused"),
];

fn main(guest: Guest<'_>) -> Result<Guest<'_>> {
    Ok(common(guest)
        .disk("ours", 2048 * MIB)?
        .device(&format!("nvme,serial=ours,drive=ours,{OURS},addr=4"))
        .disk("peer", 1024 * MIB)?
        .device("nvme,serial=peer,drive=peer,addr=5")
        .disk("mounted", 64 * MIB)?
        .device(&format!("nvme,serial=mounted,drive=mounted,{OURS},addr=6"))
        .trace("pci_nvme_flush*")
        .trace("pci_nvme_mmio_shutdown_*")
        .deadline(Duration::from_secs(1200)))
}

const SHAPES: &[Expected] = &[
    always("mdts=1"),
    always("max_ioqpairs=1"),
    always("msix_qsize=1"),
    always("4096-byte blocks"),
    always("two namespaces"),
    ours("a namespace is attached, detached and attached again"),
    ours("a block device follows the size of its disk"),
    always("a failing block is EIO to its reader alone"),
    always("a failing block is EIO to its writer alone"),
    ours("the daemon outlives the errors"),
    ours("a namespace of 0 blocks is refused"),
    ours("a truncated partition table is refused"),
];

fn shapes(guest: Guest<'_>) -> Result<Guest<'_>> {
    let mut guest = common(guest)
        .disk("mdts", 128 * MIB)?
        .device(&format!("nvme,serial=mdts,drive=mdts,mdts=1,{OURS},addr=4"))
        .disk("queues", 128 * MIB)?
        .device(&format!("nvme,serial=queues,drive=queues,max_ioqpairs=1,{OURS},addr=5"))
        .disk("vectors", 128 * MIB)?
        .device(&format!("nvme,serial=vectors,drive=vectors,msix_qsize=1,{OURS},addr=6"))
        .disk("big", 128 * MIB)?
        .device(&format!("nvme,id=big,serial=big,{OURS},addr=7"))
        .device("nvme-ns,bus=big,drive=big,logical_block_size=4096,physical_block_size=4096")
        .disk("first", 128 * MIB)?
        .disk("second", 64 * MIB)?
        .device(&format!("nvme,id=pair,serial=pair,{OURS},addr=8"))
        .device("nvme-ns,bus=pair,drive=first,nsid=1")
        .device("nvme-ns,bus=pair,drive=second,nsid=2")
        // Two controllers of one subsystem: Linux's manages the namespaces of ours.
        .device("nvme-subsys,id=pool")
        .device(&format!("nvme,id=member,serial=pool,subsys=pool,{OURS},addr=0xc"))
        .device("nvme,serial=pool,subsys=pool,addr=0xd")
        .disk("always", 32 * MIB)?
        .device("nvme-ns,bus=member,drive=always,nsid=1")
        .disk("later", 48 * MIB)?
        .device("nvme-ns,bus=member,drive=later,nsid=2,detached=on")
        // Not for pcid-spawner: the script takes them from Linux's driver.
        .null_disk("empty", 0)
        .device("nvme,id=empty,serial=empty,addr=0xa")
        .device("nvme-ns,bus=empty,drive=empty,nsid=1")
        .disk("truncated", 16 * MIB)?
        .device("nvme,serial=truncated,drive=truncated,addr=0xb");
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
    Ok(guest
        .device(&format!("nvme,serial=faulty,drive=faulty,{OURS},addr=9"))
        .deadline(Duration::from_secs(600)))
}

const REFUSALS: &[Expected] = &[
    ours("VFIO not loaded"),
    ours("no IOMMU group"),
    ours("no such device"),
    ours("a malformed address"),
    ours("a malformed pcid.d file is named and skipped"),
    always("nothing was changed"),
];

fn refusals(guest: Guest<'_>) -> Result<Guest<'_>> {
    // No IOMMU here: with one, the group would exist.
    Ok(guest
        .disk("mounted", 64 * MIB)?
        .device(&format!("nvme,serial=mounted,drive=mounted,{OURS},addr=4"))
        .file("pcid.d/10-nvmed.toml", PCID)
        .file("pcid.d/05-broken.toml", "[[drivers]]\nclass = \"one\"\n")
        .deadline(Duration::from_secs(180)))
}

fn common(guest: Guest<'_>) -> Guest<'_> {
    guest.device("intel-iommu,intremap=on").cmdline("intel_iommu=on").file("pcid.d/10-nvmed.toml", PCID)
}
