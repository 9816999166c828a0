//! The demo of the device models: Linux's own drivers on them, which know nothing of this project.

use std::time::Duration;

use anyhow::Result;

use super::{Driver, Expected, Plan, always};
use crate::rig::Guest;

/// The demo of the models.
pub(super) const DRIVER: Driver = Driver {
    name: "models",
    summary: "the device models that drivers are tested on, judged by Linux's own drivers",
    daemons: &[],
    tools: &["model-server"],
    plans: &[
        Plan {
            name: "models",
            title: "Linux's drivers on our models of disk controllers",
            script: "models.sh",
            build: disks,
            checks: DISKS,
            curves: &[],
        },
        Plan {
            name: "models-e1000",
            title: "Linux's e1000 and e1000e on our models of an 82540EM and an 82574L, with a cable between",
            script: "models-network.sh",
            build: e1000,
            checks: WIRE,
            curves: &[],
        },
        Plan {
            name: "models-82545em",
            title: "Linux's e1000 on our models of an 82545EM and an 82544, with a cable between",
            script: "models-network.sh",
            build: e1000_large,
            checks: LARGE,
            curves: &[],
        },
        Plan {
            name: "models-rtl8168b",
            title: "Linux's r8169 on our model of an RTL8168B, with a cable to an 82545EM",
            script: "models-network.sh",
            build: rtl8168b,
            checks: LARGE,
            curves: &[],
        },
        Plan {
            name: "models-rtl8168c",
            title: "Linux's r8169 on our model of an RTL8168C, with a cable to an 82545EM",
            script: "models-network.sh",
            build: rtl8168c,
            checks: LARGE,
            curves: &[],
        },
        Plan {
            name: "models-rtl8168h",
            title: "Linux's r8169 on our model of an RTL8168H, with a cable to an 82545EM",
            script: "models-network.sh",
            build: rtl8168h,
            checks: LARGE,
            curves: &[],
        },
    ],
};

const DISKS: &[Expected] = &[
    always("nvme, Linux's driver finds its disk"),
    always("nvme, ext4, 5,000 files copied and compared"),
    always("nvme, fio verifies random sizes, 2 jobs at QD32"),
    always("nvme, discard and write zeroes"),
    always("nvme, nothing forbidden was done"),
    always("ahci, Linux's driver finds its disk"),
    always("ahci, ext4, 5,000 files copied and compared"),
    always("ahci, fio verifies random sizes, 2 jobs at QD32"),
    always("ahci, discard and write zeroes"),
    always("ahci, nothing forbidden was done but what is known"),
    always("split, Linux's driver finds its disk"),
    always("split, ext4, 5,000 files copied and compared"),
    always("split, fio verifies random sizes, 2 jobs at QD32"),
    always("split, discard and write zeroes"),
    always("split, nothing forbidden was done"),
    always("packed, Linux's driver finds its disk"),
    always("packed, ext4, 5,000 files copied and compared"),
    always("packed, fio verifies random sizes, 2 jobs at QD32"),
    always("packed, discard and write zeroes"),
    always("packed, nothing forbidden was done"),
];

const WIRE: &[Expected] = &[
    always("Linux's drivers find both ends and a link"),
    always("pings of every size to the MTU, both ways"),
    always("IPv6 neighbours find each other"),
    always("VLAN"),
    always("checksums and TSO are on"),
    always("TCP to the peer"),
    always("TCP from the peer"),
    always("UDP to the peer"),
    always("64 MiB by TCP each way arrive unchanged"),
    always("the devices' own counters agree"),
    always("nothing forbidden was done but what is known"),
];

const LARGE: &[Expected] = &[
    always("Linux's drivers find both ends and a link"),
    always("pings of every size to the MTU, both ways"),
    always("IPv6 neighbours find each other"),
    always("VLAN"),
    always("checksums and TSO are on"),
    always("TCP to the peer"),
    always("TCP from the peer"),
    always("UDP to the peer"),
    always("64 MiB by TCP each way arrive unchanged"),
    always("large frames"),
    always("TCP with large frames"),
    always("the devices' own counters agree"),
    always("nothing forbidden was done but what is known"),
];

fn disks(guest: Guest<'_>) -> Result<Guest<'_>> {
    Ok(guest
        .models(&[("nvme", 4)], &["nvme", "--size", "256"])
        .models(&[("ahci", 5)], &["ahci", "--size", "256"])
        .models(&[("split", 6)], &["virtio-blk", "--size", "256"])
        .models(&[("packed", 7)], &["virtio-blk", "--size", "256", "--packed"])
        .deadline(Duration::from_secs(900)))
}

// With the 82574L no large frames: Linux has it split them, for which the model has no descriptors.
fn e1000(guest: Guest<'_>) -> Result<Guest<'_>> {
    // Linux gives the semaphore of the MDIO registers back while the controller is being reset, sets up receive rings while they
    // are on, and uses registers of other chips of the family.
    let known = "DuringReset RingWhileEnabled UnknownRegister Fix";
    let guest = wire(guest, ["82540EM", "82574L"], ["e1000", "e1000e"]);
    Ok(guest.env("COUNTED", "tx_packets rx_packets").env("KNOWN", known))
}

fn e1000_large(guest: Guest<'_>) -> Result<Guest<'_>> {
    let guest = wire(guest, ["82545EM", "82544"], ["e1000", "e1000"]);
    Ok(guest.env("COUNTED", "tx_packets rx_packets").env("KNOWN", "UnknownRegister").env("LARGE", "9000"))
}

fn rtl8168b(guest: Guest<'_>) -> Result<Guest<'_>> {
    Ok(rtl8168(guest, "RTL8168B", "4074"))
}

fn rtl8168c(guest: Guest<'_>) -> Result<Guest<'_>> {
    Ok(rtl8168(guest, "RTL8168C", "6122"))
}

fn rtl8168h(guest: Guest<'_>) -> Result<Guest<'_>> {
    Ok(rtl8168(guest, "RTL8168H", "9194"))
}

/// A chip of Realtek's, with the most bytes of a packet that it takes.
fn rtl8168<'a>(guest: Guest<'a>, chip: &str, large: &str) -> Guest<'a> {
    wire(guest, [chip, "82545EM"], ["r8169", "e1000"])
        .env("COUNTED", "tx_packets rx_packets")
        // Of Linux's e1000.
        .env("KNOWN", "UnknownRegister")
        .env("LARGE", large)
}

/// Two chips at the ends of a cable, with their drivers in Linux.
fn wire<'a>(guest: Guest<'a>, chips: [&str; 2], [driver, peer_driver]: [&str; 2]) -> Guest<'a> {
    let [ours, peer] = chips;
    guest
        .models(&[("ours", 4), ("peer", 5)], &["cable", ours, peer])
        .env("ADDRESS", "0000:00:04.0")
        .env("PEER", "0000:00:05.0")
        .env("LINUX_DRIVER", driver)
        .env("PEER_DRIVER", peer_driver)
        .deadline(Duration::from_secs(450))
}
