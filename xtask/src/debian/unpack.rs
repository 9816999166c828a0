//! Unpacks packages into a directory tree.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process::tail;

/// Documentation and translations: half of the files, and none is ever read.
const LEFT_OUT: [&str; 6] = [
    "./usr/share/doc",
    "./usr/share/man",
    "./usr/share/locale",
    "./usr/share/info",
    "./usr/share/lintian",
    "./usr/share/bug",
];

/// Creates an empty tree in which `/bin`, `/sbin`, `/lib` and `/lib64` are links into `/usr`.
///
/// # Errors
/// When the file system refuses.
pub(super) fn create_tree(tree: &Path) -> Result<()> {
    for name in ["bin", "sbin", "lib", "lib64"] {
        std::fs::create_dir_all(tree.join("usr").join(name))
            .with_context(|| format!("cannot create {}", tree.display()))?;
        symlink(format!("usr/{name}"), tree.join(name))
            .with_context(|| format!("cannot create {}/{name}", tree.display()))?;
    }
    Ok(())
}

/// Unpacks one package into a tree, as whichever user this is.
///
/// # Errors
/// When `dpkg-deb` or `tar` fail.
pub(super) fn unpack(archive: &Path, tree: &Path) -> Result<()> {
    let mut reader = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(archive)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let stream = reader.stdout.take().context("dpkg-deb has no output")?;
    let mut tar = Command::new("tar");
    tar.args(["-x", "-f", "-", "--keep-directory-symlink", "--no-same-owner", "-C"]).arg(tree);
    tar.args(LEFT_OUT.map(|path| format!("--exclude={path}")));
    let result = tar.stdin(stream).output().context("cannot start tar")?;
    let reader = reader.wait_with_output().context("cannot wait for dpkg-deb")?;
    if !reader.status.success() || !result.status.success() {
        let said = [reader.stderr, result.stderr].concat();
        bail!("cannot unpack {}: {}", archive.display(), tail(&String::from_utf8_lossy(&said), 4));
    }
    Ok(())
}
