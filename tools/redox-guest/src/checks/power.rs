//! What was synced is there after a power cut.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use redox_guest::console::Console;
use redox_guest::pattern;

use super::CHUNK;
use crate::Subject;

/// The writing that is looked for.
const GENERATION: u64 = 77;
/// A file on the root file system.
const FILE: &str = "/disk-check.power";
/// Its length.
const FILE_BYTES: usize = 5 << 20;

/// The file tells the boot before the power cut from the one after it: a host that expects the latter finds that its
/// checks were not reported if the file was lost.
pub(crate) fn run(console: &Console, subject: &Subject) -> bool {
    if Path::new(FILE).exists() {
        console.check("the disk's data outlived a power cut", || verify_disk(subject))
            & console.check("the file outlived a power cut", verify_file)
    } else {
        console.check("a disk is written and synced", || write_disk(subject))
            & console.check("a file is written and synced", write_file)
    }
}

fn write_disk(subject: &Subject) -> Result<String> {
    let disk = subject.disk().open_whole()?;
    let mut chunk = vec![0; CHUNK];
    for offset in (0..subject.bytes).step_by(CHUNK) {
        pattern::fill(GENERATION, offset, &mut chunk);
        disk.write_all_at(&chunk, offset).with_context(|| format!("write at {offset:#x}"))?;
    }
    disk.sync_all().context("sync the disk")?;
    Ok(format!("{} MiB", subject.bytes >> 20))
}

fn write_file() -> Result<String> {
    let mut contents = vec![0; FILE_BYTES];
    pattern::fill(GENERATION, 0, &mut contents);
    let mut file = File::create(FILE).with_context(|| format!("create {FILE}"))?;
    file.write_all(&contents).with_context(|| format!("write {FILE}"))?;
    file.sync_all().with_context(|| format!("sync {FILE}"))?;
    Ok(format!("{} MiB", FILE_BYTES >> 20))
}

fn verify_disk(subject: &Subject) -> Result<String> {
    let disk = subject.disk().open_whole()?;
    let mut chunk = vec![0; CHUNK];
    for offset in (0..subject.bytes).step_by(CHUNK) {
        disk.read_exact_at(&mut chunk, offset).with_context(|| format!("read at {offset:#x}"))?;
        pattern::verify(GENERATION, offset, &chunk)?;
    }
    Ok(format!("{} MiB", subject.bytes >> 20))
}

fn verify_file() -> Result<String> {
    let contents = fs::read(FILE).with_context(|| format!("read {FILE}"))?;
    if contents.len() != FILE_BYTES {
        bail!("{FILE} has {} bytes instead of {FILE_BYTES}", contents.len());
    }
    pattern::verify(GENERATION, 0, &contents)?;
    Ok(format!("{} MiB", FILE_BYTES >> 20))
}
