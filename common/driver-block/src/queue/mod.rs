//! The software queue in front of one hardware queue.
//!
//! It belongs to one thread, never waits and, after construction, never allocates for a request. Its owner submits
//! requests, [`kick`](Queue::kick)s when the batch is complete, [`poll`](Queue::poll)s when the hardware announced
//! something, and looks after the [deadlines](Queue::expired).

mod complete;
mod disk;
mod dispatch;
mod gather;
mod reset;
mod share;
mod slots;
mod tags;

use std::time::Duration;

pub use disk::BadLimits;
use disk::{DiskState, Zeroes};
use redox_driver_sys::{
    dma::{DmaBuffer, Segment},
    time::Time,
};
use slots::{List, Needs, Slots};
use tags::{State, Tags};

use crate::{
    device::{Completed, Disk, DiskId, HardwareQueue, LbaRange, Operation, SubmitError, WriteCache},
    error::BlockError,
    request::{Completion, Expired, Rejected, Request},
    statistics::Statistics,
};

/// How a queue behaves.
#[derive(Clone, Debug)]
pub struct QueueOptions {
    /// Most requests that are taken and not yet answered. More than the hardware's depth makes a backlog.
    pub requests: u32,
    /// How long the device may take for a command before it is asked to abort it.
    pub timeout: Duration,
    /// How long it may take after that before it must be reset.
    pub abort_grace: Duration,
    /// How often a command is submitted again before its requests fail.
    pub retries: u8,
    /// How long to wait before a command that failed for now is submitted again: this, then twice this, and so on.
    pub retry_delay: Duration,
    /// Zeroed memory for disks that have no command to write zeroes. Without it they cannot.
    pub zeroes: Option<DmaBuffer>,
}

impl QueueOptions {
    /// The usual behaviour, with `timeout` for a command and room for `requests`.
    pub fn new(requests: u32, timeout: Duration) -> Self {
        QueueOptions {
            requests,
            timeout,
            abort_grace: Duration::from_secs(2),
            retries: 5,
            retry_delay: Duration::from_millis(10),
            zeroes: None,
        }
    }
}

/// A queue of requests over a hardware queue.
#[derive(Debug)]
pub struct Queue<H> {
    hardware: Option<H>,
    options: Options,
    disks: Vec<DiskState>,
    slots: Slots,
    tags: Tags,
    /// Requests since the last kick.
    plugged: List,
    /// Requests that wait for a tag.
    backlog: List,
    /// Disks with requests that wait for a flush to begin.
    flushes_waiting: u32,
    /// Whether a disk may have fewer commands in flight than there are tags.
    limited: bool,
    /// Answers that were not given out yet.
    answers: Vec<Completion>,
    /// Why nothing is taken any more.
    closed: Option<BlockError>,
    /// Whether the owner was told that a reset is needed.
    reset_reported: bool,
    statistics: Statistics,
    reaped: Vec<Completed>,
    segments: Vec<Segment>,
    ranges: Vec<LbaRange>,
}

#[derive(Debug)]
struct Options {
    timeout: Duration,
    abort_grace: Duration,
    retries: u8,
    retry_delay: Duration,
    zeroes: Option<Zeroes>,
}

impl<H: HardwareQueue> Queue<H> {
    /// A queue over `hardware`, without disks.
    pub fn new(hardware: H, options: QueueOptions) -> Self {
        let depth = hardware.depth();
        let QueueOptions { requests, timeout, abort_grace, retries, retry_delay, zeroes } = options;
        // The highest index stands for "none".
        let requests = requests.clamp(1, u32::MAX - 1);
        Queue {
            hardware: Some(hardware),
            options: Options { timeout, abort_grace, retries, retry_delay, zeroes: zeroes.map(Zeroes::new) },
            disks: Vec::new(),
            slots: Slots::new(requests),
            tags: Tags::new(depth),
            plugged: List::EMPTY,
            backlog: List::EMPTY,
            flushes_waiting: 0,
            limited: false,
            answers: Vec::with_capacity(requests as usize),
            closed: None,
            reset_reported: false,
            statistics: Statistics::default(),
            reaped: Vec::with_capacity(usize::from(depth)),
            segments: Vec::new(),
            ranges: Vec::new(),
        }
    }

