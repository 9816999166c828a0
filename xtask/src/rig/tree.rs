//! Programs of an unpacked tree, run on this machine with the tree's own loader and libraries.

use std::path::{Path, PathBuf};
use std::process::Command;

const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "usr/lib"];

/// The loader's part of a command line, up to the program.
#[must_use]
pub(super) fn loader(tree: &Path) -> Vec<PathBuf> {
    let path: Vec<String> = LIBRARIES.iter().map(|dir| tree.join(dir).display().to_string()).collect();
    vec![tree.join("lib64/ld-linux-x86-64.so.2"), "--library-path".into(), path.join(":").into()]
}

/// A command that runs `program` (a path within the tree) by the tree's loader.
#[must_use]
pub(super) fn command(tree: &Path, program: &str) -> Command {
    command_as(tree, program, program)
}

/// As [`command`], for a program that tells by its name what to do.
#[must_use]
pub(super) fn command_as(tree: &Path, program: &str, name: &str) -> Command {
    let loader = loader(tree);
    let mut words = loader.iter();
    let mut command = Command::new(words.next().map_or(Path::new(program), PathBuf::as_path));
    command.args(words).args(["--argv0", name]).arg(tree.join(program));
    command
}
