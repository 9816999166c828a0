//! Makes a storage device write where it has no map, and looks whether the write landed.
//!
//! The same command (NVMe's Identify, virtio's GET_ID) is given twice: first with a mapped buffer, which must be written
//! (so the command does write), then with the physical address of a page of this process that is
//! not mapped for the device, which must stay as it was.
#![forbid(unsafe_code)]

mod controller;
mod sentinel;
mod virtio;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use redox_driver_sys::dma::DmaAllocator;
use redox_driver_sys::pci::{PciAddress, PciFunction};

use controller::Controller;
use sentinel::Sentinel;
use virtio::BlockDevice;

/// A device that can be told to write somewhere.
trait Device {
    /// The memory that it can reach.
    fn dma(&self) -> Result<DmaAllocator>;
    /// What is mapped for it.
    fn addresses(&self) -> Vec<u64>;
    /// Has it write to an address; returns what it says of that.
    fn write_to(&mut self, address: u64) -> Result<String>;
    /// Stops it; it does no DMA afterwards.
    fn stop(self: Box<Self>) -> Result<()>;
}

/// Makes a storage device write where it has no map, and looks whether the write landed.
#[derive(Debug, Parser)]
struct Args {
    /// The device, bound to vfio-pci, as in 0000:00:04.0
    #[arg(long)]
    device: PciAddress,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("stray-dma: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<String> {
    let function = PciFunction::open(args.device).context("cannot open the device")?;
    let mut device: Box<dyn Device> = match function.ids()?.vendor {
        virtio_spec::pci::VENDOR => Box::new(BlockDevice::start(function)?),
        _ => Box::new(Controller::start(function)?),
    };

    let mapped = device.dma()?.allocate(nvme_spec::PAGE_SIZE)?;
    device.write_to(mapped.addr().get()).context("a write to a mapped buffer")?;
    let written: u16 = mapped.read(0)?;
    ensure!(written != 0, "a write to a mapped buffer left it empty");

    let sentinel = Sentinel::new()?;
    let address = sentinel.physical_address()?;
    for ours in device.addresses().into_iter().chain([mapped.addr().get()]) {
        ensure!(ours != address, "the sentinel lies at an address that is mapped: try again");
    }
    // Whatever the device says of it: QEMU's NVMe controller reports success for a write that was blocked.
    let answer = device.write_to(address).unwrap_or_else(|error| format!("{error:#}"));
    ensure!(
        sentinel.physical_address()? == address,
        "the sentinel was moved by the kernel meanwhile: try again"
    );
    ensure!(sentinel.is_untouched(), "the write to {address:#x} landed in memory ({answer})");
    device.stop()?;
    Ok(format!("page at {address:#x} untouched; the device said: {answer}"))
}
