//! Developer commands of the Red Bear drivers, and the QEMU rig that they stand on.

#![forbid(unsafe_code)]

pub mod bench;
pub mod cli;
pub mod debian;
pub mod demo;
pub mod dev;
pub mod process;
pub mod progress;
pub mod redox;
pub mod rig;
pub mod smoke;
pub mod workspace;
