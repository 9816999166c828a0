//! One module per operating system, all with the same names: [`Poller`], [`InterruptFd`], the clocks and
//! `open_function`.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;
