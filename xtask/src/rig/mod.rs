//! The QEMU rig: one QEMU, one kernel and one userland for every guest of the project.
//!
//! Everything is obtained once into `target/rig` and checked there; see `docs/rig.md`.

pub mod console;
mod control;
pub mod guest;
mod initramfs;
mod kernel;
mod models;
pub mod qemu;
pub mod qmp;
pub mod run;
mod tree;
mod userland;

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

pub use guest::Guest;
pub use kernel::Kernel;
pub use qemu::Qemu;

use crate::debian::Archive;

/// Where the rig's parts come from.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Rig")]
pub struct Options {
    /// Debian mirror to use instead of the one in apt's configuration
    #[arg(long, value_name = "URL", env = "RB_MIRROR")]
    pub mirror: Option<String>,
    /// QEMU to use (qemu-system-x86_64, 10.2 or later) instead of Debian's
    #[arg(long, value_name = "PATH", env = "RB_QEMU")]
    pub qemu: Option<PathBuf>,
    /// Guest kernel image to use; needs --modules
    #[arg(long, value_name = "PATH", env = "RB_KERNEL", requires = "modules")]
    pub kernel: Option<PathBuf>,
    /// The kernel's module directory, as /lib/modules/VERSION
    #[arg(long, value_name = "DIR", env = "RB_MODULES", requires = "kernel")]
    pub modules: Option<PathBuf>,
    /// Guest userland to use (an unpacked Debian 12) instead of Debian's packages
    #[arg(long, value_name = "DIR", env = "RB_ROOT")]
    pub root: Option<PathBuf>,
    /// Keep downloads and trees here instead of target/rig
    #[arg(long, value_name = "DIR", env = "RB_RIG_DIR")]
    pub rig_dir: Option<PathBuf>,
}

impl Options {
    /// The directory of the rig's downloads and trees.
    #[must_use]
    pub fn directory(&self, target: &Path) -> PathBuf {
        self.rig_dir.clone().unwrap_or_else(|| target.join("rig"))
    }
}

/// Everything that a guest needs, present and checked.
#[derive(Debug)]
pub struct Rig {
    /// The emulator.
    pub qemu: Qemu,
    /// The guest's kernel with its modules.
    pub kernel: Kernel,
    /// The guest's root file system.
    pub root: PathBuf,
    /// Where runs leave their files.
    pub runs: PathBuf,
}

impl Rig {
    /// Obtains what is missing. The second time this takes no time.
    ///
    /// # Errors
    /// When something is missing and cannot be had; the message says what and how to get it.
    pub fn prepare(options: &Options, target: &Path) -> Result<Self> {
        let (dir, _lock) = directory(options, target)?;
        let releases = Releases::new(options, &dir);
        let root = match &options.root {
            Some(root) => userland::check(root)?,
            None => userland::obtain(&releases, &dir)?,
        };
        let kernel = match (&options.kernel, &options.modules) {
            (Some(image), Some(modules)) => Kernel::given(image, modules)?,
            _ => Kernel::obtain(&releases, &dir, &root)?,
        };
        let qemu = qemu(options, &releases, &dir)?;
        Ok(Self { qemu, kernel, root, runs: runs(target) })
    }
}

/// Obtains the emulator alone, for guests that bring their own system.
///
/// # Errors
/// As [`Rig::prepare`].
pub fn emulator(options: &Options, target: &Path) -> Result<Qemu> {
    let (dir, _lock) = directory(options, target)?;
    qemu(options, &Releases::new(options, &dir), &dir)
}

/// Where runs leave their files.
#[must_use]
pub fn runs(target: &Path) -> PathBuf {
    target.join("runs")
}

/// The rig's directory, locked: two commands started at once must not unpack into the same trees.
fn directory(options: &Options, target: &Path) -> Result<(PathBuf, File)> {
    let dir = options.directory(target);
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let dir = dir.canonicalize()?;
    let lock = File::create(dir.join("lock"))?;
    lock.lock().context("cannot lock the rig's directory")?;
    Ok((dir, lock))
}

fn qemu(options: &Options, releases: &Releases, dir: &Path) -> Result<Qemu> {
    match &options.qemu {
        Some(path) => Qemu::given(path),
        None => Qemu::obtain(releases, dir),
    }
}

/// The Debian releases that have been opened in this run, so that lists are fetched once.
#[derive(Debug)]
struct Releases {
    archive: Archive,
    opened: std::cell::RefCell<std::collections::BTreeMap<String, std::rc::Rc<crate::debian::Apt>>>,
}

impl Releases {
    fn new(options: &Options, dir: &Path) -> Self {
        let archive = Archive::new(options.mirror.clone(), dir.join("cache"));
        Self { archive, opened: Default::default() }
    }

    fn open(&self, release: &str) -> Result<std::rc::Rc<crate::debian::Apt>> {
        if let Some(apt) = self.opened.borrow().get(release) {
            return Ok(apt.clone());
        }
        let apt = std::rc::Rc::new(self.archive.release(release)?);
        self.opened.borrow_mut().insert(release.to_owned(), apt.clone());
        Ok(apt)
    }
}
