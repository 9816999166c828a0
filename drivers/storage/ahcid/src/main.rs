//! The AHCI daemon.

#![forbid(unsafe_code)]

mod args;

use std::process::ExitCode;

use ahcid::AhciController;
use args::{Cli, Task};
use clap::Parser;
use driver_block::daemon::{Attached, Daemon};
use redox_driver_sys::pci::PciFunction;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let options = cli.tuning.options();
    let (queues, keep_disks) = (1, cli.tuning.keep_disks);
    let attach = |function: PciFunction| {
        let address = function.address();
        let controller = AhciController::attach(function, options.clone())?;
        log::info!(
            "{address}: AHCI {}, ports {:#x}, {}",
            controller.version(),
            controller.ports(),
            controller.interrupt_kind().map_or("polled".to_string(), |kind| kind.to_string())
        );
        Ok(Attached { dma: controller.dma().clone(), clock: controller.clock().clone(), controller })
    };
    let daemon = |arguments| Daemon {
        arguments,
        name_at: AhciController::name_at,
        queues,
        keep_disks,
        attach: &attach,
    };
    common::exit(match &cli.command {
        Some(Task::Inspect(arguments)) => daemon(arguments).inspect(),
        None => daemon(&cli.daemon).serve(|address, controller| {
            // Without a disk as well: one may be plugged in.
            controller.refused().iter().for_each(|refused| log::warn!("{address}: {refused}"));
            Ok(())
        }),
    })
}
