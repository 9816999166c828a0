//! Names, sizes and paths of nodes.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Seek, SeekFrom};

use anyhow::{Context, Result};
use redox_guest::console::Console;
use redox_guest::system;

use super::same;
use crate::Subject;

pub(crate) fn run(console: &Console, subject: &Subject) -> bool {
    console.own("the scheme lists its disks and partitions", || listing(subject))
        & console.own("sizes are those of disk and partitions", || sizes(subject))
        & console.own("a descriptor tells its path", || paths(subject))
}

fn listing(subject: &Subject) -> Result<String> {
    let path = subject.disk().path("");
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(&path).with_context(|| format!("list {}", path.display()))? {
        let entry = entry.with_context(|| format!("list {}", path.display()))?;
        names.insert(entry.file_name().to_string_lossy().into_owned());
    }
    let expected = expected(subject).map(|(node, _)| node);
    same("names", names, BTreeSet::from(expected.clone()))?;
    Ok(expected.join(" "))
}

/// The disk, and two partitions that share what is behind the gaps.
fn expected(subject: &Subject) -> [(String, u64); 3] {
    let disk = subject.disk();
    let partition = subject.bytes / 2 - subject.gap;
    [(disk.node.clone(), subject.bytes), (disk.partition(0), partition), (disk.partition(1), partition)]
}

fn sizes(subject: &Subject) -> Result<String> {
    for (node, size) in expected(subject) {
        let mut file = subject.disk().open(&node)?;
        let data = file.metadata().with_context(|| format!("fstat of {node}"))?;
        same(&format!("fstat's size of {node}"), data.len(), size)?;
        let end = file.seek(SeekFrom::End(0)).with_context(|| format!("seek to the end of {node}"))?;
        same(&format!("end of {node}"), end, size)?;
    }
    Ok(format!("{:?}", expected(subject).map(|(_, size)| size)))
}

fn paths(subject: &Subject) -> Result<String> {
    let mut seen = Vec::new();
    for (node, _) in expected(subject) {
        let file = subject.disk().open(&node)?;
        let path = system::path(&file).with_context(|| format!("fpath of {node}"))?;
        same("fpath", path.clone(), format!("{}:{node}", subject.scheme))?;
        seen.push(path);
    }
    Ok(seen.join(" "))
}
