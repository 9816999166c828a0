//! A page of this process with a known content.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};

const PAGE: u64 = 4096;
const WORDS: usize = 512;
const PATTERN: u64 = 0x5a17_c0de_0dd5_eed5;

/// Bits of an entry of `/proc/PID/pagemap` (Linux: admin-guide/mm/pagemap.rst).
const PRESENT: u64 = 1 << 63;
const FRAME: u64 = (1 << 55) - 1;

/// Two pages of words, so that one whole page lies within.
pub(crate) struct Sentinel {
    words: Vec<AtomicU64>,
}

impl Sentinel {
    pub(crate) fn new() -> Result<Self> {
        let words: Vec<AtomicU64> = (0..WORDS * 2).map(|_| AtomicU64::new(PATTERN)).collect();
        let sentinel = Self { words };
        ensure!(sentinel.is_untouched(), "this program's own memory is not as written");
        Ok(sentinel)
    }

    /// Whether each word is as it was written.
    pub(crate) fn is_untouched(&self) -> bool {
        std::hint::black_box(&self.words).iter().all(|word| word.load(Ordering::Acquire) == PATTERN)
    }

    /// Where in physical memory the whole page within lies.
    pub(crate) fn physical_address(&self) -> Result<u64> {
        let start = u64::try_from(self.words.as_ptr().addr())?;
        let page = start.next_multiple_of(PAGE);
        let pagemap = File::open("/proc/self/pagemap").context("cannot open pagemap")?;
        let mut entry = [0; 8];
        let offset = (page / PAGE).checked_mul(8).context("an address beyond pagemap")?;
        pagemap.read_exact_at(&mut entry, offset).context("cannot read pagemap")?;
        let entry = u64::from_le_bytes(entry);
        ensure!(entry & PRESENT != 0, "the sentinel is not in memory");
        let frame = entry & FRAME;
        ensure!(frame != 0, "pagemap hides physical addresses: CAP_SYS_ADMIN is needed");
        frame.checked_mul(PAGE).context("a physical address out of range")
    }
}
