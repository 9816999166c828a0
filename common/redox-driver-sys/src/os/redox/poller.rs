//! The event scheme, and time without asking for it.
//!
//! Redox has no clock that costs nothing: reading it is a system call and several accesses to a timer. So waiting is
//! bounded by a timer that stays set over many waits, and only when it goes off is the clock read; in between, a thread
//! knows the time of the last reading. That is at most [`TICK`] old, or a thread would have been woken.

use std::{
    fmt,
    mem::offset_of,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use libredox::{Fd, errno, flag};
use syscall::{
    data::{Event, TimeSpec},
    flag::{CLOCK_MONOTONIC, EventFlags, F_SETFL},
};

use super::memory::os;
use crate::{error::Result, os::monotonic_now, time::Time};

/// Longest wait, and most that [`coarse_now`] is late.
const TICK: Duration = Duration::from_secs(1);
/// Shorter waits begin with a reading of the clock.
const SHORT: Duration = Duration::from_millis(100);
/// What the timer's events carry. Callers have small numbers.
const TIMER: usize = usize::MAX;
const MOST_EVENTS: usize = 32;

/// When the clock was read last, in nanoseconds.
static READ: AtomicU64 = AtomicU64::new(0);

/// The time to within [`TICK`] for whoever waits now and then; otherwise that of the last reading.
pub(crate) fn coarse_now() -> Time {
    match READ.load(Ordering::Relaxed) {
        0 => monotonic_now(),
        nanos => Time::from_nanos(nanos),
    }
}

/// Whoever reads the clock tells all others.
pub(crate) fn clock_was_read(now: Time) {
    READ.fetch_max(now.as_nanos(), Ordering::Relaxed);
}

/// Waits for descriptors. All that it needs is opened when it is made.
pub(crate) struct Poller {
    queue: Fd,
    timer: Fd,
    /// When the timer goes off.
    due: Option<Time>,
    /// Whether reading the queue does not wait.
    looking: bool,
    watched: Vec<RawFd>,
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").field("watched", &self.watched).finish_non_exhaustive()
    }
}

impl Poller {
    pub(crate) fn new() -> Result<Self> {
        let open = |path: &str| {
            Fd::open(path, flag::O_RDWR | flag::O_CLOEXEC, 0)
                .map_err(|error| os(format!("open {path}"), error))
        };
        let queue = open("/scheme/event")?;
        let timer = open(&format!("/scheme/time/{CLOCK_MONOTONIC}"))?;
        let poller = Poller { queue, timer, due: None, looking: false, watched: Vec::new() };
        poller.watch(poller.timer.raw(), TIMER, EventFlags::EVENT_READ)?;
        Ok(poller)
    }

    pub(crate) fn add(&mut self, fd: BorrowedFd<'_>, token: u64) -> Result<()> {
        let raw = fd.as_raw_fd();
        let number = usize::try_from(raw).unwrap_or(usize::MAX);
        self.watch(number, usize::try_from(token).unwrap_or(TIMER - 1), EventFlags::EVENT_READ)?;
        self.watched.push(raw);
        Ok(())
    }

    /// Watches nothing any more.
    pub(crate) fn clear(&mut self) {
        for raw in std::mem::take(&mut self.watched) {
            // Closed meanwhile: not watched any more.
            let _ = self.watch(usize::try_from(raw).unwrap_or(usize::MAX), 0, EventFlags::empty());
        }
    }

    fn watch(&self, id: usize, data: usize, flags: EventFlags) -> Result<()> {
        let event = Event { id, flags, data };
        self.queue.write(&event).map(drop).map_err(|error| os("watch a descriptor".to_string(), error))
    }

    pub(crate) fn wait(&mut self, timeout: Duration, ready: &mut Vec<u64>) -> Result<()> {
        let looking = timeout.is_zero();
        if looking != self.looking {
            let nonblock = if looking { flag::O_NONBLOCK } else { 0 };
            #[allow(clippy::cast_sign_loss, reason = "flags")]
            let flags = (flag::O_RDWR | nonblock) as usize;
            self.queue.fcntl(F_SETFL, flags).map_err(|error| os("wait for events".to_string(), error))?;
            self.looking = looking;
        }
        self.set_timer(if looking { TICK } else { timeout.min(TICK) })?;
        let mut bytes = [0; MOST_EVENTS * size_of::<Event>()];
        let len = match self.queue.read(&mut bytes) {
            Ok(len) => len,
            Err(error) if error.is_wouldblock() || error.errno() == errno::EINTR => 0,
            Err(error) => return Err(os("wait for events".to_string(), error)),
        };
        for event in bytes.get(..len).unwrap_or_default().chunks_exact(size_of::<Event>()) {
            let Some(data) = event.get(offset_of!(Event, data)..).and_then(<[u8]>::first_chunk) else {
                continue;
            };
            match usize::from_ne_bytes(*data) {
                TIMER => {
                    self.due = None;
                    monotonic_now();
                }
                token => ready.push(token as u64),
            }
        }
        Ok(())
    }

    /// Has the timer go off within `wait`, unless it does anyway.
    fn set_timer(&mut self, wait: Duration) -> Result<()> {
        let short = wait < SHORT;
        if let Some(due) = self.due
            && !short
            && due <= coarse_now().plus(wait)
        {
            return Ok(());
        }
        let due = monotonic_now().plus(wait);
        if self.due.is_some_and(|set| set <= due) {
            return Ok(());
        }
        let time = TimeSpec::from_nanos(due.as_nanos().into());
        match self.timer.write(&time) {
            Ok(len) if len == size_of::<TimeSpec>() => {}
            Ok(_) => return Err(os("set a timer".to_string(), libredox::error::Error::new(errno::EIO))),
            Err(error) => return Err(os("set a timer".to_string(), error)),
        }
        self.due = Some(due);
        Ok(())
    }
}
