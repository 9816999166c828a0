//! Linux, where the kernel has no driver for the unit (`amd_iommu=off`).

mod machine;
mod server;

pub use machine::{Machine, MachineError};
pub use server::{Server, ServerError};
