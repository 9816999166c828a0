//! Monotonic time, deadlines and bounded polling.

use std::time::Duration;

use crate::error::{Error, Result};

/// A point in monotonic time, in nanoseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The point `nanos` nanoseconds after the start of the clock.
    pub const fn from_nanos(nanos: u64) -> Self {
        Time(nanos)
    }

    /// Nanoseconds since the start of the clock.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time that passed since `earlier`; zero if `earlier` is later.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The point `after` later, saturating at the end of time.
    #[must_use]
    pub const fn plus(self, after: Duration) -> Time {
        let nanos = after.as_nanos();
        if nanos > u64::MAX as u128 {
            Time(u64::MAX)
        } else {
            #[allow(clippy::cast_possible_truncation, reason = "bounded above")]
            Time(self.0.saturating_add(nanos as u64))
        }
    }
}

/// Where a driver's time comes from: the machine's monotonic clock, or a model's virtual one.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Monotonic,
    #[cfg(feature = "model")]
    Model(crate::model::Host),
}

impl Clock {
    /// The machine's monotonic clock.
    pub const fn monotonic() -> Self {
        Clock(Source::Monotonic)
    }

    #[cfg(feature = "model")]
    pub(crate) fn model(host: crate::model::Host) -> Self {
        Clock(Source::Model(host))
    }

    /// The current time.
    pub fn now(&self) -> Time {
        match &self.0 {
            Source::Monotonic => crate::os::monotonic_now(),
            #[cfg(feature = "model")]
            Source::Model(host) => host.now(),
        }
    }

    /// The current time to a few milliseconds, for deadlines on a hot path: never reads a clock device.
    pub fn coarse(&self) -> Time {
        match &self.0 {
            Source::Monotonic => crate::os::coarse_now(),
            #[cfg(feature = "model")]
            Source::Model(host) => host.now(),
        }
    }

    /// Lets `duration` pass. A model runs meanwhile.
    pub fn sleep(&self, duration: Duration) {
        match &self.0 {
            Source::Monotonic => std::thread::sleep(duration),
            #[cfg(feature = "model")]
            Source::Model(host) => host.advance(duration),
        }
    }

    #[cfg(feature = "model")]
    pub(crate) fn model_host(&self) -> Option<&crate::model::Host> {
        match &self.0 {
            Source::Monotonic => None,
            Source::Model(host) => Some(host),
        }
    }

    /// A deadline `after` from now.
    pub fn deadline(&self, after: Duration) -> Deadline {
        Deadline { at: self.now().plus(after), after }
    }

    /// Asks `ready` every `interval` until it gives a value, at most `timeout` long, and once more after that, so that
    /// a process that was not scheduled does not blame the device.
    ///
    /// # Errors
    /// [`Error::Timeout`] naming `what`, or whatever `ready` fails with.
    pub fn poll_until<T>(
        &self,
        what: &'static str,
        timeout: Duration,
        interval: Duration,
        mut ready: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = self.deadline(timeout);
        loop {
            let late = deadline.passed(self);
            if let Some(value) = ready()? {
                return Ok(value);
            }
            if late {
                return Err(Error::Timeout { what, after: timeout });
            }
            self.sleep(interval);
        }
    }
}

/// The end of a wait, and how long the wait was meant to be.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Time,
    after: Duration,
}

impl Deadline {
    /// When the wait ends.
    pub const fn at(&self) -> Time {
        self.at
    }

    /// Whether the wait is over.
    pub fn passed(&self, clock: &Clock) -> bool {
        clock.now() >= self.at
    }

    /// The error of a wait that is over.
    pub const fn error(&self, what: &'static str) -> Error {
        Error::Timeout { what, after: self.after }
    }
}
