//! Where the kernel's file systems are.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The mount points of sysfs, procfs and devtmpfs: other directories than the usual ones in tests.
#[derive(Clone, Debug)]
pub struct Roots {
    /// sysfs, usually `/sys`.
    pub sys: PathBuf,
    /// procfs, usually `/proc`.
    pub proc: PathBuf,
    /// devtmpfs, usually `/dev`.
    pub dev: PathBuf,
}

impl Roots {
    /// The directory of the driver `name`.
    pub fn driver(&self, name: &str) -> PathBuf {
        self.sys.join("bus/pci/drivers").join(name)
    }
}

/// Reads a file of one value, without the white space around it.
///
/// # Errors
/// As the system answers, naming the file.
pub fn read_value(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => Err(name_file(path, &error)),
    }
}

/// Writes a value to a file that exists.
///
/// # Errors
/// As the system answers, naming the file.
pub fn write_value(path: &Path, value: &str) -> io::Result<()> {
    // In one call: sysfs takes every write as a whole value.
    let open = || fs::OpenOptions::new().write(true).truncate(true).open(path);
    let write = || io::Write::write_all(&mut open()?, value.as_bytes());
    write().map_err(|error| name_file(path, &error))
}

/// The last component of what a symbolic link points to; `None` where there is no link.
pub fn link_name(path: &Path) -> Option<String> {
    Some(fs::read_link(path).ok()?.file_name()?.to_string_lossy().into_owned())
}

/// The names in a directory, in order; none where there is no such directory.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

fn name_file(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
