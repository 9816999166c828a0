//! The NVMe daemon.

#![forbid(unsafe_code)]

mod args;
mod partitions;

use std::process::ExitCode;

use anyhow::{Context, bail};
use args::{Cli, Task};
use clap::Parser;
use common::{args::DaemonArgs, daemon::Readiness, logger::Logging};
use driver_block::{
    Controller,
    daemon::{Attached, Service},
};
use nvmed::{NvmeController, Options};
use redox_driver_sys::pci::{PciClaim, PciFunction};

fn main() -> ExitCode {
    let cli = Cli::parse();
    common::exit(match &cli.command {
        Some(Task::Inspect(daemon)) => inspect(daemon, cli.tuning.options()),
        Some(Task::Partitions(daemon)) => partitions(daemon, cli.tuning.options()),
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
        name: NvmeController::name_at(address),
        queues: options.queues,
        keep_disks: cli.tuning.keep_disks,
    };
    let attach = |function| {
        let controller = attach(function, options.clone())?;
        if let (true, [refused, ..]) = (controller.disks().is_empty(), controller.refused_namespaces()) {
            bail!("{address}: {refused}");
        }
        Ok(Attached { dma: controller.dma().clone(), clock: controller.clock().clone(), controller })
    };
    service.run(readiness, attach).with_context(|| address.to_string())
}

fn inspect(args: &DaemonArgs, options: Options) -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    if let Some(address) = args.device {
        let name = NvmeController::name_at(address);
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

fn partitions(args: &DaemonArgs, options: Options) -> anyhow::Result<()> {
    let mut claim = claim(args)?;
    let controller = attach(claim.function()?, options)?;
    partitions::print(controller).with_context(|| claim.address().to_string())
}

/// The controller's function. Starts the log, which is named after it.
fn claim(args: &DaemonArgs) -> anyhow::Result<PciClaim> {
    let claim = PciClaim::find(args.device)?;
    let name = format!("disk.{}", NvmeController::name_at(claim.address()));
    Logging::new("disk", "pci", &name).level(args.log.log_level).init()?;
    Ok(claim)
}

fn attach(function: PciFunction, options: Options) -> anyhow::Result<NvmeController> {
    let address = function.address();
    let controller = NvmeController::attach(function, options).with_context(|| address.to_string())?;
    log::info!(
        "{address}: NVMe {}, {} I/O queues, {}",
        controller.version(),
        controller.queue_count(),
        controller.interrupt_kind()
    );
    Ok(controller)
}
