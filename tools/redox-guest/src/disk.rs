//! A disk scheme as its clients see it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// A disk scheme by its name, as `disk.pci-0000-00-05.0-nvme`, and one of its disks.
#[derive(Debug, Clone)]
pub struct DiskScheme {
    /// The name.
    pub name: String,
    /// The disk's node.
    pub node: String,
}

impl DiskScheme {
    /// The path of a node, as `1` or `1p0`.
    #[must_use]
    pub fn path(&self, node: &str) -> PathBuf {
        PathBuf::from(format!("/scheme/{}/{node}", self.name))
    }

    /// The node of a partition of the disk, counted from 0.
    #[must_use]
    pub fn partition(&self, number: usize) -> String {
        format!("{}p{number}", self.node)
    }

    /// Opens the whole disk.
    ///
    /// # Errors
    /// What the scheme answers, with the path.
    pub fn open_whole(&self) -> Result<File> {
        self.open(&self.node)
    }

    /// Opens a node for reading and writing.
    ///
    /// # Errors
    /// What the scheme answers.
    pub fn try_open(&self, node: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.path(node))
    }

    /// Opens a node for reading and writing.
    ///
    /// # Errors
    /// What the scheme answers, with the path.
    pub fn open(&self, node: &str) -> Result<File> {
        self.try_open(node).with_context(|| format!("open {}", self.path(node).display()))
    }

    /// The process that drives the device, as the driver's report says.
    ///
    /// # Errors
    /// When there is no report, or it does not say so.
    pub fn driver(&self) -> Result<usize> {
        let report = self.inspect()?;
        let told = report.lines().find_map(|line| line.trim().strip_prefix("process:"));
        let pid = told.context("the driver's report names no process")?.trim();
        pid.parse().with_context(|| format!("the driver's report names the process {pid:?}"))
    }

    /// The driver's report on itself. Only ours have one.
    ///
    /// # Errors
    /// When there is none.
    pub fn inspect(&self) -> Result<String> {
        let path = self.path("inspect");
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }
}
