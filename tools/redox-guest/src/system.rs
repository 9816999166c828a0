//! What the system tells of itself.

use std::fs::File;
use std::io;

use anyhow::{Context, Result};

/// One line of `/scheme/sys/context`: a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// Its process.
    pub pid: usize,
    /// What it was started as.
    pub name: String,
}

/// Reads `/scheme/sys/context`: the number comes first, the name last.
#[must_use]
pub fn threads(text: &str) -> Vec<Thread> {
    let thread = |line: &str| {
        let mut words = line.split_whitespace();
        let pid = words.next()?.parse().ok()?;
        Some(Thread { pid, name: words.next_back()?.to_owned() })
    };
    text.lines().filter_map(thread).collect()
}

/// Longest name that the kernel keeps of a thread; of a longer one it keeps the beginning.
const LONGEST_NAME: usize = 32;

impl Thread {
    /// Whether this is a thread of a driver.
    #[must_use]
    pub fn runs(&self, driver: &str) -> bool {
        let directories = ["", "/scheme/initfs/lib/drivers/", "/usr/lib/drivers/"];
        directories.iter().any(|directory| {
            let name = format!("{directory}{driver}");
            name == self.name || self.name.len() == LONGEST_NAME && name.starts_with(&self.name)
        })
    }
}

/// The processes of a driver, by number: each once.
///
/// # Errors
/// When the system does not tell.
pub fn processes(driver: &str) -> Result<Vec<usize>> {
    let threads = threads(&read("context")?);
    let mut pids: Vec<usize> =
        threads.into_iter().filter(|thread| thread.runs(driver)).map(|thread| thread.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

/// How many descriptors the threads of a driver have, after `/scheme/sys/iostat`: a line `PID: NAME` for each thread,
/// and below it one for each of its files, indented or marked.
#[must_use]
pub fn descriptors(text: &str, driver: &str) -> usize {
    let mut counts = false;
    let mut count = 0;
    for line in text.lines() {
        if line.starts_with(|first: char| first.is_ascii_digit()) {
            let name = line.split_once(": ").map_or("", |(_, name)| name);
            counts = Thread { pid: 0, name: name.to_owned() }.runs(driver);
        } else if counts {
            count += 1;
        }
    }
    count
}

fn read(file: &str) -> Result<String> {
    let path = format!("/scheme/sys/{file}");
    std::fs::read_to_string(&path).with_context(|| format!("read {path}"))
}

/// What drivers can leak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Interrupt vectors that can be reserved, of all processors.
    pub free_vectors: usize,
    /// Pages of memory in use.
    pub used_pages: u64,
    /// Threads of the whole system.
    pub threads: usize,
    /// Descriptors of the driver's threads.
    pub descriptors: usize,
}

impl Account {
    /// Takes stock.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn take(driver: &str) -> Result<Self> {
        Ok(Self {
            free_vectors: free_vectors().context("count interrupt vectors")?,
            used_pages: os::used_pages().context("count memory in use")?,
            threads: threads(&read("context")?).len(),
            descriptors: descriptors(&read("iostat")?, driver),
        })
    }
}

/// The vectors that `/scheme/irq/cpu-XX` lists as free.
fn free_vectors() -> io::Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir("/scheme/irq")? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("cpu-") {
            count += std::fs::read_dir(entry.path())?.count();
        }
    }
    Ok(count)
}

/// The calls that only Redox has.
#[cfg(target_os = "redox")]
mod os {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;

    use libredox::call;
    use syscall::CallFlags;

    fn raw(file: &File) -> io::Result<usize> {
        usize::try_from(file.as_raw_fd()).map_err(io::Error::other)
    }

    pub(super) fn used_pages() -> io::Result<u64> {
        let stat = call::fstatvfs(raw(&File::open("/scheme/memory/zeroed")?)?)?;
        Ok(stat.f_blocks.saturating_sub(stat.f_bfree))
    }

    pub(super) fn kill(pid: usize) -> io::Result<()> {
        Ok(call::kill(pid, 9)?)
    }

    pub(super) fn path(file: &File) -> io::Result<String> {
        let mut buffer = vec![0; 4096];
        let len = call::fpath(raw(file)?, &mut buffer)?;
        buffer.truncate(len);
        String::from_utf8(buffer).map_err(io::Error::other)
    }

    pub(super) fn call_read(file: &File, buffer: &mut [u8], verb: u64) -> io::Result<usize> {
        Ok(call::call_ro(raw(file)?, buffer, CallFlags::empty(), &[verb])?)
    }

    pub(super) fn call_write(file: &File, buffer: &[u8], verb: u64) -> io::Result<usize> {
        Ok(call::call_wo(raw(file)?, buffer, CallFlags::empty(), &[verb])?)
    }
}

/// Elsewhere there are none of them: the program is built, and its logic tested.
#[cfg(not(target_os = "redox"))]
mod os {
    use std::fs::File;
    use std::io;

    pub(super) fn used_pages() -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn kill(_: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn path(_: &File) -> io::Result<String> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn call_read(_: &File, _: &mut [u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn call_write(_: &File, _: &[u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Ends a process at once.
///
/// # Errors
/// What the system answers.
pub fn kill(pid: usize) -> io::Result<()> {
    os::kill(pid)
}

/// The path of an open file, as its scheme tells it.
///
/// # Errors
/// What the scheme answers.
pub fn path(file: &File) -> io::Result<String> {
    os::path(file)
}

/// Calls an open file's scheme to fill a buffer, and returns its answer.
///
/// # Errors
/// What the scheme answers.
pub fn call_read(file: &File, buffer: &mut [u8], verb: u64) -> io::Result<usize> {
    os::call_read(file, buffer, verb)
}

/// Calls an open file's scheme with what is in a buffer, and returns its answer.
///
/// # Errors
/// What the scheme answers.
pub fn call_write(file: &File, buffer: &[u8], verb: u64) -> io::Result<usize> {
    os::call_write(file, buffer, verb)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_found_whatever_the_columns_hold() {
        let text = "PID   EUID  EGID  STAT  CPU   AFFINITY   TIME        PRIVATE SHARED  NAME\n\
                    0     0     0     KR+   #0    ff         00:00:00.01 4.00 KB 0 B     kmain0\n\
                    41    0     0     UB    #1    ffffffffffffff 00:00:00.01 4.00 KB 100 B     /scheme/initfs/lib/drivers/nvmed\n\
                    what is this\n";
        assert_eq!(threads(text).len(), 2);
        let thread = &threads(text)[1];
        assert_eq!((thread.pid, thread.name.len()), (41, LONGEST_NAME));
        assert!(thread.runs("nvmed") && !thread.runs("med") && !thread.runs("ahcid"));
        let truncated = Thread { pid: 1, name: "/scheme/initfs/lib/drivers/virti".to_owned() };
        assert!(truncated.runs("virtio-blkd"));
        assert_eq!(threads(""), []);
    }

    #[test]
    fn descriptors_of_the_driver_alone_are_counted() {
        let text = "0: kmain0\n     0:        1        2 00000000: debug:\n\
                    41: /scheme/initfs/lib/drivers/nvmed\n     0:        1        2 00000000: debug:\n\
                    U    7:       12        1 00030000: disk.pci-0000-00-04.0-nvme:1\n\
                    42: nvmed\n     1:        1        2 00000000: No such device\n43: init\n     0: \n";
        assert_eq!(descriptors(text, "nvmed"), 3);
        assert_eq!(descriptors("", "nvmed"), 0);
    }
}
