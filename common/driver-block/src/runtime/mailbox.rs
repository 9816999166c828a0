//! Messages to a thread that waits for descriptors.

use std::{collections::VecDeque, io, sync::PoisonError};

use crate::{
    sync::{Arc, Mutex},
    waker::Waker,
};

/// Messages to one thread, and what wakes it. Clones lead to the same thread. The protocol between the threads bounds
/// how many messages there can be.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    messages: Arc<Mutex<VecDeque<T>>>,
    waker: Waker,
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Mailbox { messages: self.messages.clone(), waker: self.waker.clone() }
    }
}

impl<T> Mailbox<T> {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Mailbox { messages: Arc::new(Mutex::new(VecDeque::new())), waker: Waker::new()? })
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Sends a message and wakes the thread.
    pub(crate) fn post(&self, message: T) {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).push_back(message);
        // After the message is there, or the thread could look too early and then sleep.
        self.waker.wake();
    }

    /// Appends everything that has come to `messages`, oldest first.
    pub(crate) fn take(&self, messages: &mut Vec<T>) {
        // Before looking: a message that comes in between wakes again.
        self.waker.clear();
        messages.extend(self.messages.lock().unwrap_or_else(PoisonError::into_inner).drain(..));
    }
}
