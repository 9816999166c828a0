//! The demo of e1000d: Ethernet between our driver and Linux's own, on one hub with QEMU's network.

use std::time::Duration;

use anyhow::Result;

use super::{Driver, Expected, Plan, always, ours};
use crate::rig::Guest;

/// The demo of e1000d.
pub(super) const DRIVER: Driver = Driver {
    name: "e1000d",
    summary: "Intel gigabit Ethernet beside Linux's driver on the same wire: TCP, jumbo frames, VLANs, pulled cables, kills",
    daemons: &["e1000d", "pcid-spawner"],
    tools: &["stray-dma"],
    plans: &[
        Plan {
            name: "e1000d",
            title: "82540EM on e1000d, 82574L on Linux",
            script: "ethernet.sh",
            build: legacy,
            checks: CHECKS,
            curves: &[],
        },
        Plan {
            name: "e1000d-82574l",
            title: "82574L on e1000d, 82545EM on Linux",
            script: "ethernet.sh",
            build: modern,
            checks: CHECKS,
            curves: &[],
        },
    ],
};

const CHECKS: &[Expected] = &[
    always("the peer is Linux's"),
    always("spawned without a link"),
    always("the link comes when the cable does"),
    always("DHCP lease"),
    always("pings of a router"),
    always("pings both ways"),
    always("pings of every size to the MTU"),
    always("IPv6 neighbours find each other"),
    always("VLAN"),
    always("TCP to the peer"),
    always("TCP from the peer"),
    always("UDP to the peer"),
    always("UDP from the peer"),
    always("bytes to the peer arrive unchanged"),
    always("bytes from the peer arrive unchanged"),
    always("a connection survives the cable"),
    ours("a connection survives SIGKILL"),
    ours("the running daemon can be inspected"),
    ours("resident memory below 24 MiB"),
    always("frames of 9,000 bytes"),
    always("TCP with frames of 9,000 bytes"),
    ours("SIGTERM ends the daemon cleanly"),
    always("DMA outside a map is blocked"),
];

/// A device of the subject and one of the peer, by their QEMU models, PCI device ids and Linux drivers.
struct Pair {
    ours: &'static str,
    id: &'static str,
    driver: &'static str,
    peer: &'static str,
    peer_driver: &'static str,
}

fn legacy(guest: Guest<'_>) -> Result<Guest<'_>> {
    Ok(pair(
        guest,
        &Pair { ours: "e1000", id: "0x100e", driver: "e1000", peer: "e1000e", peer_driver: "e1000e" },
    ))
}

fn modern(guest: Guest<'_>) -> Result<Guest<'_>> {
    Ok(pair(
        guest,
        &Pair { ours: "e1000e", id: "0x10d3", driver: "e1000e", peer: "e1000-82545em", peer_driver: "e1000" },
    ))
}

/// Both devices and QEMU's user network on one hub.
fn pair<'a>(guest: Guest<'a>, pair: &Pair) -> Guest<'a> {
    let Pair { ours, id, driver, peer, peer_driver } = pair;
    let pcid = format!(
        "[[drivers]]\nname = \"Intel gigabit Ethernet\"\nclass = 0x02\nids = {{ 0x8086 = [{id}] }}\ncommand = [\"e1000d\"]\n"
    );
    guest
        .device("intel-iommu,intremap=on")
        .cmdline("intel_iommu=on")
        .file("pcid.d/10-e1000d.toml", &pcid)
        .argument("-netdev", "hubport,id=port0,hubid=0")
        .argument("-netdev", "hubport,id=port1,hubid=0")
        .argument("-netdev", "user,id=world")
        .argument("-netdev", "hubport,id=port2,hubid=0,netdev=world")
        // Without option ROMs, which the firmware would run.
        .device(&format!("{ours},id=ours,netdev=port0,mac=52:54:00:00:00:01,romfile=,addr=4"))
        .device(&format!("{peer},id=peer,netdev=port1,mac=52:54:00:00:00:02,romfile=,addr=5"))
        .env("OURS", "ours")
        .env("ADDRESS", "0000:00:04.0")
        .env("PEER", "0000:00:05.0")
        .env("LINUX_DRIVER", driver)
        .env("PEER_DRIVER", peer_driver)
        .env("MIB", "256")
        .deadline(Duration::from_secs(1800))
        // 256 MiB are moved without a word.
        .silence(Duration::from_secs(330))
}
