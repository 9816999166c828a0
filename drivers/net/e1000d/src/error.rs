//! What can go wrong with a device.

use std::time::Duration;

use common::phy::PhyError;
use driver_network::NetError;

/// The result of an operation on a device.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An operation on a device failed. The text names the step and the value; the daemon adds the device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The machine, or the device did not do something in time.
    #[error("{step}")]
    Machine {
        /// What was attempted.
        step: &'static str,
        /// Why it failed.
        #[source]
        source: redox_driver_sys::Error,
    },
    /// The EEPROM's words do not add up.
    #[error(
        "EEPROM words 0 to 0x3f add up to {sum:#06x}, not to 0xbaba; an address given by hand lets it pass"
    )]
    NvmChecksum {
        /// Their sum.
        sum: u16,
    },
    /// No station can have the address in the EEPROM.
    #[error("the EEPROM has the address {0}, which no station can have")]
    Address(driver_network::MacAddress),
    /// The PHY.
    #[error("PHY: {0}")]
    Phy(#[from] PhyError<MdioError>),
    /// The function is none that the driver knows.
    #[error("{vendor:04x}:{device:04x} is no controller that this driver knows")]
    Unknown {
        /// Vendor id.
        vendor: u16,
        /// Device id.
        device: u16,
    },
    /// The device cannot have such rings or frames.
    #[error("{what}: {value}")]
    Shape {
        /// What is out of range.
        what: &'static str,
        /// The value.
        value: u16,
    },
}

/// A register of the PHY could not be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MdioError {
    /// The access did not end.
    #[error("register {register:#04x} was not reached within {after:?}")]
    Late {
        /// The PHY's register.
        register: u8,
        /// How long was waited.
        after: Duration,
    },
    /// The device reports an error.
    #[error("error at register {register:#04x}")]
    Failed {
        /// The PHY's register.
        register: u8,
    },
    /// The device is not there.
    #[error(transparent)]
    Machine(#[from] redox_driver_sys::Error),
}

impl Error {
    /// Wraps an error of the machine.
    pub(crate) fn machine(step: &'static str) -> impl FnOnce(redox_driver_sys::Error) -> Error {
        move |source| Error::Machine { step, source }
    }

    /// What the framework is told.
    pub fn as_net_error(&self) -> NetError {
        match self {
            Error::Machine { source: redox_driver_sys::Error::Timeout { .. }, .. }
            | Error::Phy(PhyError::Stuck(_) | PhyError::Mdio(MdioError::Late { .. })) => NetError::TimedOut,
            Error::Machine { source: redox_driver_sys::Error::DmaMemory { .. }, .. } => NetError::Resources,
            Error::Machine { .. }
            | Error::Phy(PhyError::Missing | PhyError::Mdio(MdioError::Machine(_)))
            | Error::Unknown { .. } => NetError::Gone,
            Error::NvmChecksum { .. } | Error::Address(_) | Error::Phy(_) => NetError::Protocol,
            Error::Shape { .. } => NetError::Invalid,
        }
    }
}