    /// Takes a request. It goes to the hardware with the next [`kick`](Self::kick), together with its neighbours.
    ///
    /// # Errors
    /// [`SubmitError::Full`] when as many requests are outstanding as the queue has room for; otherwise what is wrong
    /// with the request. It comes back in both cases.
    #[allow(clippy::result_large_err, reason = "the request must come back without an allocation")]
    pub fn submit(&mut self, request: Request) -> Result<(), Rejected> {
        let refused = |error, request| Rejected { reason: SubmitError::Refused(error), request };
        if let Some(error) = self.closed {
            return Err(refused(error, request));
        }
        let Some(disk) = find_disk(&mut self.disks, request.disk) else {
            return Err(refused(BlockError::Gone, request));
        };
        let simple = match disk.check(&request) {
            Ok(simple) => simple,
            Err(error) => return Err(refused(error, request)),
        };
        let operation = request.operation;
        // Of writes alone, so that requests with and without can share a command.
        let fua = request.fua
            && matches!(operation, Operation::Write | Operation::WriteZeroes)
            && matches!(disk.cache, WriteCache::Volatile { .. });
        let needs = Needs { fua, flush_after: fua && disk.needs_flush_after(&request), simple };
        match self.slots.insert(request, disk.shift, needs) {
            Ok(index) => {
                self.plugged.push_back(&mut self.slots, index);
                self.statistics.of_mut(operation).requests += 1;
                Ok(())
            }
            Err(request) => {
                self.statistics.busy += 1;
                Err(Rejected { reason: SubmitError::Full, request })
            }
        }
    }

    /// Ends the batch: what was submitted since the last time goes to the hardware, as far as there are tags.
    pub fn kick(&mut self, now: Time) {
        let plugged = self.plugged.take();
        self.backlog.append(&mut self.slots, plugged);
        self.dispatch(now);
    }

    /// Takes what the hardware has completed, keeps it busy, and appends the answers to `answers`.
    ///
    /// # Errors
    /// The hardware queue cannot be served any more: the controller must be reset. The answers so far are good.
    pub fn poll(&mut self, now: Time, answers: &mut Vec<Completion>) -> Result<(), BlockError> {
        let mut outcome = Ok(());
        if let Some(hardware) = &mut self.hardware {
            outcome = hardware.reap(&mut self.reaped);
            if !self.reaped.is_empty() {
                self.take_in(now);
            }
            if outcome.is_ok() {
                self.dispatch(now);
            }
        }
        if !self.answers.is_empty() {
            answers.append(&mut self.answers);
        }
        outcome
    }

    /// Tells the hardware that its interrupt came: see [`HardwareQueue::interrupted`].
    #[inline]
    pub fn interrupted(&mut self) {
        if let Some(hardware) = &mut self.hardware {
            hardware.interrupted();
        }
    }

    /// Whether the hardware found something for the controller: see [`HardwareQueue::attention`].
    #[inline]
    pub fn attention(&mut self) -> bool {
        self.hardware.as_mut().is_some_and(HardwareQueue::attention)
    }

    /// Appends the answers that are there without asking the hardware: what [`kick`](Self::kick) could answer by itself.
    pub fn take_answers(&mut self, answers: &mut Vec<Completion>) {
        answers.append(&mut self.answers);
    }

