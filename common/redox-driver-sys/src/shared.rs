//! Memory that a process shares with the children that it forks.

use std::{
    fmt,
    marker::PhantomData,
    ops::Deref,
    ptr::{NonNull, null_mut},
    sync::{Arc, atomic::AtomicU32},
};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{
    dma::PAGE_SIZE,
    error::{Error, Result},
};

/// Zeroed bytes that are the same for this process and for every child that it forks later. Clones share them, and a
/// process gives them back with its last clone.
///
/// Whoever else has the memory may write to it at any time: it is read and written by value, and no reference to it
/// exists but to [words](SharedWord) that are atomic.
#[derive(Clone)]
pub struct SharedMemory(Arc<Owner>);

struct Owner {
    memory: NonNull<u8>,
    len: usize,
}

// SAFETY: plain memory of the process, unmapped once.
unsafe impl Send for Owner {}
// SAFETY: every access is by value or atomic.
unsafe impl Sync for Owner {}

impl Drop for Owner {
    fn drop(&mut self) {
        // SAFETY: mapped with this length in `new`, and nobody has it any more.
        if let Err(error) = unsafe { munmap(self.memory.as_ptr().cast(), self.len) } {
            log::error!("{} bytes of shared memory stay mapped: {error}", self.len);
        }
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedMemory({:#x} bytes)", self.len())
    }
}

impl SharedMemory {
    /// Allocates at least `len` bytes: whole pages.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a length beyond the address space, or what the OS answers.
    pub fn new(len: usize) -> Result<Self> {
        let invalid = || Error::Invalid { what: "length of shared memory", value: len.to_string() };
        let len = len.max(1).checked_next_multiple_of(PAGE_SIZE).ok_or_else(invalid)?;
        let step = || format!("allocate {len} shared bytes");
        // SAFETY: a new mapping at an address of the kernel's choice.
        let memory =
            unsafe { mmap_anonymous(null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED) }
                .map_err(|error| Error::os(step(), error))?;
        let memory = NonNull::new(memory.cast::<u8>())
            .ok_or_else(|| Error::os(step(), std::io::ErrorKind::OutOfMemory))?;
        if cfg!(target_os = "redox") {
            // A page that nobody has written to is not there yet. Taken now and in this order, they are neighbours in
            // physical memory as far as the system has any, and a device needs few segments.
            for offset in (0..len).step_by(PAGE_SIZE) {
                // SAFETY: inside the mapping, which nobody else has yet.
                unsafe { memory.add(offset).write_volatile(0) };
            }
        }
        Ok(SharedMemory(Arc::new(Owner { memory, len })))
    }

    /// Maps the first `len` bytes (whole pages) of another process's memory, a file that cannot become shorter.
    #[cfg(target_os = "linux")]
    pub(crate) fn map(file: std::os::fd::BorrowedFd<'_>, len: usize) -> Result<Self> {
        let step = || format!("map {len:#x} shared bytes");
        // SAFETY: a new mapping at an address of the kernel's choice.
        let memory = unsafe {
            let access = ProtFlags::READ | ProtFlags::WRITE;
            rustix::mm::mmap(null_mut(), len, access, MapFlags::SHARED, file, 0)
        };
        let memory = memory.map_err(|error| Error::os(step(), error))?;
        let memory = NonNull::new(memory.cast::<u8>())
            .ok_or_else(|| Error::os(step(), std::io::ErrorKind::OutOfMemory))?;
        Ok(SharedMemory(Arc::new(Owner { memory, len })))
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether there are no bytes: never.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// The aligned integer at `offset`.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] when it does not lie within or is not aligned.
    pub fn word(&self, offset: usize) -> Result<SharedWord> {
        let word = self.typed::<AtomicU32>(offset, 1)?;
        Ok(SharedWord { word, _memory: self.clone() })
    }

    /// `count` aligned elements from `offset` on.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] when they do not lie within or are not aligned.
    pub fn array<T: FromBytes + IntoBytes + Immutable>(
        &self,
        offset: usize,
        count: usize,
    ) -> Result<SharedArray<T>> {
        let first = self.typed::<T>(offset, count)?;
        Ok(SharedArray { first, len: count, _memory: self.clone(), kind: PhantomData })
    }

    /// Copies bytes out.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] when they do not lie within.
    #[inline]
    pub fn copy_out(&self, offset: usize, target: &mut [u8]) -> Result<()> {
        let source = self.range(offset, target.len())?;
        // SAFETY: the source is inside the mapping, the target is an object of this process; bytes have no invalid values.
        // Another process may write meanwhile: then any mixture arrives, as the type says.
        unsafe { source.as_ptr().copy_to_nonoverlapping(target.as_mut_ptr(), target.len()) };
        Ok(())
    }

    /// Copies bytes in.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] when they do not lie within.
    #[inline]
    pub fn copy_in(&self, offset: usize, source: &[u8]) -> Result<()> {
        let target = self.range(offset, source.len())?;
        // SAFETY: the target is inside the mapping, the source an object of this process; no reference to the target exists.
        unsafe { target.as_ptr().copy_from_nonoverlapping(source.as_ptr(), source.len()) };
        Ok(())
    }

    /// Where the `len` bytes from `offset` on are: inside the memory, and valid for as long as `self` is.
    #[inline]
    pub(crate) fn range(&self, offset: usize, len: usize) -> Result<NonNull<u8>> {
        match offset.checked_add(len) {
            // SAFETY: inside the mapping.
            Some(end) if end <= self.len() => Ok(unsafe { self.0.memory.add(offset) }),
            _ => Err(self.out_of_bounds(offset, len)),
        }
    }

    fn typed<T>(&self, offset: usize, count: usize) -> Result<NonNull<T>> {
        let len = count.saturating_mul(size_of::<T>());
        let first = self.range(offset, len)?.cast::<T>();
        if first.is_aligned() { Ok(first) } else { Err(self.out_of_bounds(offset, len)) }
    }

    #[cold]
    fn out_of_bounds(&self, offset: usize, len: usize) -> Error {
        Error::OutOfBounds { offset: offset as u64, len: len as u64, region: self.len() as u64 }
    }
}

/// An integer in [`SharedMemory`] by which processes tell each other something.
#[derive(Clone, Debug)]
pub struct SharedWord {
    word: NonNull<AtomicU32>,
    _memory: SharedMemory,
}

// SAFETY: an atomic integer, kept by the memory beside it.
unsafe impl Send for SharedWord {}
// SAFETY: as above.
unsafe impl Sync for SharedWord {}

impl Deref for SharedWord {
    type Target = AtomicU32;
    #[inline]
    fn deref(&self) -> &AtomicU32 {
        // SAFETY: aligned and inside the mapping (see `SharedMemory::word`), which lives as long as `self`. Other processes
        // change it atomically; what they write without, as a process that has gone wrong could, is some value too.
        unsafe { self.word.as_ref() }
    }
}

/// Elements in [`SharedMemory`] that go in and out by value.
///
/// Indexes are the caller's own and are checked as those of a slice are.
#[derive(Clone, Debug)]
pub struct SharedArray<T> {
    first: NonNull<T>,
    len: usize,
    _memory: SharedMemory,
    kind: PhantomData<T>,
}

// SAFETY: elements are copied in and out and have no owner but the memory, which can be sent.
unsafe impl<T> Send for SharedArray<T> {}

impl<T: FromBytes + IntoBytes + Immutable> SharedArray<T> {
    /// Copies element `index` out, as it is in memory now.
    #[inline]
    pub fn read(&self, index: usize) -> T {
        // SAFETY: inside the mapping and aligned (see `SharedMemory::array`); any bytes make a `T`. Another process may
        // write meanwhile: the value is a copy that is then judged.
        unsafe { self.at(index).read_volatile() }
    }

    /// Copies element `index` in.
    #[inline]
    pub fn write(&self, index: usize, value: T) {
        // SAFETY: inside the mapping and aligned (see `SharedMemory::array`); no reference to the memory exists.
        unsafe { self.at(index).write_volatile(value) };
    }

    #[inline]
    fn at(&self, index: usize) -> NonNull<T> {
        assert!(index < self.len, "index {index} of {} shared elements", self.len);
        // SAFETY: one of the elements.
        unsafe { self.first.add(index) }
    }
}
