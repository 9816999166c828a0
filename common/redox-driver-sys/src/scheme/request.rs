//! One request and its answer.

use std::fmt;
#[cfg(any(test, feature = "model"))]
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use syscall::{
    error::Error as SyscallError,
    flag::EventFlags,
    schemev2::{Cqe, CqeOpcode, NewFdFlags},
};

use super::{memory::Memory, operation::Operation};
use crate::shared::SharedMemory;

/// One request of a client.
///
/// Whoever drops one without [answering](Self::answer) it leaves a client waiting for ever.
#[must_use = "a client waits for the answer"]
pub struct SchemeRequest {
    tag: u32,
    operation: Operation,
    nonblocking: bool,
    memory: Memory,
}

impl SchemeRequest {
    /// Takes over what the kernel wrote to the socket's reader.
    ///
    /// # Safety
    /// `sqe` comes from the kernel, for this process, and is taken over once.
    #[cfg(target_os = "redox")]
    pub(crate) unsafe fn from_kernel(sqe: &syscall::schemev2::Sqe) -> Self {
        let memory = match Operation::buffer(sqe) {
            // Addresses and lengths of this process.
            #[allow(clippy::cast_possible_truncation, reason = "addresses have the width of the process")]
            Some(access) => match (std::ptr::NonNull::new(sqe.args[1] as *mut u8), sqe.args[2] as usize) {
                (Some(base), len) if len > 0 => Memory::Mapped { base, len, access },
                _ => Memory::None,
            },
            None => Memory::None,
        };
        let nonblocking = Operation::is_nonblocking(sqe);
        SchemeRequest { tag: sqe.tag, operation: Operation::parse(sqe), nonblocking, memory }
    }

    /// A request of a test, whose buffer is `buffer`.
    #[cfg(any(test, feature = "model"))]
    pub fn of_test(sqe: &syscall::schemev2::Sqe, buffer: Arc<Mutex<Vec<u8>>>) -> Self {
        let memory = match Operation::buffer(sqe) {
            Some(access) => Memory::Owned { bytes: buffer, access },
            None => Memory::None,
        };
        let nonblocking = Operation::is_nonblocking(sqe);
        SchemeRequest { tag: sqe.tag, operation: Operation::parse(sqe), nonblocking, memory }
    }

    /// By what a cancellation names it. Used again once it is answered.
    pub fn tag(&self) -> u32 {
        self.tag
    }

    /// What is asked for.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// Whether it is a read or write that is not to wait: `EAGAIN` is the answer when it would have to.
    pub fn is_nonblocking(&self) -> bool {
        self.nonblocking
    }

    /// Length of the client's buffer in bytes; 0 where there is none.
    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// Whether the client's buffer is empty, or there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies from the client's buffer.
    ///
    /// # Errors
    /// `EFAULT` beyond the buffer's end, `EBADF` if it is only to be filled.
    pub fn load(&self, offset: usize, into: &mut [u8]) -> Result<(), Errno> {
        // SAFETY: a slice of this process cannot be part of what the kernel mapped from the client.
        unsafe { self.memory.load(offset, into.as_mut_ptr(), into.len()) }
    }

    /// Copies to the client's buffer.
    ///
    /// # Errors
    /// `EFAULT` beyond the buffer's end, `EBADF` if it is only to be read.
    pub fn store(&self, offset: usize, from: &[u8]) -> Result<(), Errno> {
        // SAFETY: as in `load`.
        unsafe { self.memory.store(offset, from.as_ptr(), from.len()) }
    }

    /// Copies `len` bytes of the client's buffer to `at` in `into`.
    ///
    /// # Errors
    /// As [`load`](Self::load); `EFAULT` as well for what does not fit into `into`.
    pub fn load_shared(
        &self,
        offset: usize,
        into: &SharedMemory,
        at: usize,
        len: usize,
    ) -> Result<(), Errno> {
        let into = into.range(at, len).map_err(|_| Errno::FAULT)?;
        // SAFETY: inside the shared memory, which this process has mapped apart from any client's buffer.
        unsafe { self.memory.load(offset, into.as_ptr(), len) }
    }

