//! Wrong paths, offsets and lengths get the right errors.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use redox_guest::console::Console;
use redox_guest::disk::DiskScheme;
use syscall::error::{EINVAL, ENOENT, ENOLCK, ENOSPC};

use super::{refused, same};
use crate::Subject;

const BLOCK: usize = 512;

pub(crate) fn run(console: &Console, subject: &Subject) -> bool {
    let disk = subject.disk();
    console.own("paths that name nothing are refused", || paths(&disk))
        & console.own("a disk and its partitions are opened once", || exclusive(&disk))
        & console.own("what is not whole blocks is refused", || unaligned(&disk))
        & console.own("a disk ends where it ends", || end(&disk, subject.bytes))
}

fn paths(disk: &DiskScheme) -> Result<String> {
    let node = &disk.node;
    let of_disk = ["p2", "p99", "p", "x", "p0p0"].map(|end| format!("{node}{end}"));
    let others = ["0", "1", "2", "99", "2p0", "x", "p0", "-1", "4294967297"].map(str::to_owned);
    let names: Vec<String> = of_disk.into_iter().chain(others).filter(|name| name != node).collect();
    for name in &names {
        refused(name, disk.try_open(name), ENOENT)?;
    }
    Ok(format!("{} names", names.len()))
}

fn exclusive(disk: &DiskScheme) -> Result<String> {
    let [one, other] = [0, 1].map(|number| disk.partition(number));
    let whole = disk.open_whole()?;
    for node in [&disk.node, &one, &other] {
        refused(node, disk.try_open(node), ENOLCK)?;
    }
    drop(whole);
    let first = disk.open(&one)?;
    let second = disk.open(&other)?;
    refused("the disk beside its partitions", disk.try_open(&disk.node), ENOLCK)?;
    refused("a partition again", disk.try_open(&other), ENOLCK)?;
    drop((first, second));
    drop(disk.open_whole()?);
    Ok("and again after they were closed".to_owned())
}

fn unaligned(disk: &DiskScheme) -> Result<String> {
    let node = disk.open(&disk.partition(1))?;
    let mut buffer = vec![0; 2 * BLOCK];
    let cases = [(1, 0), (BLOCK - 1, 0), (BLOCK + 1, 0), (BLOCK, 1), (BLOCK, BLOCK as u64 / 2), (100, 100)];
    for (length, offset) in cases {
        let data = buffer.get_mut(..length).context("the buffer is larger")?;
        refused(&format!("read {length} at {offset}"), node.read_at(data, offset), EINVAL)?;
        refused(&format!("write {length} at {offset}"), node.write_at(data, offset), EINVAL)?;
    }
    Ok(format!("{} reads and writes", 2 * cases.len()))
}

fn end(disk: &DiskScheme, bytes: u64) -> Result<String> {
    let node: File = disk.open_whole()?;
    let mut buffer = vec![0; 4 * BLOCK];
    let block = BLOCK as u64;
    same("bytes read at the end", node.read_at(&mut buffer, bytes).context("read at the end")?, 0)?;
    same("bytes read beyond it", node.read_at(&mut buffer, bytes + 8 * block).context("read beyond")?, 0)?;
    let across = node.read_at(&mut buffer, bytes - 3 * block).context("read across the end")?;
    same("bytes read across it", across, 3 * BLOCK)?;
    refused("write at the end", node.write_at(&buffer, bytes), ENOSPC)?;
    refused("write beyond it", node.write_at(&buffer, bytes + 8 * block), ENOSPC)?;
    Ok(format!("after {bytes} bytes"))
}
