//! Transfers between memory shared with a device and a file, without a copy in between (Linux).

use std::{
    io,
    ops::Range,
    os::fd::{AsRawFd, BorrowedFd},
};

use super::DmaBuffer;

/// Most parts of one transfer.
pub const MAX_PARTS: usize = 64;

const NOTHING: libc::iovec = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };

impl DmaBuffer {
    /// Has the system read from `fd` into `head` and, behind that, into the buffer. Returns the number of bytes of both.
    ///
    /// # Errors
    /// What the system answers; `WouldBlock` when there is nothing and the file does not wait.
    pub fn read_from(&self, fd: BorrowedFd<'_>, head: &mut [u8]) -> io::Result<usize> {
        let parts = [
            libc::iovec { iov_base: head.as_mut_ptr().cast(), iov_len: head.len() },
            libc::iovec { iov_base: self.at(0).as_ptr().cast(), iov_len: self.len() },
        ];
        // SAFETY: both parts are memory of this process that stays for the call: `head` is borrowed exclusively, the buffer is
        // shared memory to which no reference exists and to which anybody may write.
        retry(|| unsafe { libc::readv(fd.as_raw_fd(), parts.as_ptr(), 2) })
    }
}

/// Has the system write `head` and, behind that, the parts of buffers to `fd`, as one transfer. Returns the number of bytes of all.
///
/// # Errors
/// `InvalidInput` for more than [`MAX_PARTS`] parts, or one that is not in its buffer; or what the system answers.
pub fn write_to<'a>(
    fd: BorrowedFd<'_>,
    head: &[u8],
    parts: impl IntoIterator<Item = (&'a DmaBuffer, Range<usize>)>,
) -> io::Result<usize> {
    let mut vectors = [NOTHING; MAX_PARTS + 1];
    vectors[0] = libc::iovec { iov_base: head.as_ptr().cast_mut().cast(), iov_len: head.len() };
    let mut count: libc::c_int = 1;
    let mut free = vectors.iter_mut().skip(1);
    for (buffer, range) in parts {
        let vector = free.next().ok_or(io::ErrorKind::InvalidInput)?;
        if range.start > range.end || range.end > buffer.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let base = buffer.at(range.start).as_ptr().cast();
        *vector = libc::iovec { iov_base: base, iov_len: range.end - range.start };
        count += 1;
    }
    // SAFETY: every part is memory of this process, inside `head` or a buffer that the caller borrows for the call, and is only read;
    // a device that writes to a buffer meanwhile changes what is sent and nothing else.
    retry(|| unsafe { libc::writev(fd.as_raw_fd(), vectors.as_ptr(), count) })
}

/// The number of bytes, in spite of interruptions.
fn retry(mut transfer: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        if let Ok(bytes) = usize::try_from(transfer()) {
            return Ok(bytes);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
