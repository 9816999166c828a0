//! What device models share: faults on demand, chance that replays, the medium of a disk behind its volatile cache, and what network
//! devices have: PHYs, and packets with their faults.
#![forbid(unsafe_code)]

mod chance;
pub mod fault;
mod medium;
pub mod network;
pub mod packet;
pub mod phy;
mod seeds;

pub use chance::generator;
pub use medium::Medium;
pub use seeds::over_seeds;
