//! `/scheme/memory`: physically contiguous memory, physical memory at an address, and where memory is.

use std::{io, ptr::NonNull};

use libredox::{
    Fd,
    call::{MmapArgs, mmap, munmap},
    flag,
};

use crate::{
    dma::PAGE_SIZE,
    error::{Error, Result},
};

/// The root of the scheme on systems from July 2026 on; before that, paths are opened one by one.
const ROOT: &str = "/scheme/memory/scheme-root";

/// What a driver needs of the scheme. Everything is opened at once, while the process may: only root can.
pub(super) struct PhysicalMemory {
    contiguous: Fd,
    uncacheable: Fd,
    translation: Fd,
}

impl PhysicalMemory {
    pub(super) fn open() -> Result<Self> {
        let root = Fd::open(ROOT, flag::O_CLOEXEC, 0).ok();
        let open = |path: &str, flags: i32| {
            let flags = flags | flag::O_CLOEXEC;
            let opened = match &root {
                Some(root) => root.openat(path, flags, 0),
                None => Fd::open(&format!("/scheme/memory/{path}"), flags, 0),
            };
            opened.map_err(|error| os(format!("open /scheme/memory/{path}"), error))
        };
        Ok(PhysicalMemory {
            contiguous: open("zeroed@wb?phys_contiguous", 0)?,
            uncacheable: open("physical@uc", flag::O_RDWR)?,
            translation: open("translation", 0)?,
        })
    }

    /// Maps `len` new, zeroed bytes (whole pages) that are contiguous in physical memory; returns where they are.
    pub(super) fn allocate(&self, len: usize) -> Result<(NonNull<u8>, u64)> {
        let memory = map(&self.contiguous, len, 0, flag::MAP_PRIVATE)
            .map_err(|error| os(format!("allocate {len} contiguous bytes"), error))?;
        match self.physical_address(memory) {
            Ok(address) => Ok((memory, address)),
            Err(error) => {
                unmap(memory, len);
                Err(error)
            }
        }
    }

    /// Maps the registers at the physical `address` (page-aligned), uncacheable.
    pub(super) fn map_registers(&self, address: u64, len: usize) -> Result<NonNull<u8>> {
        map(&self.uncacheable, len, address, flag::MAP_SHARED)
            .map_err(|error| os(format!("map {len} bytes of physical memory at {address:#x}"), error))
    }

    /// Where the byte at `memory` is in physical memory. Its page must have been written to, or there is none yet.
    pub(super) fn physical_address(&self, memory: NonNull<u8>) -> Result<u64> {
        // The kernel replaces the virtual address in the payload by the physical one.
        let mut payload = memory.as_ptr().expose_provenance().to_ne_bytes();
        libredox::call::call_ro(self.translation.raw(), &mut payload, syscall::CallFlags::empty(), &[])
            .map_err(|error| os(format!("find the physical address of {memory:?}"), error))?;
        Ok(usize::from_ne_bytes(payload) as u64)
    }
}

/// Maps `len` bytes of `fd` from `offset` on, readable and writable.
pub(super) fn map(fd: &Fd, len: usize, offset: u64, flags: u32) -> libredox::error::Result<NonNull<u8>> {
    map_raw(fd.raw(), len, offset, flags)
}

/// As [`map`], for the raw number of a descriptor.
pub(super) fn map_raw(
    fd: usize,
    len: usize,
    offset: u64,
    flags: u32,
) -> libredox::error::Result<NonNull<u8>> {
    let prot = flag::PROT_READ | flag::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let memory =
        unsafe { mmap(MmapArgs { addr: std::ptr::null_mut(), length: len, prot, flags, fd, offset }) }?;
    NonNull::new(memory.cast()).ok_or_else(|| libredox::error::Error::new(libredox::errno::ENOMEM))
}

/// Ends a mapping whose first byte is in the page of `memory` and whose last is `len` bytes further on. Called once
/// for what was mapped here, when nobody uses it any more.
pub(super) fn unmap(memory: NonNull<u8>, len: usize) {
    let skipped = memory.as_ptr().addr() % PAGE_SIZE;
    let len = (skipped + len).next_multiple_of(PAGE_SIZE);
    // SAFETY: `skipped` bytes further down the same page, and the mapping, begin; see above for the rest.
    if let Err(error) = unsafe { munmap(memory.as_ptr().sub(skipped).cast(), len) } {
        log::error!("{len} bytes of memory stay mapped: {error}");
    }
}

pub(super) fn os(step: String, error: libredox::error::Error) -> Error {
    Error::os(step, io::Error::from_raw_os_error(error.errno()))
}
