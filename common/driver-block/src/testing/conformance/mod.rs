//! What every storage driver must do, tried on a model of its device: [`run`] has a named check for each promise of the
//! block layer's interface.
//!
//! A driver's test says how its model is started ([`Specimen`]) and which checks it cannot take, and why: what is skipped is
//! counted like what passes, so that nothing is left out unseen.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test, used by those of drivers"
)]

mod bench;
mod changes;
mod data;
mod ending;
mod order;
mod ranges;
mod refusals;
mod sharing;
mod trouble;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use redox_driver_sys::dma::DmaAllocator;

use super::{Modelled, Started};
use crate::{device::DiskId, queue::QueueOptions};

/// What a check needs of a device and its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Blocks of each disk, which read as zeroes.
    pub blocks: u64,
    /// Bytes of a block; a read-only disk may have others.
    pub block_size: u32,
    /// Whether there is a volatile write cache.
    pub cache: bool,
    /// Whether writing is refused.
    pub read_only: bool,
    /// Queues, as far as the driver can have several.
    pub queues: u16,
    /// Disks, as far as the device can have several.
    pub disks: u16,
}

impl Default for Setup {
    fn default() -> Self {
        Setup { blocks: 8192, block_size: 512, cache: true, read_only: false, queues: 2, disks: 1 }
    }
}

/// Memory that a [`Specimen`] starts with, in bytes.
pub const BUFFER: usize = 4 << 20;
/// Requests that its queues take: more than the hardware does.
pub const REQUESTS: u32 = 512;
const ZEROES: usize = 64 << 10;
/// How long its driver gives a command.
pub const TIMEOUT: Duration = Duration::from_secs(1);

/// What queues of a [`Specimen`] must be.
///
/// # Panics
/// There is no memory for zeroes.
pub fn options(dma: &DmaAllocator) -> QueueOptions {
    QueueOptions { zeroes: Some(dma.allocate(ZEROES).unwrap()), ..QueueOptions::new(REQUESTS, TIMEOUT) }
}

/// Why a check cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unable(pub &'static str);

/// A model with the driver that is tried.
pub trait Specimen: Modelled {
    /// Ways in which device and driver can be.
    type Variant;

    /// A device and its driver as `setup` wants them, with [`BUFFER`] bytes and queues with [`options`]. Where several disks are wanted, the first is the one that is returned.
    ///
    /// # Errors
    /// There is no such device.
    fn start(variant: &Self::Variant, setup: &Setup) -> Result<Started<Self>, Unable>;

    /// Blocks of the disk that are allocated.
    fn allocated(&self, disk: DiskId) -> u64;

    /// A block cannot be read any more, until it is written.
    fn spoil(&self, disk: DiskId, lba: u64);

    /// The next command for the disk in this queue is never answered; later ones are.
    fn hang_next(&self, queue: u16, disk: DiskId);

    /// Gives the disk another size.
    ///
    /// # Errors
    /// Such a device never changes its size.
    fn resize(&self, disk: DiskId, blocks: u64) -> Result<(), Unable>;
}

/// How the checks went, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The names of those that passed.
    pub passed: Vec<&'static str>,
    /// Those that could not be made, and why.
    pub skipped: Vec<(&'static str, &'static str)>,
    /// Those that failed, and with which words.
    pub failed: Vec<(&'static str, String)>,
}

impl Report {
    /// Whether all checks were accounted for and none failed.
    ///
    /// # Panics
    /// With those that failed, or when others were skipped than these.
    pub fn assert_passed(&self, skipped: &[(&str, &str)]) {
        assert!(self.failed.is_empty(), "{:#?}", self.failed);
        assert_eq!(self.skipped, skipped, "these checks were skipped");
    }
}

/// A check.
type Check<S> = (&'static str, fn(&<S as Specimen>::Variant) -> Result<(), Unable>);

/// All checks.
fn checks<S: Specimen>() -> Vec<Check<S>> {
    vec![
        ("reads and writes of every length", data::lengths::<S>),
        ("memory of every alignment", data::alignments::<S>),
        ("memory in pieces", data::pieces::<S>),
        ("4096-byte blocks", data::large_blocks::<S>),
        ("what is longer than the largest transfer is split", data::split::<S>),
        ("neighbours share a command", data::merged::<S>),
        ("random requests on all queues", data::random::<S>),
        ("a flush survives a power cut, and covers every queue", order::flush::<S>),
        ("a write with FUA survives a power cut", order::fua::<S>),
        ("without a cache every write survives a power cut", order::write_through::<S>),
        ("discard", ranges::discard::<S>),
        ("zeroes are written", ranges::zeroes::<S>),
        ("zeroes with FUA survive a power cut", ranges::durable_zeroes::<S>),
        ("a read-only disk is read and refuses the rest", refusals::read_only::<S>),
        ("what is out of range or malformed never reaches the device", refusals::malformed::<S>),
        ("a disk that grows and shrinks", changes::resize::<S>),
        ("a device that is pulled out", changes::pulled_out::<S>),
        ("a bad block is an error to its reader alone", trouble::bad_block::<S>),
        ("a command that times out never blocks another queue or disk", trouble::hang::<S>),
        ("a client with many requests leaves one with few its turn", sharing::clients::<S>),
        ("a busy disk leaves another its turn", sharing::disks::<S>),
        ("shutting down drains and flushes", ending::shutdown::<S>),
        ("a driver that is dropped ends all DMA", ending::dropped::<S>),
    ]
}

/// Makes all checks and says a line on each.
pub fn run<S: Specimen>(variant: &S::Variant) -> Report {
    let mut report = Report::default();
    for (name, check) in checks::<S>() {
        match catch_unwind(AssertUnwindSafe(|| check(variant))) {
            Ok(Ok(())) => {
                println!("PASS  {name}");
                report.passed.push(name);
            }
            Ok(Err(Unable(why))) => {
                println!("SKIP  {name}: {why}");
                report.skipped.push((name, why));
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
                let text = text.unwrap_or_default();
                println!("FAIL  {name}: {text}");
                report.failed.push((name, text));
            }
        }
    }
    report
}
