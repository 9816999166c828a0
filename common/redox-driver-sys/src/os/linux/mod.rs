//! Linux: VFIO.

mod vfio;

use rustix::time::ClockId;
pub(crate) use vfio::{InterruptFd, open_function};

use crate::time::Time;

pub(crate) fn coarse_now() -> Time {
    super::read_clock(ClockId::MonotonicCoarse)
}
