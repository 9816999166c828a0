//! What device models share: faults on demand, chance that replays, the medium of a disk behind its volatile cache, and the
//! PHY of a network device.
#![forbid(unsafe_code)]

mod chance;
pub mod fault;
mod medium;
pub mod phy;
mod seeds;

pub use chance::generator;
pub use medium::Medium;
pub use seeds::over_seeds;
