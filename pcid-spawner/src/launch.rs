//! Starts a daemon with the descriptors of its function, and with nothing else.

use std::{
    env, fs,
    fs::File,
    io::{self, PipeReader},
    os::{
        fd::{OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use command_fds::{CommandFdExt, FdMapping};
use common::daemon::INIT_NOTIFY;
use pcid_config::DriverConfig;
use redox_driver_sys::pci::PciAddress;
use rustix::{fs::OFlags, process::Pid};

use crate::roots::Roots;

/// The variable with the number of the descriptor of `/dev/vfio/vfio`.
pub const VFIO_CONTAINER_FD: &str = "VFIO_CONTAINER_FD";
/// The variable with the number of the descriptor of `/dev/vfio/GROUP`.
pub const VFIO_GROUP_FD: &str = "VFIO_GROUP_FD";
/// The variable with the address of the function.
pub const PCID_DEVICE: &str = "PCID_DEVICE";

/// The daemon's descriptors after standard input, output and error.
const CONTAINER: RawFd = 3;
const GROUP: RawFd = 4;
const NOTIFY: RawFd = 5;

/// The only search path that a daemon gets.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// devtmpfs creates a group's node before the bind returns; udev may still have to set its permissions.
const NODE_LIMIT: Duration = Duration::from_millis(500);
const NODE_INTERVAL: Duration = Duration::from_millis(5);

/// A daemon could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A VFIO node could not be opened.
    #[error("cannot open {path}", path = .path.display())]
    Open {
        /// The node.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The group is open elsewhere.
    #[error("IOMMU group {group} is in use by another program")]
    Busy {
        /// The group.
        group: u32,
    },
    /// The pipe for readiness could not be made.
    #[error("cannot make a pipe")]
    Pipe(#[source] io::Error),
    /// The program could not be started.
    #[error("cannot start {program}", program = .program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
}

/// A daemon that has been started.
#[derive(Debug)]
pub struct Launched {
    /// The process, which leads a process group of its own.
    pub pid: Pid,
    /// Where it says that it is ready; reading never blocks.
    pub readiness: PipeReader,
}

/// Starts `program` as the daemon of the function at `address` in the IOMMU group `group`.
///
/// The VFIO descriptors are the daemon's alone: when it ends, however it ends, the kernel closes the group, which stops
/// the device's DMA.
///
/// # Errors
/// The step that failed.
pub fn launch(
    program: &Path,
    driver: &DriverConfig,
    address: PciAddress,
    group: u32,
    roots: &Roots,
) -> Result<Launched, Error> {
    let container = open(&roots.dev.join("vfio/vfio"), group)?;
    let group = open(&roots.dev.join("vfio").join(group.to_string()), group)?;
    let (readiness, notify) = io::pipe().map_err(Error::Pipe)?;
    let flags = rustix::fs::fcntl_getfl(&readiness).map_err(|error| Error::Pipe(error.into()))?;
    rustix::fs::fcntl_setfl(&readiness, flags | OFlags::NONBLOCK)
        .map_err(|error| Error::Pipe(error.into()))?;

    let start = |source: io::Error| Error::Start { program: program.to_owned(), source };
    let mut command = Command::new(program);
    command
        .args(driver.args())
        .args(["--device", &address.to_string()])
        .env_clear()
        .envs(env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_for_daemons)))
        .env("PATH", PATH)
        .env(PCID_DEVICE, address.to_string())
        .env(VFIO_CONTAINER_FD, CONTAINER.to_string())
        .env(VFIO_GROUP_FD, GROUP.to_string())
        .env(INIT_NOTIFY, NOTIFY.to_string())
        .current_dir("/")
        .stdin(Stdio::null())
        // Of its own, so that what it may have started can be ended with it, and a Ctrl-C reaches us alone.
        .process_group(0);
    let descriptors = [(container, CONTAINER), (group, GROUP), (OwnedFd::from(notify), NOTIFY)];
    let mappings = descriptors.map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
    command.fd_mappings(mappings.into()).map_err(|error| start(io::Error::other(error)))?;
    let child = command.spawn().map_err(start)?;
    Ok(Launched { pid: Pid::from_child(&child), readiness })
}

/// What the log of a daemon depends on; nothing else of our environment is its business.
fn is_for_daemons(name: &str) -> bool {
    matches!(name, "RUST_LOG" | "RUST_BACKTRACE" | "TZ")
        || (name.starts_with("DRIVER_") && name.ends_with("LOG_LEVEL"))
}

fn open(path: &Path, group: u32) -> Result<OwnedFd, Error> {
    let end = Instant::now().checked_add(NODE_LIMIT);
    loop {
        let opened =
            fs::OpenOptions::new().read(true).write(true).open(path).map(<OwnedFd as From<File>>::from);
        let source = match opened {
            Ok(fd) => return Ok(fd),
            Err(source) => source,
        };
        match source.kind() {
            io::ErrorKind::ResourceBusy => return Err(Error::Busy { group }),
            io::ErrorKind::NotFound if end.is_some_and(|end| Instant::now() < end) => {
                thread::sleep(NODE_INTERVAL);
            }
            _ => return Err(Error::Open { path: path.to_owned(), source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_log_passes_the_environment_on() {
        for name in ["RUST_LOG", "RUST_BACKTRACE", "DRIVER_LOG_LEVEL", "DRIVER_DISK_LOG_LEVEL"] {
            assert!(is_for_daemons(name), "{name}");
        }
        for name in ["PATH", "LD_PRELOAD", "HOME", "DRIVER_X", "LOG_LEVEL", "INIT_NOTIFY", "PCID_DEVICE"] {
            assert!(!is_for_daemons(name), "{name}");
        }
    }
}
