//! Collecting the descriptors of a chain, whichever ring they are from (sections 2.7.4.2 and 2.8.9).

use super::{Part, Request, RingError};

/// One descriptor, less what differs between the rings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) addr: u64,
    pub(super) len: u32,
    pub(super) write: bool,
}

impl Request {
    /// Adds a descriptor. What is read comes before what is written.
    pub(super) fn push(&mut self, piece: Piece) -> Result<(), RingError> {
        let Piece { addr, len, write } = piece;
        if len == 0 {
            return Err(RingError("a descriptor without memory"));
        }
        if write {
            self.writable.push(Part { addr, len });
        } else if self.writable.is_empty() {
            self.readable.push(Part { addr, len });
        } else {
            return Err(RingError("a readable descriptor behind a writable one"));
        }
        Ok(())
    }
}

/// How many descriptors a table of `bytes` holds.
pub(super) fn table_entries(bytes: u32) -> Result<u64, RingError> {
    let entries = u64::from(bytes / 16);
    if bytes == 0 || !bytes.is_multiple_of(16) || entries > u64::from(u16::MAX) {
        return Err(RingError("a table of descriptors with an impossible length"));
    }
    Ok(entries)
}
