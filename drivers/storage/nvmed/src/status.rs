//! What a command's status means for the block layer.

use driver_block::BlockError;
use nvme_spec::{Status, StatusCodeType};

/// Translates a status that is not success; `do_not_retry` is the completion's DNR bit.
pub(crate) fn block_error(status: Status, do_not_retry: bool) -> BlockError {
    let error = match status {
        Status::LBA_OUT_OF_RANGE => BlockError::OutOfRange,
        Status::CAPACITY_EXCEEDED => BlockError::NoSpace,
        Status::NAMESPACE_WRITE_PROTECTED | Status::WRITE_TO_READ_ONLY => BlockError::ReadOnly,
        Status::INVALID_OPCODE
        | Status::INVALID_FIELD
        | Status::INVALID_NAMESPACE
        | Status::CONFLICTING_ATTRIBUTES => BlockError::Unsupported,
        Status::ABORT_REQUESTED | Status::ABORTED_SQ_DELETION | Status::ABORTED_BY_HOST => {
            BlockError::Aborted
        }
        Status::DATA_TRANSFER_ERROR
        | Status::POWER_LOSS_ABORT
        | Status::INTERNAL_ERROR
        | Status::COMMAND_INTERRUPTED
        | Status::TRANSIENT_TRANSPORT_ERROR
        | Status::NAMESPACE_NOT_READY
        | Status::FORMAT_IN_PROGRESS
        | Status::SANITIZE_IN_PROGRESS => BlockError::Transient,
        _ if status.code_type() == StatusCodeType::PATH => BlockError::Transient,
        _ => BlockError::Medium,
    };
    if do_not_retry && error.is_retryable() { BlockError::Medium } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn do_not_retry_is_obeyed() {
        assert_eq!(block_error(Status::INTERNAL_ERROR, false), BlockError::Transient);
        assert_eq!(block_error(Status::INTERNAL_ERROR, true), BlockError::Medium);
        assert_eq!(block_error(Status::ABORT_REQUESTED, true), BlockError::Medium);
        assert_eq!(block_error(Status::LBA_OUT_OF_RANGE, true), BlockError::OutOfRange);
    }

    #[test]
    fn what_nobody_defined_is_a_medium_error() {
        assert_eq!(block_error(Status::of(7, 0x42), false), BlockError::Medium);
        assert_eq!(block_error(Status::of(3, 0x42), false), BlockError::Transient);
    }
}
