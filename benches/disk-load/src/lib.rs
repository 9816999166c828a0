//! Drives a disk through its driver's own submit and reap path, with no front end and no kernel in between. The measured
//! part lies between two marks for an instruction-counting emulator.

#![forbid(unsafe_code)]

mod load;

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Parser, ValueEnum};
use driver_block::{Controller, Operation};
use redox_driver_sys::{
    dma::DmaAllocator,
    pci::{PciAddress, PciFunction},
    time::Clock,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Read,
    Write,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Pattern {
    Random,
    Sequential,
}

/// Which part of the path is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Layer {
    /// The driver's queue alone.
    Hardware,
    /// The block layer's queue over it: validation, tags, merging, deadlines.
    Block,
}

/// Measure a storage driver's submit and reap path on one queue.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// PCI address of the controller, bound to vfio-pci.
    #[arg(long)]
    pub device: PciAddress,
    /// Number of the disk to use [default: the first]. Its contents are overwritten by writes.
    #[arg(long)]
    disk: Option<u32>,
    /// What to do.
    #[arg(long, value_enum, default_value_t = Kind::Read)]
    operation: Kind,
    /// Where.
    #[arg(long, value_enum, default_value_t = Pattern::Random)]
    pattern: Pattern,
    /// Bytes per operation.
    #[arg(long, default_value_t = 4096)]
    size: u32,
    /// Operations in flight.
    #[arg(long, default_value_t = 32)]
    pub depth: u16,
    /// Measured operations.
    #[arg(long, default_value_t = 100_000)]
    operations: u64,
    /// Operations before the measured ones.
    #[arg(long, default_value_t = 1000)]
    warmup: u64,
    /// Look for completions instead of waiting for interrupts.
    #[arg(long)]
    pub polled: bool,
    /// Operations to gather before the doorbell is rung, as long as others are in flight.
    #[arg(long, default_value_t = 1)]
    batch: u16,
    /// Which part of the path to measure.
    #[arg(long, value_enum, default_value_t = Layer::Block)]
    layer: Layer,
    /// Label of the measured window, 0 to 127.
    #[arg(long, default_value_t = 1)]
    label: u8,
    /// Longest run in seconds.
    #[arg(long, default_value_t = 600)]
    deadline: u64,
}

/// A driver's controller, and what its memory and time come from.
pub struct Attached<C> {
    /// The controller.
    pub controller: C,
    /// The memory that it can reach.
    pub dma: DmaAllocator,
    /// Its clock.
    pub clock: Clock,
}

/// Reads the command line, has `attach` take the function over with one queue, measures, and prints one line of JSON.
///
/// # Errors
/// What the driver or the device refuses.
pub fn run<C: Controller>(
    attach: impl FnOnce(PciFunction, &Args) -> anyhow::Result<Attached<C>>,
) -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!(
        args.depth > 0 && args.batch > 0 && args.operations > 0,
        "depth, batch and operations are at least 1"
    );
    let function = PciFunction::open(args.device)?;
    let Attached { mut controller, dma, clock } =
        attach(function, &args).with_context(|| args.device.to_string())?;
    let wanted = |id: u32| args.disk.is_none_or(|disk| disk == id);
    let Some(disk) = controller.disks().into_iter().find(|disk| wanted(disk.id.0)) else {
        bail!("{}: no such disk", args.device);
    };
    let Some(hardware) = controller.take_queues().pop() else {
        bail!("{}: no I/O queue", args.device);
    };
    let limits = &disk.limits;
    ensure!(
        args.size > 0 && args.size.is_multiple_of(limits.block_size) && args.size <= limits.max_transfer,
        "--size {} is no multiple of {} up to {}",
        args.size,
        limits.block_size,
        limits.max_transfer
    );
    let job = load::Job {
        operation: match args.operation {
            Kind::Read => Operation::Read,
            Kind::Write => Operation::Write,
        },
        random: args.pattern == Pattern::Random,
        size: args.size,
        depth: args.depth,
        batch: args.batch,
        operations: args.operations,
        warmup: args.warmup,
        label: args.label,
        deadline: Duration::from_secs(args.deadline),
    };
    let (measured, hardware) = match args.layer {
        Layer::Hardware => load::run(load::Raw::new(hardware, &disk), (&clock, &dma), &disk, &job)?,
        Layer::Block => load::run(load::Layered::new(hardware, &disk, &job)?, (&clock, &dma), &disk, &job)?,
    };
    controller.shutdown(hardware).with_context(|| args.device.to_string())?;
    let seconds = measured.elapsed.as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    let iops = args.operations as f64 / seconds;
    println!(
        "{{\"operations\": {}, \"seconds\": {seconds:.6}, \"iops\": {iops:.0}, \"empty_polls\": {}, \"layer\": \"{:?}\", \"polled\": {}}}",
        args.operations, measured.empty_polls, args.layer, args.polled
    );
    Ok(())
}
