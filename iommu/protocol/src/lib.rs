//! The messages between the IOMMU daemon and its clients, version 2. `docs/iommu-protocol.md` is the specification; section
//! numbers are those of it.
//!
//! A client sends a request and receives one reply. Both begin with a header and are of a bounded length; integers are
//! little-endian. On Linux each is one message of a `SOCK_SEQPACKET` socket, descriptors beside it (`SCM_RIGHTS`). On Redox
//! a request is one write to a handle of the scheme `iommu:`, and its reply the next read.
#![forbid(unsafe_code)]

mod error;
mod messages;
mod reply;
mod request;

pub use error::{Malformed, errno};
pub use messages::*;
pub use reply::{Reply, ReplyHeader, Report, parse_reply};
pub use request::{Operation, Request, RequestHeader};

/// The version of the protocol, in every header.
pub const VERSION: u16 = 2;
/// Bytes of the longest message.
pub const MOST_BYTES: usize = 16 * 1024;
/// Elements of the longest list.
pub const MOST_ELEMENTS: usize = 256;
/// Where the daemon's socket is on Linux, if `IOMMU_SOCKET` in the environment does not say otherwise.
pub const SOCKET: &str = "/run/iommud.sock";
/// The variable of the environment that names the daemon's socket on Linux.
pub const SOCKET_VARIABLE: &str = "IOMMU_SOCKET";

// Integers are stored as they are in memory: client and daemon are on one machine.
const _: () = assert!(cfg!(target_endian = "little"));
