//! What the supervisor tells others: one file, replaced whole whenever something changes, and a lock that says whether
//! a supervisor is there.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use redox_driver_sys::pci::PciAddress;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::service::Service;

/// Everything in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The supervisor's process.
    pub pid: u32,
    /// The daemons in the order they were started.
    pub daemons: Vec<Record>,
}

/// One daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The address of its function.
    pub address: String,
    /// What the function is.
    pub id: String,
    /// The program.
    pub program: PathBuf,
    /// One word: waiting, starting, running, stopping, finished or failed.
    pub state: String,
    /// Its process.
    pub pid: Option<i32>,
    /// How often it has been started.
    pub starts: u32,
    /// How it ended last.
    pub last_end: Option<String>,
    /// Whether the function is to be handed back.
    pub taken: bool,
}

impl Record {
    /// What there is to say about `service`.
    pub fn of(service: &Service) -> Self {
        Self {
            address: service.function.address.to_string(),
            id: service.function.id.to_string(),
            program: service.program.clone(),
            state: service.state.name().to_owned(),
            pid: service.pid().map(|pid| pid.as_raw_nonzero().get()),
            starts: service.starts,
            last_end: service.last_end.clone(),
            taken: service.taken,
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.program.file_name().unwrap_or_default().to_string_lossy();
        let pid = self.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let Self { address, state, starts, .. } = self;
        let last_end = self.last_end.as_deref().unwrap_or("-");
        write!(f, "{address}  {program:<16} {state:<8} {pid:>8} {starts:>6}  {last_end}")
    }
}

/// Keeps the file up to date, and holds the lock.
#[derive(Debug)]
pub struct Publisher {
    path: PathBuf,
    last: Option<Status>,
    _lock: File,
}

impl Publisher {
    /// Locks `dir`.
    ///
    /// # Errors
    /// When the directory cannot be used, or another supervisor uses it.
    pub fn new(dir: &Path) -> io::Result<Self> {
        let name = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", dir.display()));
        fs::create_dir_all(dir).map_err(name)?;
        let lock = lock_file(dir).map_err(name)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let pid = read(dir).map_or_else(|_| "?".to_owned(), |status| status.pid.to_string());
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("{}: another pcid-spawner runs already, process {pid}", dir.display()),
            ));
        }
        Ok(Self { path: status_path(dir), last: None, _lock: lock })
    }

    /// Replaces the file if anything changed.
    pub fn publish(&mut self, daemons: Vec<Record>) {
        let status = Status { pid: std::process::id(), daemons };
        if self.last.as_ref() == Some(&status) {
            return;
        }
        let temporary = self.path.with_extension("new");
        let write = || -> io::Result<()> {
            let mut file = File::create(&temporary)?;
            serde_json::to_writer_pretty(&mut file, &status)?;
            file.write_all(b"\n")?;
            fs::rename(&temporary, &self.path)
        };
        // Said once for every change, and no reason to stop driving devices.
        if let Err(error) = write() {
            log::warn!("{}: {error}", self.path.display());
        }
        self.last = Some(status);
    }
}

/// What the supervisor that uses `dir` says.
///
/// # Errors
/// When there is none, or its file cannot be read.
pub fn ask(dir: &Path) -> io::Result<Status> {
    let none =
        || io::Error::new(io::ErrorKind::NotFound, format!("no pcid-spawner runs on {}", dir.display()));
    let lock = File::open(lock_path(dir)).map_err(|_| none())?;
    if flock(&lock, FlockOperation::NonBlockingLockShared).is_ok() {
        return Err(none());
    }
    read(dir)
}

/// The functions that an earlier supervisor on `dir` took and did not hand back.
pub fn left_behind(dir: &Path) -> Vec<PciAddress> {
    // What an earlier version or an interrupted write left there is not worth failing for.
    let status = read(dir).unwrap_or_default();
    status
        .daemons
        .iter()
        .filter(|record| record.taken)
        .filter_map(|record| record.address.parse().ok())
        .collect()
}

fn read(dir: &Path) -> io::Result<Status> {
    let path = status_path(dir);
    let text = fs::read_to_string(&path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    serde_json::from_str(&text).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}

fn lock_file(dir: &Path) -> io::Result<File> {
    fs::OpenOptions::new().create(true).truncate(false).write(true).open(lock_path(dir))
}

fn lock_path(dir: &Path) -> PathBuf {
    dir.join("lock")
}

fn status_path(dir: &Path) -> PathBuf {
    dir.join("status.json")
}
