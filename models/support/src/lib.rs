//! What device models share: the medium of a disk behind its volatile cache, and chance that replays.
#![forbid(unsafe_code)]

mod chance;
mod medium;

pub use chance::generator;
pub use medium::Medium;
