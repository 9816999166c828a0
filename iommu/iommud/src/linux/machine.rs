//! Units, and what the kernel tells of memory and devices.

use std::{
    fs::{File, Metadata},
    io,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::fs::{FileExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use amd_vi_spec::{DeviceId, ivrs::Ivrs, registers::CapabilityHeader};
use iommu_protocol::Device;
use redox_driver_sys::{
    dma::DmaPages,
    physical::{self, PhysicalMemory},
    time::Clock,
};
use rustix::fs::{MemfdFlags, OFlags, SealFlags, fcntl_add_seals, fcntl_getfl, ftruncate, memfd_create};

use crate::{
    error::{Error, Result},
    service::System,
    unit::{Unit, UnitError, UnitFirmware, UnitOptions},
};

/// The firmware's table.
const IVRS: &str = "/sys/firmware/acpi/tables/IVRS";
const DEVICES: &str = "/sys/bus/pci/devices";
/// Bytes of a unit's registers without performance counters.
const REGISTERS: usize = 0x4000;

/// The machine cannot be taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// A file that it takes is not there.
    #[error("{path}")]
    File {
        /// Which.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Firmware's table makes no sense.
    #[error("{IVRS}")]
    Ivrs(#[from] amd_vi_spec::ivrs::IvrsError),
    /// It names no unit.
    #[error("{IVRS} names no unit")]
    NoUnit,
    /// The kernel has the unit.
    #[error("the kernel drives the IOMMU: boot with amd_iommu=off")]
    Kernel,
    /// The machine.
    #[error(transparent)]
    Machine(#[from] redox_driver_sys::Error),
    /// A unit.
    #[error("unit at {base:#x}")]
    Unit {
        /// Which.
        base: u64,
        /// What.
        #[source]
        source: UnitError,
    },
}

/// What is needed of the machine.
#[derive(Debug)]
pub struct Machine;

impl Machine {
    /// The units that firmware names, not enabled.
    ///
    /// # Errors
    /// What is missing.
    pub fn units(memory: &PhysicalMemory, options: &UnitOptions) -> Result<Vec<Unit>, MachineError> {
        let driven =
            Path::new("/sys/class/iommu").read_dir().is_ok_and(|mut entries| entries.next().is_some());
        if driven {
            return Err(MachineError::Kernel);
        }
        let file = |source| MachineError::File { path: IVRS.to_string(), source };
        let ivrs = Ivrs::parse(&std::fs::read(IVRS).map_err(file)?)?;
        let firmware = UnitFirmware::units(&ivrs);
        if firmware.is_empty() {
            return Err(MachineError::NoUnit);
        }
        firmware.into_iter().map(|firmware| unit(firmware, memory, options)).collect()
    }
}

fn unit(
    firmware: UnitFirmware,
    memory: &PhysicalMemory,
    options: &UnitOptions,
) -> Result<Unit, MachineError> {
    let base = firmware.base;
    let registers = physical::map_registers(base, REGISTERS)?;
    let options = UnitOptions { not_present_cached: remembers_absence(&firmware), ..*options };
    Unit::new(&registers, memory.allocator(), &Clock::monotonic(), firmware, options)
        .map_err(|source| MachineError::Unit { base, source })
}

/// NpCache of the unit's PCI capability; yes, where it cannot be read.
fn remembers_absence(firmware: &UnitFirmware) -> bool {
    let device = Device { segment: firmware.segment, function: firmware.device.0 };
    let mut bytes = [0; 4];
    let read = File::open(directory(device).join("config"))
        .and_then(|config| config.read_exact_at(&mut bytes, firmware.capability.into()));
    read.is_err() || CapabilityHeader::from(u32::from_le_bytes(bytes)).np_cache()
}

/// The device's directory in sysfs.
fn directory(device: Device) -> PathBuf {
    Path::new(DEVICES).join(format!("{:04x}:{}", device.segment, DeviceId(device.function)))
}

impl System for Machine {
    fn adopt(&self, memory: BorrowedFd<'_>, most: u64) -> Result<DmaPages> {
        physical::adopt_memory(memory, most).map_err(|error| match error {
            redox_driver_sys::Error::Invalid { .. } => Error::Unusable(error.to_string()),
            other => Error::Memory(other),
        })
    }

    fn allocate(&self, len: u64) -> Result<(DmaPages, OwnedFd)> {
        let os = |error: rustix::io::Errno| Error::Memory(redox_driver_sys::Error::os("make a memfd", error));
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = memfd_create("iommud", flags).map_err(os)?;
        ftruncate(&memory, len).map_err(os)?;
        fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW).map_err(os)?;
        let pages = self.adopt(rustix::fd::AsFd::as_fd(&memory), len)?;
        Ok((pages, memory))
    }

    /// The descriptor is that of the device's `config` or `resourceN` in sysfs, and was opened for writing: the file's mode
    /// allows that to root alone.
    fn check_holder(&self, descriptor: BorrowedFd<'_>, device: Device) -> Result<()> {
        let denied = |reason: &str| Error::Denied(format!("{}: {reason}", directory(device).display()));
        let flags = fcntl_getfl(descriptor).map_err(|_| denied("the descriptor cannot be looked at"))?;
        if flags.contains(OFlags::PATH) || flags & OFlags::RWMODE != OFlags::RDWR {
            return Err(denied("the descriptor was not opened for reading and writing"));
        }
        let file = descriptor.try_clone_to_owned().map(File::from).and_then(|file| file.metadata());
        let file = file.map_err(|_| denied("the descriptor cannot be looked at"))?;
        let same = |other: Metadata| (other.dev(), other.ino()) == (file.dev(), file.ino());
        let names = (0..6).map(|bar| format!("resource{bar}")).chain(["config".to_string()]);
        let known = names.filter_map(|name| directory(device).join(name).metadata().ok());
        if known.into_iter().any(same) {
            return Ok(());
        }
        Err(denied("the descriptor is not one of the device's config and resourceN"))
    }
}
