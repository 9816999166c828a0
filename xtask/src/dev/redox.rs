//! `cargo xtask redox-check`: type-checks every crate for Redox with the stable toolchain.
//!
//! Redox is a tier-2 target whose standard library rustup does not ship for every toolchain, so
//! the library is checked from its source along with the crates (`-Zbuild-std`). The source must
//! be that of the very same compiler: from the toolchain where it has it, else from Debian.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::debian::Archive;
use crate::process::output;
use crate::progress::Step;
use crate::rig;
use crate::workspace;

/// The target's name.
pub const TARGET: &str = "x86_64-unknown-redox";

/// Checks the crates that claim Redox support: `cargo check`, then clippy.
///
/// # Errors
/// When the library's source cannot be had or something doesn't check.
pub fn run(options: &rig::Options) -> Result<()> {
    let compiler = Compiler::find(options, &workspace::target()?)?;
    let names: Vec<String> = workspace::packages()?
        .into_iter()
        .filter(workspace::Package::supports_redox)
        .map(|package| package.name)
        .collect();
    if names.is_empty() {
        bail!("no crate claims Redox support");
    }
    for tool in ["check", "clippy"] {
        println!("cargo {tool} for {TARGET}: {}", names.join(", "));
        let mut command = compiler.cargo(tool)?;
        command.args(names.iter().flat_map(|name| ["-p", name]));
        if tool == "clippy" {
            command.args(["--", "-D", "warnings"]);
        }
        let status = command.status().context("cannot start cargo")?;
        if !status.success() {
            bail!("cargo {tool} for {TARGET} failed");
        }
    }
    Ok(())
}

/// A compiler whose sysroot has the library's source.
#[derive(Debug)]
pub struct Compiler {
    program: PathBuf,
    /// The sysroot, where it is not the toolchain's own.
    sysroot: Option<PathBuf>,
    /// Where it leaves what it makes.
    pub target: PathBuf,
}

impl Compiler {
    /// Obtains the library's source, unless the toolchain has it.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn find(options: &rig::Options, target: &Path) -> Result<Self> {
        let dir = target.join("redox");
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        rustc(&dir, options, target)
    }

    /// A `cargo` that does something with crates and the library for Redox.
    ///
    /// # Errors
    /// As [`workspace::cargo`].
    pub fn cargo(&self, what: &str) -> Result<Command> {
        let mut command = workspace::cargo()?;
        command.args([what, "--quiet", "-Zbuild-std=std,panic_abort", "--target", TARGET]);
        command.arg("--target-dir").arg(&self.target);
        command.env("RUSTC", &self.program).env("RUSTC_BOOTSTRAP", "1");
        if let Some(sysroot) = &self.sysroot {
            // clippy's driver replaces the compiler and takes the sysroot from here.
            command.env("SYSROOT", sysroot);
        }
        Ok(command)
    }
}

/// The toolchain's compiler, or a wrapper that gives it another sysroot.
fn rustc(dir: &Path, options: &rig::Options, target: &Path) -> Result<Compiler> {
    let real = std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from);
    let sysroot = PathBuf::from(output(Command::new(&real).args(["--print", "sysroot"]))?.trim());
    if sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").exists() {
        return Ok(Compiler { program: real, sysroot: None, target: dir.join("target") });
    }
    let verbose = output(Command::new(&real).arg("-vV"))?;
    let field = |name: &str| {
        verbose.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    };
    let release = field("release:").context("rustc does not say its release")?;
    let host = field("host:").context("rustc does not say its host")?;
    let source = debian_source(&release, options, target)?;

    // The toolchain's libraries for programs of this machine, with the source beside them.
    let shadow = dir.join(format!("sysroot-{release}"));
    let rustlib = shadow.join("lib/rustlib");
    std::fs::create_dir_all(rustlib.join("src"))
        .with_context(|| format!("cannot create {}", rustlib.display()))?;
    link(&sysroot.join("lib/rustlib").join(&host), &rustlib.join(&host))?;
    link(&source, &rustlib.join("src/rust"))?;
    let wrapper = dir.join("rustc");
    let script = format!(
        "#!/bin/sh\nexec '{}' --sysroot '{}' \"$@\"\n",
        sysroot.join("bin/rustc").display(),
        shadow.display()
    );
    if !std::fs::read_to_string(&wrapper).is_ok_and(|old| old == script) {
        std::fs::write(&wrapper, script)?;
        std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(Compiler { program: wrapper, sysroot: Some(shadow), target: dir.join("target") })
}

/// Makes a link, replacing one that leads elsewhere.
fn link(to: &Path, at: &Path) -> Result<()> {
    if std::fs::read_link(at).is_ok_and(|old| old == to) {
        return Ok(());
    }
    if at.symlink_metadata().is_ok() {
        std::fs::remove_file(at).with_context(|| format!("cannot remove {}", at.display()))?;
    }
    symlink(to, at).with_context(|| format!("cannot create {}", at.display()))
}

/// Debian's `rust-src` of a release, unpacked.
fn debian_source(release: &str, options: &rig::Options, target: &Path) -> Result<PathBuf> {
    let dir = options.directory(target);
    let tree = dir.join(format!("rust-src-{release}"));
    let source = tree.join(format!("usr/src/rustc-{release}"));
    if source.join("library/Cargo.lock").exists() {
        return Ok(source);
    }
    let advice = "run `rustup component add rust-src`";
    let archive = Archive::new(options.mirror.clone(), dir.join("cache"));
    let apt = archive
        .release("trixie")
        .with_context(|| format!("the source of Rust {release}'s standard library is missing: {advice}"))?;
    let prefix = format!("{release}+");
    let version = apt
        .versions("rust-src")?
        .into_iter()
        .find(|version| version.starts_with(&prefix))
        .with_context(|| {
            format!("the source of Rust {release}'s standard library is missing, and the mirror has none: {advice}")
        })?;
    let step = Step::begin(format!("rust-src {version}"));
    let package = apt.download_only("rust-src", &version)?;
    crate::debian::unpack_new(&package, &tree)?;
    step.done("unpacked");
    if !source.join("library/Cargo.lock").exists() {
        bail!("Debian's rust-src {version} has no {}: {advice}", source.display());
    }
    Ok(source)
}
