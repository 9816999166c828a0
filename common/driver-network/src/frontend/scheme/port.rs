//! Frames on their way between a lane and the clients of a scheme.

use std::collections::VecDeque;

use crate::{
    lane::{Frame, Port, Transmit},
    packet::TxOffload,
};

/// Most frames that wait in each direction.
pub(super) const MOST: usize = 256;

/// The clients' end of a lane. Memory of frames that have gone is used again.
#[derive(Debug, Default)]
pub struct SchemePort {
    /// Received and not yet read.
    pub(super) inbox: VecDeque<Vec<u8>>,
    /// Written and not yet sent.
    pub(super) outbox: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    /// Frames have come since this was cleared.
    pub(super) news: bool,
}

impl SchemePort {
    /// Memory of `len` bytes, whatever is in it.
    pub(super) fn take(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.resize(len, 0);
        bytes
    }

    /// Takes memory back.
    pub(super) fn give(&mut self, bytes: Vec<u8>) {
        self.spare.push(bytes);
    }

    /// Whether a frame can be written.
    pub(super) fn has_room(&self) -> bool {
        self.outbox.len() < MOST
    }
}

impl Port for SchemePort {
    fn deliver(&mut self, frame: &Frame<'_>) -> bool {
        if self.inbox.len() >= MOST {
            return false;
        }
        let mut bytes = self.take(frame.len());
        if frame.copy_to(&mut bytes) < bytes.len() {
            self.give(bytes);
            return false;
        }
        self.inbox.push_back(bytes);
        self.news = true;
        true
    }

    fn collect(&mut self, transmit: &mut Transmit<'_>) {
        while let Some(buffer) = transmit.buffer() {
            let Some(bytes) = self.outbox.pop_front() else { return };
            // The MTU may have become smaller since it was written.
            if bytes.len() <= transmit.largest() && buffer.copy_from(0, &bytes).is_ok() {
                transmit.send(bytes.len(), TxOffload::default());
            } else {
                transmit.drop_packet();
            }
            self.give(bytes);
        }
    }
}
