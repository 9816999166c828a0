//! The virtio block device daemon.

#![forbid(unsafe_code)]

mod args;

use std::process::ExitCode;

use anyhow::Context;
use args::{Cli, Task};
use clap::Parser;
use common::{args::DaemonArgs, daemon::Readiness, logger::Logging};
use driver_block::{Controller, daemon::Service};
use redox_driver_sys::pci::{PciAddress, PciFunction};
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
    let (address, controller) = attach(&cli.daemon, cli.tuning.options())?;
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
        let name = BlkController::name_at(address);
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

fn attach(args: &DaemonArgs, options: Options) -> anyhow::Result<(PciAddress, BlkController)> {
    let address = args.device.context("no device: give --device ADDRESS, as in --device 0000:00:05.0")?;
    let name = format!("disk.{}", BlkController::name_at(address));
    Logging::new("disk", "pci", &name).level(args.log.log_level).init()?;
    // Its errors name the function.
    let function = PciFunction::open(address)?;
    let controller = BlkController::attach(function, options).with_context(|| address.to_string())?;
    log::info!(
        "{address}: virtio block device, {} queues of {} entries, {}",
        controller.queue_count(),
        controller.queue_size(),
        controller.interrupt_kind()
    );
    Ok((address, controller))
}
