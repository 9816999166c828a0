//! The IOMMU daemon.

#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod args;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use clap::Parser;
    let cli = args::Cli::parse();
    common::exit(match &cli.command {
        Some(args::Task::Inspect) => inspect(&cli),
        None => serve(&cli),
    })
}

/// What the system must do for the daemon is written for Linux so far.
#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("iommud: the scheme iommu: is not written yet");
    ExitCode::FAILURE
}

#[cfg(target_os = "linux")]
fn serve(cli: &args::Cli) -> anyhow::Result<()> {
    use anyhow::Context;
    use common::{daemon::Readiness, logger::Logging, signals::Signals};
    use iommud::{
        linux::{Machine, Server, raise_limit},
        service::{Limits, Options, Service},
        unit::UnitOptions,
    };
    use redox_driver_sys::{physical::PhysicalMemory, time::Clock};
    use std::os::fd::AsFd;

    let readiness = Readiness::from_env()?;
    Logging::new("iommu", "", "iommud").level(cli.log.log_level).init()?;
    let signals = Signals::new(&[signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT])?;
    let server = Server::new(&cli.socket)?;
    let memory = PhysicalMemory::new(&cli.huge_pages);
    let options = UnitOptions { unclaimed: cli.unclaimed.into(), ..UnitOptions::default() };
    let units = Machine::units(&memory, &options)?;
    let limits = cli.limits();
    let limits = Limits { objects: raise_limit(limits.objects), ..limits };
    log::info!("each client may have {} memory objects", limits.objects);
    let options = Options { unclaimed: cli.unclaimed.into(), limits, sizes: cli.page_sizes.into() };
    let clock = Clock::monotonic();
    let mut service = Service::new(units, memory.allocator().clone(), clock, Box::new(Machine), options)
        .context("enable the IOMMU")?;
    // The units have new tables: nothing reads those of a former daemon.
    let removed = memory.remove_others()?;
    for unit in service.units() {
        let (firmware, capabilities) = (unit.firmware(), unit.capabilities());
        log::info!(
            "unit {} at {:#x}: {} levels, {:?}, {} huge pages of a former daemon given back",
            firmware.device,
            firmware.base,
            capabilities.levels,
            capabilities.interrupts,
            removed
        );
    }
    readiness.notify()?;
    server.serve(&mut service, signals.as_fd())?;
    // The units stay enabled, with devices blocked: nobody claims them any more.
    log::info!("ended; devices stay {:?}", cli.unclaimed);
    Ok(())
}

#[cfg(target_os = "linux")]
fn inspect(cli: &args::Cli) -> anyhow::Result<()> {
    let mut client = redox_driver_sys::iommu::Client::connect(&cli.socket)?;
    print!("{}", client.inspect()?);
    Ok(())
}
