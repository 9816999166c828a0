//! What the system does with a function right now that must not be taken from under it.
//!
//! A disk is in use when it, one of its partitions, or anything stacked on them (device mapper, RAID, loop, Btrfs) is
//! mounted, is swapped to, or is held by a driver. A network function is in use when one of its interfaces is up.

use std::{
    collections::BTreeSet,
    fmt, fs,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use crate::{
    pci::Function,
    roots::{Roots, names, read_value},
};

/// `IFF_UP` of netdevice(7).
const IFF_UP: u32 = 1;

/// Why a function cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    /// A file system on it is mounted.
    Mounted {
        /// The block device.
        disk: String,
        /// The mount point.
        at: String,
    },
    /// The system swaps to it.
    Swap {
        /// The block device.
        disk: String,
    },
    /// Another driver or program has it for itself.
    Held {
        /// The block device.
        disk: String,
        /// Who holds it.
        by: String,
    },
    /// A network interface is up.
    NetworkUp {
        /// The interface.
        interface: String,
    },
    /// It has virtual functions, which would disappear with its driver.
    VirtualFunctions {
        /// How many.
        count: u32,
    },
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounted { disk, at } => write!(f, "{disk} is mounted at {at}"),
            Self::Swap { disk } => write!(f, "the system swaps to {disk}"),
            Self::Held { disk, by } => write!(f, "{disk} is in use by {by}"),
            Self::NetworkUp { interface } => write!(f, "network interface {interface} is up"),
            Self::VirtualFunctions { count } => write!(f, "{count} virtual functions depend on it"),
        }
    }
}

/// What the system does with `function`, if anything.
pub fn of(function: &Function, roots: &Roots) -> Option<Use> {
    let disks = Disks::of(function, roots);
    mounted(&disks, roots)
        .or_else(|| swapped(&disks, roots))
        .or_else(|| held(&disks, roots))
        .or_else(|| network_up(function, roots))
        .or_else(|| virtual_functions(function))
}

/// The block devices on a function.
struct Disks {
    /// On the function itself: disks and partitions.
    own: BTreeSet<String>,
    /// Those and everything stacked on them.
    all: BTreeSet<String>,
}

impl Disks {
    fn of(function: &Function, roots: &Roots) -> Self {
        let mut below = vec![function.path.clone()];
        below.extend(nvme_subsystems(function, roots));
        let block = roots.sys.join("class/block");
        let places: Vec<(String, PathBuf)> = names(&block)
            .into_iter()
            .filter_map(|name| {
                let place = fs::canonicalize(block.join(&name)).ok()?;
                Some((name, place))
            })
            .collect();
        let own: BTreeSet<String> = places
            .iter()
            .filter(|(_, place)| below.iter().any(|root| place.starts_with(root)))
            .map(|(name, _)| name.clone())
            .collect();
        let mut all = own.clone();
        // Each round adds at least one device or is the last.
        loop {
            let stacked: Vec<String> = places
                .iter()
                .filter(|(name, place)| !all.contains(name) && stands_on(place, &all))
                .map(|(name, _)| name.clone())
                .collect();
            if stacked.is_empty() {
                return Self { own, all };
            }
            all.extend(stacked);
        }
    }
}

/// With native multipath, the disk of an NVMe controller is not below the function but below its subsystem.
fn nvme_subsystems(function: &Function, roots: &Roots) -> Vec<PathBuf> {
    let class = roots.sys.join("class/nvme-subsystem");
    let subsystems = names(&class).into_iter().filter_map(|name| fs::canonicalize(class.join(name)).ok());
    let ours = |subsystem: &PathBuf| {
        names(subsystem).iter().any(|name| {
            fs::canonicalize(subsystem.join(name)).is_ok_and(|member| member.starts_with(&function.path))
        })
    };
    subsystems.filter(ours).collect()
}

/// Whether the block device at `place` is a partition of, is built from, or is a loop over one of `disks`.
fn stands_on(place: &Path, disks: &BTreeSet<String>) -> bool {
    if place.join("partition").exists() {
        let parent = place.parent().and_then(Path::file_name).map(|name| name.to_string_lossy());
        return parent.is_some_and(|parent| disks.contains(&*parent));
    }
    if let Ok(backing) = read_value(&place.join("loop/backing_file"))
        && let Some(name) = Path::new(&backing).file_name()
        && disks.contains(&*name.to_string_lossy())
    {
        return true;
    }
    names(&place.join("slaves")).iter().any(|slave| disks.contains(slave))
}

fn mounted(disks: &Disks, roots: &Roots) -> Option<Use> {
    let block = roots.sys.join("class/block");
    let numbers: Vec<(String, &String)> = disks
        .all
        .iter()
        .filter_map(|disk| Some((read_value(&block.join(disk).join("dev")).ok()?, disk)))
        .collect();
    for line in fs::read_to_string(roots.proc.join("self/mountinfo")).unwrap_or_default().lines() {
        let Some(mount) = Mount::parse(line) else { continue };
        // File systems over several disks have a number of their own, but name a device as their source.
        let by_number = numbers.iter().find(|(number, _)| *number == mount.number).map(|(_, disk)| *disk);
        if let Some(disk) = by_number.or_else(|| named(&mount.source, disks, roots)) {
            return Some(Use::Mounted { disk: disk.clone(), at: mount.point });
        }
    }
    // Of a Btrfs over several disks, mountinfo names one; this directory has those that are mounted, with all of them.
    let btrfs = roots.sys.join("fs/btrfs");
    names(&btrfs).iter().find_map(|uuid| {
        let members = names(&btrfs.join(uuid).join("devices"));
        let disk = members.into_iter().find(|member| disks.all.contains(member))?;
        Some(Use::Mounted { disk, at: format!("part of the Btrfs {uuid}") })
    })
}

