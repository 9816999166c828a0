//! The programs that a measurement needs, built on the spot.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::output;
use crate::progress::Step;
use crate::workspace;

fn cargo(arguments: &[&str], what: &str) -> Result<()> {
    let step = Step::begin(format!("build {what}"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    output(
        Command::new(cargo)
            .args(["build", "--quiet", "--release"])
            .args(arguments)
            .current_dir(workspace::root()?),
    )
    .with_context(|| format!("cannot build {what}"))?;
    step.done("built");
    Ok(())
}

/// Builds a program of the workspace.
///
/// # Errors
/// When it does not build.
pub fn workspace(target: &Path, package: &str, program: &str) -> Result<PathBuf> {
    cargo(&["--package", package, "--bin", program], program)?;
    found(target.join("release").join(program))
}

/// Builds the plugin that counts instructions.
///
/// # Errors
/// When it does not build.
pub fn plugin(target: &Path) -> Result<PathBuf> {
    let target = target.join("tcg-count");
    let directory = target.display().to_string();
    cargo(&["--manifest-path", "tools/tcg-count/Cargo.toml", "--target-dir", &directory], "tcg-count")?;
    found(target.join("release/libtcg_count.so"))
}

/// Takes a program of the user's.
///
/// # Errors
/// When it is not there.
pub fn given(path: &Path) -> Result<PathBuf> {
    if !path.is_file() {
        bail!("{} is not a file", path.display());
    }
    path.canonicalize().with_context(|| format!("cannot resolve {}", path.display()))
}

fn found(path: PathBuf) -> Result<PathBuf> {
    if !path.is_file() {
        bail!("{} was built but is not there", path.display());
    }
    Ok(path)
}
