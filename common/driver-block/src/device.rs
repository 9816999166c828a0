//! What a storage driver implements.
//!
//! A [`Controller`] owns the device; each of its [`HardwareQueue`]s is owned by one thread, which submits, commits and
//! reaps without a lock. For a reset the queues travel back to the controller: while it works on them, nobody else can.

use std::{fmt, time::Duration};

use redox_driver_sys::{dma::Segment, irq::Interrupt, time::Time};
use serde::{Deserialize, Serialize};

use crate::error::BlockError;

/// Names one disk of a controller: a namespace id, a port, a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DiskId(pub u32);

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a disk promises about a completed write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteCache {
    /// A completed write is on the medium; a flush has nothing to do.
    None,
    /// A completed write may be in volatile memory until a flush, or until a write with FUA.
    Volatile {
        /// Whether the disk takes force unit access. Without it the block layer flushes after the write.
        fua: bool,
    },
}

/// What one command may ask of a disk. The block layer splits what is larger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Logical block size in bytes: a power of two from 512 to 4096. Everything is counted in these.
    pub block_size: u32,
    /// Size in bytes that the medium writes at once; a multiple of the logical block size.
    pub physical_block_size: u32,
    /// Preferred length and alignment of a transfer in bytes; 0 if there is none.
    pub optimal_io_size: u32,
    /// Most bytes of one read or write; a multiple of the logical block size.
    pub max_transfer: u32,
    /// Most commands in flight on this disk; `u16::MAX`: as many as the queue takes. Disks that share a queue share its
    /// tags: with a limit, one that is slow or dead leaves the others theirs.
    pub max_commands: u16,
    /// Most entries of a scatter-gather list.
    pub max_segments: u16,
    /// Where segments may meet: every segment but the first starts, and every one but the last ends, at a multiple of
    /// this. 1: anywhere. (NVMe's PRP lists: the page size.)
    pub segment_boundary: u32,
    /// Alignment in bytes of a segment's address and length.
    pub dma_alignment: u32,
    /// Most blocks of one range of a discard; 0: the disk cannot discard.
    pub max_discard_blocks: u32,
    /// Most ranges of one discard.
    pub max_discard_ranges: u16,
    /// Granularity of discards in bytes.
    pub discard_granularity: u32,
    /// Most blocks of one write-zeroes; 0: the disk has no such command.
    pub max_write_zeroes_blocks: u32,
    /// What a completed write means.
    pub write_cache: WriteCache,
    /// Whether writing is refused.
    pub read_only: bool,
    /// Whether the disk turns.
    pub rotational: bool,
}

/// One disk of a controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// By which commands name it.
    pub id: DiskId,
    /// Capacity in logical blocks.
    pub blocks: u64,
    /// What one command may ask of it.
    pub limits: Limits,
    /// The model, as the device tells it.
    pub model: String,
    /// The serial number, as the device tells it.
    pub serial: String,
}

/// What a request or command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// From the medium to memory.
    Read,
    /// From memory to the medium.
    Write,
    /// Everything completed before is on the medium afterwards.
    Flush,
    /// The blocks' contents are no longer needed.
    Discard,
    /// The blocks read as zeroes afterwards.
    WriteZeroes,
}

/// Consecutive blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LbaRange {
    /// The first block.
    pub lba: u64,
    /// How many.
    pub blocks: u32,
}

/// One command as a hardware queue gets it: within the disk's limits and capacity.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// What to do.
    pub operation: Operation,
    /// On which disk.
    pub disk: DiskId,
    /// Force unit access: a write completes only when it is on the medium. Only set where the disk takes it.
    pub fua: bool,
    /// Where: exactly one range, none for a flush, one or more for a discard.
    pub ranges: &'a [LbaRange],
    /// From or to where: as many bytes as the range has. Empty except for reads and writes.
    pub segments: &'a [Segment],
}

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// No room now; there will be after a completion.
    #[error("queue is full")]
    Full,
    /// The command can never be taken.
    #[error(transparent)]
    Refused(#[from] BlockError),
}

/// A command that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed {
    /// The tag that the command was submitted with.
    pub tag: u16,
    /// How it ended.
    pub result: Result<(), BlockError>,
}

/// One pair of submission and completion queues (or port, or virtqueue), owned by one thread.
///
/// A tag names a command from `submit` until `reap` reports it; the block layer uses each of `0..depth()` at most once
/// at a time. Completions that fit no tag in flight are the driver's to count and to ignore.
pub trait HardwareQueue: Send {
    /// How many commands can be in flight.
    fn depth(&self) -> u16;

