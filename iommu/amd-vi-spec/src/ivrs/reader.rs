//! Bytes that are taken from the front, with where they are in the table.

use super::IvrsError;

/// What is left of a table or a part of it.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// `bytes` from `skip` on, which is offset `skip`.
    pub(super) fn new(bytes: &'a [u8], skip: usize) -> Self {
        Reader { bytes: bytes.get(skip..).unwrap_or_default(), offset: skip }
    }

    /// Where the next byte is in the table.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the next `len` bytes as a part of its own.
    pub(super) fn take(&mut self, len: usize) -> Result<Reader<'a>, IvrsError> {
        let (head, rest) = self.bytes.split_at_checked(len).ok_or(self.truncated(len))?;
        let part = Reader { bytes: head, offset: self.offset };
        self.bytes = rest;
        self.offset += len;
        Ok(part)
    }

    /// The byte `at` bytes further on.
    pub(super) fn peek(&self, at: usize) -> Result<u8, IvrsError> {
        self.bytes.get(at).copied().ok_or(self.truncated(at + 1))
    }

    pub(super) fn peek_u16(&self, at: usize) -> Result<u16, IvrsError> {
        Ok(u16::from_le_bytes([self.peek(at)?, self.peek(at + 1)?]))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], IvrsError> {
        let (head, rest) = self.bytes.split_first_chunk().ok_or(self.truncated(N))?;
        self.bytes = rest;
        self.offset += N;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, IvrsError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, IvrsError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, IvrsError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, IvrsError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// All that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.bytes
    }

    fn truncated(&self, wanted: usize) -> IvrsError {
        IvrsError::Truncated { offset: self.offset, wanted, left: self.bytes.len() }
    }
}
