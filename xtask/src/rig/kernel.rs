//! The guest's kernel: Debian's generic 7.x with all of its modules, unpacked ahead of time.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{Releases, tree};
use crate::debian::{self, Wanted};
use crate::process::output;
use crate::progress::Step;

/// The newest package of this series is taken from the backports of [`RELEASE`]. It has what the drivers need: VFIO, ublk,
/// virtio-iommu, both vendors' IOMMU drivers.
const SERIES: &str = "7";

/// The Debian release whose backports have the kernel.
const RELEASE: &str = "trixie";

/// How many modules one call of `xz` takes.
const BATCH: usize = 64;

/// A kernel with its modules.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The bootable image.
    pub image: PathBuf,
    /// The directory of one version's modules, with `modules.dep`.
    pub modules: PathBuf,
    /// The version, as `uname -r` says it.
    pub version: String,
}

impl Kernel {
    /// Takes a kernel of the user's.
    ///
    /// # Errors
    /// When a part of it is missing.
    pub fn given(image: &Path, modules: &Path) -> Result<Self> {
        if !image.is_file() {
            bail!("the kernel {} is not a file", image.display());
        }
        if !modules.join("modules.dep").is_file() {
            bail!("{} has no modules.dep: give /lib/modules/VERSION, or run depmod", modules.display());
        }
        let modules = modules.canonicalize()?;
        let version = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { image: image.canonicalize()?, modules, version })
    }

    pub(super) fn obtain(releases: &Releases, dir: &Path, root: &Path) -> Result<Self> {
        let tree = dir.join(format!("kernel-{SERIES}"));
        if !tree.exists() {
            let staging = dir.join("kernel-staging");
            if staging.exists() {
                std::fs::remove_dir_all(&staging)?;
            }
            let apt = releases.open(RELEASE)?;
            let pattern =
                format!("^linux-image-{}[.][0-9.]*[+]deb13[.0-9]*-amd64$", SERIES.replace('.', "[.]"));
            let mut names = apt.names(&pattern)?;
            names.sort_by_key(|name| numbers(name));
            let Some(name) = names.pop() else {
                bail!(
                    "the mirror has no kernel {SERIES} in {RELEASE}-backports: pass --kernel and --modules"
                );
            };
            let assumed = ["kmod", "linux-base", "initramfs-tools", "linux-initramfs-tool", "dracut"];
            let wanted = Wanted { packages: &[&name], assumed: &assumed, backported: &[] };
            debian::install(&apt, &format!("guest kernel {name}"), wanted, &staging)?;
            let version = only_entry(&staging.join("lib/modules"))?;
            decompress(&staging.join("lib/modules").join(&version), root)?;
            let step = Step::begin("guest kernel: module dependencies");
            let mut depmod = tree::command_as(root, "bin/kmod", "depmod");
            output(depmod.arg("-b").arg(&staging).arg(&version))?;
            step.done(&version);
            std::fs::rename(&staging, &tree)?;
        }
        let version = only_entry(&tree.join("lib/modules"))?;
        let modules = tree.join("lib/modules").join(&version);
        // Debian's newer kernels have the image beside their modules.
        Self::given(&modules.join("vmlinuz"), &modules)
    }

    /// The files of modules and of all that they depend on, in the order in which to load them.
    /// What is built into the kernel is left out.
    ///
    /// # Errors
    /// When a module is neither there nor built in.
    pub fn closure(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        let read = |name: &str| -> Result<String> {
            let path = self.modules.join(name);
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let dependencies = Dependencies::parse(&read("modules.dep")?);
        let builtin = read("modules.builtin").unwrap_or_default();
        let builtin: Vec<String> = builtin.lines().map(module_name).collect();
        let mut files = Vec::new();
        for name in names {
            match dependencies.closure(name) {
                Some(found) => {
                    for file in found {
                        let path = self.modules.join(file);
                        if !files.contains(&path) {
                            files.push(path);
                        }
                    }
                }
                None if builtin.iter().any(|built| built == name) => {}
                None => bail!("the kernel {} has no module {name}", self.version),
            }
        }
        Ok(files)
    }
}

