//! The disk scheme: what Redox clients see of a controller's disks.
//!
//! Names, node layout and numbers are those of upstream's drivers, so that a system does not notice which one it has. The
//! root lists the nodes, by entries and as text. `1` is the disk with that number (an NVMe namespace's id), `1p0` its
//! first partition, counted from 0 without gaps in the order of the table. `inspect` is not listed; reading it from its
//! beginning has the driver report on itself.
//!
//! | request | answer |
//! |---|---|
//! | open | only for root (`EACCES`). Blocks that somebody has open are not given out again (`ENOLCK`): a disk and its partitions exclude each other, partitions do not. To be looked at (`O_STAT`) anything can be opened. |
//! | read | multiples of the block size, from multiples of it (`EINVAL`). At the end 0 bytes, across it as many as there are. |
//! | write | likewise; at the end `ENOSPC`. `EROFS` on a disk that refuses writing. |
//! | fsync | everything answered before is on the medium. |
//! | fstat, fsize | size in bytes, block size, blocks. |
//! | fpath | `disk.pci-0000-00-04.0-nvme:1p0` |
//! | call | [`verbs`] |
//!
//! Reads and writes are for the whole of what was asked, or fail: with `EIO` when the device failed, `ENODEV` when the
//! disk is gone. A large one is split over the queues. Requests are answered as they end, in any order; those for which
//! there is no room wait in the order in which they came. Opening never waits for the device: the system's namespace
//! manager waits for it, and everybody for that.
//!
//! The logic knows no operating system: [`SchemeRequest`]s come in, [`Answer`]s go out, and a [`Carrier`] takes
//! [`Piece`]s to the disks.

mod carrier;
mod disks;
mod handles;
mod jobs;
mod link;
mod node;
mod serve;
pub mod server;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod verbs;

pub use carrier::{Carried, Carrier, Piece};
pub use serve::DiskScheme;

#[cfg(doc)]
use redox_driver_sys::scheme::{Answer, SchemeRequest};
