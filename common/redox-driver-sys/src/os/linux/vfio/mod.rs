//! VFIO, by its legacy interface of containers and groups, which every kernel since 3.6 has.

mod abi;
mod capability;
mod container;
mod dma;
mod interrupt;
mod region;
mod sysfs;

use std::{
    fs::File,
    io,
    os::{fd::AsFd, unix::fs::FileExt},
    sync::{Arc, Mutex},
};

use container::Container;
pub(crate) use interrupt::InterruptFd;
use region::Region;
use vfio_bindings::bindings::vfio;

use crate::{
    dma::DmaAllocator,
    error::{Error, Result},
    irq::{Interrupt, InterruptKind, Source},
    mmio::Mmio,
    pci::{Command, FunctionBackend, PciAddress, Width, header},
    time::Clock,
};

/// Attaching fails for `reason`, which names the function.
fn attach(reason: String) -> Error {
    Error::Attach { reason }
}

pub(crate) fn open_function(address: PciAddress) -> Result<Arc<dyn FunctionBackend>> {
    let container = Arc::new(Container::open(address)?);
    let device = Device::open(container.open_device(address)?.into(), address)?;
    let allocator = DmaAllocator::new(Arc::new(dma::VfioDmaAllocator::new(container)?));
    Ok(Arc::new(VfioFunction { device: Arc::new(device), allocator }))
}

/// The descriptor of a function. Closing the last one disconnects interrupts and resets the function.
#[derive(Debug)]
struct Device {
    fd: File,
    address: PciAddress,
    config: Region,
    can_reset: bool,
    /// What is connected at the moment.
    interrupts: Mutex<Option<InterruptKind>>,
}

impl Device {
    fn open(fd: File, address: PciAddress) -> Result<Self> {
        let flags = abi::device_flags(fd.as_fd())
            .map_err(|error| Error::os(format!("ask VFIO what {address} is"), error))?;
        if flags & vfio::VFIO_DEVICE_FLAGS_PCI == 0 {
            return Err(attach(format!("{address} is no PCI device for VFIO")));
        }
        let config = Region::of(fd.as_fd(), vfio::VFIO_PCI_CONFIG_REGION_INDEX)
            .map_err(|error| Error::os(format!("find the configuration space of {address}"), error))?;
        let can_reset = flags & vfio::VFIO_DEVICE_FLAGS_RESET != 0;
        let device = Device { fd, address, config, can_reset, interrupts: Mutex::new(None) };
        device.set_command(|command| command.remove(Command::BUS_MASTER))?;
        Ok(device)
    }

    fn config_offset(&self, offset: u16, width: Width) -> Result<u64> {
        let (offset, len) = (u64::from(offset), u64::from(width.bytes()));
        if offset + len > self.config.size || !offset.is_multiple_of(len) {
            return Err(Error::OutOfBounds { offset, len, region: self.config.size });
        }
        Ok(self.config.offset + offset)
    }

    fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        let at = self.config_offset(offset, width)?;
        let mut bytes = [0; 4];
        let wanted = bytes.iter_mut().len().min(usize::from(width.bytes()));
        self.fd
            .read_exact_at(&mut bytes[..wanted], at)
            .map_err(|error| Error::os(format!("read configuration space at {offset:#x}"), error))?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        let at = self.config_offset(offset, width)?;
        let bytes = value.to_le_bytes();
        let given = bytes.len().min(usize::from(width.bytes()));
        self.fd
            .write_all_at(&bytes[..given], at)
            .map_err(|error| Error::os(format!("write configuration space at {offset:#x}"), error))
    }

    fn set_command(&self, change: impl FnOnce(&mut Command)) -> Result<()> {
        let before = self.config_read(header::COMMAND, Width::Word)?;
        #[allow(clippy::cast_possible_truncation, reason = "two bytes were read")]
        let mut command = Command::from_bits_retain(before as u16);
        change(&mut command);
        if u32::from(command.bits()) == before {
            return Ok(());
        }
        self.config_write(header::COMMAND, Width::Word, command.bits().into())
    }
}

struct VfioFunction {
    device: Arc<Device>,
    allocator: DmaAllocator,
}

impl FunctionBackend for VfioFunction {
    fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        self.device.config_read(offset, width)
    }

    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        self.device.config_write(offset, width, value)
    }

    fn map_bar(&self, bar: u8) -> Result<Mmio> {
        let failed = |reason: &str| Error::Bar { bar, reason: reason.to_string() };
        if bar > 5 {
            return Err(failed("a function has BARs 0 to 5"));
        }
        let low = self.config_read(header::BAR0 + 4 * u16::from(bar), Width::Dword)?;
        let index = vfio::VFIO_PCI_BAR0_REGION_INDEX + u32::from(bar);
        let region = Region::of(self.device.fd.as_fd(), index)
            .map_err(|error| Error::os(format!("find BAR {bar}"), error))?;
        if region.size == 0 {
            return Err(failed("there is none"));
        }
        if low & 1 != 0 {
            return Err(failed("it is in I/O space, not in memory"));
        }
        // Without memory space enabled an access would end the process with SIGBUS.
        self.device.set_command(|command| command.insert(Command::MEMORY_SPACE))?;
        region.map(self.device.fd.as_fd(), bar)
    }

    fn enable_interrupts(&self, kind: InterruptKind, count: usize) -> Result<Vec<Interrupt>> {
        let vectors = interrupt::enable(&self.device, kind, count)?;
        Ok(vectors
            .into_iter()
            .map(|vector| Interrupt(Source::Os(super::InterruptFd::Vfio(vector))))
            .collect())
    }

    fn dma_allocator(&self) -> Result<DmaAllocator> {
        Ok(self.allocator.clone())
    }

    fn reset(&self) -> Result<()> {
        if !self.device.can_reset {
            return Err(Error::Unsupported(format!("{} has no reset of its own", self.device.address)));
        }
        abi::reset(self.device.fd.as_fd())
            .map_err(|error: io::Error| Error::os("reset the function", error))?;
        // The kernel restores configuration space as it was before the reset.
        self.device.set_command(|command| {
            command.remove(Command::BUS_MASTER);
            command.insert(Command::MEMORY_SPACE);
        })
    }

    fn clock(&self) -> Clock {
        Clock::monotonic()
    }
}