    /// Puts a command into the queue. The device need not see it before [`commit`](Self::commit).
    ///
    /// # Errors
    /// [`SubmitError::Full`], or [`SubmitError::Refused`] for what the device cannot do.
    fn submit(&mut self, tag: u16, command: &Command<'_>) -> Result<(), SubmitError>;

    /// Shows the device everything that was submitted: one doorbell for the batch.
    fn commit(&mut self);

    /// Appends what has completed, in the order of the device, to `completed`.
    ///
    /// # Errors
    /// [`BlockError::Gone`] or [`BlockError::Protocol`] when the queue cannot be served any more: the controller must be
    /// reset.
    fn reap(&mut self, completed: &mut Vec<Completed>) -> Result<(), BlockError>;

    /// The interrupt that announces completions; `None` for a polled queue.
    fn interrupt(&self) -> Option<&Interrupt>;

    /// The interrupt came, and was taken. Where looking at the device costs a register access, [`reap`](Self::reap) looks
    /// only after this, or when it is [`due`](Self::due).
    fn interrupted(&mut self) {}

    /// When [`reap`](Self::reap) has something to do though no interrupt comes: a queue that recovers, or brings devices
    /// up, without waiting.
    fn due(&self) -> Option<Time> {
        None
    }

    /// Whether the last [`reap`](Self::reap) found something for [`Controller::poll`]. Asking resets it.
    fn attention(&mut self) -> bool {
        false
    }

    /// Ends the command with this tag by the queue's own means, which do not wait: it completes soon, one way or the
    /// other. False: the queue has none, and [`Controller::abort`] is asked.
    fn abort(&mut self, _tag: u16) -> bool {
        false
    }

    /// What [`Controller::abort`] needs to know to find the command with this tag.
    fn abort_handle(&self, tag: u16) -> u32;
}

/// Something that happened to a controller by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControllerEvent {
    /// A disk appeared, or its capacity or limits changed.
    DiskChanged(Disk),
    /// A disk is no longer there.
    DiskRemoved(DiskId),
    /// The controller is in a state that only a reset ends; the text says which.
    ResetNeeded(String),
}

/// A storage device with its queues.
pub trait Controller: Send {
    /// Its hardware queues.
    type Queue: HardwareQueue;

    /// For logs and scheme names: `pci-0000-00-04.0-nvme`.
    fn name(&self) -> &str;

    /// The disks that are there now.
    fn disks(&self) -> Vec<Disk>;

    /// Hands out the I/O queues, once.
    fn take_queues(&mut self) -> Vec<Self::Queue>;

    /// How long a command may take before it is aborted.
    fn command_timeout(&self) -> Duration;

    /// The interrupt of the controller's own queue; `None` when it is polled.
    fn interrupt(&self) -> Option<&Interrupt>;

    /// Whether the controller's own completions are announced by the interrupt of an I/O queue, so that whoever takes
    /// that one must also call [`poll`](Self::poll).
    fn shares_interrupt(&self) -> bool;

    /// Whether the queues call by [`HardwareQueue::attention`] whenever there is something for [`poll`](Self::poll): it
    /// need not be tried otherwise.
    fn is_called(&self) -> bool {
        false
    }

    /// Serves the controller's own queue without waiting: completions of aborts, asynchronous events.
    ///
    /// # Errors
    /// [`BlockError::Gone`] when the device is no longer there.
    fn poll(&mut self, now: Time, events: &mut Vec<ControllerEvent>) -> Result<(), BlockError>;

    /// Asks the device to end the command that queue number `queue` named by `handle`. The command then completes
    /// through its queue, or not: the caller waits for a bounded time.
    ///
    /// # Errors
    /// When the abort cannot even be sent.
    fn abort(&mut self, queue: u16, handle: u32) -> Result<(), BlockError>;

    /// Resets the device and sets it up again, with the queues that the caller gives back, in their order. Commands that
    /// were in flight are forgotten by the device afterwards: none of them touches memory any more, and none completes.
    ///
    /// # Errors
    /// The device could not be brought back; it is off, does no DMA, and the queues are gone.
    fn reset(&mut self, queues: Vec<Self::Queue>) -> Result<Vec<Self::Queue>, BlockError>;

    /// Ends orderly: the device is told, caches are written back, DMA ends.
    ///
    /// # Errors
    /// The device did not confirm; DMA has ended all the same.
    fn shutdown(&mut self, queues: Vec<Self::Queue>) -> Result<(), BlockError>;

    /// A report for people: identity, health, counts. May ask the device, within its deadlines.
    fn inspect(&mut self) -> String {
        String::new()
    }
}
