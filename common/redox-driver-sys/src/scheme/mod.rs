//! What the Redox kernel and a scheme say to each other.
//!
//! A scheme reads [requests](SchemeRequest) from its socket, many at once, and writes [answers](Answer), many at once and
//! in any order. The format (`redox_syscall`'s `schemev2`) is understood on every system, so that a scheme's logic can be
//! tested anywhere; the socket itself exists on Redox only.
//!
//! A client's buffers are in this process for as long as its request is not answered. [`SchemeRequest`] owns that right:
//! it is given up by [`SchemeRequest::answer`]. Other threads of the client can change the memory at any time, which is
//! why it is copied and never borrowed.

#![cfg_attr(
    not(any(test, target_os = "redox")),
    allow(dead_code, reason = "the socket that requests are parsed from exists on Redox alone")
)]

mod memory;
mod operation;
mod request;
#[cfg(test)]
mod tests;

pub use operation::{DirectoryEntries, OpenFlags, Operation};
pub use request::{Answer, Reply, SchemeRequest};

#[cfg(target_os = "redox")]
pub use crate::os::scheme::SchemeSocket;

pub use rustix::io::Errno;
