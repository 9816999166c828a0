//! The system runs from a disk of the driver.

use std::fs;

use anyhow::{Context, Result, bail};
use redox_guest::console::Console;
use redox_guest::disk::DiskScheme;
use redox_guest::{pattern, system};
use syscall::error::ENOLCK;

use super::refused;
use crate::Subject;

/// Where the file is written.
const FILE: &str = "/disk-check.boot";

pub(crate) fn run(console: &Console, subject: &Subject) -> bool {
    console.own("the root file system is on the driver", || root(subject))
        & console.check("a file on the root file system is written and read", file)
}

fn root(subject: &Subject) -> Result<String> {
    let processes = system::processes(&subject.driver)?;
    if processes.is_empty() {
        bail!("no process is called {}", subject.driver);
    }
    let disk = DiskScheme { name: subject.root.clone(), ..subject.disk() };
    // The file system has it open.
    refused("open its disk", disk.try_open(&disk.node), ENOLCK)?;
    let driver = disk.driver().context("this is no driver of ours")?;
    if !processes.contains(&driver) {
        bail!("process {driver} is none of {processes:?}, which are called {}", subject.driver);
    }
    Ok(format!("process {driver} of {processes:?}"))
}

fn file() -> Result<String> {
    let mut written = vec![0; 3 << 20];
    pattern::fill(1, 0, &mut written);
    fs::write(FILE, &written).with_context(|| format!("write {FILE}"))?;
    let read = fs::read(FILE).with_context(|| format!("read {FILE}"))?;
    if read.len() != written.len() {
        bail!("{FILE} has {} bytes instead of {}", read.len(), written.len());
    }
    pattern::verify(1, 0, &read)?;
    fs::remove_file(FILE).with_context(|| format!("remove {FILE}"))?;
    Ok(format!("{} bytes", read.len()))
}
