//! What is wrong with a message.

/// A message is not as the specification says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It has more or fewer bytes than its kind has, or than it says.
    #[error("a message of {bytes} bytes, of {expected}")]
    Length {
        /// What came.
        bytes: usize,
        /// What there should be.
        expected: usize,
    },
    /// It is of another version.
    #[error("version {0} of the protocol")]
    Version(u16),
    /// There is no such operation.
    #[error("operation {0}")]
    Operation(u16),
    /// A list is longer than is allowed.
    #[error("a list of {0} elements")]
    List(u32),
    /// A reserved field is not 0, or has bits that mean nothing.
    #[error("{0} has bits that mean nothing")]
    Reserved(&'static str),
    /// The reply is not to the request.
    #[error("a reply to request {got}, of {expected}")]
    Stray {
        /// Whose it is.
        got: u32,
        /// Whose was waited for.
        expected: u32,
    },
}

/// Errors of replies (section 4): the numbers of Linux, which are those of Redox.
pub mod errno {
    /// The device, domain or memory is another's, or the caller does not hold it.
    pub const EPERM: i32 = 1;
    /// There is no such domain, memory, mapping or device.
    pub const ENOENT: i32 = 2;
    /// The unit does not do what it is told: the daemon keeps what a device might still reach.
    pub const EIO: i32 = 5;
    /// There is no memory.
    pub const ENOMEM: i32 = 12;
    /// The memory may not be used so.
    pub const EACCES: i32 = 13;
    /// The device or a range is in use.
    pub const EBUSY: i32 = 16;
    /// The request makes no sense.
    pub const EINVAL: i32 = 22;
    /// The address space is full.
    pub const ENOSPC: i32 = 28;
    /// The system or the unit cannot do it.
    pub const EOPNOTSUPP: i32 = 95;
    /// The caller has as many as it may.
    pub const EDQUOT: i32 = 122;
}
