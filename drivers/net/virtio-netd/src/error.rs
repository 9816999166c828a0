//! What can go wrong with a device.

use std::time::Duration;

use driver_network::{MacAddress, NetError};
use virtio_spec::net::control::{Ack, Command};

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
    /// No station can have the device's address.
    #[error("the device has the address {0}, which no station can have")]
    Address(MacAddress),
    /// The device has a number of pairs of queues that is not possible.
    #[error("max_virtqueue_pairs is {pairs}, and there are {queues} queues")]
    Pairs {
        /// What it says.
        pairs: u16,
        /// How many queues it has.
        queues: u16,
    },
    /// The device did not answer a command.
    #[error("{command}: no answer within {after:?}")]
    NoAnswer {
        /// Which command.
        command: Command,
        /// How long was waited.
        after: Duration,
    },
    /// The device did not do what it was told.
    #[error("{command}: answered {ack}")]
    Refused {
        /// Which command.
        command: Command,
        /// Its answer.
        ack: Ack,
    },
    /// The device broke the protocol of the control queue.
    #[error("{command}")]
    Control {
        /// Which command.
        command: Command,
        /// What it did.
        #[source]
        source: virtio_core::AddError,
    },
    /// The device lacks what would be needed for something.
    #[error("{what}: the device does not offer {feature}")]
    Lacks {
        /// What was wanted.
        what: &'static str,
        /// The feature's name in the specification.
        feature: &'static str,
    },
    /// The device cannot have such rings or frames.
    #[error("{what}: {value}")]
    Shape {
        /// What is out of range.
        what: &'static str,
        /// The value.
        value: u16,
    },
    /// After a reset there are other features, pairs or rings.
    #[error("another device answers after the reset: {0}")]
    Changed(&'static str),
    /// The device says that it cannot go on.
    #[error("the device needs a reset (DEVICE_NEEDS_RESET)")]
    NeedsReset,
}

impl Error {
    /// Wraps an error of the machine.
    pub(crate) fn machine(step: &'static str) -> impl FnOnce(redox_driver_sys::Error) -> Error {
        move |source| Error::Machine { step, source }
    }

    /// Whether the device stopped in the middle of a command: another reset may help, and the next look asks for it.
    pub(crate) fn is_stuck(&self) -> bool {
        matches!(self, Error::NoAnswer { .. } | Error::Control { .. } | Error::NeedsReset)
    }

    /// What the framework is told.
    pub fn as_net_error(&self) -> NetError {
        match self {
            Error::Virtio(error) if error.is_timeout() => NetError::TimedOut,
            Error::NoAnswer { .. } => NetError::TimedOut,
            Error::Machine { source: redox_driver_sys::Error::DmaMemory { .. }, .. }
            | Error::Virtio(virtio_core::Error::Machine {
                source: redox_driver_sys::Error::DmaMemory { .. },
                ..
            }) => NetError::Resources,
            Error::Virtio(_) | Error::Machine { .. } | Error::Changed(_) => NetError::Gone,
            Error::Address(_)
            | Error::Pairs { .. }
            | Error::Refused { .. }
            | Error::Control { .. }
            | Error::NeedsReset => NetError::Protocol,
            Error::Lacks { .. } => NetError::Unsupported,
            Error::Shape { .. } => NetError::Invalid,
        }
    }
}
