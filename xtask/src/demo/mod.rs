//! `cargo xtask demo`: a driver at work in guests, with every claim checked.

mod ahcid;
mod e1000d;
mod html;
mod iommud;
mod models;
mod network;
mod nvmed;
mod plot;
pub(crate) mod report;
mod rtl8168d;
mod runner;
mod storage;
mod virtio_blkd;
mod virtio_netd;

use anyhow::{Result, bail};

pub use runner::{Selection, interact, run};
pub(crate) use runner::{finish, judge, print};

use crate::rig::Guest;

/// A driver that can be shown.
#[derive(Debug, Clone, Copy)]
pub struct Driver {
    /// Its daemon's name.
    pub name: &'static str,
    /// What the demo shows, in a sentence.
    pub summary: &'static str,
    /// The crates of the daemons under test.
    pub daemons: &'static [&'static str],
    /// The crates of programs that the scripts need besides.
    pub tools: &'static [&'static str],
    /// The guests that are booted, in order. The first is also that of `cargo xtask qemu`.
    pub plans: &'static [Plan],
}

/// One boot of a demo.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The name of its run directory.
    pub name: &'static str,
    /// A heading for the reader.
    pub title: &'static str,
    /// The guest's script.
    pub script: &'static str,
    /// Adds devices and settings.
    pub build: fn(Guest<'_>) -> Result<Guest<'_>>,
    /// The checks that its script must report. One that is not reported has failed.
    pub checks: &'static [Expected],
    /// Curves that its script records.
    pub curves: &'static [Curve],
}

/// A check that must be reported.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// The name in the script.
    pub name: &'static str,
    /// Whether it needs our daemon, and is left out when a scenario is tried on Linux's driver.
    pub daemon_only: bool,
}

/// A curve in fio's log format (`--write_iops_log`), left in `/rig/out` of the guest.
#[derive(Debug, Clone, Copy)]
pub struct Curve {
    /// The file's name.
    pub file: &'static str,
    /// A heading.
    pub title: &'static str,
    /// The figure that tells at which second something was done, and what that was.
    pub mark: (&'static str, &'static str),
}

/// A check that any driver must pass.
pub(crate) const fn always(name: &'static str) -> Expected {
    Expected { name, daemon_only: false }
}

/// A check of our daemon.
pub(crate) const fn ours(name: &'static str) -> Expected {
    Expected { name, daemon_only: true }
}

/// All drivers that can be shown.
pub const DRIVERS: &[Driver] = &[
    nvmed::DRIVER,
    ahcid::DRIVER,
    virtio_blkd::DRIVER,
    storage::DRIVER,
    e1000d::DRIVER,
    virtio_netd::DRIVER,
    rtl8168d::DRIVER,
    iommud::DRIVER,
    models::DRIVER,
];

/// Finds drivers by name; no names mean all.
///
/// # Errors
/// When there is no such driver.
pub fn find(names: &[String]) -> Result<Vec<Driver>> {
    if names.is_empty() {
        return Ok(DRIVERS.to_vec());
    }
    let mut found = Vec::new();
    for name in names {
        match DRIVERS.iter().find(|driver| driver.name == name) {
            Some(driver) => found.push(*driver),
            None => {
                let known: Vec<&str> = DRIVERS.iter().map(|driver| driver.name).collect();
                bail!("no demo of {name}: there is {}", known.join(", "));
            }
        }
    }
    Ok(found)
}
