//! The emulator: Debian's newest QEMU, run from its unpacked tree.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Releases, tree};
use crate::debian::{self, Wanted};
use crate::process::output;

/// Older ones lack what the rig relies on (`-run-with exit-with-parent`), and their AMD IOMMU
/// and vfio-user are broken or missing.
const OLDEST: (u32, u32) = (10, 2);

/// The source packages whose versions must fit together.
const BACKPORTED: [&str; 4] = ["qemu", "seabios", "ipxe", "edk2"];

/// A QEMU that can be started.
#[derive(Debug, Clone)]
pub struct Qemu {
    program: PathBuf,
    /// The tree that it was unpacked into; a QEMU of the user's has none.
    tree: Option<PathBuf>,
    /// Its version, as it says itself.
    pub version: String,
}

impl Qemu {
    /// Takes a QEMU of the user's.
    ///
    /// # Errors
    /// When it is missing or too old.
    pub fn given(path: &Path) -> Result<Self> {
        if !path.is_file() {
            bail!("{} is not a file: --qemu takes the path of qemu-system-x86_64", path.display());
        }
        Self::check(Self { program: path.to_owned(), tree: None, version: String::new() })
    }

    pub(super) fn obtain(releases: &Releases, dir: &Path) -> Result<Self> {
        let tree = dir.join("qemu");
        if !tree.exists() {
            let apt = releases.open("trixie")?;
            // What its packages' installation scripts need, but no emulator does.
            let assumed = ["adduser", "debconf", "passwd", "base-passwd"];
            let wanted =
                Wanted { packages: &["qemu-system-x86"], assumed: &assumed, backported: &BACKPORTED };
            debian::install(&apt, "QEMU", wanted, &tree)?;
        }
        let program = tree.join("usr/bin/qemu-system-x86_64");
        if !program.is_file() {
            bail!("{} is missing: remove {} to have it made again", program.display(), tree.display());
        }
        Self::check(Self { program, tree: Some(tree), version: String::new() })
    }

    fn check(mut self) -> Result<Self> {
        let said = output(self.command().arg("--version"))?;
        let version = said
            .split_whitespace()
            .skip_while(|word| *word != "version")
            .nth(1)
            .with_context(|| format!("{} does not say its version", self.program.display()))?;
        let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
        let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if found < OLDEST {
            bail!(
                "{} is QEMU {version}, and the rig needs {}.{} or later",
                self.program.display(),
                OLDEST.0,
                OLDEST.1
            );
        }
        self.version = version.to_owned();
        Ok(self)
    }

    /// A command that starts the emulator.
    #[must_use]
    pub fn command(&self) -> Command {
        let Some(tree) = &self.tree else { return Command::new(&self.program) };
        let loader = tree::loader(tree);
        let mut words = loader.iter();
        let mut command = Command::new(words.next().map_or(self.program.as_path(), PathBuf::as_path));
        command.args(words).arg(&self.program);
        command.env("QEMU_MODULE_DIR", tree.join("usr/lib/x86_64-linux-gnu/qemu"));
        for data in ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"] {
            command.arg("-L").arg(tree.join(data));
        }
        command
    }
}
