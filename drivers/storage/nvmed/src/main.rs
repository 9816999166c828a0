//! The NVMe daemon.

#![forbid(unsafe_code)]

mod args;
mod partitions;

use std::process::ExitCode;

use anyhow::bail;
use args::{Cli, Task};
use clap::Parser;
use driver_block::{
    Controller,
    daemon::{Attached, Daemon},
};
use nvmed::NvmeController;
use redox_driver_sys::pci::{PciAddress, PciFunction};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let options = cli.tuning.options();
    let (queues, keep_disks) = (options.queues, cli.tuning.keep_disks);
    let attach = |function: PciFunction| {
        let address = function.address();
        let controller = NvmeController::attach(function, options.clone())?;
        log::info!(
            "{address}: NVMe {}, {} I/O queues, {}",
            controller.version(),
            controller.queue_count(),
            controller.interrupt_kind()
        );
        Ok(Attached { dma: controller.dma().clone(), clock: controller.clock().clone(), controller })
    };
    let daemon = |arguments| Daemon {
        arguments,
        name_at: NvmeController::name_at,
        queues,
        keep_disks,
        attach: &attach,
    };
    common::exit(match &cli.command {
        Some(Task::Inspect(arguments)) => daemon(arguments).inspect(),
        Some(Task::Partitions(arguments)) => daemon(arguments).with_controller(partitions::print),
        None => daemon(&cli.daemon).serve(can_be_served),
    })
}

/// Some namespaces may be refused as long as there are others, or none at all: one may appear.
fn can_be_served(_: PciAddress, controller: &NvmeController) -> anyhow::Result<()> {
    match (controller.disks().is_empty(), controller.refused_namespaces()) {
        (true, [refused, ..]) => bail!("{refused}"),
        _ => Ok(()),
    }
}
