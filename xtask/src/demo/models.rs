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
    plans: &[Plan {
        name: "models",
        title: "Linux's drivers on our device models",
        script: "models.sh",
        build,
        checks: CHECKS,
        curves: &[],
    }],
};

const CHECKS: &[Expected] = &[
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

fn build(guest: Guest<'_>) -> Result<Guest<'_>> {
    Ok(guest
        .model("nvme", 4, &["nvme", "--size", "256"])
        .model("ahci", 5, &["ahci", "--size", "256"])
        .model("split", 6, &["virtio-blk", "--size", "256"])
        .model("packed", 7, &["virtio-blk", "--size", "256", "--packed"])
        .deadline(Duration::from_secs(900)))
}
