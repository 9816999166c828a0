//! What carries blocks between the scheme and whoever has the disks.

use redox_driver_sys::scheme::{Errno, SchemeRequest};

use crate::{
    device::{DiskId, Operation},
    error::BlockError,
};

/// A part of a request that is carried out at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What to do.
    pub operation: Operation,
    /// On which disk.
    pub disk: DiskId,
    /// The first block. Means nothing for a flush.
    pub lba: u64,
    /// How many blocks. Means nothing for a flush.
    pub blocks: u32,
    /// Comes back with the answer.
    pub cookie: u64,
}

/// How a piece ended.
#[derive(Debug)]
pub struct Carried<R> {
    /// What was given with the piece.
    pub cookie: u64,
    /// How it ended.
    pub result: Result<(), BlockError>,
    /// The memory that was given with the piece.
    pub data: Option<R>,
}

/// Takes pieces, and memory for their data, to the disks. Each piece that was taken is answered once.
pub trait Carrier {
    /// Consecutive memory that the disks can reach.
    type Range;

    /// How many queues there are: at least 1.
    fn queues(&self) -> u16;

    /// Most bytes that [`reserve`](Self::reserve) can ever give.
    fn most_bytes(&self) -> u32;

    /// Memory for `bytes` bytes; `None` while there is none, which answers can change.
    fn reserve(&mut self, bytes: u32) -> Option<Self::Range>;

    /// Gives memory back.
    fn release(&mut self, range: Self::Range);

    /// Fills memory with `len` bytes of a client's buffer.
    ///
    /// # Errors
    /// The buffer does not have them.
    fn load(
        &mut self,
        range: &Self::Range,
        from: &SchemeRequest,
        offset: usize,
        len: usize,
    ) -> Result<(), Errno>;

    /// Fills `len` bytes of a client's buffer from memory.
    ///
    /// # Errors
    /// The buffer does not have them.
    fn store(&self, range: &Self::Range, to: &SchemeRequest, offset: usize, len: usize) -> Result<(), Errno>;

    /// Copies the beginning of memory.
    fn copy_out(&self, range: &Self::Range, into: &mut [u8]);

    /// Has a piece carried out by a queue. Nobody need see it before all that can be submitted was.
    ///
    /// # Errors
    /// The queue is full, which answers can change; the memory comes back.
    fn submit(
        &mut self,
        queue: u16,
        piece: Piece,
        data: Option<Self::Range>,
    ) -> Result<(), Option<Self::Range>>;
}
