//! Putting a driver into an archive.

use super::tree::{Initfs, Node};

/// Where the boot stage looks for drivers and for `pcid.d` files. The second directory replaces files of the same name
/// of the first.
const DRIVERS: &str = "lib/drivers";
const CONFIG: [&str; 2] = ["lib/pcid.d", "etc/pcid.d"];

/// What keeps a driver out of an archive.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// Something stands where a directory would be.
    #[error("{path}: {part} is no directory")]
    Path {
        /// What was to be put there.
        path: String,
        /// What is in the way.
        part: String,
    },
    /// The `pcid.d` file is no TOML.
    #[error("its pcid.d file cannot be read")]
    Config(#[source] toml::de::Error),
    /// The `pcid.d` file cannot be written again.
    #[error("its pcid.d file cannot be written")]
    Rewrite(#[source] toml::ser::Error),
    /// The `pcid.d` file has no entry with a command.
    #[error("its pcid.d file starts no program")]
    NoCommand,
    /// Whatever that file says, it says it first.
    #[error("{0} is read before the driver's own pcid.d file")]
    Before(String),
}

/// What became of a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The program's path.
    pub program: String,
    /// Size of the program that was there before.
    pub replaced: Option<usize>,
    /// Path of the `pcid.d` file.
    pub config: String,
}

impl Initfs {
    /// Puts a driver where the boot stage looks for it, in place of one with that name, with its `pcid.d` file in front
    /// of all others: the first entry that matches a function has it.
    ///
    /// # Errors
    /// See [`DriverError`].
    pub fn install(&mut self, name: &str, program: Vec<u8>, config: &str) -> Result<Installed, DriverError> {
        let file = format!("00-{name}.toml");
        for directory in CONFIG {
            let Some(Node::Directory(entries)) = self.get(directory) else { continue };
            let before = entries.keys().find(|other| other.as_slice() < file.as_bytes());
            if let Some(other) = before {
                let other = String::from_utf8_lossy(other);
                return Err(DriverError::Before(format!("{directory}/{other}")));
            }
        }
        let config = boot_stage(config)?;
        let mut put = |path: String, node| match self.put(&path, node) {
            Ok(before) => Ok((path, before)),
            Err(part) => Err(DriverError::Path { path, part }),
        };
        let node = Node::File { data: program, executable: true };
        let (program, before) = put(format!("{DRIVERS}/{name}"), node)?;
        let [directory, _] = CONFIG;
        let node = Node::File { data: config.into_bytes(), executable: false };
        let (config, _) = put(format!("{directory}/{file}"), node)?;
        let replaced = match before {
            Some(Node::File { data, .. }) => Some(data.len()),
            _ => None,
        };
        Ok(Installed { program, replaced, config })
    }
}

/// A `pcid.d` file as the boot stage needs it: relative programs, which are looked for on a root file system, are those of
/// the archive.
fn boot_stage(text: &str) -> Result<String, DriverError> {
    let mut document: toml::Table = toml::from_str(text).map_err(DriverError::Config)?;
    let drivers = document.get_mut("drivers").and_then(toml::Value::as_array_mut);
    let mut programs = 0_usize;
    for driver in drivers.into_iter().flatten() {
        let command = driver.get_mut("command").and_then(toml::Value::as_array_mut);
        if let Some(toml::Value::String(program)) = command.and_then(|command| command.first_mut()) {
            if !program.starts_with('/') {
                *program = format!("/scheme/initfs/{DRIVERS}/{program}");
            }
            programs = programs.saturating_add(1);
        }
    }
    if programs == 0 {
        return Err(DriverError::NoCommand);
    }
    toml::to_string(&document).map_err(DriverError::Rewrite)
}
