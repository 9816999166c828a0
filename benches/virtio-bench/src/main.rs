//! Drives a virtio block device through virtio-blkd's own submit and reap path: see `disk-load`. A packed ring is used where the
//! device has one.

#![forbid(unsafe_code)]

use disk_load::Attached;
use virtio_blkd::{BlkController, Options};

fn main() -> anyhow::Result<()> {
    disk_load::run(|function, args| {
        let options =
            Options { queues: 1, queue_depth: args.depth, polled: args.polled, ..Options::default() };
        let controller = BlkController::attach(function, options)?;
        let (dma, clock) = (controller.dma().clone(), controller.clock().clone());
        Ok(Attached { controller, dma, clock })
    })
}
