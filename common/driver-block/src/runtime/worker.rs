//! The thread of one hardware queue.

use std::time::Duration;

use redox_driver_sys::time::{Clock, Time};

use super::{
    mailbox::Mailbox,
    messages::{ToSupervisor, ToWorker},
};
use crate::{
    device::HardwareQueue,
    error::BlockError,
    frontend::{QueueFrontend, Ready},
    pause::Pause,
    queue::Queue,
    request::{Completion, Expired},
    waker::Waker,
};

/// How long a thread sleeps when it has nothing to wait for: a bound, not a rhythm.
pub(super) const IDLE: Duration = Duration::from_secs(1);
/// How often a queue whose front end has failed looks at its hardware.
const ORPHANED: Duration = Duration::from_millis(5);

/// What the thread does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Wait, at most this long.
    Wait(Duration),
    /// End.
    Done,
}

/// One queue with its clients.
pub(crate) struct Worker<H, F> {
    number: u16,
    queue: Queue<H>,
    /// `None` after it failed.
    frontend: Option<F>,
    inbox: Mailbox<ToWorker<H>>,
    supervisor: Mailbox<ToSupervisor<H>>,
    /// Whether the queue's interrupt announces the controller's completions as well.
    poke: Option<Waker>,
    /// How long to wait for the outstanding requests when stopping.
    drain: Duration,
    stop_at: Option<Time>,
    returned: bool,
    reset_asked: bool,
    ended: bool,
    messages: Vec<ToWorker<H>>,
    completions: Vec<Completion>,
    /// Between two looks at a polled queue.
    pause: Pause,
}

impl<H: HardwareQueue, F: QueueFrontend> Worker<H, F> {
    pub(crate) fn new(
        number: u16,
        queue: Queue<H>,
        inbox: Mailbox<ToWorker<H>>,
        supervisor: Mailbox<ToSupervisor<H>>,
        poke: bool,
        drain: Duration,
    ) -> Self {
        let poke = poke.then(|| supervisor.waker().clone());
        Worker {
            number,
            completions: Vec::with_capacity(64),
            queue,
            frontend: None,
            inbox,
            supervisor,
            poke,
            drain,
            stop_at: None,
            returned: false,
            reset_asked: false,
            ended: false,
            messages: Vec::new(),
            pause: Pause::new(),
        }
    }

    /// Starts serving the clients of `frontend`.
    pub(crate) fn serve(&mut self, frontend: F) {
        self.frontend = Some(frontend);
        self.watch();
    }

    /// Serves until told to end.
    pub(crate) fn run(&mut self, clock: &Clock) {
        let mut ready = Ready { interrupt: true, message: true };
        while let Turn::Wait(timeout) = self.turn(clock.coarse(), ready) {
            ready = self.wait(timeout);
        }
        self.say_ended();
    }

    /// The last thing that a queue's thread does.
    pub(crate) fn say_ended(&self) {
        self.supervisor.post(ToSupervisor::Ended { queue: self.number });
    }

    /// When something is due, if nothing happens before.
    #[cfg(all(test, loom))]
    pub(crate) fn due(&self) -> Option<Time> {
        self.queue.next_due()
    }

    fn wait(&mut self, timeout: Duration) -> Ready {
        if timeout.is_zero() {
            self.pause.wait();
        }
        match &mut self.frontend {
            Some(frontend) => match frontend.wait(timeout) {
                Ok(ready) => ready,
                Err(error) => {
                    self.frontend_failed(&error);
                    Ready { interrupt: true, message: true }
                }
            },
            None => {
                std::thread::sleep(timeout.min(ORPHANED));
                Ready { interrupt: true, message: true }
            }
        }
    }

    /// Without clients the queue only finishes what it has.
    fn frontend_failed(&mut self, error: &std::io::Error) {
        self.frontend = None;
        self.queue.close(BlockError::Gone);
        let error = error.to_string();
        self.supervisor.post(ToSupervisor::FrontendFailed { queue: self.number, error });
    }

    /// Has the front end watch what there is to watch.
    fn watch(&mut self) {
        let Some(frontend) = &mut self.frontend else { return };
        let interrupt = self.queue.hardware().and_then(HardwareQueue::interrupt);
        if let Err(error) = frontend.watch(interrupt, self.inbox.waker()) {
            self.frontend_failed(&error);
        }
    }

    /// Does all that can be done without waiting.
    pub(crate) fn turn(&mut self, now: Time, ready: Ready) -> Turn {
        if ready.message {
            self.take_messages(now);
        }
        if ready.interrupt {
            self.take_interrupt();
            self.queue.interrupted();
        }
        let outcome = self.queue.poll(now, &mut self.completions);
        if ready.interrupt {
            self.rearm_interrupt();
        }
        if self.queue.attention() {
            self.supervisor.waker().wake();
        }
        if let Err(error) = outcome {
            self.ask_for_reset(&error);
        }
        if !self.completions.is_empty() {
            self.pause.reset();
        }
        self.answer();
        if self.stop_at.is_none()
            && let Some(frontend) = &mut self.frontend
        {
            frontend.submit(&mut self.queue);
        }
        self.queue.kick(now);
        self.queue.take_answers(&mut self.completions);
        self.answer();
        self.look_after_deadlines(now);
        self.finish_stop(now);
        if self.ended { Turn::Done } else { Turn::Wait(self.patience(now)) }
    }

