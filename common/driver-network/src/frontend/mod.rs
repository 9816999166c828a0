//! One module per operating system: what clients see of a device.

pub mod scheme;
#[cfg(target_os = "linux")]
pub mod tap;
