//! Disk images: a root file system with our programs, on a disk that BIOS boots from.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::initfs::Initfs;
use super::parts::System;
use super::programs::Program;
use crate::process::output;
use crate::workspace;

/// Room beside what is on the root file system.
const FREE: u64 = 128 << 20;

/// Where init finds what it starts on the root file system, in the order of names.
const SERVICES: &str = "usr/lib/init.d";

/// Where pcid-spawner finds drivers, and what they are for. Upstream's have the same names as ours.
const DRIVERS: &str = "usr/lib/drivers";
const CONFIGS: &str = "usr/lib/pcid.d";

/// Whose storage driver is in the initfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Driver {
    /// The one that the user's initfs has.
    Upstream,
    /// Ours: what it is called, and the built program.
    Ours(Program, PathBuf),
}

/// A program that init starts.
#[derive(Debug, Clone)]
pub(super) struct Service<'a> {
    pub(super) program: &'a Path,
    pub(super) arguments: Vec<String>,
    /// Whether it is a daemon, whose readiness init waits for.
    pub(super) daemon: bool,
}

/// What an image is to have.
#[derive(Debug, Clone)]
pub(super) struct Recipe<'a> {
    pub(super) system: &'a System,
    pub(super) driver: Driver,
    /// Arguments of our driver.
    pub(super) arguments: &'static [&'static str],
    /// A driver of ours that is started from the root file system, in place of upstream's.
    pub(super) later: Option<(Program, &'a Path)>,
    /// What init starts after everything else, in this order.
    pub(super) services: Vec<Service<'a>>,
}

/// Puts our driver and its `pcid.d` entry, with more `arguments`, into an initfs, and says what was done.
///
/// # Errors
/// When the initfs cannot be read, or the driver does not go in.
pub(super) fn install(
    initfs: &mut Initfs,
    daemon: Program,
    program: &Path,
    arguments: &[&str],
) -> Result<String> {
    let config = pcid_entry(daemon)?;
    let data = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let length = data.len();
    let config = with_arguments(&config, arguments)?;
    let done = initfs.install(daemon.name, data, &config)?;
    let before = match done.replaced {
        Some(bytes) => format!("in place of one of {bytes} bytes"),
        None => "where there was none".to_owned(),
    };
    Ok(format!("{}: {length} bytes, {before}; {}", done.program, done.config))
}

/// The `pcid.d` file of a daemon of ours.
fn pcid_entry(daemon: Program) -> Result<String> {
    let file = workspace::root()?.join(format!("recipes/pcid.d/{}.toml", daemon.name));
    fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
}

/// A `pcid.d` file whose commands have more arguments.
fn with_arguments(config: &str, arguments: &[&str]) -> Result<String> {
    let mut document: toml::Table = toml::from_str(config)?;
    for driver in document.get_mut("drivers").and_then(toml::Value::as_array_mut).into_iter().flatten() {
        if let Some(command) = driver.get_mut("command").and_then(toml::Value::as_array_mut) {
            command.extend(arguments.iter().map(|argument| toml::Value::from(*argument)));
        }
    }
    Ok(toml::to_string(&document)?)
}

/// Reads an initfs file.
///
/// # Errors
/// When it is none.
pub(super) fn read_initfs(path: &Path) -> Result<Initfs> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Initfs::read(&bytes).with_context(|| path.display().to_string())
}

impl Recipe<'_> {
    /// Makes the image at `path`, by way of a tree in `work`.
    ///
    /// # Errors
    /// When something cannot be copied or made.
    pub(super) fn make(&self, work: &Path, path: &Path) -> Result<()> {
        let tree = work.join("root");
        if tree.exists() {
            fs::remove_dir_all(&tree).with_context(|| format!("cannot empty {}", tree.display()))?;
        }
        let mut size = copy_tree(&self.system.base, &tree)?;
        size += self.put(&tree, "usr/lib/boot/kernel", &fs_read(&self.system.kernel)?, 0o644)?;
        let mut initfs = read_initfs(&self.system.initfs)?;
        if let Driver::Ours(daemon, program) = &self.driver {
            install(&mut initfs, *daemon, program, self.arguments)?;
        }
        size += self.put(&tree, "usr/lib/boot/initfs", &initfs.write()?, 0o644)?;
        if let Some((daemon, program)) = self.later {
            let Program { name, .. } = daemon;
            size += self.put(&tree, &format!("{DRIVERS}/{name}"), &fs_read(program)?, 0o755)?;
            let config = format!("{CONFIGS}/{name}.toml");
            size += self.put(&tree, &config, pcid_entry(daemon)?.as_bytes(), 0o644)?;
        }
        for (index, service) in self.services.iter().enumerate() {
            let name = service.program.file_name().context("a program without a name")?.to_string_lossy();
            size += self.put(&tree, &format!("usr/bin/{name}"), &fs_read(service.program)?, 0o755)?;
            let file = format!("{SERVICES}/99_redbear-{index}-{name}.service");
            self.put(&tree, &file, unit(&name, service)?.as_bytes(), 0o644)?;
        }
        let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        let length = (size + FREE).next_multiple_of(1 << 20);
        file.set_len(length).with_context(|| format!("cannot size {}", path.display()))?;
        let mut command = Command::new(&self.system.redoxfs_ar);
        command.arg(path).arg(&tree).arg(&self.system.bootloader);
        let said = output(&mut command)?;
        if !said.contains("created filesystem") {
            bail!("{} says {}", self.system.redoxfs_ar.display(), said.trim());
        }
        // It cuts off what it did not need, and the system needs room.
        file.set_len(length).with_context(|| format!("cannot size {}", path.display()))
    }

    /// Writes a file of the tree, and returns its size.
    fn put(&self, tree: &Path, path: &str, data: &[u8], mode: u32) -> Result<u64> {
        let path = tree.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        }
        fs::write(&path, data).with_context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        Ok(data.len() as u64)
    }
}

