//! Makes an NVMe or AHCI controller write where it has no map, and looks whether the write landed.
//!
//! The same command, Identify or a read, is given twice: first with a mapped buffer, which must be written
//! (so the command does write), then with the physical address of a page of this process that is
//! not mapped for the device, which must stay as it was.
#![forbid(unsafe_code)]

mod ahci;
mod controller;
mod sentinel;

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use redox_driver_sys::pci::{PciAddress, PciFunction};

use ahci::Ahci;
use controller::Controller;
use sentinel::Sentinel;

/// Class and subclass (PCI Code and ID Assignment).
const NVM_EXPRESS: (u8, u8) = (0x01, 0x08);
const SATA: (u8, u8) = (0x01, 0x06);

/// Makes an NVMe or AHCI controller write where it has no map, and looks whether the write landed.
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
    let ids = function.ids()?;
    match (ids.class, ids.subclass) {
        NVM_EXPRESS => nvme(&function),
        SATA => ahci(function),
        _ => bail!("{}: {ids} is neither an NVMe nor an AHCI controller", args.device),
    }
}

fn nvme(function: &PciFunction) -> Result<String> {
    let mut controller = Controller::start(function)?;
    let mapped = function.dma()?.allocate(nvme_spec::PAGE_SIZE)?;
    let status = controller.identify(mapped.addr().get())?;
    ensure!(status.is_success(), "Identify into a mapped buffer: {status}");
    let vendor: u16 = mapped.read(0)?;
    ensure!(vendor != 0, "Identify into a mapped buffer left it empty");

    let ours: Vec<u64> = controller.addresses().into_iter().chain([mapped.addr().get()]).collect();
    // Whatever the controller says of it: QEMU's reports success for a write that was blocked.
    let said = aim(&ours, |address| match controller.identify(address) {
        Ok(status) => status.to_string(),
        Err(error) => format!("{error:#}"),
    })?;
    controller.stop()?;
    Ok(said)
}

fn ahci(function: PciFunction) -> Result<String> {
    let mut ahci = Ahci::start(function)?;
    let said = aim(&[ahci.address()], |address| match ahci.read_to(address) {
        Ok(()) => "done".to_string(),
        Err(error) => error.to_string(),
    })?;
    ahci.stop()?;
    Ok(said)
}

/// Has `write` make the device write to a page that is not mapped for it, as those of `ours` are.
fn aim(ours: &[u64], write: impl FnOnce(u64) -> String) -> Result<String> {
    let sentinel = Sentinel::new()?;
    let address = sentinel.physical_address()?;
    ensure!(!ours.contains(&address), "the sentinel lies at an address that is mapped: try again");
    let answer = write(address);
    ensure!(
        sentinel.physical_address()? == address,
        "the sentinel was moved by the kernel meanwhile: try again"
    );
    ensure!(sentinel.is_untouched(), "the write to {address:#x} landed in memory ({answer})");
    Ok(format!("page at {address:#x} untouched; the controller said: {answer}"))
}
