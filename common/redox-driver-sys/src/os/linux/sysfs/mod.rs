//! A function through sysfs, for when its DMA goes through the IOMMU daemon and VFIO is of no use: the kernel has no driver
//! for the IOMMU then.

mod interrupt;

use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::AsFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    ptr::{NonNull, null_mut},
    sync::Arc,
};

pub(super) use interrupt::Uio;
use iommu_protocol::Device;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::{
    InterruptFd,
    iommu::{Client, Domain, IommuDmaAllocator},
};
use crate::{
    dma::{DmaAllocator, PAGE_SIZE},
    error::{Error, Result},
    irq::{Interrupt, InterruptKind, Source},
    mmio::{Mapping, Mmio},
    pci::{Command, FunctionBackend, PciAddress, Width, header},
    time::Clock,
};

const DEVICES: &str = "/sys/bus/pci/devices";

/// Whether a function is to be driven so: the daemon is there, and VFIO does not have the function.
pub(super) fn is_wanted(address: PciAddress) -> bool {
    let driver = directory(address).join("driver").read_link();
    let vfio = driver.is_ok_and(|driver| driver.file_name().is_some_and(|name| name == "vfio-pci"));
    !vfio && Client::path().exists()
}

/// Opens a function that no driver of the kernel has, or only one that hands interrupts on (uio_pci_generic).
pub(super) fn open_function(address: PciAddress) -> Result<Arc<dyn FunctionBackend>> {
    open_with_domain(address).map(|(function, _)| function)
}

/// As [`open_function`], with the domain that the function's DMA goes to.
pub(super) fn open_with_domain(address: PciAddress) -> Result<(Arc<dyn FunctionBackend>, Domain)> {
    open(directory(address), &Client::path(), address)
}

/// Opens the function in `directory` with the daemon at `daemon`.
fn open(
    directory: PathBuf,
    daemon: &Path,
    address: PciAddress,
) -> Result<(Arc<dyn FunctionBackend>, Domain)> {
    check_free(&directory, address)?;
    let path = directory.join("config");
    let config = OpenOptions::new().read(true).write(true).open(&path);
    let config = config.map_err(|error| Error::os(path.display().to_string(), error))?;
    let device = Device { segment: address.segment(), function: address.requester() };
    let config = Arc::new(Config { file: config });
    let allocator = IommuDmaAllocator::new(Client::connect(daemon)?, device, config.file.as_fd())?;
    // Whatever a former driver had begun must not go on in the new domain, in which nothing is mapped yet. Before the device
    // is ours it may be another's, who works with it.
    config.set_command(|command| command.remove(Command::BUS_MASTER))?;
    let domain = allocator.domain().clone();
    let allocator = DmaAllocator::new(Arc::new(allocator));
    Ok((Arc::new(SysfsFunction { directory, config, allocator }), domain))
}

fn directory(address: PciAddress) -> PathBuf {
    Path::new(DEVICES).join(address.to_string())
}

fn check_free(directory: &Path, address: PciAddress) -> Result<()> {
    let attach = |reason| Error::Attach { reason };
    if !directory.exists() {
        return Err(attach(format!("no PCI device {address}")));
    }
    match directory.join("driver").read_link() {
        Ok(driver) if driver.file_name().is_some_and(|name| name == "uio_pci_generic") => Ok(()),
        Ok(driver) => {
            let name = driver.file_name().unwrap_or_default().display().to_string();
            Err(attach(format!("{address} is bound to {name}: bind it to uio_pci_generic or to nothing")))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::os(format!("find the driver of {address}"), error)),
    }
}

/// The function's configuration space.
#[derive(Debug)]
struct Config {
    file: File,
}

