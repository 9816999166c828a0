//! Interrupt vectors as eventfds.

use std::{
    fmt,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::{
    event::{EventfdFlags, eventfd},
    io::Errno,
};
use vfio_bindings::bindings::vfio;

use super::{Device, abi, sysfs};
use crate::{
    error::{Error, Result},
    irq::InterruptKind,
};

/// One vector.
pub(crate) struct InterruptFd {
    fd: OwnedFd,
    device: Arc<Device>,
    kind: InterruptKind,
    vector: usize,
}

impl fmt::Debug for InterruptFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.action())
    }
}

impl InterruptFd {
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn take(&self) -> Result<u64> {
        let mut count = [0; 8];
        match rustix::io::read(&self.fd, &mut count) {
            Ok(_) => Ok(u64::from_ne_bytes(count)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(Error::os("read interrupt eventfd", error)),
        }
    }

    pub(crate) fn rearm(&self) -> Result<()> {
        if self.kind != InterruptKind::Intx {
            return Ok(());
        }
        abi::unmask_intx(self.device.fd.as_fd()).map_err(|error| Error::os("unmask INTx", error))
    }

    pub(crate) fn set_affinity(&self, cpu: usize) -> Result<()> {
        sysfs::set_affinity(&self.action(), cpu)
    }

    /// What vfio-pci calls the vector in `/proc/interrupts`.
    fn action(&self) -> String {
        let InterruptFd { device, kind, vector, .. } = self;
        match kind {
            InterruptKind::Intx => format!("vfio-intx({})", device.address),
            InterruptKind::Msi => format!("vfio-msi[{vector}]({})", device.address),
            InterruptKind::MsiX => format!("vfio-msix[{vector}]({})", device.address),
        }
    }
}

const fn index(kind: InterruptKind) -> u32 {
    match kind {
        InterruptKind::Intx => vfio::VFIO_PCI_INTX_IRQ_INDEX,
        InterruptKind::Msi => vfio::VFIO_PCI_MSI_IRQ_INDEX,
        InterruptKind::MsiX => vfio::VFIO_PCI_MSIX_IRQ_INDEX,
    }
}

/// Connects up to `count` vectors of `kind`, and disconnects what was connected before.
pub(super) fn enable(device: &Arc<Device>, kind: InterruptKind, count: usize) -> Result<Vec<InterruptFd>> {
    let fd = device.fd.as_fd();
    let mut connected = device.interrupts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(before) = connected.take() {
        abi::disconnect_irqs(fd, index(before))
            .map_err(|error| Error::os(format!("disconnect {before}"), error))?;
    }
    let info = abi::irq_info(fd, index(kind))
        .map_err(|error| Error::os(format!("ask for the vectors of {kind}"), error))?;
    if info.flags & vfio::VFIO_IRQ_INFO_EVENTFD == 0 {
        return Err(Error::Unsupported("VFIO gives no eventfd for it".to_string()));
    }
    let mut count = count.min(usize::try_from(info.count).unwrap_or(usize::MAX));
    while count > 0 {
        let vectors =
            (0..count).map(|vector| new_vector(device, kind, vector)).collect::<Result<Vec<_>>>()?;
        let fds: Vec<_> = vectors.iter().map(|vector| vector.fd.as_fd()).collect();
        let fewer = abi::connect_irqs(fd, index(kind), &fds)
            .map_err(|error| Error::os(format!("connect {count} vectors of {kind}"), error))?;
        match usize::try_from(fewer) {
            Ok(0) => {
                *connected = Some(kind);
                return Ok(vectors);
            }
            // MSI comes in powers of two.
            Ok(fewer) if kind == InterruptKind::Msi => count = (1 << fewer.ilog2()).min(count - 1),
            Ok(fewer) => count = fewer.min(count - 1),
            Err(_) => break,
        }
    }
    Err(Error::Unsupported("the system has no vector left".to_string()))
}

fn new_vector(device: &Arc<Device>, kind: InterruptKind, vector: usize) -> Result<InterruptFd> {
    let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        .map_err(|error| Error::os("create eventfd", error))?;
    Ok(InterruptFd { fd, device: device.clone(), kind, vector })
}
