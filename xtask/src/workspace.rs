//! Where the project is.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The workspace's root.
///
/// # Errors
/// When xtask isn't run by cargo and was moved from where it was built.
pub fn root() -> Result<PathBuf> {
    let own = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    own.parent()
        .filter(|root| root.join("Cargo.toml").is_file())
        .map(Path::to_owned)
        .context("the workspace was not found: run it as `cargo xtask`")
}

/// The directory that everything made goes to.
///
/// # Errors
/// As [`root`].
pub fn target() -> Result<PathBuf> {
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => root()?.join("target"),
    };
    std::fs::create_dir_all(&target).with_context(|| format!("cannot create {}", target.display()))?;
    target.canonicalize().with_context(|| format!("cannot resolve {}", target.display()))
}
