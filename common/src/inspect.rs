//! The inspect node (Linux): whoever connects to `/run/red-bear/<device>/inspect` is told how the daemon and its device are.

use std::{
    fs,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{
            fs::PermissionsExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

/// Where daemons have their nodes.
pub const ROOT: &str = "/run/red-bear";
/// How long a client may take to read, and a daemon to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a client believes to be a report.
const LONGEST: u64 = 1 << 20;

/// The node of one daemon. It goes away with it, unless the daemon has become another user meanwhile: then a socket stays at which nobody
/// answers, until the next daemon of the device takes its place.
#[derive(Debug)]
pub struct InspectNode {
    listener: UnixListener,
    path: PathBuf,
}

impl InspectNode {
    /// Makes the node of `device` below `root`, in place of what a dead daemon left.
    ///
    /// # Errors
    /// What the system answers.
    pub fn new(root: &Path, device: &str) -> io::Result<Self> {
        let path = node(root, device);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(InspectNode { listener, path })
    }

    /// Answers those who wait. A client that does not read is left after a while.
    pub fn answer(&self, mut report: impl FnMut() -> String) {
        while let Ok((mut client, _)) = self.listener.accept() {
            let sent = client
                .set_nonblocking(false)
                .and_then(|()| client.set_write_timeout(Some(PATIENCE)))
                .and_then(|()| client.write_all(report().as_bytes()));
            if let Err(error) = sent {
                log::debug!("{}: {error}", self.path.display());
            }
        }
    }
}

impl AsFd for InspectNode {
    /// Readable when somebody waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for InspectNode {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            log::debug!("{}: {error}", self.path.display());
        }
        // The directory is shared with the names of the disks: the last one removes it.
        if let Some(directory) = self.path.parent() {
            let _ = fs::remove_dir(directory);
        }
    }
}

fn node(root: &Path, device: &str) -> PathBuf {
    root.join(device).join("inspect")
}

/// What the daemon that serves `device` tells of itself; `None` if there is none.
///
/// # Errors
/// There is a daemon, but it does not answer.
pub fn ask(root: &Path, device: &str) -> io::Result<Option<String>> {
    let daemon = match UnixStream::connect(node(root, device)) {
        Ok(daemon) => daemon,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    // The daemon may be asking its device.
    daemon.set_read_timeout(Some(PATIENCE * 10))?;
    let mut report = String::new();
    daemon.take(LONGEST).read_to_string(&mut report)?;
    Ok(Some(report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_is_answered_and_nothing_is_left() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(ask(root.path(), "pci-x").unwrap(), None);
        // A daemon that was killed left its node behind, and nobody answers.
        fs::create_dir(root.path().join("pci-x")).unwrap();
        drop(UnixListener::bind(node(root.path(), "pci-x")).unwrap());
        assert_eq!(ask(root.path(), "pci-x").unwrap(), None);
        let node = InspectNode::new(root.path(), "pci-x").unwrap();
        let path = root.path().to_owned();
        let client = std::thread::spawn(move || ask(&path, "pci-x").unwrap());
        while !client.is_finished() {
            node.answer(|| "well\n".to_string());
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(client.join().unwrap(), Some("well\n".to_string()));
        drop(node);
        assert_eq!(ask(root.path(), "pci-x").unwrap(), None);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
