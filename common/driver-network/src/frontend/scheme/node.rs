//! What can be opened.

use crate::settings::{Features, Link, Shape};

/// Longest path of a node in bytes.
pub(super) const MAX_PATH: usize = 16;

/// A node by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Frames,
    Mac,
    Mtu,
    Link,
    Stats,
    Offload,
}

const PATHS: [(&str, Node); 6] = [
    ("", Node::Frames),
    ("mac", Node::Mac),
    ("mtu", Node::Mtu),
    ("link", Node::Link),
    ("stats", Node::Stats),
    ("offload", Node::Offload),
];

impl Node {
    pub(super) fn parse(path: &str) -> Option<Node> {
        PATHS.into_iter().find(|(name, _)| *name == path).map(|(_, node)| node)
    }

    pub(super) fn path(self) -> &'static str {
        PATHS.into_iter().find(|(_, node)| *node == self).map_or("", |(name, _)| name)
    }
}

pub(super) fn mtu(shape: Shape) -> String {
    format!("{}\n", shape.mtu)
}

pub(super) fn link(link: Link) -> String {
    format!("{link}\n")
}

/// Each feature that the device has, and whether it is active.
pub(super) fn offload(possible: Features, active: Features) -> String {
    let line = |(name, feature): (&str, Features)| {
        let state = if active.contains(feature) { "on" } else { "off" };
        format!("{}: {state}\n", name.to_lowercase())
    };
    possible.iter_names().map(line).collect()
}
