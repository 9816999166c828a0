//! A disk beside what its beginning must hold.

use std::{
    io::{IoSlice, IoSliceMut},
    path::Path,
};

use anyhow::{Result, ensure};
use fastrand::Rng;
use rustix::io::ReadWriteFlags;

use crate::disk::{Disk, Memory};

/// What is tried of the disk, in bytes.
pub(crate) const REGION: usize = 32 << 20;

const LAST: usize = 4096;

pub(crate) struct Bench {
    pub(crate) disk: Disk,
    pub(crate) rng: Rng,
    /// What the disk's beginning holds.
    content: Vec<u8>,
}

impl Bench {
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let disk = Disk::open(path)?;
        // The last blocks are written to as well.
        ensure!(disk.bytes >= (REGION + LAST) as u64, "{} has {} bytes only", path.display(), disk.bytes);
        let mut memory = Memory::new(REGION);
        disk.read(0, &mut [IoSliceMut::new(memory.all_mut())])?;
        let content = memory.all().to_vec();
        Ok(Bench { disk, rng: Rng::with_seed(1), content })
    }

    /// Random bytes.
    pub(crate) fn noise(&mut self, target: &mut [u8]) {
        self.rng.fill(target);
    }

    /// Bytes that a number of blocks has.
    pub(crate) fn blocks(&self, number: usize) -> usize {
        number * self.disk.block
    }

    /// Notes that the disk holds `data` from `offset` on.
    pub(crate) fn now_holds(&mut self, offset: usize, data: &[u8]) {
        self.content[offset..offset + data.len()].copy_from_slice(data);
    }

    pub(crate) fn must_hold(&self, offset: usize, len: usize) -> &[u8] {
        &self.content[offset..offset + len]
    }

    /// Whether `found` is what the disk must hold at `offset`.
    pub(crate) fn compare(&self, offset: usize, found: &[u8]) -> Result<()> {
        let wanted = self.must_hold(offset, found.len());
        let wrong = found.iter().zip(wanted).position(|(a, b)| a != b);
        ensure!(
            wrong.is_none(),
            "byte {:?} of {} that were read at {offset} is wrong",
            wrong.unwrap_or(0),
            found.len()
        );
        Ok(())
    }

    /// Writes noise from memory.
    pub(crate) fn write(&mut self, offset: usize, memory: &mut [u8], flags: ReadWriteFlags) -> Result<()> {
        self.noise(memory);
        self.disk.write(offset as u64, &[IoSlice::new(memory)], flags)?;
        self.now_holds(offset, memory);
        Ok(())
    }

    /// Reads into memory, and compares.
    pub(crate) fn read(&self, offset: usize, memory: &mut [u8]) -> Result<()> {
        memory.fill(0xa5);
        self.disk.read(offset as u64, &mut [IoSliceMut::new(memory)])?;
        self.compare(offset, memory)
    }

    /// Compares all that is tried of the disk.
    pub(crate) fn check_all(&self) -> Result<()> {
        let mut memory = Memory::new(REGION);
        self.read(0, memory.all_mut())
    }
}
