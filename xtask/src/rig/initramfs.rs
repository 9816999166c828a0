//! The small first root: busybox, the modules that reach the shared root, and `init`.

use std::path::Path;

use anyhow::{Context, Result};

use super::Kernel;
use super::tree;
use crate::process::output;

/// Modules that `init` needs to reach the shares and the control port. The order is that of
/// loading.
const MODULES: [&str; 6] = ["virtio_pci", "virtio_console", "9p", "9pnet_virtio", "overlay", "virtio_rng"];

const INIT: &str = include_str!("../../guest/init.sh");

/// Directories of the first root.
const DIRECTORIES: [&str; 9] = ["bin", "modules", "proc", "sys", "dev", "lower", "upper", "newroot", "etc"];

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const DEVICE: u32 = 0o020_600;

/// Writes the initramfs for a kernel.
///
/// # Errors
/// When a module or busybox is missing.
pub(super) fn write(kernel: &Kernel, root: &Path, path: &Path) -> Result<()> {
    let mut archive = Archive::default();
    for name in DIRECTORIES {
        archive.entry(name, DIRECTORY, (0, 0), &[]);
    }
    archive.entry("dev/console", DEVICE, (5, 1), &[]);
    let busybox = root.join("bin/busybox");
    let busybox = std::fs::read(&busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
    archive.entry("bin/busybox", PROGRAM, (0, 0), &busybox);
    let mut order = String::new();
    for file in kernel.closure(&MODULES)? {
        let (name, bytes) = module(&file, root)?;
        archive.entry(&format!("modules/{name}"), PROGRAM, (0, 0), &bytes);
        order.push_str(&name);
        order.push('\n');
    }
    archive.entry("modules/order", PROGRAM, (0, 0), order.as_bytes());
    archive.entry("init", PROGRAM, (0, 0), INIT.as_bytes());
    std::fs::write(path, archive.finish()).with_context(|| format!("cannot write {}", path.display()))
}

/// A module's plain content. Debian's kernel cannot decompress modules by itself.
fn module(file: &Path, root: &Path) -> Result<(String, Vec<u8>)> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let bytes = if let Some(plain) = name.strip_suffix(".xz") {
        let mut xz = tree::command(root, "usr/bin/xz");
        let result = xz.arg("-dc").arg(file).output().context("cannot start xz")?;
        anyhow::ensure!(result.status.success(), "cannot decompress {}", file.display());
        return Ok((plain.to_owned(), result.stdout));
    } else if name.ends_with(".zst") {
        output(std::process::Command::new("zstd").arg("--version"))
            .context("zstd is needed for the modules of this kernel")?;
        let result = std::process::Command::new("zstd").arg("-dcq").arg(file).output()?;
        anyhow::ensure!(result.status.success(), "cannot decompress {}", file.display());
        return Ok((name.trim_end_matches(".zst").to_owned(), result.stdout));
    } else {
        std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?
    };
    Ok((name, bytes))
}

/// A cpio archive in the "newc" format (Linux: Documentation/driver-api/early-userspace/
/// buffer-format.rst).
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), data: &[u8]) {
        self.inode = self.inode.saturating_add(1);
        let length = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let fields = [
            self.inode,
            mode,
            0, // uid
            0, // gid
            1, // links
            0, // time
            length(data.len()),
            0, // device of the file
            0,
            device.0,
            device.1,
            length(name.len()).saturating_add(1),
            0, // checksum, unused in this format
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_sized() {
        let mut archive = Archive::default();
        archive.entry("init", PROGRAM, (0, 0), b"abcde");
        // 6 magic + 13 fields of 8 + "init\0" = 115, padded to 116; then 5 bytes, padded to 8.
        assert_eq!(archive.bytes.len(), 124);
        assert_eq!(archive.bytes.get(54..62), Some(&b"00000005"[..]));
        assert_eq!(archive.bytes.get(116..121), Some(&b"abcde"[..]));
        assert!(archive.finish().ends_with(b"TRAILER!!!\0\0\0\0"));
    }
}
