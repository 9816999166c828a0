//! What ublk shows of itself in files.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::mpsc::sync_channel,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::error::UblkError;

const CHARACTER_DEVICES: &str = "/sys/class/ublk-char";
/// How long udev may take to make a device's node, and to let go of it.
const NODE: Duration = Duration::from_secs(10);
const NODE_INTERVAL: Duration = Duration::from_millis(10);
/// How long writing back may take.
const WRITE_BACK: Duration = Duration::from_secs(30);

/// The numbers of all ublk devices.
pub(super) fn devices() -> Result<Vec<u32>, UblkError> {
    let directory = Path::new(CHARACTER_DEVICES);
    let failed = |source| UblkError::File { path: directory.into(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        numbers.extend(name.to_str().and_then(number_of));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn number_of(name: &str) -> Option<u32> {
    name.strip_prefix("ublkc")?.parse().ok()
}

/// Opens the character device of `device`, which appears some time after it was added, and which only one process can
/// hold: udev may look at it first.
pub(super) fn open_character_device(device: u32) -> Result<File, UblkError> {
    let path = format!("/dev/ublkc{device}");
    let end = Instant::now() + NODE;
    loop {
        let late = Instant::now() >= end;
        match File::options().read(true).write(true).open(&path) {
            Ok(file) => return Ok(file),
            Err(source) => {
                let transient = source.kind() == io::ErrorKind::NotFound
                    || source.raw_os_error() == Some(Errno::BUSY.raw_os_error());
                if late || !transient {
                    return Err(UblkError::step(device, "opening its character device", source));
                }
            }
        }
        thread::sleep(NODE_INTERVAL);
    }
}

/// The block device of `device`.
pub(super) fn block_device(device: u32) -> PathBuf {
    PathBuf::from(format!("/dev/ublkb{device}"))
}

/// Sets an attribute of the block device's request queue.
pub(super) fn set_queue_attribute(device: u32, name: &str, value: &str) -> Result<(), UblkError> {
    let path = PathBuf::from(format!("/sys/block/ublkb{device}/queue/{name}"));
    fs::write(&path, value).map_err(|source| UblkError::File { path, source })
}

/// Whether somebody holds the block device or a partition of it: a file system, another driver, a process that opened
/// it for itself.
pub(super) fn in_use(device: u32) -> bool {
    let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC;
    matches!(rustix::fs::open(block_device(device), flags, Mode::empty()), Err(Errno::BUSY))
}

/// Has everything that file systems hold back written; `false` if that is not done in time. File systems of others are
/// among them, and may wait for disks of which we know nothing.
pub(super) fn write_back() -> bool {
    let (done, finished) = sync_channel(1);
    let thread = thread::Builder::new().name("write back".into()).spawn(move || {
        rustix::fs::sync();
        let _ = done.try_send(());
    });
    thread.is_ok() && finished.recv_timeout(WRITE_BACK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_character_devices_have_a_number() {
        assert_eq!(number_of("ublkc0"), Some(0));
        assert_eq!(number_of("ublkc17"), Some(17));
        assert_eq!(number_of("ublkb0"), None);
        assert_eq!(number_of("ublkc"), None);
        assert_eq!(number_of("ublkcx"), None);
    }
}
