//! Intel's gigabit Ethernet controllers 82540EM, 82544GC, 82545EM and 82574L, as they lie in registers and memory.
//!
//! Driver and device model share these definitions, so that each field has one place and one citation. "8254x" is the PCI/PCI-X
//! Family of Gigabit Ethernet Controllers Software Developer's Manual (317453), "82574" the 82574 GbE Controller Family datasheet
//! (317694). Values that a device or a driver supplies are never enums: every bit pattern is a value of its type.
#![forbid(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!("descriptors are little-endian and are declared with the machine's integers");

pub mod chip;
pub mod nvm;
pub mod receive;
pub mod registers;
pub mod statistics;
pub mod transmit;

pub use chip::{CHIPS, Chip, Generation, NvmAccess};
