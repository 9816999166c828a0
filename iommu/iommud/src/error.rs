//! Why a request is refused.

use iommu_protocol::{Malformed, errno};

use crate::unit::UnitError;

/// The result of a request.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A request is refused. The text is for the log; the client gets [`errno`](Error::errno).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The message is not as the protocol says.
    #[error("malformed request")]
    Malformed(#[from] Malformed),
    /// A value makes no sense.
    #[error("{what} {value:#x}")]
    Invalid {
        /// Which value.
        what: &'static str,
        /// It.
        value: u64,
    },
    /// There is nothing with that name that is the caller's.
    #[error("no {what} {name}")]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// How it was called.
        name: String,
    },
    /// It belongs to somebody, or something is there.
    #[error("{what} is in use")]
    InUse {
        /// What.
        what: String,
    },
    /// There is no free address.
    #[error("no room for {len:#x} bytes aligned to {align:#x} below {mask:#x}")]
    Full {
        /// Bytes.
        len: u64,
        /// Alignment in bytes.
        align: u64,
        /// The highest address.
        mask: u64,
    },
    /// The caller has as many as it may.
    #[error("quota of {quota} {what}")]
    Quota {
        /// Of what.
        what: &'static str,
        /// How many.
        quota: u64,
    },
    /// The caller may not.
    #[error("{0}")]
    Denied(String),
    /// The memory may not be used so.
    #[error("{0}")]
    Unusable(String),
    /// The system or the unit cannot.
    #[error("{0}")]
    Unsupported(&'static str),
    /// There is no memory.
    #[error("no memory")]
    Memory(#[source] redox_driver_sys::Error),
    /// The unit.
    #[error(transparent)]
    Unit(#[from] UnitError),
}

impl Error {
    /// The number that goes into the reply.
    pub fn errno(&self) -> i32 {
        match self {
            Error::Malformed(_) | Error::Invalid { .. } => errno::EINVAL,
            Error::Unknown { .. } | Error::Unit(UnitError::NotBehind { .. }) => errno::ENOENT,
            Error::InUse { .. } => errno::EBUSY,
            Error::Full { .. } => errno::ENOSPC,
            Error::Quota { .. } => errno::EDQUOT,
            Error::Denied(_) => errno::EPERM,
            Error::Unusable(_) => errno::EACCES,
            Error::Unsupported(_) => errno::EOPNOTSUPP,
            Error::Memory(_) => errno::ENOMEM,
            Error::Unit(_) => errno::EIO,
        }
    }
}