/// `modules.dep`: each module's file with the files that it depends on.
struct Dependencies {
    by_name: BTreeMap<String, Vec<String>>,
}

impl Dependencies {
    fn parse(text: &str) -> Self {
        let by_name = text
            .lines()
            .filter_map(|line| {
                let (file, needs) = line.split_once(':')?;
                // The nearest dependency comes first: loading goes the other way.
                let mut order: Vec<String> = needs.split_whitespace().map(str::to_owned).collect();
                order.reverse();
                order.push(file.to_owned());
                Some((module_name(file), order))
            })
            .collect();
        Self { by_name }
    }

    fn closure(&self, name: &str) -> Option<&[String]> {
        self.by_name.get(&name.replace('-', "_")).map(Vec::as_slice)
    }
}

/// The module's name from its file: without directory and suffixes, with underscores.
fn module_name(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    base.split(".ko").next().unwrap_or(base).replace('-', "_")
}

/// The numbers in a package name, which order versions better than its characters do.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

fn only_entry(dir: &Path) -> Result<String> {
    let mut names = std::fs::read_dir(dir)
        .with_context(|| format!("cannot read {}", dir.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.file_name()));
    let name = names.next().with_context(|| format!("{} is empty", dir.display()))?;
    Ok(name.to_string_lossy().into_owned())
}

/// Decompresses the modules here, where it costs seconds; under emulation it would cost minutes.
fn decompress(modules: &Path, root: &Path) -> Result<()> {
    let mut step = Step::begin("guest kernel: decompressing modules");
    let mut files = Vec::new();
    collect(modules, &mut files)?;
    let total = files.len();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for (index, group) in files.chunks(BATCH.saturating_mul(threads)).enumerate() {
        step.tick(&format!("{} of {total}", index * BATCH * threads));
        let children = group
            .chunks(BATCH)
            .map(|batch| {
                let mut xz = tree::command(root, "usr/bin/xz");
                xz.args(["-d", "--"]).args(batch);
                xz.spawn().context("cannot start xz of the guest userland")
            })
            .collect::<Result<Vec<_>>>()?;
        for mut child in children {
            let status = child.wait().context("cannot wait for xz")?;
            if !status.success() {
                bail!("xz could not decompress a kernel module ({status})");
            }
        }
    }
    step.done(&format!("{total} modules"));
    Ok(())
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else if entry.path().extension() == Some(OsStr::new("xz")) {
            files.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn dependencies_come_before_their_users() {
        let text = "kernel/drivers/nvme/host/nvme.ko: kernel/drivers/nvme/host/nvme-core.ko kernel/lib/crc.ko\n\
                    kernel/drivers/nvme/host/nvme-core.ko: kernel/lib/crc.ko\nkernel/lib/crc.ko:\n";
        let dependencies = Dependencies::parse(text);
        let order: Vec<String> =
            dependencies.closure("nvme").unwrap().iter().map(|file| module_name(file)).collect();
        assert_eq!(order, ["crc", "nvme_core", "nvme"]);
        assert_eq!(dependencies.closure("nvme-core").unwrap().len(), 2);
        assert!(dependencies.closure("absent").is_none());
    }

    #[test]
    fn the_newest_kernel_is_not_the_last_by_alphabet() {
        let mut names = ["linux-image-6.12.9+deb12-amd64", "linux-image-6.12.10+deb12-amd64"];
        names.sort_by_key(|name| numbers(name));
        assert_eq!(names[1], "linux-image-6.12.10+deb12-amd64");
    }

    #[test]
    fn a_missing_module_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("modules.dep"), "a/x-y.ko.xz:\n").unwrap();
        std::fs::write(dir.path().join("modules.builtin"), "kernel/virtio.ko\n").unwrap();
        let kernel =
            Kernel { image: PathBuf::new(), modules: dir.path().to_owned(), version: "1".to_owned() };
        assert_eq!(kernel.closure(&["virtio", "x_y"]).unwrap(), [dir.path().join("a/x-y.ko.xz")]);
        assert!(kernel.closure(&["absent"]).unwrap_err().to_string().contains("absent"));
    }
}
