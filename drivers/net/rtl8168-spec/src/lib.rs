//! Realtek's gigabit Ethernet controllers on PCI Express, RTL8168B/8111B to RTL8168H/8111H, as they lie in registers and memory.
//!
//! Driver and device model share these definitions, so that each field has one place. Realtek published data sheets with registers for
//! the first of them alone: "8168B" is the RTL8111B/8168B Registers Data Sheet 1.0. What later chips add is known from the drivers
//! that Realtek gave to others: facts were read off Linux's r8169 and FreeBSD's re(4), which is where a citation says so.
//! Values that a device or a driver supplies are never enums: every bit pattern is a value of its type.
#![forbid(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!("descriptors are little-endian and are declared with the machine's integers");

pub mod chip;
pub mod descriptors;
pub mod indirect;
pub mod registers;
mod set_up;
pub mod tally;

pub use chip::{CHIPS, Chip, Jumbo, Offloads, PhyAccess};
pub use set_up::{PhyStep, Step};
