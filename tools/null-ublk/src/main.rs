//! Serves disks that do nothing as ublk devices.
//!
//! Writes are forgotten, reads give what happens to be in memory, everything completes at once. What is left is the cost of
//! the kernel's ublk, of the front end and of the block layer: the floor below every storage daemon's figures.
#![forbid(unsafe_code)]

use std::{
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use common::{
    args::DaemonArgs,
    daemon::{Readiness, Termination},
    logger::Logging,
    privileges::{CapabilitySet, Policy},
};
use driver_block::{
    Controller, OPERATIONS, QueueOptions, RecoveryPolicy, Runtime, RuntimeOptions,
    frontend::ublk::{Buffers, OnExit, Ublk, UblkOptions},
    testing::{Machine, NullDisk, plain_disk},
};
use redox_driver_sys::{pci::PciAddress, time::Clock};

/// Serves disks that do nothing as ublk devices.
#[derive(Debug, Parser)]
struct Args {
    /// How many disks
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    disks: u32,
    /// Size of each disk in MiB
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    size: u64,
    /// Size in MiB that each disk gets with SIGUSR1
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    resize: Option<u64>,
    /// How many hardware queues, and threads
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    queues: u16,
    /// Requests per queue
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(4..=1024))]
    depth: u16,
    /// Most bytes of a request
    #[arg(long, default_value_t = 128 << 10)]
    io_bytes: u32,
    /// The address that the disks pretend to be at: by it, the devices are found again
    #[arg(long, default_value = "ffff:00:00.0")]
    address: PciAddress,
    /// Leave the devices to the next run at the end
    #[arg(long)]
    keep_devices: bool,
    #[command(flatten)]
    daemon: DaemonArgs,
}

fn main() -> ExitCode {
    common::exit(run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    Logging::new("disk", "ublk", "null").level(args.daemon.log.log_level).init()?;
    let mut termination = Termination::install()?;
    let readiness = Readiness::from_env()?;

    let disks = (1..=args.disks).map(|id| plain_disk(id, args.size << 11)).collect();
    let mut controller = NullDisk::new(disks, args.queues, args.depth);
    if let Some(size) = args.resize {
        let now = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGUSR1, now.clone())?;
        controller = controller.resized(size << 11, now);
    }
    let queues = controller.take_queues();
    let disks = controller.disks();

    let memory = Machine::new().and_then(|machine| machine.dma()).context("memory for the data")?;
    let mut options = UblkOptions::new(controller.name(), args.address, memory);
    options.buffers = Buffers { max_io_bytes: args.io_bytes, depth: args.depth, ..Buffers::default() };
    options.on_exit = if args.keep_devices { OnExit::Keep } else { OnExit::Remove };
    let mut policy = Policy::new().keep(CapabilitySet::SYS_ADMIN | CapabilitySet::IPC_LOCK).user(None);
    for path in UblkOptions::WRITABLE.into_iter().chain([UblkOptions::NAMES]) {
        policy = policy.writable(path);
    }
    let (mut ublk, seeds) = Ublk::new(options, queues.len())?;
    policy.restrict();

    let requests = u32::from(args.depth).saturating_mul(args.disks);
    let options = RuntimeOptions {
        queue: QueueOptions::new(requests, controller.command_timeout()),
        recovery: RecoveryPolicy::default(),
        drain: Duration::from_secs(5),
    };
    let frontends = seeds.into_iter().map(|seed| || seed.grow()).collect();
    let runtime = Runtime::start(controller, queues, &Clock::monotonic(), &options, frontends)?;
    let errors = ublk.start(disks).context("starting a thread")?;
    for error in &errors {
        log::error!("{error}");
    }
    if errors.len() == args.disks as usize {
        bail!("no disk can be served");
    }
    readiness.notify()?;
    while !termination.requested() {
        std::thread::sleep(Duration::from_millis(100));
    }
    ublk.stop();
    if let Some(statistics) = runtime.statistics(Duration::from_secs(1)) {
        for operation in OPERATIONS {
            let counted = statistics.of(operation);
            log::info!("{operation:?}: {} requests, {} bytes", counted.requests, counted.bytes);
        }
        log::info!("{} batches", statistics.commits);
    }
    runtime.stop()?;
    Ok(())
}
