//! Drives an NVMe namespace through nvmed's own submit and reap path: see `disk-load`.

#![forbid(unsafe_code)]

use disk_load::Attached;
use nvmed::{NvmeController, Options};

fn main() -> anyhow::Result<()> {
    disk_load::run(|function, args| {
        let options =
            Options { queues: 1, queue_depth: args.depth, polled: args.polled, ..Options::default() };
        let controller = NvmeController::attach(function, options)?;
        let (dma, clock) = (controller.dma().clone(), controller.clock().clone());
        Ok(Attached { controller, dma, clock })
    })
}
