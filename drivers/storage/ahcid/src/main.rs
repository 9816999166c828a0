//! The AHCI daemon.

#![forbid(unsafe_code)]

mod args;

use std::process::ExitCode;

use ahcid::{AhciController, Options};
use anyhow::Context;
use args::{Cli, Task};
use clap::Parser;
use common::{args::DaemonArgs, daemon::Readiness, logger::Logging};
use driver_block::{Controller, daemon::Service};
use redox_driver_sys::pci::{PciAddress, PciFunction};

fn main() -> ExitCode {
    let cli = Cli::parse();
    common::exit(match &cli.command {
        Some(Task::Inspect(daemon)) => inspect(daemon, cli.tuning.options()),
        None => serve(&cli),
    })
}

fn serve(cli: &Cli) -> anyhow::Result<()> {
    let readiness = Readiness::from_env()?;
    let (address, controller) = attach(&cli.daemon, cli.tuning.options())?;
    for refused in controller.refused() {
        log::warn!("{address}: {refused}");
    }
    // Without a disk as well: one may be plugged in.
    let service = Service {
        address,
        dma: controller.dma().clone(),
        clock: controller.clock().clone(),
        keep_disks: cli.tuning.keep_disks,
    };
    service.run(controller, readiness).with_context(|| address.to_string())
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
    let (address, mut controller) = attach(args, options)?;
    print!("{}", controller.inspect());
    let queues = controller.take_queues();
    controller.shutdown(queues).with_context(|| address.to_string())
}

fn attach(args: &DaemonArgs, options: Options) -> anyhow::Result<(PciAddress, AhciController)> {
    let address = args.device.context("no device: give --device ADDRESS, as in --device 0000:00:1f.2")?;
    let name = format!("disk.{}", AhciController::name_at(address));
    Logging::new("disk", "pci", &name).level(args.log.log_level).init()?;
    // Its errors name the function.
    let function = PciFunction::open(address)?;
    let controller = AhciController::attach(function, options).with_context(|| address.to_string())?;
    log::info!(
        "{address}: AHCI {}, ports {:#x}, {}",
        controller.version(),
        controller.ports(),
        controller.interrupt_kind().map_or("polled".to_string(), |kind| kind.to_string())
    );
    Ok((address, controller))
}