    fn answer(&mut self) {
        if self.completions.is_empty() {
            return;
        }
        if let Some(frontend) = &mut self.frontend {
            frontend.answer(&self.completions);
        }
        self.completions.clear();
    }

    fn take_interrupt(&mut self) {
        if let Some(interrupt) = self.queue.hardware().and_then(HardwareQueue::interrupt)
            && let Err(error) = interrupt.take()
        {
            log::error!("queue {}: taking an interrupt: {error}", self.number);
        }
    }

    fn rearm_interrupt(&mut self) {
        if let Some(supervisor) = &self.poke {
            supervisor.wake();
        }
        if let Some(interrupt) = self.queue.hardware().and_then(HardwareQueue::interrupt)
            && let Err(error) = interrupt.rearm()
        {
            log::error!("queue {}: letting interrupts through: {error}", self.number);
        }
    }

    fn ask_for_reset(&mut self, why: &dyn std::fmt::Display) {
        if !self.reset_asked {
            log::warn!("queue {}: {why}", self.number);
            self.reset_asked = true;
            self.supervisor.post(ToSupervisor::ResetNeeded { queue: self.number });
        }
    }

    fn look_after_deadlines(&mut self, now: Time) {
        while let Some(expired) = self.queue.expired(now) {
            match expired {
                Expired::Abort { tag, handle } => {
                    log::warn!("queue {}: command {tag} takes too long", self.number);
                    self.supervisor.post(ToSupervisor::Expired { queue: self.number, handle });
                }
                Expired::Reset => self.ask_for_reset(&"an aborted command does not end"),
            }
        }
    }

    /// Hands the hardware over when stopping and done, or when the time for it is up.
    fn finish_stop(&mut self, now: Time) {
        let Some(deadline) = self.stop_at else { return };
        let idle = self.queue.is_idle();
        if !self.returned && (idle || now >= deadline) {
            self.returned = true;
            let hardware = self.queue.take_hardware();
            self.watch();
            self.give_back(hardware, Some(idle));
        }
    }

    fn give_back(&self, hardware: Option<H>, stopped: Option<bool>) {
        self.supervisor.post(ToSupervisor::Returned { queue: self.number, hardware, stopped });
    }

    /// How long the thread may wait.
    fn patience(&self, now: Time) -> Duration {
        let polled = self.queue.hardware().is_some_and(|hardware| hardware.interrupt().is_none());
        if polled && self.queue.in_flight() != 0 {
            return Duration::ZERO;
        }
        let stop = self.stop_at.filter(|_| !self.returned);
        // The clock is coarse: a little late is better than many times too early.
        let due = self.queue.next_due().into_iter().chain(stop).min();
        due.map_or(IDLE, |due| due.since(now).min(IDLE).max(Duration::from_millis(1)))
    }

    fn take_messages(&mut self, now: Time) {
        let mut messages = std::mem::take(&mut self.messages);
        self.inbox.take(&mut messages);
        for message in messages.drain(..) {
            self.message(message, now);
        }
        self.messages = messages;
    }

    fn message(&mut self, message: ToWorker<H>, now: Time) {
        match message {
            ToWorker::Quiesce => {
                // If it is not here, it is on its way already.
                if let Some(hardware) = self.queue.take_hardware() {
                    self.watch();
                    self.give_back(Some(hardware), None);
                }
            }
            ToWorker::Resume(hardware) if self.returned => {
                self.give_back(Some(hardware), Some(self.queue.is_idle()));
            }
            ToWorker::Resume(hardware) => {
                self.reset_asked = false;
                self.queue.put_hardware(hardware, now);
                self.watch();
            }
            ToWorker::Fail(error) => {
                drop(self.queue.fail_all(error));
                self.watch();
            }
            ToWorker::DiskChanged(disk) => match self.queue.set_disk(&disk) {
                Ok(()) => {
                    if let Some(frontend) = &mut self.frontend {
                        frontend.disk_changed(&disk);
                    }
                }
                Err(error) => {
                    log::error!("{error}; the disk is no longer served");
                    self.remove_disk(disk.id);
                }
            },
            ToWorker::DiskRemoved(disk) => self.remove_disk(disk),
            ToWorker::Stop => {
                if self.stop_at.is_none() {
                    self.stop_at = Some(now.plus(self.drain));
                    if let Some(frontend) = &mut self.frontend {
                        frontend.stop();
                    }
                    self.queue.close(BlockError::Gone);
                }
            }
            ToWorker::End => self.ended = true,
            ToWorker::Report(answer) => {
                // Whoever asked may have stopped waiting.
                let _ = answer.send(*self.queue.statistics());
            }
        }
    }

    fn remove_disk(&mut self, disk: crate::device::DiskId) {
        self.queue.remove_disk(disk);
        if let Some(frontend) = &mut self.frontend {
            frontend.disk_removed(disk);
        }
    }
}
