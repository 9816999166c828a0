//! What can go wrong with a controller.

use std::time::Duration;

use driver_block::BlockError;
use nvme_spec::Status;

/// The result of an operation on a controller.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An operation on a controller failed. The text names the step and the value; the daemon adds the device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The machine, not the controller's command processing.
    #[error("{step}")]
    Machine {
        /// What was attempted.
        step: &'static str,
        /// Why it failed.
        #[source]
        source: redox_driver_sys::Error,
    },
    /// The controller set CSTS.CFS.
    #[error("{step}: the controller reports a fatal status (CSTS.CFS)")]
    Fatal {
        /// What was attempted.
        step: &'static str,
    },
    /// The controller completed a command with an error.
    #[error("{command}: {status}")]
    Command {
        /// Which command, with its arguments.
        command: String,
        /// How it ended.
        status: Status,
    },
    /// The controller did not complete an admin command.
    #[error("{command}: no completion within {after:?}")]
    NoCompletion {
        /// Which command, with its arguments.
        command: String,
        /// How long was waited.
        after: Duration,
    },
    /// Admin commands are not possible until the controller is reset: it is disabled, or never completed an earlier one.
    #[error("{command}: not sent, the controller must be reset first")]
    AdminClosed {
        /// Which command, with its arguments.
        command: String,
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
            Error::Machine { source, .. } if source.is_gone() => BlockError::Gone,
            Error::Machine { source: redox_driver_sys::Error::Timeout { .. }, .. }
            | Error::NoCompletion { .. }
            | Error::AdminClosed { .. } => BlockError::TimedOut,
            Error::Machine { .. } | Error::Fatal { .. } | Error::Unusable(_) => BlockError::Gone,
            Error::Command { status, .. } => crate::status::block_error(*status, false),
        }
    }
}
