//! Bytes of the fuzzer as decisions. When they are used up, everything is zero, which means: as it should be.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

/// A stream of decisions. Clones share it.
#[derive(Clone, Debug)]
pub struct Input(Arc<Mutex<VecDeque<u8>>>);

impl Input {
    /// Decisions from `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        Input(Arc::new(Mutex::new(bytes.iter().copied().collect())))
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The next byte.
    pub fn byte(&self) -> u8 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or(0)
    }

    /// The next two bytes as a number.
    pub fn word(&self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// The next eight bytes as a number.
    pub fn long(&self) -> u64 {
        u64::from_le_bytes([(); 8].map(|()| self.byte()))
    }

    /// A number below `end`; 0 when `end` is 0.
    pub fn below(&self, end: usize) -> usize {
        usize::from(self.word()).checked_rem(end).unwrap_or(0)
    }
}
