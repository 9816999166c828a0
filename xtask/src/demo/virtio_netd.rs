//! The demo of virtio-netd: Ethernet between our driver and Linux's own, on one hub with QEMU's network.

use anyhow::Result;

use super::network::{ETHERNET, Ends, hub};
use super::{Driver, Plan};
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
            checks: &ETHERNET,
            curves: &[],
        },
        Plan {
            name: "virtio-netd-packed",
            title: "A virtio network device with packed rings on virtio-netd, 82574L on Linux",
            script: "ethernet.sh",
            build: packed,
            checks: &ETHERNET,
            curves: &[],
        },
    ],
};

fn split(guest: Guest<'_>) -> Result<Guest<'_>> {
    Ok(pair(guest, OURS))
}

fn packed(guest: Guest<'_>) -> Result<Guest<'_>> {
    Ok(pair(guest, &format!("{OURS},packed=on")))
}

fn pair<'a>(guest: Guest<'a>, ours: &str) -> Guest<'a> {
    let ends = Ends { ours, driver: "virtio_net", peer: "e1000e", peer_driver: "e1000e", mib: 128 };
    hub(guest.file("pcid.d/10-virtio-netd.toml", PCID).env("STRAY", "0"), &ends)
}
