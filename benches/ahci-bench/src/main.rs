//! Drives a disk of an AHCI controller through ahcid's own submit and reap path: see `disk-load`.

#![forbid(unsafe_code)]

use ahcid::{AhciController, Options};
use disk_load::Attached;

/// Most commands that a port takes.
const SLOTS: u16 = 32;

fn main() -> anyhow::Result<()> {
    disk_load::run(|function, args| {
        let queue_depth = u8::try_from(args.depth.min(SLOTS))?;
        let options = Options { queue_depth, polled: args.polled, ..Options::default() };
        let controller = AhciController::attach(function, options)?;
        let (dma, clock) = (controller.dma().clone(), controller.clock().clone());
        Ok(Attached { controller, dma, clock })
    })
}
