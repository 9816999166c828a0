//! Names under which a user finds the disks: `/run/red-bear/pci-0000-00-04.0-nvme/1` leads to `/dev/ublkb0`.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use crate::device::DiskId;

/// The directory of one controller's names. What cannot be done is logged: the names are a convenience.
#[derive(Debug)]
pub(super) struct Names {
    directory: PathBuf,
}

impl Names {
    /// The names of `controller` in `root`. The directory is made at once: later the daemon may be confined to it.
    pub(super) fn new(root: &Path, controller: &str) -> Self {
        let directory = root.join(controller);
        if let Err(error) = fs::create_dir_all(&directory) {
            log::warn!("{}: {error}", directory.display());
        }
        Names { directory }
    }

    /// Lets the name of `disk` lead to `target`.
    pub(super) fn set(&self, disk: DiskId, target: &Path) {
        let name = self.directory.join(disk.to_string());
        if let Err(error) = self.replace(&name, target) {
            log::warn!("{}: {error}; the disk is {}", name.display(), target.display());
        }
    }

    fn replace(&self, name: &Path, target: &Path) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        // A link that is renamed over the old one: the name leads somewhere at every moment.
        let new = name.with_extension("new");
        remove(&new)?;
        symlink(target, &new)?;
        fs::rename(&new, name)
    }

    /// Forgets the name of `disk`, and the directory when it was the last.
    pub(super) fn remove(&self, disk: DiskId) {
        let name = self.directory.join(disk.to_string());
        if let Err(error) = remove(&name) {
            log::warn!("{}: {error}", name.display());
        }
        // Fails as long as there are others.
        let _ = fs::remove_dir(&self.directory);
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_the_newest_device_and_go_away() {
        let root = tempfile::tempdir().unwrap();
        let names = Names::new(root.path(), "pci-0000-00-04.0-nvme");
        let name = root.path().join("pci-0000-00-04.0-nvme/1");
        names.set(DiskId(1), Path::new("/dev/ublkb0"));
        names.set(DiskId(1), Path::new("/dev/ublkb7"));
        names.set(DiskId(2), Path::new("/dev/ublkb8"));
        assert_eq!(fs::read_link(&name).unwrap(), Path::new("/dev/ublkb7"));
        names.remove(DiskId(1));
        assert!(fs::symlink_metadata(&name).is_err());
        names.remove(DiskId(2));
        assert!(fs::metadata(root.path().join("pci-0000-00-04.0-nvme")).is_err());
        // What is gone already is no reason to complain.
        names.remove(DiskId(2));
    }
}
