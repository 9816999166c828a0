//! What the demos of network drivers share: a hub with both ends on it, and the checks that a pair of ends passes.

use std::time::Duration;

use super::{Expected, always, ours};
use crate::rig::Guest;

/// What goes over a wire: `traffic` in `network.sh`.
pub(super) const TRAFFIC: &[Expected] = &[
    always("the peer is Linux's"),
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
];

/// What becomes of the daemon.
pub(super) const LIFE: &[Expected] = &[
    ours("a connection survives SIGKILL"),
    ours("the running daemon can be inspected"),
    ours("resident memory below 24 MiB"),
    ours("SIGTERM ends the daemon cleanly"),
];

/// What else `ethernet.sh` tries on a [`hub`].
const HUB: &[Expected] = &[
    always("spawned without a link"),
    always("the link comes when the cable does"),
    always("DHCP lease"),
    always("pings of a router"),
    always("a connection survives the cable"),
    always("frames of 9,000 bytes"),
    always("TCP with frames of 9,000 bytes"),
];

/// All of `ethernet.sh`, but for DMA elsewhere.
pub(super) const ETHERNET: [Expected; 22] = joined(&[TRAFFIC, LIFE, HUB]);

/// Lists one after the other, with `N` checks in all: another number does not compile.
#[allow(clippy::indexing_slicing, reason = "while compiling")]
pub(super) const fn joined<const N: usize>(lists: &[&[Expected]]) -> [Expected; N] {
    let mut all = [always(""); N];
    let (mut list, mut at) = (0, 0);
    while list < lists.len() {
        let mut index = 0;
        while index < lists[list].len() {
            all[at] = lists[list][index];
            (at, index) = (at + 1, index + 1);
        }
        list += 1;
    }
    assert!(at == N, "the lists have as many checks as the whole");
    all
}

/// A device of the subject and one of the peer, by their QEMU models and Linux drivers.
pub(super) struct Ends<'a> {
    pub(super) ours: &'a str,
    pub(super) driver: &'a str,
    pub(super) peer: &'a str,
    pub(super) peer_driver: &'a str,
    /// Bytes that are moved each way and compared.
    pub(super) mib: u32,
}

/// Both devices and QEMU's user network on one hub, behind an IOMMU.
pub(super) fn hub<'a>(guest: Guest<'a>, ends: &Ends<'_>) -> Guest<'a> {
    let Ends { ours, driver, peer, peer_driver, mib } = ends;
    guest
        .device("intel-iommu,intremap=on")
        .cmdline("intel_iommu=on")
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
        .env("MIB", &mib.to_string())
        .deadline(Duration::from_secs(1800))
        // What is compared is moved without a word.
        .silence(Duration::from_secs(330))
}
