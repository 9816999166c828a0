//! What programs in a Redox guest of the rig have in common: how they speak to the host, and what they ask the system.

#![forbid(unsafe_code)]

pub mod console;
pub mod disk;
pub mod pattern;
pub mod system;
