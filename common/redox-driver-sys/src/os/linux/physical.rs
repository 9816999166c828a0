//! Physical memory, for the one process that owns the machine's IOMMU while the kernel has no driver for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fs::{File, OpenOptions},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{FileExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    ptr::{NonNull, null_mut},
    sync::{Arc, Mutex, PoisonError},
};

use io_uring::IoUring;
use rustix::{
    fs::{OFlags, SealFlags, fcntl_get_seals, fcntl_getfl, fstat, ftruncate},
    mm::{MapFlags, ProtFlags, mmap, munmap},
};

use crate::{
    dma::{Backend, Block, DmaAllocator, DmaDirection, DmaPages, PAGE_SIZE},
    error::{Error, Result},
    mmio::{Mapping, Mmio},
    shared::SharedMemory,
};

/// Bits of an entry of `/proc/PID/pagemap` (Linux: admin-guide/mm/pagemap.rst).
const PRESENT: u64 = 1 << 63;
const FRAME: u64 = (1 << 55) - 1;
/// A huge page.
const HUGE: usize = 2 << 20;
/// How names of files with huge pages begin; the id of the process that made one follows, and a number.
const FILES: &str = "iommud.";
/// The most that the kernel takes as one buffer, in bytes.
const MOST_PINNED: usize = 1 << 30;

/// Pages that stay where they are, and are nobody else's, for as long as this lives: the kernel holds buffers that are
/// registered with an io_uring by a pin of long duration, which holes, truncation and migration do not undo.
struct Pin {
    _ring: IoUring,
    /// Physical address of each page.
    frames: Vec<u64>,
}

impl Pin {
    /// Pins whole pages of a writable mapping, which are brought in first where they are not there.
    fn new(memory: NonNull<u8>, len: usize) -> Result<Self> {
        let os = |step: &str, error| Error::os(format!("{step} {len:#x} bytes"), error);
        let ring = IoUring::new(1).map_err(|error| os("make a ring that pins", error))?;
        let parts: Vec<libc::iovec> = (0..len)
            .step_by(MOST_PINNED)
            .map(|at| {
                // SAFETY: `at` is inside the mapping.
                let base = unsafe { memory.add(at) };
                libc::iovec { iov_base: base.as_ptr().cast(), iov_len: MOST_PINNED.min(len - at) }
            })
            .collect();
        // SAFETY: the kernel takes references to the pages; what is mapped here later does not matter to it.
        unsafe { ring.submitter().register_buffers(&parts) }.map_err(|error| os("pin", error))?;
        let frames = frames(memory, len)?;
        Ok(Pin { _ring: ring, frames })
    }
}

/// Physical addresses of pages of this process.
fn frames(memory: NonNull<u8>, len: usize) -> Result<Vec<u64>> {
    const PAGEMAP: &str = "/proc/self/pagemap";
    let os = |error| Error::os(PAGEMAP, error);
    let pagemap = File::open(PAGEMAP).map_err(os)?;
    let first = memory.as_ptr().addr() / PAGE_SIZE;
    let mut bytes = vec![0; len / PAGE_SIZE * 8];
    pagemap.read_exact_at(&mut bytes, first as u64 * 8).map_err(os)?;
    let frame = |entry: &[u8]| {
        let entry = entry.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
        let frame = entry & FRAME;
        if entry & PRESENT == 0 || frame == 0 {
            let reason = "pagemap hides physical addresses: CAP_SYS_ADMIN is needed";
            return Err(Error::Attach { reason: reason.to_string() });
        }
        Ok(frame * PAGE_SIZE as u64)
    };
    bytes.chunks_exact(8).map(frame).collect()
}

