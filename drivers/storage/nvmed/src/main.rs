//! The NVMe daemon.

#![forbid(unsafe_code)]

mod args;
mod partitions;

use std::process::ExitCode;

use anyhow::{Context, bail};
use args::{Cli, Task};
use clap::Parser;
use common::{args::DaemonArgs, daemon::Readiness, logger::Logging};
use driver_block::{Controller, daemon::Service};
use nvmed::{NvmeController, Options};
use redox_driver_sys::pci::{PciAddress, PciFunction};

fn main() -> ExitCode {
    let cli = Cli::parse();
    common::exit(match &cli.command {
        Some(Task::Inspect(daemon)) => inspect(daemon, cli.tuning.options()),
        Some(Task::Partitions(daemon)) => {
            attach(daemon, cli.tuning.options()).and_then(|(address, controller)| {
                partitions::print(controller).with_context(|| address.to_string())
            })
        }
        None => serve(&cli),
    })
}

fn serve(cli: &Cli) -> anyhow::Result<()> {
    let readiness = Readiness::from_env()?;
    let (address, controller) = attach(&cli.daemon, cli.tuning.options())?;
    if let (true, [refused, ..]) = (controller.disks().is_empty(), controller.refused_namespaces()) {
        bail!("{address}: {refused}");
    }
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
        let name = NvmeController::name_at(address);
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

fn attach(args: &DaemonArgs, options: Options) -> anyhow::Result<(PciAddress, NvmeController)> {
    let address = args.device.context("no device: give --device ADDRESS, as in --device 0000:00:04.0")?;
    let name = format!("disk.{}", NvmeController::name_at(address));
    Logging::new("disk", "pci", &name).level(args.log.log_level).init()?;
    // Its errors name the function.
    let function = PciFunction::open(address)?;
    let controller = NvmeController::attach(function, options).with_context(|| address.to_string())?;
    log::info!(
        "{address}: NVMe {}, {} I/O queues, {}",
        controller.version(),
        controller.queue_count(),
        controller.interrupt_kind()
    );
    Ok((address, controller))
}
