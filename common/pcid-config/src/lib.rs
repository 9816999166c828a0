//! The `pcid.d` files: which daemon drives which PCI function.
//!
//! The format, the order of the files and the way an entry matches are those of Redox's pcid, so that one file serves
//! both systems. Two things differ, both on the side of caution: a file that cannot be understood is reported
//! and left out instead of stopping everything, and an entry that would claim every function is refused.
//!
//! ```toml
//! [[drivers]]
//! name = "E1000 NIC"
//! class = 0x02
//! ids = { 0x8086 = [0x1004, 0x100e] }
//! command = ["e1000d"]
//! ```

#![forbid(unsafe_code)]

mod entry;
mod load;
mod parse;

pub use entry::{DriverConfig, FunctionId};
pub use load::{Config, DEFAULT_DIRS, Entry, Problem};
pub use parse::{ParseError, Parsed, parse};
