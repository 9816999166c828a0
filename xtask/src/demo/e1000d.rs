//! The demo of e1000d: Ethernet between our driver and Linux's own, on one hub with QEMU's network.

use anyhow::Result;

use super::network::{ETHERNET, Ends, hub, joined};
use super::{Driver, Expected, Plan, always};
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

const CHECKS: &[Expected] = &joined::<23>(&[&ETHERNET, &[always("DMA outside a map is blocked")]]);

fn legacy(guest: Guest<'_>) -> Result<Guest<'_>> {
    let ends = Ends { ours: "e1000", driver: "e1000", peer: "e1000e", peer_driver: "e1000e", mib: 256 };
    Ok(hub(claimed(guest, "0x100e"), &ends))
}

fn modern(guest: Guest<'_>) -> Result<Guest<'_>> {
    let ends =
        Ends { ours: "e1000e", driver: "e1000e", peer: "e1000-82545em", peer_driver: "e1000", mib: 256 };
    Ok(hub(claimed(guest, "0x10d3"), &ends))
}

/// Only our device is the daemon's: both are Intel's.
fn claimed<'a>(guest: Guest<'a>, id: &str) -> Guest<'a> {
    let pcid = format!(
        "[[drivers]]\nname = \"Intel gigabit Ethernet\"\nclass = 0x02\nids = {{ 0x8086 = [{id}] }}\ncommand = [\"e1000d\"]\n"
    );
    guest.file("pcid.d/10-e1000d.toml", &pcid)
}
