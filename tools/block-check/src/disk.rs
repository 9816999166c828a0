//! A block device, opened for direct I/O, and memory for it.

use std::{
    fs::{self, File, OpenOptions},
    io::{IoSlice, IoSliceMut, Seek, SeekFrom},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    fs::{OFlags, ioctl_blksszget},
    io::{Errno, ReadWriteFlags, preadv2, pwritev2},
};

/// What memory is aligned to, less what a check adds.
const PAGE: usize = 4096;

pub(crate) struct Disk {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    /// Bytes of a block.
    pub(crate) block: usize,
    /// Its size in bytes.
    pub(crate) bytes: u64,
    sysfs: PathBuf,
}

impl Disk {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let path = path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?;
        let kind = fs::metadata(&path)?.file_type();
        ensure!(kind.is_block_device(), "{} is no block device", path.display());
        let direct = i32::try_from(OFlags::DIRECT.bits())?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(direct)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let block = usize::try_from(ioctl_blksszget(&file)?)?;
        let bytes = file.seek(SeekFrom::End(0))?;
        let Some(name) = path.file_name() else { bail!("{} has no name", path.display()) };
        let sysfs = Path::new("/sys/class/block").join(name);
        Ok(Disk { path, file, block, bytes, sysfs })
    }

    /// The text of an attribute in sysfs.
    pub(crate) fn attribute(&self, name: &str) -> Result<String> {
        let path = self.sysfs.join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(text.trim().to_owned())
    }

    /// The same as a number.
    pub(crate) fn number(&self, name: &str) -> Result<u64> {
        let text = self.attribute(name)?;
        text.parse().with_context(|| format!("{name} is {text}"))
    }

    /// Reads into pieces of memory; all of it, or an error.
    pub(crate) fn read(&self, offset: u64, pieces: &mut [IoSliceMut<'_>]) -> Result<()> {
        let wanted: usize = pieces.iter().map(|piece| piece.len()).sum();
        let got = preadv2(&self.file, pieces, offset, ReadWriteFlags::empty())
            .with_context(|| format!("read of {wanted} bytes at {offset}"))?;
        ensure!(got == wanted, "a read of {wanted} bytes at {offset} gave {got}");
        Ok(())
    }

    /// Writes pieces of memory; all of it, or an error.
    pub(crate) fn write(&self, offset: u64, pieces: &[IoSlice<'_>], flags: ReadWriteFlags) -> Result<()> {
        let wanted: usize = pieces.iter().map(|piece| piece.len()).sum();
        let got = self
            .try_write(offset, pieces, flags)
            .with_context(|| format!("write of {wanted} bytes at {offset}"))?;
        ensure!(got == wanted, "a write of {wanted} bytes at {offset} took {got}");
        Ok(())
    }

    /// Writes pieces of memory, and gives what the kernel says.
    pub(crate) fn try_write(
        &self,
        offset: u64,
        pieces: &[IoSlice<'_>],
        flags: ReadWriteFlags,
    ) -> std::result::Result<usize, Errno> {
        pwritev2(&self.file, pieces, offset, flags)
    }
}

/// Memory that begins at a page.
pub(crate) struct Memory {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Memory {
    pub(crate) fn new(len: usize) -> Self {
        let bytes = vec![0xa5; len + PAGE];
        let start = bytes.as_ptr().align_offset(PAGE);
        Memory { bytes, start, len }
    }

    pub(crate) fn all(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }

    pub(crate) fn all_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn memory_begins_at_a_page() {
        let memory = Memory::new(10);
        assert_eq!((memory.all().len(), memory.all().as_ptr().align_offset(PAGE)), (10, 0));
    }

    #[test]
    fn what_is_no_block_device_is_refused() {
        let error = Disk::open(Path::new("/dev/null")).err().unwrap().to_string();
        assert!(error.contains("no block device"), "{error}");
    }
}
