//! The names below a disk scheme's root: `1` is a disk, `1p0` its first partition.

use std::fmt;

use crate::device::DiskId;

/// Longest path that can name anything here.
pub(super) const MAX_PATH: usize = 64;
const INSPECT: &str = "inspect";

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// The list of all disks and partitions.
    Root,
    /// A whole disk.
    Disk(DiskId),
    /// A partition of a disk, counted from 0 without gaps.
    Partition(DiskId, u32),
    /// The driver's report on itself. Not listed: whoever opens all that is listed is looking for disks.
    Inspect,
}

impl Node {
    /// What `path` names, if anything can have that name. Slashes around it do not count.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let path = path.trim_matches('/');
        if path.is_empty() {
            return Some(Node::Root);
        }
        if path == INSPECT {
            return Some(Node::Inspect);
        }
        match path.split_once('p') {
            Some((disk, partition)) => Some(Node::Partition(DiskId(number(disk)?), number(partition)?)),
            None => Some(Node::Disk(DiskId(number(path)?))),
        }
    }
}

/// Digits only: `parse` would take a sign.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Root => Ok(()),
            Node::Disk(disk) => write!(f, "{disk}"),
            Node::Partition(disk, partition) => write!(f, "{disk}p{partition}"),
            Node::Inspect => f.write_str(INSPECT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_upstream() {
        let disk = DiskId(12);
        for (path, node) in [
            ("", Some(Node::Root)),
            ("/", Some(Node::Root)),
            ("12", Some(Node::Disk(disk))),
            ("/12/", Some(Node::Disk(disk))),
            ("12p3", Some(Node::Partition(disk, 3))),
            ("inspect", Some(Node::Inspect)),
            ("p", None),
            ("p0", None),
            ("12p", None),
            ("12p0p0", None),
            ("+12", None),
            ("12p-0", None),
            ("1 2", None),
            ("12/0", None),
            ("4294967296", None),
            ("..", None),
        ] {
            assert_eq!(Node::parse(path), node, "{path:?}");
        }
        assert_eq!(Node::Partition(disk, 3).to_string(), "12p3");
        assert_eq!(Node::Disk(disk).to_string(), "12");
    }
}
