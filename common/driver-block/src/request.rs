//! What a client asks of a queue, and what it is answered.

use redox_driver_sys::dma::Segment;
use smallvec::SmallVec;

use crate::{
    device::{DiskId, Operation, SubmitError},
    error::BlockError,
};

/// Scatter-gather list of a request. Two segments fit without allocating.
pub type Segments = SmallVec<[Segment; 2]>;

/// What a client asks for.
///
/// Requests that are outstanding at the same time have no order among each other; whoever needs one waits for the
/// answer first. A flush covers what was answered before it was submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub operation: Operation,
    /// On which disk.
    pub disk: DiskId,
    /// The first logical block. Means nothing for a flush.
    pub lba: u64,
    /// How many logical blocks. Means nothing for a flush.
    pub blocks: u64,
    /// A write or write-zeroes is answered only when it is on the medium. Means nothing for other operations.
    pub fua: bool,
    /// From or to where, as many bytes as the blocks have. Empty except for reads and writes. The memory belongs to the
    /// device until the request is answered.
    pub segments: Segments,
    /// Comes back with the answer.
    pub cookie: u64,
}

impl Request {
    /// A read or write of `blocks` blocks from or to `segments`.
    pub fn transfer(
        operation: Operation,
        disk: DiskId,
        lba: u64,
        blocks: u64,
        segments: Segments,
        cookie: u64,
    ) -> Self {
        Request { operation, disk, lba, blocks, fua: false, segments, cookie }
    }

    /// A discard or write-zeroes of `blocks` blocks.
    pub fn range(operation: Operation, disk: DiskId, lba: u64, blocks: u64, cookie: u64) -> Self {
        Request { operation, disk, lba, blocks, fua: false, segments: Segments::new(), cookie }
    }

    /// A flush of `disk`.
    pub fn flush(disk: DiskId, cookie: u64) -> Self {
        Request::range(Operation::Flush, disk, 0, 0, cookie)
    }

    /// The same request with force unit access.
    #[must_use]
    pub fn with_fua(mut self) -> Self {
        self.fua = true;
        self
    }
}

/// The answer to a request. Every request that was taken gets exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// What the client gave with the request.
    pub cookie: u64,
    /// How it ended; when several commands were needed and several failed, the failure that came first.
    pub result: Result<(), BlockError>,
    /// Bytes of the blocks that were carried out: all of them on success. After a failure they need not be the first
    /// ones of the request.
    pub bytes: u64,
}

/// A request that was not taken, and why. It has had no effect and will not be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Rejected {
    /// [`SubmitError::Full`]: the same request will be taken after an answer. Otherwise never.
    pub reason: SubmitError,
    /// The request as it was given.
    pub request: Request,
}

impl Rejected {
    /// The error that a client is to be answered; `None` when the request is to be kept and submitted again.
    pub fn error(&self) -> Option<BlockError> {
        match self.reason {
            SubmitError::Full => None,
            SubmitError::Refused(error) => Some(error),
        }
    }
}

/// What the owner of a queue has to do about a command that takes too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// A command passed its deadline: have the controller abort it. Reported once per submission of the command.
    Abort {
        /// The command's tag.
        tag: u16,
        /// How the controller finds it.
        handle: u32,
    },
    /// An aborted command did not end in time either: the controller must be reset. Reported once per reset.
    Reset,
}
