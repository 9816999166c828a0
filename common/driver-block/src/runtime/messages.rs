//! What the threads tell each other.

use std::sync::mpsc;

use crate::{
    device::{Disk, DiskId},
    error::BlockError,
    statistics::Statistics,
};

/// From the controller's thread to that of a queue.
#[derive(Debug)]
pub(crate) enum ToWorker<H> {
    /// Hand the hardware over, now.
    Quiesce,
    /// The hardware is back from a reset.
    Resume(H),
    /// The controller was given up: nothing reaches memory any more; answer everything with this error.
    Fail(BlockError),
    /// A disk appeared or changed.
    DiskChanged(Disk),
    /// A disk is gone.
    DiskRemoved(DiskId),
    /// Take no more requests, finish those that are there, hand the hardware over.
    Stop,
    /// All is done: end.
    End,
    /// Tell what was counted.
    Report(mpsc::Sender<Statistics>),
}

/// From the threads of the queues, and from outside, to the controller's.
#[derive(Debug)]
pub(crate) enum ToSupervisor<H> {
    /// A command passed its deadline.
    Expired { queue: u16, handle: u32 },
    /// A queue is in a state that only a reset ends.
    ResetNeeded { queue: u16 },
    /// The answer to `Quiesce`, or to `Stop` when the requests are done or time is up.
    Returned {
        queue: u16,
        /// `None` when the controller's thread has it already.
        hardware: Option<H>,
        /// Whether the queue has stopped, and then whether every request was answered.
        stopped: Option<bool>,
    },
    /// A front end failed; its queue serves nobody any more.
    FrontendFailed { queue: u16, error: String },
    /// A queue's thread ends.
    Ended { queue: u16 },
    /// Have the controller report on itself.
    Inspect(mpsc::Sender<String>),
    /// End everything orderly.
    Stop,
}
