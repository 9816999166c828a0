//! The demo of rtl8168d: QEMU has no RTL8168, so the model of one is the guest's device, over vfio-user.

use std::time::Duration;

use anyhow::Result;

use super::network::{LIFE, TRAFFIC, joined};
use super::{Driver, Expected, Plan, always, ours};
use crate::rig::Guest;

/// The demo of rtl8168d.
pub(super) const DRIVER: Driver = Driver {
    name: "rtl8168d",
    summary: "Realtek gigabit Ethernet on our models of it, with Linux at the other end of the cable: TCP, jumbo frames, VLANs, kills",
    daemons: &["rtl8168d", "pcid-spawner"],
    tools: &["model-server"],
    plans: &[
        Plan {
            name: "rtl8168d",
            title: "A model of an RTL8168H on rtl8168d, of an 82545EM on Linux",
            script: "rtl8168d.sh",
            build: newest,
            checks: CHECKS,
            curves: &[],
        },
        Plan {
            name: "rtl8168d-8168c",
            title: "A model of an RTL8168C on rtl8168d, with large frames and the interrupt pin",
            script: "rtl8168d.sh",
            build: large,
            checks: LARGE,
            curves: &[],
        },
    ],
};

const MODEL: &[Expected] = &[always("spawned, and the link comes"), ours("nothing forbidden was done")];

const CHECKS: &[Expected] = &joined::<17>(&[TRAFFIC, LIFE, MODEL]);

const LARGE: &[Expected] =
    &joined::<19>(&[CHECKS, &[always("large frames"), always("TCP with large frames")]]);

fn newest(guest: Guest<'_>) -> Result<Guest<'_>> {
    Ok(wire(guest, "RTL8168H", &["rtl8168d"]))
}

fn large(guest: Guest<'_>) -> Result<Guest<'_>> {
    Ok(wire(guest, "RTL8168C", &["rtl8168d", "--mtu", "6122"]).env("LARGE", "6122"))
}

/// A chip for the daemon, at the end of a cable to one for Linux.
fn wire<'a>(guest: Guest<'a>, chip: &str, command: &[&str]) -> Guest<'a> {
    let pcid = format!(
        "[[drivers]]\nname = \"Realtek gigabit Ethernet\"\nclass = 0x02\nids = {{ 0x10ec = [0x8168] }}\ncommand = {command:?}\n"
    );
    guest
        // With caching-mode, what the guest maps is told to vfio-user devices.
        .device("intel-iommu,intremap=on,caching-mode=on")
        .cmdline("intel_iommu=on")
        .file("pcid.d/10-rtl8168d.toml", &pcid)
        .models(&[("ours", 4), ("peer", 5)], &["cable", chip, "82545EM"])
        .env("ADDRESS", "0000:00:04.0")
        .env("PEER", "0000:00:05.0")
        .env("LINUX_DRIVER", "r8169")
        .env("PEER_DRIVER", "e1000")
        // Of Linux's e1000.
        .env("KNOWN", "UnknownRegister")
        .env("MIB", "64")
        .deadline(Duration::from_secs(450))
}
