//! What can go wrong with a device.

use std::time::Duration;

use driver_block::BlockError;

/// The result of an operation on a device.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An operation on a device failed. The text names the step and the value; the daemon adds the device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The transport or the machine.
    #[error(transparent)]
    Virtio(#[from] virtio_core::Error),
    /// The machine, while something of the driver's own was set up.
    #[error("{step}")]
    Machine {
        /// What was attempted.
        step: &'static str,
        /// Why it failed.
        #[source]
        source: redox_driver_sys::Error,
    },
    /// The device did not answer a request while it was being set up.
    #[error("{request}: no completion within {after:?}")]
    NoCompletion {
        /// Which request.
        request: virtio_spec::blk::RequestType,
        /// How long was waited.
        after: Duration,
    },
    /// The device broke the protocol of a queue while it was being set up.
    #[error("{request}: {source}")]
    Protocol {
        /// Which request.
        request: virtio_spec::blk::RequestType,
        /// What it did.
        source: virtio_core::QueueError,
    },
    /// The device has values or lacks features that the driver cannot work with.
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
            Error::Virtio(error) if error.is_timeout() => BlockError::TimedOut,
            Error::NoCompletion { .. } => BlockError::TimedOut,
            Error::Protocol { .. } => BlockError::Protocol,
            Error::Virtio(_) | Error::Machine { .. } | Error::Unusable(_) => BlockError::Gone,
        }
    }
}
