//! What can go wrong with a device.

/// Why a device did not do what it was asked. The driver logs the details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// The device is no longer there.
    #[error("device is gone")]
    Gone,
    /// The device answered what its specification does not allow.
    #[error("device broke its protocol")]
    Protocol,
    /// The device did not answer in time.
    #[error("timed out")]
    TimedOut,
    /// The device has no such thing.
    #[error("not supported")]
    Unsupported,
    /// The value makes no sense.
    #[error("invalid")]
    Invalid,
    /// The machine has no memory or interrupt for it.
    #[error("out of resources")]
    Resources,
}

impl NetError {
    /// The error number that a client is answered: the values are the same on Linux and Redox.
    pub const fn errno(self) -> i32 {
        const EIO: i32 = 5;
        const ENOMEM: i32 = 12;
        const ENODEV: i32 = 19;
        const EINVAL: i32 = 22;
        const EOPNOTSUPP: i32 = 95;
        match self {
            NetError::Gone => ENODEV,
            NetError::Protocol | NetError::TimedOut => EIO,
            NetError::Unsupported => EOPNOTSUPP,
            NetError::Invalid => EINVAL,
            NetError::Resources => ENOMEM,
        }
    }
}
