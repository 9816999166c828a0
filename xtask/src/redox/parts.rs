//! What the user's Redox build gives.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;

use crate::process::find_program;

/// What is taken from a Redox that the user built. Nothing of it is part of this project.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Redox build")]
pub(super) struct Parts {
    /// Linker for x86_64-unknown-redox that knows its C library, as x86_64-unknown-redox-gcc
    #[arg(long, value_name = "PROGRAM", env = "RB_REDOX_LINKER")]
    pub(super) linker: Option<PathBuf>,
    /// Directory with relibc's libc.a and crt0.o, for linking with this machine's cc instead of --linker
    #[arg(long, value_name = "DIR", env = "RB_REDOX_SYSROOT")]
    pub(super) sysroot: Option<PathBuf>,
    /// The kernel
    #[arg(id = "redox_kernel", long = "redox-kernel", value_name = "FILE", env = "RB_REDOX_KERNEL")]
    pub(super) kernel: Option<PathBuf>,
    /// The BIOS bootloader, as bootloader.bios or bootloader.bin
    #[arg(long, value_name = "FILE", env = "RB_REDOX_BOOTLOADER")]
    pub(super) bootloader: Option<PathBuf>,
    /// What base installs on the root file system, with usr/bin and usr/lib/init.d
    #[arg(long, value_name = "DIR", env = "RB_REDOX_BASE")]
    pub(super) base: Option<PathBuf>,
    /// The initfs with upstream's drivers [default: usr/lib/boot/initfs of --base]
    #[arg(long, value_name = "FILE", env = "RB_REDOX_INITFS")]
    pub(super) initfs: Option<PathBuf>,
    /// RedoxFS's redoxfs-ar, of the version that the build has [default: the one in PATH]
    #[arg(long, value_name = "PROGRAM", env = "RB_REDOXFS_AR")]
    pub(super) redoxfs_ar: Option<PathBuf>,
    /// Take our programs from this directory instead of building them
    #[arg(long, value_name = "DIR")]
    pub(super) programs: Option<PathBuf>,
}

/// What an image is made of.
#[derive(Debug, Clone)]
pub(super) struct System {
    pub(super) kernel: PathBuf,
    pub(super) bootloader: PathBuf,
    pub(super) base: PathBuf,
    pub(super) initfs: PathBuf,
    pub(super) redoxfs_ar: PathBuf,
}

impl Parts {
    /// Whether something can be linked, or need not be; otherwise what to give.
    pub(super) fn missing_linker(&self) -> Option<String> {
        if self.programs.is_some() || self.linker.is_some() || self.sysroot.is_some() {
            return None;
        }
        let compiler = "x86_64-unknown-redox-gcc";
        Some(format!(
            "no linker for Redox: give --linker PROGRAM (RB_REDOX_LINKER), the {compiler} of your Redox toolchain, or \
             --sysroot DIR (RB_REDOX_SYSROOT), where your relibc is installed"
        ))
    }

    /// Everything that an image needs.
    ///
    /// # Errors
    /// A sentence for each part that is missing or is not there.
    pub(super) fn system(&self) -> Result<System> {
        let mut missing: Vec<String> = self.missing_linker().into_iter().collect();
        let mut file = |given: Option<&Path>, what: &str, how: &str, directory: bool| {
            let there = |path: &&Path| if directory { path.is_dir() } else { path.is_file() };
            match given {
                None => missing.push(format!("no {what}: give {how}")),
                Some(path) if !there(&path) => {
                    missing.push(format!("{} is not there: {how} is the {what}", path.display()));
                }
                Some(path) => return path.to_owned(),
            }
            PathBuf::new()
        };
        let kernel = file(self.kernel.as_deref(), "kernel", "--redox-kernel FILE (RB_REDOX_KERNEL)", false);
        let bootloader = file(
            self.bootloader.as_deref(),
            "bootloader for BIOS",
            "--bootloader FILE (RB_REDOX_BOOTLOADER)",
            false,
        );
        let base = file(
            self.base.as_deref(),
            "directory that base was installed to",
            "--base DIR (RB_REDOX_BASE)",
            true,
        );
        let own = self.base.as_ref().map(|base| base.join("usr/lib/boot/initfs"));
        let initfs = file(
            self.initfs.as_deref().or(own.as_deref()),
            "initfs with upstream's drivers",
            "--initfs FILE (RB_REDOX_INITFS)",
            false,
        );
        let found = find_program("redoxfs-ar");
        let redoxfs_ar = file(
            self.redoxfs_ar.as_deref().or(found.as_deref()),
            "redoxfs-ar, which makes the root file system",
            "--redoxfs-ar PROGRAM (RB_REDOXFS_AR)",
            false,
        );
        if !missing.is_empty() {
            bail!(
                "cargo xtask redox tries our daemons on a Redox that you built\n  {}",
                missing.join("\n  ")
            );
        }
        Ok(System { kernel, bootloader, base, initfs, redoxfs_ar })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_part_is_one_sentence() {
        let error = Parts::default().system().unwrap_err().to_string();
        let lines: Vec<&str> = error.lines().skip(1).collect();
        for (line, flag) in
            lines.iter().zip(["--linker", "--redox-kernel", "--bootloader", "--base", "--initfs"])
        {
            assert!(line.starts_with("  no ") && line.contains(flag) && line.contains("(RB_"), "{line}");
        }
        assert!(lines.len() >= 5, "{error}");
    }

    #[test]
    fn what_is_given_has_to_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let mut parts = Parts {
            linker: Some(file.clone()),
            kernel: Some(file.clone()),
            bootloader: Some(file.clone()),
            base: Some(dir.path().to_owned()),
            redoxfs_ar: Some(file.clone()),
            ..Parts::default()
        };
        let error = parts.system().unwrap_err().to_string();
        assert!(error.contains("usr/lib/boot/initfs is not there: --initfs FILE"), "{error}");
        assert_eq!(error.lines().count(), 2, "{error}");
        parts.initfs = Some(file.clone());
        assert_eq!(parts.system().unwrap().initfs, file);
        parts.base = Some(file);
        assert!(parts.system().is_err(), "a file is no directory");
    }
}
