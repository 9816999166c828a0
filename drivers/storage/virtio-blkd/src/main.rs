//! The virtio block device daemon.

#![forbid(unsafe_code)]

mod args;

use std::process::ExitCode;

use anyhow::Context;
use args::{Cli, Task};
use clap::Parser;
use common::{args::DaemonArgs, daemon::Readiness, logger::Logging};
use driver_block::{
    Controller,
    daemon::{Attached, Service},
};
use redox_driver_sys::pci::{PciClaim, PciFunction};
use virtio_blkd::{BlkController, Options};

fn main() -> ExitCode {
    let cli = Cli::parse();
    common::exit(match &cli.command {
        Some(Task::Inspect(daemon)) => inspect(daemon, cli.tuning.options()),
        None => serve(&cli),
    })
}

fn serve(cli: &Cli) -> anyhow::Result<()> {
    let readiness = Readiness::from_env()?;
    let claim = claim(&cli.daemon)?;
    let address = claim.address();
    let options = cli.tuning.options();
    let service = Service {
        claim,
        name: BlkController::name_at(address),
        queues: options.queues,
        keep_disks: cli.tuning.keep_disks,
    };
    let attach = |function| {
        let controller = attach(function, options.clone())?;
        Ok(Attached { dma: controller.dma().clone(), clock: controller.clock().clone(), controller })
    };
    service.run(readiness, attach).with_context(|| address.to_string())
}

fn inspect(args: &DaemonArgs, options: Options) -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    if let Some(address) = args.device {
        let name = BlkController::name_at(address);
        let running = driver_block::daemon::inspect_running(&name);
        if let Some(report) = running.with_context(|| format!("{address}: ask the daemon that serves it"))? {
            print!("{report}");
            return Ok(());
        }
    }
    let mut claim = claim(args)?;
    let mut controller = attach(claim.function()?, options)?;
    print!("{}", controller.inspect());
    let queues = controller.take_queues();
    controller.shutdown(queues).with_context(|| claim.address().to_string())
}

/// The controller's function. Starts the log, which is named after it.
fn claim(args: &DaemonArgs) -> anyhow::Result<PciClaim> {
    let claim = PciClaim::find(args.device)?;
    let name = format!("disk.{}", BlkController::name_at(claim.address()));
    Logging::new("disk", "pci", &name).level(args.log.log_level).init()?;
    Ok(claim)
}

fn attach(function: PciFunction, options: Options) -> anyhow::Result<BlkController> {
    let address = function.address();
    let controller = BlkController::attach(function, options).with_context(|| address.to_string())?;
    log::info!(
        "{address}: virtio block device, {} queues of {} entries, {}",
        controller.queue_count(),
        controller.queue_size(),
        controller.interrupt_kind()
    );
    Ok(controller)
}
