//! The programs that a measurement needs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::output;
use crate::progress::Step;
use crate::workspace;

/// Builds the plugin that counts instructions, which is no member of the workspace.
///
/// # Errors
/// When it does not build.
pub fn plugin(target: &Path) -> Result<PathBuf> {
    let step = Step::begin("build tcg-count");
    let target = target.join("tcg-count");
    let mut cargo = workspace::cargo()?;
    cargo.args([
        "build",
        "--quiet",
        "--release",
        "--manifest-path",
        "tools/tcg-count/Cargo.toml",
        "--target-dir",
    ]);
    output(cargo.arg(&target)).context("cannot build tcg-count")?;
    step.done("built");
    given(&target.join("release/libtcg_count.so"))
}

/// Programs of the workspace, from a directory or else built, in the order of their names.
///
/// # Errors
/// When one is missing or does not build.
pub fn own(directory: Option<&Path>, names: &[&str]) -> Result<Vec<PathBuf>> {
    match directory {
        Some(directory) => names.iter().map(|name| given(&directory.join(name))).collect(),
        None => {
            let step = Step::begin(format!("build {}", names.join(", ")));
            let paths = workspace::build(names)?;
            step.done("built");
            Ok(paths)
        }
    }
}

/// A file that must be there.
///
/// # Errors
/// When it is not.
pub fn given(path: &Path) -> Result<PathBuf> {
    if !path.is_file() {
        bail!("{} is not a file", path.display());
    }
    path.canonicalize().with_context(|| format!("cannot resolve {}", path.display()))
}
