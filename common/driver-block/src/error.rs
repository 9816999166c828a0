//! How a request can end badly.

/// Why a request failed. What a client sees is [`errno`](Self::errno); the driver logs the details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The medium cannot give or keep the data.
    #[error("medium error")]
    Medium,
    /// The device failed for now; the block layer tries again a few times.
    #[error("transient device error")]
    Transient,
    /// The device ended the command because it was asked to, or because a queue was deleted. Tried again.
    #[error("aborted")]
    Aborted,
    /// The device answered what its specification does not allow.
    #[error("device broke its protocol")]
    Protocol,
    /// The device did not answer in time, nor after a reset.
    #[error("timed out")]
    TimedOut,
    /// The device is no longer there, or was given up.
    #[error("device is gone")]
    Gone,
    /// The device or the request's direction does not allow writing.
    #[error("read-only")]
    ReadOnly,
    /// The device has no such command.
    #[error("not supported")]
    Unsupported,
    /// A thinly provisioned device is full.
    #[error("no space on device")]
    NoSpace,
    /// The request is unaligned, empty or malformed.
    #[error("invalid request")]
    Invalid,
    /// The request reaches beyond the end of the disk or partition.
    #[error("out of range")]
    OutOfRange,
}

impl BlockError {
    /// Whether the same command may succeed when it is submitted again.
    pub const fn is_retryable(self) -> bool {
        matches!(self, BlockError::Transient | BlockError::Aborted)
    }

    /// The error number that a client is answered: the values are the same on Linux and Redox.
    pub const fn errno(self) -> i32 {
        const EIO: i32 = 5;
        const EINVAL: i32 = 22;
        const ENODEV: i32 = 19;
        const ENOSPC: i32 = 28;
        const EROFS: i32 = 30;
        const EOPNOTSUPP: i32 = 95;
        match self {
            BlockError::Medium
            | BlockError::Transient
            | BlockError::Aborted
            | BlockError::Protocol
            | BlockError::TimedOut => EIO,
            BlockError::Gone => ENODEV,
            BlockError::ReadOnly => EROFS,
            BlockError::Unsupported => EOPNOTSUPP,
            BlockError::NoSpace => ENOSPC,
            BlockError::Invalid | BlockError::OutOfRange => EINVAL,
        }
    }
}
