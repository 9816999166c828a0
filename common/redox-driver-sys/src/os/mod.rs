//! One module per operating system, all with the same names: `Claim`, `InterruptFd`, `Poller` and `coarse_now`.
//! What is the same on both is here.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "redox")]
mod redox;

#[cfg(target_os = "linux")]
pub(crate) use linux::{Claim, InterruptFd, Poller, coarse_now, tap};
#[cfg(target_os = "linux")]
pub use linux::{iommu, packet, physical};
#[cfg(target_os = "redox")]
pub(crate) use redox::{Claim, InterruptFd, Poller, coarse_now, processors, scheme};
use rustix::time::{ClockId, clock_gettime};

use crate::time::Time;

fn read_clock(clock: ClockId) -> Time {
    let now = clock_gettime(clock);
    let (seconds, nanos) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    #[allow(clippy::useless_conversion, reason = "the width of the fields depends on the system")]
    Time::from_nanos(u64::from(seconds).saturating_mul(1_000_000_000).saturating_add(u64::from(nanos)))
}

pub(crate) fn monotonic_now() -> Time {
    let now = read_clock(ClockId::Monotonic);
    #[cfg(target_os = "redox")]
    redox::clock_was_read(now);
    now
}
