//! The guest's userland: Debian 12 packages in a tree that guests share over 9p.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Releases;
use crate::debian::{self, Wanted};

const PACKAGES: [&str; 24] = [
    "base-files",
    "bash",
    "busybox-static",
    "coreutils",
    "diffutils",
    "e2fsprogs",
    "ethtool",
    "fdisk",
    "findutils",
    "fio",
    "gawk",
    "gdisk",
    "grep",
    "iperf3",
    "iproute2",
    "iputils-ping",
    "kmod",
    "mount",
    "nvme-cli",
    "pciutils",
    "procps",
    "sed",
    "util-linux",
    "xz-utils",
];

/// Packages that only installation scripts need; nothing is installed here, only unpacked.
const ASSUMED: [&str; 14] = [
    "adduser",
    "debconf",
    "debianutils",
    "dpkg",
    "init-system-helpers",
    "login",
    "mawk",
    "media-types",
    "passwd",
    "perl",
    "perl-base",
    "python3",
    "sensible-utils",
    "usr-is-merged",
];

/// Directories that the guest mounts something on, and those that programs expect.
const DIRECTORIES: [&str; 11] =
    ["dev", "proc", "sys", "run", "tmp", "mnt", "root", "rig", "etc", "var/lib", "lib/modules"];

/// Obtains the userland tree.
///
/// # Errors
/// When its packages cannot be had.
pub(super) fn obtain(releases: &Releases, dir: &Path) -> Result<PathBuf> {
    let tree = dir.join("root");
    // A tree of an earlier version may lack what has been added to the list since.
    let list = std::fs::read_to_string(tree.with_extension("packages")).unwrap_or_default();
    let lacks = |package: &&str| !list.lines().any(|line| line.split(' ').next() == Some(package));
    if tree.exists() && PACKAGES.iter().any(lacks) {
        std::fs::remove_dir_all(&tree).with_context(|| format!("cannot remove {}", tree.display()))?;
    }
    if !tree.exists() {
        let apt = releases.open("bookworm")?;
        let wanted = Wanted { packages: &PACKAGES, assumed: &ASSUMED, backported: &[] };
        debian::install(&apt, "guest userland", wanted, &tree)?;
        for name in DIRECTORIES {
            let path = tree.join(name);
            std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        }
        // Links that installation scripts would make.
        for (name, program) in [("sh", "bash"), ("awk", "gawk")] {
            let link = tree.join("bin").join(name);
            if link.symlink_metadata().is_err() {
                std::os::unix::fs::symlink(program, &link)
                    .with_context(|| format!("cannot create {}", link.display()))?;
            }
        }
        std::fs::write(tree.join("etc/passwd"), "root:x:0:0:root:/root:/bin/bash\n")?;
        std::fs::write(tree.join("etc/group"), "root:x:0:\n")?;
    }
    check(&tree)
}

/// Checks that a tree has what the guest scripts call.
///
/// # Errors
/// When something is missing; the message names it.
pub(super) fn check(tree: &Path) -> Result<PathBuf> {
    let programs = [
        "bin/bash",
        "bin/awk",
        "bin/busybox",
        "usr/bin/fio",
        "usr/bin/iperf3",
        "sbin/mkfs.ext4",
        "sbin/fstrim",
        "usr/sbin/nvme",
    ];
    for program in programs {
        if !tree.join(program).exists() {
            bail!(
                "the guest userland {} has no {program}: remove it to have it made again, or \
                 install the program there",
                tree.display()
            );
        }
    }
    tree.canonicalize().with_context(|| format!("cannot resolve {}", tree.display()))
}