impl Config {
    fn read(&self, offset: u16, width: Width) -> Result<u32> {
        let mut bytes = [0; 4];
        let wanted = bytes.iter_mut().len().min(usize::from(width.bytes()));
        let read = self.file.read_exact_at(&mut bytes[..wanted], offset.into());
        read.map_err(|error| Error::os(format!("read configuration space at {offset:#x}"), error))?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn write(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        let bytes = value.to_le_bytes();
        let given = bytes.len().min(usize::from(width.bytes()));
        let written = self.file.write_all_at(&bytes[..given], offset.into());
        written.map_err(|error| Error::os(format!("write configuration space at {offset:#x}"), error))
    }

    fn set_command(&self, change: impl FnOnce(&mut Command)) -> Result<()> {
        #[allow(clippy::cast_possible_truncation, reason = "two bytes are read")]
        let before = Command::from_bits_retain(self.read(header::COMMAND, Width::Word)? as u16);
        let mut command = before;
        change(&mut command);
        // Only bytes that change: the pin is let through in one by whoever takes interrupts, and bus mastering is in the other.
        let bytes = before.bits().to_le_bytes().into_iter().zip(command.bits().to_le_bytes());
        for (at, (_, new)) in (header::COMMAND..).zip(bytes).filter(|(_, (old, new))| old != new) {
            self.write(at, Width::Byte, new.into())?;
        }
        Ok(())
    }
}

struct SysfsFunction {
    directory: PathBuf,
    config: Arc<Config>,
    allocator: DmaAllocator,
}

impl FunctionBackend for SysfsFunction {
    fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        self.config.read(offset, width)
    }

    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        self.config.write(offset, width, value)
    }

    fn map_bar(&self, bar: u8) -> Result<Mmio> {
        let failed = |reason: &str| Error::Bar { bar, reason: reason.to_string() };
        if bar > 5 {
            return Err(failed("a function has BARs 0 to 5"));
        }
        if self.config.read(header::BAR0 + 4 * u16::from(bar), Width::Dword)? & 1 != 0 {
            return Err(failed("it is in I/O space, not in memory"));
        }
        let path = self.directory.join(format!("resource{bar}"));
        let os = |error| Error::os(path.display().to_string(), error);
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(os)?;
        let len = usize::try_from(file.metadata().map_err(os)?.len()).unwrap_or(0);
        let len = len.next_multiple_of(PAGE_SIZE);
        if len == 0 {
            return Err(failed("there is none"));
        }
        // Without memory space enabled, accesses read all ones.
        self.config.set_command(|command| command.insert(Command::MEMORY_SPACE))?;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base =
            unsafe { mmap(null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &file, 0) };
        let base = base.map_err(|error| os(error.into()))?;
        let base = NonNull::new(base.cast()).ok_or_else(|| failed("mapped at address zero"))?;
        Ok(Mmio::mapped(Mapping { base, len, gaps: Vec::new(), unmap: unmap_bar }))
    }

    fn enable_interrupts(&self, kind: InterruptKind, _count: usize) -> Result<Vec<Interrupt>> {
        if kind != InterruptKind::Intx {
            return Err(Error::Unsupported(format!("the kernel hands no {kind} on without VFIO")));
        }
        let uio = Uio::open(&self.directory, &self.config)?;
        Ok(vec![Interrupt(Source::Os(InterruptFd::Uio(uio)))])
    }

    fn dma_allocator(&self) -> Result<DmaAllocator> {
        Ok(self.allocator.clone())
    }

    fn reset(&self) -> Result<()> {
        let path = self.directory.join("reset");
        match std::fs::write(&path, "1") {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Unsupported("the function has no reset of its own".to_string()));
            }
            Err(error) => return Err(Error::os(path.display().to_string(), error)),
        }
        // The kernel restores configuration space as it was before the reset.
        self.config.set_command(|command| {
            command.remove(Command::BUS_MASTER);
            command.insert(Command::MEMORY_SPACE);
        })
    }

    fn clock(&self) -> Clock {
        Clock::monotonic()
    }
}

fn unmap_bar(base: NonNull<u8>, len: usize) {
    // SAFETY: called once by the owner of the mapping, of which no register is left.
    if let Err(error) = unsafe { munmap(base.as_ptr().cast(), len) } {
        log::error!("a BAR of {len} bytes stays mapped: {error}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

    use std::thread;

    use iommu_protocol::{DomainHandle, MOST_BYTES, Reply, Request, errno};
    use rustix::net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept, bind, listen, socket_with,
    };

    use super::*;
    use crate::os::packet;

    /// A daemon at `path` that makes domains and assigns devices with `assigned`.
    fn daemon(path: &Path, assigned: Option<i32>) -> thread::JoinHandle<()> {
        let kind = (AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let listener = socket_with(kind.0, kind.1, kind.2, None).unwrap();
        bind(&listener, &SocketAddrUnix::new(path).unwrap()).unwrap();
        listen(&listener, 1).unwrap();
        thread::spawn(move || {
            let socket = accept(&listener).unwrap();
            let mut bytes = [0; MOST_BYTES];
            while let Ok((len @ 1.., _)) = packet::receive(&socket, &mut bytes) {
                let (header, request) = Request::parse(&bytes[..len]).unwrap();
                let reply = match request {
                    Request::CreateDomain(_) => {
                        Reply::to(&header).with(&DomainHandle { domain: 1, reserved: 0 })
                    }
                    Request::Assign(assign) if assign.device.function == 0x20 => match assigned {
                        None => Reply::to(&header),
                        Some(error) => Reply::with_error(&header, error),
                    },
                    other => panic!("{other:?}"),
                };
                packet::send(&socket, &reply.encode(), None).unwrap();
            }
        })
    }

    fn config(directory: &Path, command: Command) -> Config {
        let path = directory.join("config");
        let mut bytes = [0; 64];
        bytes[usize::from(header::COMMAND)..][..2].copy_from_slice(&command.bits().to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        Config { file: OpenOptions::new().read(true).write(true).open(path).unwrap() }
    }

    fn has(config: &Config, bit: Command) -> bool {
        config.read(header::COMMAND, Width::Word).unwrap() & u32::from(bit.bits()) != 0
    }

    #[test]
    fn a_device_is_stopped_by_its_new_owner_and_by_nobody_else() {
        for (assigned, runs) in [(Some(errno::EBUSY), true), (None, false)] {
            let directory = tempfile::tempdir().unwrap();
            let config = config(directory.path(), Command::BUS_MASTER | Command::MEMORY_SPACE);
            let socket = directory.path().join("socket");
            let daemon = daemon(&socket, assigned);
            let opened = open(directory.path().to_path_buf(), &socket, PciAddress::MODEL);
            assert_eq!(opened.is_err(), assigned.is_some());
            assert_eq!(has(&config, Command::BUS_MASTER), runs);
            assert!(has(&config, Command::MEMORY_SPACE));
            drop(opened);
            daemon.join().unwrap();
        }
    }

    #[test]
    fn the_pin_and_bus_mastering_are_changed_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let config = &config(directory.path(), Command::empty());
        thread::scope(|scope| {
            for bit in [Command::BUS_MASTER, Command::INTX_DISABLE] {
                scope.spawn(move || {
                    for on in [true, false].into_iter().cycle().take(20_000) {
                        config.set_command(|command| command.set(bit, on)).unwrap();
                        assert_eq!(has(config, bit), on, "{bit:?}");
                    }
                });
            }
        });
    }
}