fn fs_read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Copies a tree with its links and modes, and returns how many bytes its files have.
fn copy_tree(from: &Path, to: &Path) -> Result<u64> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    let mut bytes = 0;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (source, copy) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            bytes += copy_tree(&source, &copy)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &copy)
                .with_context(|| format!("cannot create {}", copy.display()))?;
        } else {
            bytes += fs::copy(&source, &copy).with_context(|| format!("cannot copy {}", source.display()))?;
        }
    }
    Ok(bytes)
}

/// The unit that starts a program.
fn unit(program: &str, service: &Service<'_>) -> Result<String> {
    #[derive(Serialize)]
    struct Unit {
        unit: Info,
        service: Start,
    }
    #[derive(Serialize)]
    struct Info {
        description: &'static str,
    }
    #[derive(Serialize)]
    struct Start {
        cmd: String,
        args: Vec<String>,
        #[serde(rename = "type")]
        kind: &'static str,
        envs: BTreeMap<&'static str, &'static str>,
    }
    let unit = Unit {
        unit: Info { description: "Red Bear drivers: what the rig runs" },
        service: Start {
            cmd: format!("/usr/bin/{program}"),
            args: service.arguments.clone(),
            kind: if service.daemon { "notify" } else { "oneshot_async" },
            // init asks for backtraces, and a program whose unwinder finds no tables aborts instead of telling its error.
            envs: BTreeMap::from([("RUST_BACKTRACE", "0")]),
        },
    };
    toml::to_string(&unit).context("cannot write a service")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_starts_the_program() {
        let service = Service {
            program: Path::new("x"),
            arguments: vec!["--kills".to_owned(), "3".to_owned()],
            daemon: false,
        };
        let text = unit("disk-check", &service).unwrap();
        let value: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(value["service"]["cmd"].as_str(), Some("/usr/bin/disk-check"));
        assert_eq!(value["service"]["type"].as_str(), Some("oneshot_async"));
        assert_eq!(value["service"]["args"].as_array().map(Vec::len), Some(2));
        let text = unit("null-disk", &Service { daemon: true, ..service }).unwrap();
        assert!(text.contains("type = \"notify\""), "{text}");
    }

    #[test]
    fn a_tree_is_copied_with_links_and_modes() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir_all(from.join("usr/bin")).unwrap();
        fs::write(from.join("usr/bin/x"), "123").unwrap();
        fs::set_permissions(from.join("usr/bin/x"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("usr/bin", from.join("bin")).unwrap();
        let to = dir.path().join("to");
        assert_eq!(copy_tree(&from, &to).unwrap(), 3);
        assert_eq!(fs::read_link(to.join("bin")).unwrap(), Path::new("usr/bin"));
        assert_eq!(fs::metadata(to.join("usr/bin/x")).unwrap().permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn an_image_has_kernel_initfs_and_service() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, data: &[u8]| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, data).unwrap();
            path
        };
        let initfs = Initfs { bootstrap: vec![1; 10], entry: 0x2000, root: Default::default() };
        // Stands for redoxfs-ar, which has no image of its own to write here.
        let tool =
            file("redoxfs-ar", b"#!/bin/sh\nls -R \"$2\" > \"$1\"\necho created filesystem on \"$1\"\n");
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        file("base/usr/bin/init", b"init");
        let system = System {
            kernel: file("kernel", b"kernel"),
            bootloader: file("bootloader", b"loader"),
            base: dir.path().join("base"),
            initfs: file("initfs", &initfs.write().unwrap()),
            redoxfs_ar: tool,
        };
        let program = file("disk-check", b"program");
        let recipe = Recipe {
            system: &system,
            driver: Driver::Ours(Program { package: "nvmed", name: "nvmed" }, file("nvmed", b"our driver")),
            arguments: &["--log-level", "off"],
            later: Some((Program { package: "e1000d", name: "e1000d" }, &program)),
            services: vec![Service { program: &program, arguments: vec!["raw".to_owned()], daemon: false }],
        };
        let image = dir.path().join("image");
        recipe.make(dir.path(), &image).unwrap();
        assert_eq!(fs::metadata(&image).unwrap().len(), 129 << 20, "there is room");
        let tree = dir.path().join("root");
        let read = read_initfs(&tree.join("usr/lib/boot/initfs")).unwrap();
        assert!(read.get("lib/drivers/nvmed").is_some() && read.get("lib/pcid.d/00-nvmed.toml").is_some());
        for path in [
            "usr/lib/boot/kernel",
            "usr/bin/init",
            "usr/bin/disk-check",
            "usr/lib/drivers/e1000d",
            "usr/lib/pcid.d/e1000d.toml",
            "usr/lib/init.d/99_redbear-0-disk-check.service",
        ] {
            assert!(tree.join(path).is_file(), "{path}");
        }
    }
}
