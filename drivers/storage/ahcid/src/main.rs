//! The AHCI daemon.

#![forbid(unsafe_code)]

mod args;

use std::process::ExitCode;

use ahcid::{AhciController, Options};
use anyhow::Context;
use args::{Cli, Task};
use clap::Parser;
use common::{args::DaemonArgs, daemon::Readiness, logger::Logging};
use driver_block::{
    Controller,
    daemon::{Attached, Service},
};
use redox_driver_sys::pci::{PciClaim, PciFunction};

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
        name: AhciController::name_at(address),
        queues: 1,
        keep_disks: cli.tuning.keep_disks,
    };
    let attach = |function| {
        let controller = attach(function, options.clone())?;
        for refused in controller.refused() {
            log::warn!("{address}: {refused}");
        }
        // Without a disk as well: one may be plugged in.
        Ok(Attached { dma: controller.dma().clone(), clock: controller.clock().clone(), controller })
    };
    service.run(readiness, attach).with_context(|| address.to_string())
}

fn inspect(args: &DaemonArgs, options: Options) -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    if let Some(address) = args.device {
        let name = AhciController::name_at(address);
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
    let name = format!("disk.{}", AhciController::name_at(claim.address()));
    Logging::new("disk", "pci", &name).level(args.log.log_level).init()?;
    Ok(claim)
}

fn attach(function: PciFunction, options: Options) -> anyhow::Result<AhciController> {
    let address = function.address();
    let controller = AhciController::attach(function, options).with_context(|| address.to_string())?;
    log::info!(
        "{address}: AHCI {}, ports {:#x}, {}",
        controller.version(),
        controller.ports(),
        controller.interrupt_kind().map_or("polled".to_string(), |kind| kind.to_string())
    );
    Ok(controller)
}
