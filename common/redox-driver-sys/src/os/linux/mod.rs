//! Linux: epoll, eventfd, VFIO.

mod poller;
mod vfio;

pub(crate) use poller::Poller;
use rustix::time::{ClockId, clock_gettime};
pub(crate) use vfio::{InterruptFd, open_function};

use crate::time::Time;

fn read(clock: ClockId) -> Time {
    let now = clock_gettime(clock);
    let (seconds, nanos) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    Time::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

pub(crate) fn monotonic_now() -> Time {
    read(ClockId::Monotonic)
}

pub(crate) fn coarse_now() -> Time {
    read(ClockId::MonotonicCoarse)
}
