//! Where requests come from: one front end per queue, on the queue's thread.

#[cfg(not(loom))]
pub mod scheme;
#[cfg(all(target_os = "linux", not(loom)))]
pub mod ublk;

use std::{io, time::Duration};

use redox_driver_sys::irq::Interrupt;

use crate::{
    device::{Disk, DiskId, HardwareQueue},
    queue::Queue,
    request::Completion,
    waker::Waker,
};

/// What ended a wait, beside the clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// The hardware queue's interrupt is pending.
    pub interrupt: bool,
    /// The waker was woken: there are messages for the thread.
    pub message: bool,
}

/// The clients of one queue.
///
/// It is made, used and dropped on the thread of its queue, which calls, in a loop, [`wait`](Self::wait),
/// [`answer`](Self::answer) and [`submit`](Self::submit). None of them but `wait` may wait for anything.
pub trait QueueFrontend {
    /// What to watch from now on, beside the clients and instead of what it was before: called before the first wait and
    /// whenever the hardware is back from a reset. No interrupt: the hardware is away, or polled.
    ///
    /// # Errors
    /// What the OS answers. The queue ends.
    fn watch(&mut self, interrupt: Option<&Interrupt>, waker: &Waker) -> io::Result<()>;

    /// Waits until there is something from a client, the interrupt or the waker, at most `timeout`; with a timeout of zero
    /// it only looks. Neither the interrupt nor the waker is reset: that is for the caller. Answers that were gathered by
    /// [`answer`](Self::answer) are with the clients before the wait begins.
    ///
    /// # Errors
    /// What the OS answers. The queue ends.
    fn wait(&mut self, timeout: Duration) -> io::Result<Ready>;

    /// Submits what the clients have asked for. A request that comes back as [full](crate::SubmitError::Full) is kept
    /// for the next call; one that is refused is answered at once.
    fn submit<H: HardwareQueue>(&mut self, queue: &mut Queue<H>);

    /// Takes answers.
    fn answer(&mut self, answers: &[Completion]);

    /// A disk appeared or changed. The queue knows already.
    fn disk_changed(&mut self, disk: &Disk);

    /// A disk is gone. The queue knows already.
    fn disk_removed(&mut self, disk: DiskId);

    /// Nothing more is to be submitted; what was submitted is still answered. Then the front end is dropped.
    fn stop(&mut self);
}
