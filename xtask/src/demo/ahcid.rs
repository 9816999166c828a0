//! The demo of ahcid: an ext4 file system on our driver, beside Linux's own.

use std::time::Duration;

use anyhow::Result;

use super::{Curve, Driver, Expected, Plan, always, ours};
use crate::rig::Guest;

const MIB: u64 = 1 << 20;

/// QEMU's controllers are all the same: the scripts name those that are ours.
const PCID: &str = "[[drivers]]\n\
                    name = \"AHCI storage\"\n\
                    class = 0x01\n\
                    subclass = 0x06\n\
                    interface = 0x01\n\
                    command = [\"ahcid\"]\n";

/// The demo of ahcid.
pub(super) const DRIVER: Driver = Driver {
    name: "ahcid",
    summary: "an AHCI controller with disks and a CD drive: a file system, crashes, failing blocks, exchanged media",
    daemons: &["ahcid", "pcid-spawner"],
    tools: &["stray-dma"],
    plans: &[
        Plan {
            name: "ahcid",
            title: "A file system on ahcid",
            script: "ahcid.sh",
            build: main,
            checks: MAIN,
            curves: &[Curve {
                file: "kill_iops.1.log",
                title: "Write requests per second while the daemon is killed",
                mark: ("kill.at", "SIGKILL"),
            }],
        },
        Plan {
            name: "ahcid-shapes",
            title: "Disks, a CD drive and failing blocks",
            script: "ahcid-shapes.sh",
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
    always("fsync reaches the disk"),
    always("fstrim shrinks the host image"),
    always("GPT partitions"),
    always("fio verifies random sizes, 2 jobs at QD32"),
    ours("commands are queued natively"),
    ours("resident memory below 24 MiB"),
    ours("the running daemon can be inspected"),
    ours("SIGKILL in the middle of a verifying fio"),
    ours("20 kills"),
    ours("file system is clean after the kills"),
    ours("SIGTERM ends the daemon cleanly"),
    always("DMA outside a map is blocked"),
    ours("a device in use is refused"),
    ours("a device that is no AHCI controller is refused"),
];

fn main(guest: Guest<'_>) -> Result<Guest<'_>> {
    Ok(common(guest)
        .device("ich9-ahci,id=ours,addr=4")
        .disk("ours", 2048 * MIB)?
        .device("ide-hd,bus=ours.0,drive=ours,serial=ours,discard_granularity=512")
        .device("ich9-ahci,id=peer,addr=5")
        .disk("peer", 1024 * MIB)?
        .device("ide-hd,bus=peer.0,drive=peer,serial=peer")
        .device("ich9-ahci,id=mounted,addr=6")
        .disk("mounted", 64 * MIB)?
        .device("ide-hd,bus=mounted.0,drive=mounted,serial=mounted")
        .trace("ide_bus_exec_cmd")
        .trace("process_ncq_command")
        .trace("ahci_port_write")
        .deadline(Duration::from_secs(1500)))
}

const SHAPES: &[Expected] = &[
    always("four disks of one controller at once"),
    always("a disk with 4096-byte physical blocks"),
    always("a CD is read and is read-only"),
    always("another CD is put in by QMP"),
    ours("the tray is emptied by QMP"),
    always("a failing block is EIO to its reader alone"),
    always("a failing block is EIO to its writer alone"),
    ours("INTx instead of MSI"),
    ours("without native command queuing"),
    ours("polled"),
    ours("the daemon outlives the errors"),
];

fn shapes(guest: Guest<'_>) -> Result<Guest<'_>> {
    let mut guest = common(guest)
        .device("ich9-ahci,id=many,addr=4")
        .disk("first", 128 * MIB)?
        .device("ide-hd,bus=many.0,drive=first,serial=first")
        .disk("second", 64 * MIB)?
        .device("ide-hd,bus=many.1,drive=second,serial=second")
        .disk("advanced", 128 * MIB)?
        .device("ide-hd,bus=many.3,drive=advanced,serial=advanced,physical_block_size=4096")
        .disk("last", 32 * MIB)?
        .device("ide-hd,bus=many.5,drive=last,serial=last")
        .device("ich9-ahci,id=cd,addr=5");
    let disc = guest.image("disc", 16 * MIB)?;
    std::fs::write(&disc, disc_content(16 * MIB, b"disc"))?;
    let other = guest.image("other", 8 * MIB)?;
    std::fs::write(&other, disc_content(8 * MIB, b"other"))?;
    let quoted = |path: &std::path::Path| path.display().to_string().replace(',', ",,");
    guest = guest
        .blockdev(&format!(
            "driver=raw,node-name=disc,read-only=on,file.driver=file,file.filename={}",
            quoted(&disc)
        ))
        .device("ide-cd,bus=cd.2,id=tray,drive=disc")
        .env("OTHER_DISC", &other.display().to_string())
        .device("ich9-ahci,id=bad,addr=6");
    // Sectors of 512 bytes: reading 20480 fails, writing 40960 fails.
    let path = guest.image("faulty", 64 * MIB)?;
    guest = guest.blockdev(&format!(
        "driver=blkdebug,node-name=faulty,image.driver=file,image.filename={},\
         inject-error.0.event=none,inject-error.0.iotype=read,inject-error.0.errno=5,\
         inject-error.0.sector=20480,inject-error.0.once=off,\
         inject-error.1.event=none,inject-error.1.iotype=write,inject-error.1.errno=5,\
         inject-error.1.sector=40960,inject-error.1.once=off",
        quoted(&path)
    ));
    Ok(guest
        .device("ide-hd,bus=bad.0,drive=faulty,serial=faulty,werror=report,rerror=report")
        .device("ich9-ahci,id=ways,addr=7")
        .disk("ways", 64 * MIB)?
        .device("ide-hd,bus=ways.0,drive=ways,serial=ways")
        .deadline(Duration::from_secs(600)))
}

/// What a disc holds: its name again and again, numbered.
fn disc_content(bytes: u64, name: &[u8]) -> Vec<u8> {
    let lines = (0u64..).flat_map(|line| [name, format!(" {line}\n").as_bytes()].concat());
    lines.take(usize::try_from(bytes).unwrap_or(0)).collect()
}

fn common(guest: Guest<'_>) -> Guest<'_> {
    guest.device("intel-iommu,intremap=on").cmdline("intel_iommu=on").file("pcid.d/10-ahcid.toml", PCID)
}
