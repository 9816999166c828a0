//! The interrupt pin, by uio_pci_generic: it masks the pin when it interrupts, and the driver lets it through again.

use std::{
    fs::{File, OpenOptions},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use rustix::{fs::OFlags, io::Errno};

use super::Config;
use crate::{
    error::{Error, Result},
    pci::Command,
};

/// The pin of a function.
#[derive(Debug)]
pub(crate) struct Uio {
    file: File,
    config: Arc<Config>,
    /// Interrupts in all, as the kernel counted them last.
    seen: AtomicU32,
}

impl Uio {
    pub(super) fn open(directory: &Path, config: &Arc<Config>) -> Result<Self> {
        let none = || Error::Unsupported("INTx needs the function bound to uio_pci_generic".to_string());
        let entry = directory.join("uio").read_dir().ok().and_then(|mut names| names.next()?.ok());
        let path = Path::new("/dev").join(entry.ok_or_else(none)?.file_name());
        let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).write(true).custom_flags(nonblocking).open(&path);
        let file = file.map_err(|error| Error::os(path.display().to_string(), error))?;
        let uio = Uio { file, config: config.clone(), seen: AtomicU32::new(0) };
        uio.rearm()?;
        Ok(uio)
    }

    pub(crate) fn take(&self) -> Result<u64> {
        let mut bytes = [0; 4];
        match rustix::io::read(&self.file, &mut bytes) {
            Ok(_) => {
                let now = u32::from_ne_bytes(bytes);
                Ok(now.wrapping_sub(self.seen.swap(now, Ordering::Relaxed)).into())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(Error::os("read the interrupts of a uio device", error)),
        }
    }

    pub(crate) fn rearm(&self) -> Result<()> {
        self.config.set_command(|command| command.remove(Command::INTX_DISABLE))
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
