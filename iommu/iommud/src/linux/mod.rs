//! Linux, where the kernel has no driver for the unit (`amd_iommu=off`).

mod descriptors;
mod machine;
mod server;

pub use descriptors::raise_limit;
pub use machine::{Machine, MachineError};
pub use server::{Server, ServerError};
