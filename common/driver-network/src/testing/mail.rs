//! A client of a lane in the same process.

use std::collections::VecDeque;

use crate::{
    lane::{Frame, Port, Transmit},
    packet::{RxMetadata, TxOffload},
};

/// Most frames that wait to be taken.
const MOST: usize = 1024;

/// Frames that were received, and frames that are to be sent.
#[derive(Debug, Default)]
pub struct MailPort {
    /// Received and not yet taken, oldest first.
    pub inbox: VecDeque<(Vec<u8>, RxMetadata)>,
    /// To be sent, oldest first.
    pub outbox: VecDeque<(Vec<u8>, TxOffload)>,
}

impl Port for MailPort {
    fn deliver(&mut self, frame: &Frame<'_>) -> bool {
        if self.inbox.len() == MOST {
            return false;
        }
        let mut bytes = vec![0; frame.len()];
        assert_eq!(frame.copy_to(&mut bytes), frame.len(), "a frame lies within its buffers");
        self.inbox.push_back((bytes, frame.metadata()));
        true
    }

    fn collect(&mut self, transmit: &mut Transmit<'_>) {
        while let Some(buffer) = transmit.buffer() {
            let Some((bytes, offload)) = self.outbox.pop_front() else { return };
            if buffer.copy_from(0, &bytes).is_ok() && bytes.len() <= transmit.largest() {
                transmit.send(bytes.len(), offload);
            } else {
                transmit.drop_packet();
            }
        }
    }
}
