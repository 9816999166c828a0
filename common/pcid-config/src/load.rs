//! The directories: which files there are, in which order, and what they say together.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{DriverConfig, FunctionId, parse};

/// Where the files are when nothing else is said.
pub const DEFAULT_DIRS: [&str; 2] = ["/usr/lib/pcid.d", "/etc/pcid.d"];

/// No file that people write is longer; what is longer is something else that strayed into the directory.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// One entry and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The file.
    pub file: PathBuf,
    /// The line that the entry begins on, counted from 1.
    pub line: usize,
    /// What it says.
    pub driver: DriverConfig,
}

/// A file or directory that was left out, or something in it that was ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file or directory.
    pub path: PathBuf,
    /// The line, where there is one.
    pub line: Option<usize>,
    /// What is wrong, on one line.
    pub what: String,
    /// Whether the file was left out; otherwise only what is named here was ignored.
    pub skipped: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// All the files together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The entries, the one to ask first in front.
    pub entries: Vec<Entry>,
    /// What could not be used.
    pub problems: Vec<Problem>,
}

impl Config {
    /// Reads the files of `dirs` in the order of their names, whichever directory they are in. Where two directories
    /// have a file of the same name, the later directory's is used. A directory that does not exist is empty.
    ///
    /// Names that begin with a dot or end in `~` are editors' and package managers' litter and are passed over.
    pub fn load<P: AsRef<Path>>(dirs: &[P]) -> Self {
        let mut config = Self::default();
        let mut files = BTreeMap::<OsString, PathBuf>::new();
        for dir in dirs.iter().map(AsRef::as_ref) {
            match list(dir) {
                Ok(found) => files.extend(found),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => config.skip(dir.to_owned(), None, error.to_string()),
            }
        }
        for path in files.into_values() {
            config.add(path);
        }
        config
    }

    /// The first entry that claims a function with `id`.
    pub fn find(&self, id: &FunctionId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.driver.matches(id))
    }

    fn add(&mut self, path: PathBuf) {
        let text = match read(&path) {
            Ok(text) => text,
            Err(error) => return self.skip(path, None, error.to_string()),
        };
        let parsed = match parse(&text) {
            Ok(parsed) => parsed,
            Err(error) => return self.skip(path, Some(error.line), error.what),
        };
        for key in parsed.unknown_keys {
            let what = format!("unknown key `{key}` is ignored");
            self.problems.push(Problem { path: path.clone(), line: None, what, skipped: false });
        }
        for (line, driver) in parsed.drivers {
            self.entries.push(Entry { file: path.clone(), line, driver });
        }
    }

    fn skip(&mut self, path: PathBuf, line: Option<usize>, what: String) {
        self.problems.push(Problem { path, line, what, skipped: true });
    }
}

fn list(dir: &Path) -> io::Result<Vec<(OsString, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let bytes = name.as_encoded_bytes();
        if bytes.starts_with(b".") || bytes.ends_with(b"~") || entry.path().is_dir() {
            continue;
        }
        files.push((name, entry.path()));
    }
    Ok(files)
}

fn read(path: &Path) -> io::Result<String> {
    // A FIFO would be waited for without end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("is not a regular file"));
    }
    let mut text = String::new();
    let read =
        fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(
            |error| match error.kind() {
                io::ErrorKind::InvalidData => io::Error::other("is not UTF-8 text"),
                _ => error,
            },
        )?;
    if read as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("is longer than {MAX_FILE_BYTES} bytes")));
    }
    Ok(text)
}
