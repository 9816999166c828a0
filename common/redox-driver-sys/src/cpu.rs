//! The processors.

/// How many there are, at least one.
pub fn count() -> usize {
    // The standard library does not know on Redox.
    #[cfg(target_os = "redox")]
    let count = crate::os::processors().ok().map(|processors| processors.len());
    #[cfg(not(target_os = "redox"))]
    let count = std::thread::available_parallelism().ok().map(usize::from);
    count.unwrap_or(1).max(1)
}
