//! What can go wrong between a driver and the machine.

use std::{io, time::Duration};

/// The result of an operation on the machine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An operation on the machine failed. The text names the step and the value; the daemon adds the device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A register that cannot be all ones reads all ones: the device was removed or its link is down.
    #[error("device is gone: {register} reads all ones")]
    Gone {
        /// The register that was read.
        register: &'static str,
    },
    /// Something that the device must do within a bound did not happen.
    #[error("{what} did not happen within {after:?}")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        after: Duration,
    },
    /// A call of the operating system failed.
    #[error("{step}")]
    Os {
        /// What was attempted, with the name of the thing it was attempted on.
        step: String,
        /// What the operating system answered.
        #[source]
        source: io::Error,
    },
    /// A register or a range lies outside its region, or is not aligned to its size.
    #[error("{len} bytes at offset {offset:#x} do not fit in a region of {region:#x} bytes")]
    OutOfBounds {
        /// Offset in bytes from the start of the region.
        offset: u64,
        /// Length in bytes.
        len: u64,
        /// Length of the region in bytes.
        region: u64,
    },
    /// A base address register cannot be used.
    #[error("BAR {bar}: {reason}")]
    Bar {
        /// Number of the register, 0–5.
        bar: u8,
        /// Why it cannot be used.
        reason: String,
    },
    /// A PCI capability is missing or malformed.
    #[error("PCI capability {name}: {reason}")]
    Capability {
        /// Name of the capability in the PCI specification.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no memory that fits the request, or no room in the device's address space.
    #[error("no DMA memory: {len} bytes aligned to {align} below {mask:#x}: {reason}")]
    DmaMemory {
        /// Length in bytes.
        len: usize,
        /// Alignment in bytes.
        align: usize,
        /// Highest address the device can reach.
        mask: u64,
        /// Which resource ran out.
        reason: &'static str,
    },
    /// A value given by the caller makes no sense.
    #[error("{what}: {value}")]
    Invalid {
        /// What is wrong.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// The function cannot be taken over. The text names it and says what to do.
    #[error("{reason}")]
    Attach {
        /// What is missing or in the way.
        reason: String,
    },
    /// The function, the OS or the model has no such thing.
    #[error("not supported: {0}")]
    Unsupported(String),
}

impl Error {
    /// Wraps what the operating system answered to `step`.
    pub fn os(step: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Error::Os { step: step.into(), source: source.into() }
    }

    /// Whether the device itself disappeared, so that retrying is pointless.
    pub fn is_gone(&self) -> bool {
        matches!(self, Error::Gone { .. })
    }
}

/// An error with its sources, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_comes_with_its_sources() {
        let error = Error::os("mapping a BAR", io::Error::other("no room"));
        assert_eq!(chain(&error), format!("{error}: no room"));
    }
}
