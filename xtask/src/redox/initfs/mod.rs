//! The initfs: the archive that the bootloader puts into memory with all that has to run before there is a root file
//! system, storage drivers among it. Base's build makes it as `/usr/lib/boot/initfs`.

mod driver;
mod format;
mod read;
#[cfg(test)]
mod tests;
mod tree;
mod write;

pub use driver::{DriverError, Installed};
pub use read::ReadError;
pub use tree::{Initfs, Node};
pub use write::WriteError;
