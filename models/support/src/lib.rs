//! What device models share: faults on demand, chance that replays, and the medium of a disk behind its volatile cache.
#![forbid(unsafe_code)]

mod chance;
pub mod fault;
mod medium;

pub use chance::generator;
pub use medium::Medium;