fn swapped(disks: &Disks, roots: &Roots) -> Option<Use> {
    let swaps = fs::read_to_string(roots.proc.join("swaps")).unwrap_or_default();
    let mut areas = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    areas.find_map(|area| Some(Use::Swap { disk: named(&unescape(area), disks, roots)?.clone() }))
}

/// The one of `disks` that `path` leads to, by its name or by a symbolic link such as those of `/dev/mapper`.
fn named<'a>(path: &str, disks: &'a Disks, roots: &Roots) -> Option<&'a String> {
    let inside = Path::new(path).strip_prefix("/dev").ok()?;
    let path = roots.dev.join(inside);
    let path = fs::canonicalize(&path).unwrap_or(path);
    disks.all.get(&*path.file_name()?.to_string_lossy())
}

fn held(disks: &Disks, roots: &Roots) -> Option<Use> {
    let block = roots.sys.join("class/block");
    for disk in &disks.own {
        if let Some(holder) = names(&block.join(disk).join("holders")).into_iter().next() {
            return Some(Use::Held { disk: disk.clone(), by: holder });
        }
    }
    let stacked = disks.all.difference(&disks.own).next();
    if let (Some(by), Some(disk)) = (stacked, disks.own.first()) {
        return Some(Use::Held { disk: disk.clone(), by: by.clone() });
    }
    // Mounts in other name spaces, and pools of file systems that the kernel does not know as such (ZFS), show in this
    // only: who opens a disk that somebody has claimed for himself is told so (open(2), O_EXCL on block devices).
    let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let busy = disks.own.iter().find(|disk| {
        rustix::fs::open(roots.dev.join(disk), flags, Mode::empty()).is_err_and(|error| error == Errno::BUSY)
    })?;
    Some(Use::Held { disk: busy.clone(), by: "a program or another name space".to_owned() })
}

fn network_up(function: &Function, roots: &Roots) -> Option<Use> {
    let class = roots.sys.join("class/net");
    names(&class).into_iter().find_map(|interface| {
        let place = fs::canonicalize(class.join(&interface)).ok()?;
        let flags = read_value(&place.join("flags")).ok()?;
        let flags = u32::from_str_radix(flags.strip_prefix("0x").unwrap_or(&flags), 16).ok()?;
        (place.starts_with(&function.path) && flags & IFF_UP != 0).then_some(Use::NetworkUp { interface })
    })
}

fn virtual_functions(function: &Function) -> Option<Use> {
    let count = read_value(&function.path.join("sriov_numvfs")).ok()?.parse().ok()?;
    (count > 0).then_some(Use::VirtualFunctions { count })
}

/// What matters in a line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
struct Mount {
    /// Major and minor number of the file system, `major:minor`.
    number: String,
    point: String,
    source: String,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ');
        let number = fields.nth(2)?.to_owned();
        let point = unescape(fields.nth(1)?);
        // Optional fields end with a lone dash; type and source follow.
        let source = fields.skip_while(|field| *field != "-").nth(2).map(unescape).unwrap_or_default();
        Some(Self { number, point, source })
    }
}

/// Undoes the kernel's `\040` for white space and backslashes in paths.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|octal| u8::from_str_radix(octal, 8).ok()) {
            Some(byte) if byte.is_ascii() => {
                plain.push(char::from(byte));
                plain.push_str(part.get(3..).unwrap_or_default());
            }
            _ => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mountinfo_is_read_with_and_without_optional_fields() {
        let mount =
            Mount::parse("36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw").unwrap();
        assert_eq!(
            (mount.number.as_str(), mount.point.as_str(), mount.source.as_str()),
            ("98:0", "/mnt 2", "/dev/root")
        );
        let mount = Mount::parse("36 35 0:40 / /x rw - btrfs /dev/nvme0n1p1 rw").unwrap();
        assert_eq!(mount.source, "/dev/nvme0n1p1");
        assert!(Mount::parse("36 35").is_none());
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape("a\\040b\\134c\\012"), "a b\\c\n");
        assert_eq!(unescape("a\\04"), "a\\04");
        assert_eq!(unescape("ü\\9ü\\"), "ü\\9ü\\");
    }

    proptest! {
        #[test]
        fn any_line_is_answered(line in "\\PC{0,80}") {
            let _ = Mount::parse(&line);
            let _ = unescape(&line);
        }

        #[test]
        fn what_the_kernel_escapes_comes_back(text in "[a-z \\\\\n\t]{0,20}") {
            let escaped: String = text
                .chars()
                .map(|c| if " \\\n\t".contains(c) { format!("\\{:03o}", u32::from(c)) } else { c.to_string() })
                .collect();
            prop_assert_eq!(unescape(&escaped), text);
        }
    }
}