    /// What is to be done about commands that take too long; to be called until it gives `None`, after
    /// [`poll`](Self::poll), so that a process that was not scheduled does not blame the device.
    pub fn expired(&mut self, now: Time) -> Option<Expired> {
        self.hardware.as_ref()?;
        while let Some(tag) = self.tags.first(State::Running)
            && self.tags[tag].due <= now
        {
            self.tags.leave(tag);
            self.describe(tag);
            self.tags.enter(tag, State::Aborting, now.plus(self.options.abort_grace));
            self.tags[tag].expired = true;
            self.statistics.of_mut(self.tags.work(tag).counted).timeouts += 1;
            let hardware = self.hardware.as_mut()?;
            if hardware.abort(tag) {
                log::warn!("command {tag} takes too long: its queue ends it");
                continue;
            }
            let handle = hardware.abort_handle(tag);
            return Some(Expired::Abort { tag, handle });
        }
        let overdue = self.tags.first_due(State::Aborting).is_some_and(|due| due <= now);
        if overdue && !self.reset_reported {
            self.reset_reported = true;
            return Some(Expired::Reset);
        }
        None
    }

    /// When the queue wants to be looked at, if nothing happens before: the next deadline or retry. Nothing is due while
    /// the hardware is away.
    pub fn next_due(&self) -> Option<Time> {
        let hardware = self.hardware.as_ref()?;
        let aborting = if self.reset_reported { None } else { self.tags.first_due(State::Aborting) };
        [self.tags.first_due(State::Running), aborting, self.tags.first_due(State::Queued), hardware.due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Adds a disk, or takes over its new size and limits. Requests that wait and no longer fit are answered.
    ///
    /// # Errors
    /// The limits contradict themselves. The disk stays as it was.
    pub fn set_disk(&mut self, disk: &Disk) -> Result<(), BadLimits> {
        let mut state = DiskState::new(disk, self.options.zeroes.as_ref())?;
        // As long as a command's lists can get.
        self.segments.clear();
        self.segments.reserve(state.shape.max_segments.min(state.shape.max_bytes) as usize);
        self.ranges.clear();
        self.ranges.reserve(state.max_discard_ranges as usize);
        match self.disks.binary_search_by_key(&disk.id, |known| known.id) {
            Ok(at) => {
                state.flush_waiting = self.disks[at].flush_waiting;
                state.flush_running = self.disks[at].flush_running;
                self.release_held(at);
                self.disks[at] = state;
                self.recheck_waiting();
            }
            Err(at) => self.disks.insert(at, state),
        }
        self.count_shares();
        Ok(())
    }

    /// Forgets a disk. Requests that wait are answered with [`BlockError::Gone`], those with the device when it is done.
    pub fn remove_disk(&mut self, disk: DiskId) {
        let Ok(at) = self.disks.binary_search_by_key(&disk, |known| known.id) else { return };
        self.release_held(at);
        let mut gone = self.disks.remove(at);
        if !gone.flush_waiting.is_empty() {
            self.flushes_waiting -= 1;
        }
        self.fail_list(gone.flush_waiting.take(), BlockError::Gone);
        self.recheck_waiting();
    }

    /// Refuses further requests with `error`; those that were taken are carried out.
    pub fn close(&mut self, error: BlockError) {
        self.closed.get_or_insert(error);
    }

    /// Whether every request has been answered, and every answer given out.
    pub fn is_idle(&self) -> bool {
        self.slots.used() == 0 && self.answers.is_empty()
    }

    /// Requests that were taken and not answered.
    pub fn outstanding(&self) -> u32 {
        self.slots.used()
    }

    /// Requests that wait for a tag or a kick.
    pub fn waiting(&self) -> u32 {
        self.plugged.len() + self.backlog.len() + self.held()
    }

    /// Commands that the hardware has.
    pub fn in_flight(&self) -> u16 {
        self.tags.in_flight()
    }

    /// What was counted so far.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The hardware queue, unless it was taken.
    pub fn hardware(&self) -> Option<&H> {
        self.hardware.as_ref()
    }
}

/// The disk `id`. Nearly always there is one, or it is the first.
#[inline]
fn find_disk(disks: &mut [DiskState], id: DiskId) -> Option<&mut DiskState> {
    let at = match disks.first() {
        Some(first) if first.id == id => 0,
        _ => disks.binary_search_by_key(&id, |disk| disk.id).ok()?,
    };
    disks.get_mut(at)
}
