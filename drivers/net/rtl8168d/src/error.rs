//! What can go wrong with a device.

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
    /// No station can have the address that is stored in the device.
    #[error("the device has the address {0}, which no station can have")]
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
    /// The chip is none that the driver knows.
    #[error("unknown chip XID {xid:03x}")]
    UnknownChip {
        /// [`rtl8168_spec::registers::TxConfig::xid`].
        xid: u16,
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
#[error("register {register:#04x}: {source}")]
pub struct MdioError {
    /// The PHY's register.
    pub register: u8,
    /// Why.
    #[source]
    pub source: redox_driver_sys::Error,
}

impl Error {
    /// Wraps an error of the machine.
    pub(crate) fn machine(step: &'static str) -> impl FnOnce(redox_driver_sys::Error) -> Error {
        move |source| Error::Machine { step, source }
    }

    /// What the framework is told.
    pub fn as_net_error(&self) -> NetError {
        match self {
            Error::Machine { source, .. } | Error::Phy(PhyError::Mdio(MdioError { source, .. })) => {
                match source {
                    redox_driver_sys::Error::Timeout { .. } => NetError::TimedOut,
                    redox_driver_sys::Error::DmaMemory { .. } => NetError::Resources,
                    _ => NetError::Gone,
                }
            }
            Error::Phy(PhyError::Stuck(_)) => NetError::TimedOut,
            Error::Phy(PhyError::Missing) | Error::Unknown { .. } | Error::UnknownChip { .. } => {
                NetError::Gone
            }
            Error::Address(_) | Error::Phy(_) => NetError::Protocol,
            Error::Shape { .. } => NetError::Invalid,
        }
    }
}
