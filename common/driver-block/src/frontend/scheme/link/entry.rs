//! What is in the rings.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{
    device::{DiskId, Operation},
    error::BlockError,
};

/// A piece on its way to the driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Entry {
    /// The first block.
    pub(super) lba: u64,
    /// Comes back with the answer.
    pub(super) id: u32,
    pub(super) disk: u32,
    pub(super) blocks: u32,
    operation: u32,
    /// Where its data are in the pool, in bytes.
    pub(super) offset: u32,
    /// How many bytes of data there are.
    pub(super) len: u32,
}

/// The answer to a piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Answer {
    /// The piece's.
    pub(super) id: u32,
    /// 0, or the place of an error in [`ERRORS`], counted from 1.
    error: u32,
}

const OPERATIONS: [Operation; 5] =
    [Operation::Read, Operation::Write, Operation::Flush, Operation::Discard, Operation::WriteZeroes];

const ERRORS: [BlockError; 11] = [
    BlockError::Medium,
    BlockError::Transient,
    BlockError::Aborted,
    BlockError::Protocol,
    BlockError::TimedOut,
    BlockError::Gone,
    BlockError::ReadOnly,
    BlockError::Unsupported,
    BlockError::NoSpace,
    BlockError::Invalid,
    BlockError::OutOfRange,
];

/// The place of `wanted` in a list that has it.
fn place<T: PartialEq>(list: &[T], wanted: &T) -> u32 {
    (0..).zip(list).find_map(|(place, one)| (one == wanted).then_some(place)).unwrap_or(u32::MAX)
}

impl Entry {
    pub(super) fn new(id: u32, operation: Operation, disk: DiskId, lba: u64, blocks: u32) -> Self {
        let operation = place(&OPERATIONS, &operation);
        Entry { lba, id, disk: disk.0, blocks, operation, offset: 0, len: 0 }
    }

    /// What is to be done, if it is anything.
    pub(super) fn operation(&self) -> Option<Operation> {
        OPERATIONS.get(self.operation as usize).copied()
    }
}

impl Answer {
    pub(super) fn new(id: u32, result: Result<(), BlockError>) -> Self {
        let error = result.err().map_or(0, |error| place(&ERRORS, &error).saturating_add(1));
        Answer { id, error }
    }

    pub(super) fn result(&self) -> Result<(), BlockError> {
        match self.error.checked_sub(1) {
            None => Ok(()),
            Some(place) => Err(ERRORS.get(place as usize).copied().unwrap_or(BlockError::Protocol)),
        }
    }
}

const _: () = assert!(size_of::<Entry>() == 32 && size_of::<Answer>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        for operation in OPERATIONS {
            let entry = Entry::new(7, operation, DiskId(3), 1 << 40, 9);
            assert_eq!(entry.operation(), Some(operation));
        }
        assert_eq!(Entry { operation: 5, ..Entry::default() }.operation(), None);
        assert_eq!(Answer::new(1, Ok(())).result(), Ok(()));
        for error in ERRORS {
            assert_eq!(Answer::new(1, Err(error)).result(), Err(error));
        }
        assert_eq!(Answer { id: 1, error: u32::MAX }.result(), Err(BlockError::Protocol));
    }
}
