//! What can go wrong between a driver and a virtio device.

use crate::Features;

/// The result of an operation on a virtio device.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An operation on a virtio device failed. The text names the step and the value; the daemon adds the device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The machine, or a device that does not keep its deadline.
    #[error("{step}")]
    Machine {
        /// What was attempted.
        step: &'static str,
        /// Why it failed.
        #[source]
        source: redox_driver_sys::Error,
    },
    /// The function is no virtio device of the type that is wanted.
    #[error("not a virtio device of type {wanted}: {ids}")]
    WrongDevice {
        /// The type that is wanted (section 5).
        wanted: u16,
        /// What the function is.
        ids: redox_driver_sys::pci::PciIds,
    },
    /// A structure of the transport is missing.
    #[error(
        "no {structure} structure for virtio 1.x; legacy devices (QEMU: disable-modern=on) are not supported"
    )]
    NoStructure {
        /// Its name in section 4.1.4.
        structure: &'static str,
    },
    /// The device does not offer what the driver cannot do without.
    #[error("the device does not offer {feature}{advice}")]
    MissingFeature {
        /// Its name in the specification.
        feature: &'static str,
        /// What to do, or nothing.
        advice: &'static str,
    },
    /// The device offers a combination of features, and then does not take it.
    #[error("the device does not take the features {:#x} (FEATURES_OK)", .accepted.bits())]
    FeaturesRefused {
        /// What the driver chose.
        accepted: Features,
    },
    /// A queue cannot be used.
    #[error("queue {queue}: {reason}")]
    Queue {
        /// Its number.
        queue: u16,
        /// Why.
        reason: String,
    },
    /// The device shows the same structure differently each time.
    #[error("the configuration changes without end")]
    UnstableConfiguration,
}

impl Error {
    /// Wraps an error of the machine.
    pub fn machine(step: &'static str) -> impl FnOnce(redox_driver_sys::Error) -> Error {
        move |source| Error::Machine { step, source }
    }

    /// Whether the device itself disappeared.
    pub fn is_gone(&self) -> bool {
        matches!(self, Error::Machine { source, .. } if source.is_gone())
    }

    /// Whether the device did not do something within its deadline.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Error::Machine { source: redox_driver_sys::Error::Timeout { .. }, .. })
    }
}