    /// Copies `len` bytes from `at` in `from` to the client's buffer.
    ///
    /// # Errors
    /// As [`store`](Self::store); `EFAULT` as well for what is not in `from`.
    pub fn store_shared(
        &self,
        offset: usize,
        from: &SharedMemory,
        at: usize,
        len: usize,
    ) -> Result<(), Errno> {
        let from = from.range(at, len).map_err(|_| Errno::FAULT)?;
        // SAFETY: as in `load_shared`. Bytes that another process writes meanwhile may arrive in any mixture.
        unsafe { self.memory.store(offset, from.as_ptr(), len) }
    }

    /// The answer, to be written to the socket. The buffer is the client's alone from here on.
    pub fn answer(self, reply: Reply) -> Answer {
        let (flags, result) = match reply {
            Reply::Done(value) => (NewFdFlags::empty(), Ok(value)),
            Reply::Opened { handle } => (NewFdFlags::POSITIONED, Ok(handle)),
            Reply::Failed(error) => (NewFdFlags::empty(), Err(SyscallError::new(error.raw_os_error()))),
        };
        Answer(Cqe {
            flags: CqeOpcode::RespondRegular as u8,
            extra_raw: [flags.bits(), 0, 0],
            tag: self.tag,
            result: SyscallError::mux(result) as u64,
        })
    }
}

impl fmt::Debug for SchemeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemeRequest")
            .field("tag", &self.tag)
            .field("operation", &self.operation)
            .field("len", &self.len())
            .finish()
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Well, with this result.
    Done(usize),
    /// Well: this is the handle of what was opened. The kernel keeps its position.
    Opened {
        /// By which later requests name it.
        handle: usize,
    },
    /// Badly.
    Failed(Errno),
}

impl From<Result<usize, Errno>> for Reply {
    fn from(result: Result<usize, Errno>) -> Self {
        match result {
            Ok(value) => Reply::Done(value),
            Err(error) => Reply::Failed(error),
        }
    }
}

/// An answer on its way to the socket.
#[derive(Debug)]
#[repr(transparent)]
#[must_use = "the client waits until it is written"]
pub struct Answer(Cqe);

impl Answer {
    /// No answer, but the news that something can be read from `handle`, or written to it, for clients that
    /// [asked](super::Operation::Events) to be told.
    pub fn event(handle: usize, read: bool, write: bool) -> Answer {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::EVENT_READ, read);
        flags.set(EventFlags::EVENT_WRITE, write);
        Answer(Cqe {
            flags: CqeOpcode::SendFevent as u8,
            extra_raw: [0; 3],
            // Two bits.
            tag: u32::try_from(flags.bits()).unwrap_or_default(),
            result: handle as u64,
        })
    }

    /// Whether it is an [event](Self::event), and of which handle: something can be read, something can be written.
    pub fn as_event(&self) -> Option<(usize, bool, bool)> {
        let flags = EventFlags::from_bits_truncate(self.0.tag as usize);
        let handle = usize::try_from(self.0.result).ok()?;
        let is_event = self.0.flags == CqeOpcode::SendFevent as u8;
        is_event.then(|| {
            (handle, flags.contains(EventFlags::EVENT_READ), flags.contains(EventFlags::EVENT_WRITE))
        })
    }

    /// Which request it answers.
    pub fn tag(&self) -> u32 {
        self.0.tag
    }

    /// As the client sees it: a value, or an error's number.
    ///
    /// # Errors
    /// The request failed.
    pub fn result(&self) -> Result<usize, Errno> {
        #[allow(clippy::cast_possible_truncation, reason = "it was a `usize`")]
        SyscallError::demux(self.0.result as usize).map_err(|error| Errno::from_raw_os_error(error.errno))
    }

    /// As the kernel reads them.
    #[cfg(target_os = "redox")]
    pub(crate) fn bytes(answers: &[Answer]) -> &[u8] {
        // SAFETY: `Cqe` is 1 + 3 + 4 + 8 bytes without a gap, and `Answer` is nothing else.
        unsafe { std::slice::from_raw_parts(answers.as_ptr().cast(), size_of_val(answers)) }
    }
}

const _: () = assert!(size_of::<Answer>() == 16);
