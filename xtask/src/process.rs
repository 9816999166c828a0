//! Small helpers around child processes: one clear sentence when a tool is missing or fails.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

/// Looks a program up in `PATH`.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Checks that a program exists, saying which package has it when it doesn't.
///
/// # Errors
/// When the program is not in `PATH`.
pub fn require(name: &str, package: &str, why: &str) -> Result<()> {
    if find_program(name).is_none() {
        bail!("{name} is missing ({why}): install the package {package}");
    }
    Ok(())
}

/// Runs a command to its end and returns its standard output.
///
/// # Errors
/// When it cannot be started or fails; the message has the end of what it said.
pub fn output(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } =
        command.output().with_context(|| format!("cannot start {}", name(command)))?;
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    if !status.success() {
        let stderr = String::from_utf8_lossy(&stderr);
        let said = if stderr.trim().is_empty() { &stdout } else { stderr.as_ref() };
        bail!("{} failed ({status}): {}", name(command), tail(said, 8));
    }
    Ok(stdout)
}

/// The name of a command's program, for messages.
#[must_use]
pub fn name(command: &Command) -> String {
    Path::new(command.get_program()).file_name().unwrap_or(OsStr::new("?")).display().to_string()
}

/// The last lines of a text.
#[must_use]
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}