/// Maps a file, readable and writable.
fn map_file(file: BorrowedFd<'_>, len: usize, offset: u64, what: &str) -> Result<NonNull<u8>> {
    let failed = |error: std::io::Error| Error::os(format!("map {len:#x} bytes of {what}"), error);
    // SAFETY: a new mapping at an address of the kernel's choice.
    let memory =
        unsafe { mmap(null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, offset) }
            .map_err(|error| failed(error.into()))?;
    NonNull::new(memory.cast()).ok_or_else(|| failed(std::io::ErrorKind::OutOfMemory.into()))
}

fn unmap_file(memory: NonNull<u8>, len: usize) {
    // SAFETY: called once by the owner of what `map_file` mapped, of which nobody uses anything any more.
    if let Err(error) = unsafe { munmap(memory.as_ptr().cast(), len) } {
        log::error!("{len} bytes stay mapped: {error}");
    }
}

/// Maps device registers at a physical address (whole pages), through `/dev/mem`.
///
/// # Errors
/// What the OS answers: it lets no memory that is RAM be mapped.
pub fn map_registers(address: u64, len: usize) -> Result<Mmio> {
    const MEMORY: &str = "/dev/mem";
    let mut options = OpenOptions::new();
    let uncached = OFlags::SYNC.bits().cast_signed();
    let file = options.read(true).write(true).custom_flags(uncached).open(MEMORY);
    let file = file.map_err(|error| Error::os(MEMORY, error))?;
    let whole = len.next_multiple_of(PAGE_SIZE);
    let base = map_file(file.as_fd(), whole, address, &format!("{MEMORY} at {address:#x}"))?;
    Ok(Mmio::mapped(Mapping { base, len: whole, gaps: Vec::new(), unmap: unmap_file }))
}

/// Memory of another process whose descriptor it passed: pinned, under physical addresses, for as long as this lives.
///
/// # Errors
/// [`Error::Invalid`] when it is no memfd of whole pages that is sealed against shrinking and can be written,
/// or is longer than `most`; or what the OS answers.
pub fn adopt_memory(memory: BorrowedFd<'_>, most: u64) -> Result<DmaPages> {
    let invalid = |what, value: &dyn std::fmt::Display| Error::Invalid { what, value: value.to_string() };
    let seals = fcntl_get_seals(memory).map_err(|error| invalid("no memfd was passed", &error))?;
    if !seals.contains(SealFlags::SHRINK) {
        return Err(invalid("the memfd is not sealed against shrinking", &format_args!("{seals:?}")));
    }
    // Without a right to write nothing can be lent to a device that writes.
    if seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE) {
        return Err(invalid("the memfd is sealed against writing", &format_args!("{seals:?}")));
    }
    let flags = fcntl_getfl(memory).map_err(|error| Error::os("look at the memfd", error))?;
    if flags & OFlags::RWMODE != OFlags::RDWR {
        return Err(invalid("the memfd is not open for reading and writing", &format_args!("{flags:?}")));
    }
    let size = fstat(memory).map_err(|error| Error::os("look at the memfd", error))?.st_size;
    let len = u64::try_from(size).ok().filter(|&len| len > 0 && len.is_multiple_of(PAGE_SIZE as u64));
    let len = len.filter(|&len| len <= most).and_then(|len| usize::try_from(len).ok());
    let len = len.ok_or_else(|| invalid("length of the memfd", &size))?;
    let shared = SharedMemory::map(memory, len)?;
    let base = shared.range(0, len)?;
    let pin = Pin::new(base, len)?;
    DmaAllocator::new(Arc::new(Pinned { base: base.as_ptr().addr(), pin })).adopt(&shared)
}

/// One mapping whose pages are where they are.
struct Pinned {
    base: usize,
    pin: Pin,
}

// SAFETY: gives out nothing.
unsafe impl Backend for Pinned {
    fn allocate(&self, len: usize, align: usize, mask: u64) -> Result<Block> {
        Err(Error::DmaMemory { len, align, mask, reason: "this is another process's memory" })
    }

    fn release(&self, _: &Block) {}

