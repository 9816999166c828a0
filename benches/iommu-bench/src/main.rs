//! Maps pages of 4 KiB for a device and unmaps them again, through iommud or through Linux's VFIO. The measured part lies
//! between two marks for an instruction-counting emulator.
#![forbid(unsafe_code)]

mod daemon;
mod vfio;

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Parser, ValueEnum};
use redox_driver_sys::{mark, pci::PciAddress};

/// Who maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// The IOMMU daemon.
    Iommud,
    /// The kernel: `VFIO_IOMMU_MAP_DMA` and `VFIO_IOMMU_UNMAP_DMA`.
    Vfio,
}

/// Measure pairs of map and unmap.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// PCI address of the device: bound to vfio-pci, or for iommud to uio_pci_generic.
    #[arg(long)]
    device: PciAddress,
    /// Who maps.
    #[arg(long, value_enum, default_value_t = By::Iommud)]
    by: By,
    /// Measured pairs.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Pages that are mapped in one request, and unmapped in one.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    list: u16,
    /// Pages that stay mapped meanwhile.
    #[arg(long, default_value_t = 1)]
    live: u32,
    /// Label of the measured window, 0 to 127.
    #[arg(long, default_value_t = 1)]
    label: u8,
}

/// What is not measured, before the rest: caches, and the kernel's and the daemon's memory.
const WARM_UP: u32 = 500;

/// Does `round` over and over: `WARM_UP` times, and between the marks `rounds` times.
fn measure(label: u8, rounds: u32, mut round: impl FnMut() -> Result<()>) -> Result<Duration> {
    for _ in 0..WARM_UP.min(rounds) {
        round()?;
    }
    let start = Instant::now();
    mark::begin(label);
    let result = (0..rounds).try_for_each(|_| round());
    mark::end(label);
    result.map(|()| start.elapsed())
}

fn main() -> Result<()> {
    let args = Args::parse();
    let rounds = args.pairs.div_ceil(u32::from(args.list));
    let (elapsed, tables) = match args.by {
        By::Iommud => daemon::run(&args, rounds)?,
        By::Vfio => (vfio::run(&args, rounds)?, 0),
    };
    println!(
        "{{\"operations\": {}, \"seconds\": {:.6}, \"tables\": {tables}}}",
        rounds * u32::from(args.list),
        elapsed.as_secs_f64()
    );
    Ok(())
}
