//! One module per operating system: what clients see of a device.

#[cfg(target_os = "linux")]
pub mod tap;
