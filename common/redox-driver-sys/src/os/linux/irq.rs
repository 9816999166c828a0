//! An interrupt vector as an eventfd.

use std::{
    fmt,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::{
    event::{EventfdFlags, eventfd},
    io::Errno,
};

use crate::error::{Error, Result};

/// What VFIO can do for a vector besides signalling its eventfd.
pub(crate) trait Vector: Send + Sync {
    /// Lets INTx through again, which VFIO masks when it fires.
    fn unmask(&self) -> Result<()>;
}

pub(crate) struct InterruptFd {
    fd: OwnedFd,
    intx: Option<Arc<dyn Vector>>,
}

impl fmt::Debug for InterruptFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InterruptFd").field(&self.fd).finish()
    }
}

impl InterruptFd {
    pub(crate) fn new(intx: Option<Arc<dyn Vector>>) -> Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| Error::os("create eventfd", error))?;
        Ok(InterruptFd { fd, intx })
    }

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
        self.intx.as_ref().map_or(Ok(()), |vector| vector.unmask())
    }

    pub(crate) fn set_affinity(&self, _cpu: usize) -> Result<()> {
        Err(Error::Unsupported("interrupt affinity: VFIO has no call for it".to_string()))
    }
}
