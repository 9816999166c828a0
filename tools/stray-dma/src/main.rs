//! Makes a device write where it has no map, and looks whether the write landed.
//!
//! The same command (NVMe's Identify, virtio's GET_ID, a read of an AHCI disk, the receiving of a frame) is given twice: first with a mapped buffer, which must be written
//! (so the command does write), then with the physical address of a page of this process that is
//! not mapped for the device, which must stay as it was.
#![forbid(unsafe_code)]

mod abuse;
mod ahci;
mod controller;
mod ethernet;
mod iommu;
mod sentinel;
mod virtio;

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use redox_driver_sys::dma::DmaAllocator;
use redox_driver_sys::pci::{PciAddress, PciFunction};

use ahci::Ahci;
use controller::Controller;
use ethernet::Ethernet;
use sentinel::Sentinel;
use virtio::BlockDevice;

/// Class and subclasses (PCI Code and ID Assignment).
const MASS_STORAGE: u8 = 0x01;
const NETWORK: u8 = 0x02;
const INTEL: u16 = 0x8086;
const SATA: u8 = 0x06;
const NVM_EXPRESS: u8 = 0x08;
/// What the mapped buffer holds before it is written.
const BLANK: u8 = 0x5a;

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

/// Makes a device write where it has no map, and looks whether the write landed.
#[derive(Debug, Parser)]
struct Args {
    /// The device, bound to vfio-pci, or to nothing where the IOMMU daemon is there, as in 0000:00:04.0
    #[arg(long)]
    device: PciAddress,
    /// What to do where the IOMMU daemon is there.
    #[command(subcommand)]
    with_daemon: Option<WithDaemon>,
}

#[derive(Debug, clap::Subcommand)]
enum WithDaemon {
    /// Aim at what is not mapped, mapped for others, read-only, physical, just unmapped; look whether it landed, and whether
    /// the daemon tells of it.
    Aim,
    /// Start the device, say so, and wait to be killed.
    Hold,
    /// Have the device go on where a killed program left it.
    Wake,
    /// Ask the daemon for what nobody may have.
    Abuse,
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
    match args.with_daemon {
        Some(WithDaemon::Aim) => return iommu::aim(args.device),
        Some(WithDaemon::Hold) => return iommu::hold(args.device),
        Some(WithDaemon::Wake) => return iommu::wake(args.device),
        Some(WithDaemon::Abuse) => return abuse::run(args.device),
        None => {}
    }
    let function = PciFunction::open(args.device).context("cannot open the device")?;
    let ids = function.ids()?;
    let mut device: Box<dyn Device> = match (ids.vendor, ids.class, ids.subclass) {
        (virtio_spec::pci::VENDOR, ..) => Box::new(BlockDevice::start(function)?),
        (_, MASS_STORAGE, NVM_EXPRESS) => Box::new(Controller::start(function)?),
        (_, MASS_STORAGE, SATA) => Box::new(Ahci::start(function)?),
        (INTEL, NETWORK, _) => Box::new(Ethernet::start(function)?),
        _ => bail!("{}: {ids} is none of NVMe, AHCI, virtio and Intel Ethernet", args.device),
    };

    let mapped = device.dma()?.allocate(nvme_spec::PAGE_SIZE)?;
    mapped.fill(0, nvme_spec::PAGE_SIZE, BLANK)?;
    device.write_to(mapped.addr().get()).context("a write to a mapped buffer")?;
    let mut written = vec![0; nvme_spec::PAGE_SIZE];
    mapped.copy_to(0, &mut written)?;
    ensure!(written.iter().any(|&byte| byte != BLANK), "a write to a mapped buffer left it as it was");

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