    unsafe fn map(&self, at: NonNull<u8>, len: usize, _: DmaDirection, mask: u64) -> Result<Option<u64>> {
        let page = at.as_ptr().addr().checked_sub(self.base).map(|skip| skip / PAGE_SIZE);
        let frames = page.and_then(|page| self.pin.frames.get(page..page + len / PAGE_SIZE));
        let Some([first, rest @ ..]) = frames else {
            return Err(Error::Invalid { what: "memory that is not pinned", value: format!("{at:?}") });
        };
        let contiguous = rest.iter().zip(1u64..).all(|(&frame, n)| frame == first + n * PAGE_SIZE as u64);
        Ok((contiguous && first + (len as u64 - 1) <= mask).then_some(*first))
    }

    fn unmap(&self, _: u64, _: usize) -> Result<()> {
        Ok(())
    }

    fn name(&self) -> &'static str {
        "pinned"
    }

    fn is_translated(&self) -> bool {
        false
    }
}

/// Gives out memory under physical addresses, from huge pages of files that outlive the process: a unit reads its tables
/// whether or not their owner still is there.
pub struct PhysicalMemory {
    pool: Arc<Pool>,
    allocator: DmaAllocator,
}

impl PhysicalMemory {
    /// Files are made in `directory`, a hugetlbfs with pages of 2 MiB.
    pub fn new(directory: &Path) -> Self {
        let pool = Arc::new(Pool { directory: directory.to_path_buf(), state: Mutex::default() });
        PhysicalMemory { allocator: DmaAllocator::new(pool.clone()), pool }
    }

    /// The allocator.
    pub fn allocator(&self) -> &DmaAllocator {
        &self.allocator
    }

