//! The virtio block device daemon.

#![forbid(unsafe_code)]

mod args;

use std::process::ExitCode;

use args::{Cli, Task};
use clap::Parser;
use driver_block::daemon::{Attached, Daemon};
use redox_driver_sys::pci::PciFunction;
use virtio_blkd::BlkController;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let options = cli.tuning.options();
    let (queues, keep_disks) = (options.queues, cli.tuning.keep_disks);
    let attach = |function: PciFunction| {
        let address = function.address();
        let controller = BlkController::attach(function, options.clone())?;
        log::info!(
            "{address}: virtio block device, {} queues of {} entries, {}",
            controller.queue_count(),
            controller.queue_size(),
            controller.interrupt_kind()
        );
        Ok(Attached { dma: controller.dma().clone(), clock: controller.clock().clone(), controller })
    };
    let daemon = |arguments| Daemon {
        arguments,
        name_at: BlkController::name_at,
        queues,
        keep_disks,
        attach: &attach,
    };
    common::exit(match &cli.command {
        Some(Task::Inspect(arguments)) => daemon(arguments).inspect(),
        None => daemon(&cli.daemon).serve(|_, _| Ok(())),
    })
}
