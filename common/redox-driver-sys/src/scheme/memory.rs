//! A client's buffer.

use std::ptr::NonNull;
#[cfg(any(test, feature = "model"))]
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

/// What the scheme may do with a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
    ReadWrite,
}

/// A buffer for as long as its request is not answered.
pub(super) enum Memory {
    /// The kernel mapped it into this process until the request is answered.
    #[cfg_attr(not(target_os = "redox"), allow(dead_code, reason = "made by the socket"))]
    Mapped { base: NonNull<u8>, len: usize, access: Access },
    /// A test is the client.
    #[cfg(any(test, feature = "model"))]
    Owned { bytes: Arc<Mutex<Vec<u8>>>, access: Access },
    /// There is none.
    None,
}

// SAFETY: whichever thread has the request may use its buffer: it belongs to the process.
unsafe impl Send for Memory {}

impl Memory {
    pub(super) fn len(&self) -> usize {
        match self {
            Memory::Mapped { len, .. } => *len,
            #[cfg(any(test, feature = "model"))]
            Memory::Owned { bytes, .. } => bytes.lock().unwrap_or_else(PoisonError::into_inner).len(),
            Memory::None => 0,
        }
    }

    /// Copies the bytes from `offset` on to the `len` bytes at `into`.
    ///
    /// # Safety
    /// `into` is valid for writes of `len` bytes and not part of the buffer.
    pub(super) unsafe fn load(&self, offset: usize, into: *mut u8, len: usize) -> Result<(), Errno> {
        match self {
            Memory::Mapped { access: Access::Write, .. } => Err(Errno::BADF),
            Memory::Mapped { base, len: whole, .. } => {
                check(offset, len, *whole)?;
                // SAFETY: inside the mapping (checked), which stays until the request is answered, and that consumes
                // what owns this. The client may write to it meanwhile: the bytes that arrive may then be any, as with
                // every memory that two processes share; no reference to it exists, and no value of `u8` is invalid.
                unsafe { base.add(offset).as_ptr().copy_to_nonoverlapping(into, len) };
                Ok(())
            }
            #[cfg(any(test, feature = "model"))]
            Memory::Owned { access: Access::Write, .. } => Err(Errno::BADF),
            #[cfg(any(test, feature = "model"))]
            Memory::Owned { bytes, .. } => {
                let bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner);
                check(offset, len, bytes.len())?;
                // SAFETY: checked, and the caller answers for the other end.
                unsafe { bytes.as_ptr().add(offset).copy_to_nonoverlapping(into, len) };
                Ok(())
            }
            Memory::None => check(offset, len, 0),
        }
    }

    /// Copies the `len` bytes at `from` to where `offset` is.
    ///
    /// # Safety
    /// `from` is valid for reads of `len` bytes and not part of the buffer.
    pub(super) unsafe fn store(&self, offset: usize, from: *const u8, len: usize) -> Result<(), Errno> {
        match self {
            Memory::Mapped { access: Access::Read, .. } => Err(Errno::BADF),
            Memory::Mapped { base, len: whole, .. } => {
                check(offset, len, *whole)?;
                // SAFETY: as in `load`.
                unsafe { base.add(offset).as_ptr().copy_from_nonoverlapping(from, len) };
                Ok(())
            }
            #[cfg(any(test, feature = "model"))]
            Memory::Owned { access: Access::Read, .. } => Err(Errno::BADF),
            #[cfg(any(test, feature = "model"))]
            Memory::Owned { bytes, .. } => {
                let mut bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner);
                check(offset, len, bytes.len())?;
                // SAFETY: checked, and the caller answers for the other end.
                unsafe { bytes.as_mut_ptr().add(offset).copy_from_nonoverlapping(from, len) };
                Ok(())
            }
            Memory::None => check(offset, len, 0),
        }
    }
}

fn check(offset: usize, len: usize, whole: usize) -> Result<(), Errno> {
    match offset.checked_add(len) {
        Some(end) if end <= whole => Ok(()),
        _ => Err(Errno::FAULT),
    }
}
