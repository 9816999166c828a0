//! The NVMe daemon.
fn main() {}
