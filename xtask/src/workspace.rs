//! Where the project is and what it consists of.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::process::output;

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

/// A `cargo` that works on the workspace, free of what the running one left in the environment.
///
/// # Errors
/// As [`root`].
pub fn cargo() -> Result<Command> {
    let mut command = Command::new("cargo");
    command.current_dir(root()?);
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
        command.env_remove(name);
    }
    Ok(command)
}

/// One crate of the workspace.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// The crate's name.
    pub name: String,
    metadata: Option<serde_json::Value>,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
    src_path: PathBuf,
}

impl Package {
    /// Whether the crate claims to build for Redox. A crate opts out by
    /// `[package.metadata.redox] check = false`.
    #[must_use]
    pub fn supports_redox(&self) -> bool {
        let check = self.metadata.as_ref().and_then(|metadata| metadata.pointer("/redox/check"));
        check != Some(&serde_json::Value::Bool(false))
    }

    /// Whether its library has examples in its documentation, which only rustdoc can run.
    #[must_use]
    pub fn has_doc_tests(&self) -> bool {
        self.targets
            .iter()
            .filter(|target| target.kind.iter().any(|kind| kind == "lib"))
            .filter_map(|target| target.src_path.parent())
            .any(has_example)
    }
}

fn has_example(dir: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(dir) else { return false };
    entries.filter_map(Result::ok).any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return has_example(&path);
        }
        std::fs::read_to_string(&path).is_ok_and(|text| {
            text.lines().any(|line| {
                let line = line.trim_start();
                (line.starts_with("///") || line.starts_with("//!")) && line.contains("```")
            })
        })
    })
}

/// The crates of the workspace.
///
/// # Errors
/// When cargo cannot read it.
pub fn packages() -> Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    let text = output(cargo()?.args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: Metadata = serde_json::from_str(&text).context("cargo metadata is no JSON")?;
    Ok(metadata.packages)
}

/// Builds programs of the workspace, optimised, and returns their paths.
///
/// # Errors
/// When one doesn't exist or doesn't build.
pub fn build(programs: &[&str]) -> Result<Vec<PathBuf>> {
    let packages = packages()?;
    let mut command = cargo()?;
    command.args(["build", "--release", "--quiet"]);
    for program in programs {
        if !packages.iter().any(|package| package.name == *program) {
            bail!("the workspace has no crate {program}");
        }
        command.args(["-p", program, "--bin", program]);
    }
    let status = command.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("{} did not build", programs.join(", "));
    }
    let release = target()?.join("release");
    Ok(programs.iter().map(|program| release.join(program)).collect())
}
