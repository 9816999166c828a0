//! The demo of virtio-netd: Ethernet between our driver and Linux's own, on one hub with QEMU's network.

use std::time::Duration;

use anyhow::Result;

use super::{Driver, Expected, Plan, always, ours};
use crate::rig::Guest;

/// A device that follows version 1 alone (1af4:1041), behind the IOMMU. On a hub QEMU offers no checksums and cuts nothing.
const OURS: &str = "virtio-net-pci,disable-legacy=on,iommu_platform=on";

const PCID: &str = "[[drivers]]\n\
                    name = \"virtio network device\"\n\
                    class = 0x02\n\
                    ids = { 0x1af4 = [0x1041] }\n\
                    command = [\"virtio-netd\"]\n";

/// The demo of virtio-netd.
pub(super) const DRIVER: Driver = Driver {
    name: "virtio-netd",
    summary: "a virtio network device beside Linux's driver on the same wire: TCP, jumbo frames, VLANs, pulled cables, kills",
    daemons: &["virtio-netd", "pcid-spawner"],
    tools: &[],
    plans: &[
        Plan {
            name: "virtio-netd",
            title: "A virtio network device with split rings on virtio-netd, 82574L on Linux",
            script: "ethernet.sh",
            build: split,
            checks: CHECKS,
            curves: &[],
        },
        Plan {
            name: "virtio-netd-packed",
            title: "A virtio network device with packed rings on virtio-netd, 82574L on Linux",
            script: "ethernet.sh",
            build: packed,
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
];

fn split(guest: Guest<'_>) -> Result<Guest<'_>> {
    Ok(pair(guest, OURS))
}

fn packed(guest: Guest<'_>) -> Result<Guest<'_>> {
    Ok(pair(guest, &format!("{OURS},packed=on")))
}

/// The device, one of Linux's and QEMU's user network on one hub.
fn pair<'a>(guest: Guest<'a>, ours: &str) -> Guest<'a> {
    guest
        .device("intel-iommu,intremap=on")
        .cmdline("intel_iommu=on")
        .file("pcid.d/10-virtio-netd.toml", PCID)
        .argument("-netdev", "hubport,id=port0,hubid=0")
        .argument("-netdev", "hubport,id=port1,hubid=0")
        .argument("-netdev", "user,id=world")
        .argument("-netdev", "hubport,id=port2,hubid=0,netdev=world")
        // Without option ROMs, which the firmware would run.
        .device(&format!("{ours},id=ours,netdev=port0,mac=52:54:00:00:00:01,romfile=,addr=4"))
        .device("e1000e,id=peer,netdev=port1,mac=52:54:00:00:00:02,romfile=,addr=5")
        .env("OURS", "ours")
        .env("ADDRESS", "0000:00:04.0")
        .env("PEER", "0000:00:05.0")
        .env("LINUX_DRIVER", "virtio_net")
        .env("PEER_DRIVER", "e1000e")
        .env("STRAY", "0")
        .env("MIB", "128")
        .deadline(Duration::from_secs(900))
}
