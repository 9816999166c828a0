//! What can go wrong with a controller.

use driver_block::BlockError;

/// The result of an operation on a controller.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An operation on a controller failed. The text names the step and the value; the daemon adds the device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The machine, or a register.
    #[error("{step}")]
    Machine {
        /// What was attempted.
        step: &'static str,
        /// Why it failed.
        #[source]
        source: redox_driver_sys::Error,
    },
    /// The controller has values or lacks features that the driver cannot work with.
    #[error("{0}")]
    Unusable(String),
}

impl Error {
    /// Wraps an error of the machine.
    pub(crate) fn machine(step: &'static str) -> impl FnOnce(redox_driver_sys::Error) -> Error {
        move |source| Error::Machine { step, source }
    }

    /// What the block layer is told.
    pub fn as_block_error(&self) -> BlockError {
        match self {
            Error::Machine { source: redox_driver_sys::Error::Timeout { .. }, .. } => BlockError::TimedOut,
            Error::Machine { .. } | Error::Unusable(_) => BlockError::Gone,
        }
    }
}
