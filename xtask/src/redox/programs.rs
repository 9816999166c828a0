//! Our programs for Redox.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::parts::Parts;
use crate::bench::programs::given;
use crate::dev::redox::{Compiler, TARGET};
use crate::process::output;
use crate::progress::Step;
use crate::rig;

/// A program and the crate that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) package: &'static str,
    pub(super) name: &'static str,
}

/// What checks a daemon from its clients' side.
pub(super) const DISK_CHECK: Program = Program { package: "redox-guest", name: "disk-check" };
/// What checks a network driver from the network stack's side.
pub(super) const NET_CHECK: Program = Program { package: "redox-guest", name: "net-check" };
/// A disk that does nothing, behind the same front end.
pub(super) const NULL_DISK: Program = Program { package: "null-disk", name: "null-disk" };
/// What measures it.
pub(super) const BENCH: Program = Program { package: "redox-bench", name: "redox-bench" };

/// Programs, from a directory or else built, in the order in which they are asked for.
///
/// # Errors
/// When one is missing or does not build.
pub(super) fn obtain(
    parts: &Parts,
    options: &rig::Options,
    target: &Path,
    programs: &[Program],
) -> Result<Vec<PathBuf>> {
    if let Some(directory) = &parts.programs {
        return programs.iter().map(|program| given(&directory.join(program.name))).collect();
    }
    if let Some(sentence) = parts.missing_linker() {
        bail!(sentence);
    }
    let compiler = Compiler::find(options, target)?;
    let linker = match (&parts.linker, &parts.sysroot) {
        (Some(linker), _) => given(linker)?,
        (None, Some(sysroot)) => host_linker(&target.join("redox"), sysroot)?,
        (None, None) => bail!("no linker"),
    };
    let names: Vec<&str> = programs.iter().map(|program| program.name).collect();
    let step = Step::begin(format!("build {} for {TARGET}", names.join(", ")));
    let mut cargo = compiler.cargo("build")?;
    cargo.arg("--release");
    for program in programs {
        cargo.args(["-p", program.package, "--bin", program.name]);
    }
    // The initfs has no dynamic linker.
    cargo
        .env("CARGO_TARGET_X86_64_UNKNOWN_REDOX_LINKER", linker)
        .env(
            "CARGO_TARGET_X86_64_UNKNOWN_REDOX_RUSTFLAGS",
            "-Ctarget-feature=+crt-static -Crelocation-model=static -Cstrip=debuginfo",
        )
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort");
    let status = cargo.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("{} did not build for {TARGET}", names.join(", "));
    }
    step.done("built");
    let release = compiler.target.join(TARGET).join("release");
    programs.iter().map(|program| given(&release.join(program.name))).collect()
}

/// A linker that is this machine's `cc` and the toolchain's own lld with relibc for a C library. GNU ld would want what
/// the host's libgcc_eh needs of glibc, even where nothing needs that.
fn host_linker(dir: &Path, sysroot: &Path) -> Result<PathBuf> {
    let has =
        |dir: &Path| ["libc.a", "crt0.o", "crti.o", "crtn.o"].iter().all(|name| dir.join(name).is_file());
    let places = [sysroot.to_owned(), sysroot.join("lib"), sysroot.join("usr/lib")];
    let Some(library) = places.iter().find(|dir| has(dir)) else {
        bail!("{} has no libc.a, crt0.o, crti.o and crtn.o of relibc, neither in lib", sysroot.display());
    };
    let library = library.canonicalize().with_context(|| format!("cannot resolve {}", library.display()))?;
    let libdir = output(Command::new("rustc").args(["--print", "target-libdir"]))?;
    let lld = Path::new(libdir.trim()).with_file_name("bin").join("gcc-ld");
    let wrapper = dir.join("cc-with-relibc");
    let script = format!(
        "#!/bin/sh\nlib='{}'\nexec cc -B'{}' -fuse-ld=lld -nostdlib -static -no-pie \"$lib/crt0.o\" \"$lib/crti.o\" \
         -L\"$lib\" \"$@\" -Wl,--start-group -lc \"$(cc -print-libgcc-file-name)\" -Wl,--end-group \"$lib/crtn.o\"\n",
        library.display(),
        lld.display()
    );
    std::fs::write(&wrapper, script).with_context(|| format!("cannot write {}", wrapper.display()))?;
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755))?;
    Ok(wrapper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relibc_is_found_where_it_is_installed() {
        let dir = tempfile::tempdir().unwrap();
        let error = host_linker(dir.path(), &dir.path().join("sysroot")).unwrap_err().to_string();
        assert!(error.contains("sysroot has no libc.a"), "{error}");
        let library = dir.path().join("sysroot/lib");
        std::fs::create_dir_all(&library).unwrap();
        for name in ["libc.a", "crt0.o", "crti.o", "crtn.o"] {
            std::fs::write(library.join(name), "").unwrap();
        }
        let wrapper = host_linker(dir.path(), &dir.path().join("sysroot")).unwrap();
        let script = std::fs::read_to_string(wrapper).unwrap();
        assert!(script.contains(&format!("lib='{}'", library.canonicalize().unwrap().display())), "{script}");
    }
}
