//! Makes an NVMe controller write where it has no map, and looks whether the write landed.
//!
//! The same Identify command is given twice: first with a mapped buffer, which must be written
//! (so the command does write), then with the physical address of a page of this process that is
//! not mapped for the device, which must stay as it was.
#![forbid(unsafe_code)]

mod controller;
mod sentinel;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use redox_driver_sys::pci::{PciAddress, PciFunction};

use controller::Controller;
use sentinel::Sentinel;

/// Makes an NVMe controller write where it has no map, and looks whether the write landed.
#[derive(Debug, Parser)]
struct Args {
    /// The controller, bound to vfio-pci, as in 0000:00:04.0
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
    let function = PciFunction::open(args.device).context("cannot open the controller")?;
    let mut controller = Controller::start(&function)?;

    let mapped = function.dma()?.allocate(nvme_spec::PAGE_SIZE)?;
    let status = controller.identify(mapped.addr().get())?;
    ensure!(status.is_success(), "Identify into a mapped buffer: {status}");
    let vendor: u16 = mapped.read(0)?;
    ensure!(vendor != 0, "Identify into a mapped buffer left it empty");

    let sentinel = Sentinel::new()?;
    let address = sentinel.physical_address()?;
    for ours in controller.addresses().into_iter().chain([mapped.addr().get()]) {
        ensure!(ours != address, "the sentinel lies at an address that is mapped: try again");
    }
    // Whatever the controller says of it: QEMU's reports success for a write that was blocked.
    let answer = match controller.identify(address) {
        Ok(status) => status.to_string(),
        Err(error) => format!("{error:#}"),
    };
    ensure!(
        sentinel.physical_address()? == address,
        "the sentinel was moved by the kernel meanwhile: try again"
    );
    ensure!(sentinel.is_untouched(), "the write to {address:#x} landed in memory ({answer})");
    controller.stop()?;
    Ok(format!("page at {address:#x} untouched; the controller said: {answer}"))
}