    /// Removes what former processes left, which no unit may use any more.
    ///
    /// # Errors
    /// What the OS answers.
    pub fn remove_others(&self) -> Result<usize> {
        let directory = &self.pool.directory;
        let os = |error| Error::os(directory.display().to_string(), error);
        let state = self.pool.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut removed = 0;
        for entry in std::fs::read_dir(directory).map_err(os)? {
            let entry = entry.map_err(os)?;
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(FILES.as_bytes()) && !state.files.contains(&name) {
                std::fs::remove_file(entry.path()).map_err(os)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

#[derive(Default)]
struct PoolState {
    /// Physical address → length and place of free memory. Neighbours in one huge page are joined.
    free: BTreeMap<u64, (usize, Place)>,
    pins: Vec<Pin>,
    /// Names of the files of these, and the number in the next.
    files: BTreeSet<OsString>,
    next: u64,
}

#[derive(Clone, Copy)]
struct Place(NonNull<u8>);

// SAFETY: memory of the process that stays mapped.
unsafe impl Send for Place {}

struct Pool {
    directory: PathBuf,
    state: Mutex<PoolState>,
}

impl Pool {
    /// Takes another huge page.
    fn grow(&self, state: &mut PoolState) -> Result<()> {
        let (path, file) = self.create(state)?;
        let taken = self.fill(&file, &path);
        if taken.is_err() {
            // Nothing is in it that a unit could read.
            if let Err(error) = std::fs::remove_file(&path) {
                log::warn!("{} stays: {error}", path.display());
            }
        }
        let (memory, pin) = taken?;
        state.free.insert(pin.frames[0], (HUGE, Place(memory)));
        state.pins.push(pin);
        state.files.extend(path.file_name().map(OsStr::to_owned));
        Ok(())
    }

    /// Makes a file under a name that nobody has, not even a dead process with the same id.
    fn create(&self, state: &mut PoolState) -> Result<(PathBuf, File)> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        loop {
            let path = self.directory.join(format!("{FILES}{}.{}", std::process::id(), state.next));
            state.next += 1;
            match options.open(&path) {
                Ok(file) => return Ok((path, file)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::os(format!("a huge page in {}", path.display()), error)),
            }
        }
    }

    /// Maps and pins one huge page of a new file.
    fn fill(&self, file: &File, path: &Path) -> Result<(NonNull<u8>, Pin)> {
        ftruncate(file, HUGE as u64)
            .map_err(|error| Error::os(format!("a huge page in {}", path.display()), error))?;
        let memory = map_file(file.as_fd(), HUGE, 0, &path.display().to_string())?;
        let pinned = Pin::new(memory, HUGE).and_then(|pin| {
            let contiguous = pin.frames.windows(2).all(|pair| pair[1] == pair[0] + PAGE_SIZE as u64);
            if contiguous && pin.frames[0].is_multiple_of(HUGE as u64) {
                return Ok(pin);
            }
            Err(Error::Unsupported(format!("{} has no pages of 2 MiB", self.directory.display())))
        });
        pinned.map(|pin| (memory, pin)).inspect_err(|_| unmap_file(memory, HUGE))
    }
}

impl PoolState {
    fn take(&mut self, len: usize, align: u64, mask: u64) -> Option<(u64, NonNull<u8>)> {
        let (start, size, Place(memory), at) = self.free.iter().find_map(|(&start, &(size, place))| {
            let at = start.next_multiple_of(align);
            let end = at + len as u64;
            (end <= start + size as u64 && end - 1 <= mask).then_some((start, size, place, at))
        })?;
        self.free.remove(&start);
        let skipped = usize::try_from(at - start).ok()?;
        // SAFETY: both are inside what was free.
        let (place, rest) = unsafe { (memory.add(skipped), memory.add(skipped + len)) };
        if skipped > 0 {
            self.free.insert(start, (skipped, Place(memory)));
        }
        let left = size - skipped - len;
        if left > 0 {
            self.free.insert(at + len as u64, (left, Place(rest)));
        }
        Some((at, place))
    }

    fn give_back(&mut self, at: u64, len: usize, memory: NonNull<u8>) {
        let (mut start, mut size, mut place) = (at, len, memory);
        let same_page = |a: u64, b: u64| a / HUGE as u64 == b / HUGE as u64;
        let end = start + size as u64;
        if same_page(end, start)
            && let Some((next, _)) = self.free.remove(&end)
        {
            size += next;
        }
        if let Some((&before, &(length, Place(first)))) = self.free.range(..start).next_back()
            && before + length as u64 == start
            && same_page(before, start)
        {
            self.free.remove(&before);
            (start, size, place) = (before, size + length, first);
        }
        self.free.insert(start, (size, Place(place)));
    }
}

// SAFETY: memory is exclusively the caller's from `take` to `give_back`, and zeroed in between; it stays mapped and pinned
// for as long as the process lives, and the kernel's after that.
unsafe impl Backend for Pool {
    fn allocate(&self, len: usize, align: usize, mask: u64) -> Result<Block> {
        let none = |reason| Error::DmaMemory { len, align, mask, reason };
        if len > HUGE {
            return Err(none("longer than a huge page"));
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (addr, memory) = match state.take(len, align as u64, mask) {
            Some(found) => found,
            None => {
                self.grow(&mut state)?;
                state.take(len, align as u64, mask).ok_or_else(|| none("beyond the reach"))?
            }
        };
        // SAFETY: `len` bytes that are exclusively ours.
        unsafe { memory.as_ptr().write_bytes(0, len) };
        Ok(Block { memory, len, addr })
    }

    fn release(&self, block: &Block) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.give_back(block.addr, block.len, block.memory);
    }

    unsafe fn map(&self, _: NonNull<u8>, _: usize, _: DmaDirection, _: u64) -> Result<Option<u64>> {
        Ok(None)
    }

    fn unmap(&self, _: u64, _: usize) -> Result<()> {
        Ok(())
    }

    fn name(&self) -> &'static str {
        "phys"
    }

    fn is_translated(&self) -> bool {
        false
    }
}
