//! The demo of all storage drivers together: the same checks for the disks of each, and many daemons at once.

use std::time::Duration;

use anyhow::Result;

use super::{Driver, Expected, Plan, always, ours};
use crate::rig::Guest;

const MIB: u64 = 1 << 20;

/// The machine's own AHCI controller is not meant: the scripts name the functions.
const PCID: &str = "[[drivers]]\n\
                    name = \"NVMe storage\"\n\
                    class = 0x01\n\
                    subclass = 0x08\n\
                    interface = 0x02\n\
                    command = [\"nvmed\"]\n\
                    [[drivers]]\n\
                    name = \"AHCI storage\"\n\
                    class = 0x01\n\
                    subclass = 0x06\n\
                    interface = 0x01\n\
                    command = [\"ahcid\"]\n\
                    [[drivers]]\n\
                    name = \"virtio block device\"\n\
                    class = 0x01\n\
                    subclass = 0x00\n\
                    ids = { 0x1af4 = [0x1042] }\n\
                    command = [\"virtio-blkd\"]\n";

/// The demo of all storage drivers together.
pub(super) const DRIVER: Driver = Driver {
    name: "storage",
    summary: "nvmed, ahcid and virtio-blkd: the same checks for the disks of each, and eight daemons at once",
    daemons: &["nvmed", "ahcid", "virtio-blkd", "pcid-spawner"],
    tools: &["block-check"],
    plans: &[
        Plan {
            name: "storage-conformance",
            title: "Disks of every driver from their clients' side",
            script: "storage-conformance.sh",
            build: conformance,
            checks: CONFORMANCE,
            curves: &[],
        },
        Plan {
            name: "storage-eight",
            title: "Eight daemons at once",
            script: "storage-eight.sh",
            build: eight,
            checks: EIGHT,
            curves: &[],
        },
    ],
};

const CONFORMANCE: &[Expected] = &[
    always("nvmed's disk conforms"),
    always("nvmed's disk with 4096-byte blocks conforms"),
    always("ahcid's disk conforms"),
    always("ahcid's disk with 4096-byte physical blocks conforms"),
    always("virtio-blkd's disk conforms"),
    always("virtio-blkd's disk with 4096-byte blocks conforms"),
    ours("the daemons outlive all of that"),
];

const VIRTIO: &str = "virtio-blk-pci,disable-legacy=on,iommu_platform=on";

fn conformance(guest: Guest<'_>) -> Result<Guest<'_>> {
    Ok(common(guest)
        .disk("nvme", 64 * MIB)?
        .device("nvme,serial=nvme,drive=nvme,addr=4")
        .disk("nvme4k", 64 * MIB)?
        .device("nvme,id=nvme4k,serial=nvme4k,addr=5")
        .device("nvme-ns,bus=nvme4k,drive=nvme4k,logical_block_size=4096,physical_block_size=4096")
        .device("ich9-ahci,id=ahci,addr=6")
        .disk("ahci", 64 * MIB)?
        .device("ide-hd,bus=ahci.0,drive=ahci,serial=ahci,discard_granularity=512")
        .disk("ahci4k", 64 * MIB)?
        .device("ide-hd,bus=ahci.1,drive=ahci4k,serial=ahci4k,physical_block_size=4096")
        .disk("virtio", 64 * MIB)?
        .device(&format!("{VIRTIO},serial=virtio,drive=virtio,packed=on,addr=7"))
        .disk("virtio4k", 64 * MIB)?
        .device(&format!(
            "{VIRTIO},serial=virtio4k,drive=virtio4k,logical_block_size=4096,physical_block_size=4096,addr=8"
        ))
        .deadline(Duration::from_secs(900)))
}

const EIGHT: &[Expected] = &[
    ours("eight daemons are started"),
    always("fio verifies on eight disks at once"),
    ours("each daemon is killed, then all at once, under eight verifying fios"),
    ours("each of them can be inspected"),
    ours("SIGTERM ends all of them"),
];

fn eight(guest: Guest<'_>) -> Result<Guest<'_>> {
    let mut guest = common(guest);
    for slot in 4..=11 {
        let name = format!("disk{slot}");
        guest = guest.disk(&name, 64 * MIB)?;
        guest = match slot {
            4..=6 => guest.device(&format!("nvme,serial={name},drive={name},addr={slot:#x}")),
            7..=8 => guest
                .device(&format!("ich9-ahci,id=ahci{slot},addr={slot:#x}"))
                .device(&format!("ide-hd,bus=ahci{slot}.0,drive={name},serial={name}")),
            _ => guest.device(&format!("{VIRTIO},serial={name},drive={name},addr={slot:#x}")),
        };
    }
    Ok(guest.memory_mib(3072).deadline(Duration::from_secs(900)))
}

fn common(guest: Guest<'_>) -> Guest<'_> {
    guest.device("intel-iommu,intremap=on").cmdline("intel_iommu=on").file("pcid.d/10-storage.toml", PCID)
}
