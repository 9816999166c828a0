//! Debian packages, without root and without touching the system.

mod apt;
mod sources;
mod unpack;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub use apt::{Apt, Wanted};

use crate::progress::Step;
use sources::Mirror;
use unpack::unpack;

/// The archive as this machine reaches it, with a cache below `target/`.
#[derive(Debug)]
pub struct Archive {
    mirror: Option<String>,
    cache: PathBuf,
}

impl Archive {
    /// Names the archive; nothing is fetched yet. Without `mirror` apt's configuration decides.
    #[must_use]
    pub fn new(mirror: Option<String>, cache: PathBuf) -> Self {
        Self { mirror, cache }
    }

    /// Opens the archive's lists of one release and its backports.
    ///
    /// # Errors
    /// When there is no mirror, no apt, or the lists cannot be fetched and verified.
    pub fn release(&self, release: &str) -> Result<Apt> {
        let mirror = match &self.mirror {
            Some(uri) => Mirror { uri: uri.clone(), signed_by: None },
            None => sources::find(Path::new("/etc/apt"))?,
        };
        Apt::open(&self.cache.join(release), &mirror, release)
    }
}

/// Resolves, downloads and unpacks packages into a new tree. The tree appears under its name only
/// when it is whole, with the list of its packages in `TREE.packages`.
///
/// # Errors
/// When any step fails; nothing is left under the tree's name then.
pub fn install(apt: &Apt, what: &str, wanted: Wanted<'_>, tree: &Path) -> Result<()> {
    let mut step = Step::begin(format!("{what}: packages"));
    let packages = apt.resolve(wanted)?;
    apt.download(wanted, &mut step)?;
    step.done(&format!("{} fetched", packages.len()));

    let mut step = Step::begin(format!("{what}: unpacking"));
    let partial = fresh(tree)?;
    for package in &packages {
        step.tick(&package.name);
        unpack(&apt.archive(package), &partial)?;
    }
    let list: String =
        packages.iter().map(|package| format!("{} {}\n", package.name, package.version)).collect();
    std::fs::write(tree.with_extension("packages"), list)?;
    std::fs::rename(&partial, tree).with_context(|| format!("cannot rename {}", partial.display()))?;
    step.done(&tree.display().to_string());
    Ok(())
}

/// Unpacks one package into a new tree, which appears under its name only when it is whole.
///
/// # Errors
/// When the package cannot be unpacked.
pub fn unpack_new(archive: &Path, tree: &Path) -> Result<()> {
    let partial = fresh(tree)?;
    unpack(archive, &partial)?;
    std::fs::rename(&partial, tree).with_context(|| format!("cannot rename {}", partial.display()))
}

/// An empty tree beside the one that it will become.
fn fresh(tree: &Path) -> Result<PathBuf> {
    let mut name = tree.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    let partial = tree.with_file_name(name);
    if partial.exists() {
        std::fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
    }
    unpack::create_tree(&partial)?;
    Ok(partial)
}
