//! The socket of a scheme.

use std::{
    io,
    mem::offset_of,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use libredox::{Fd, call, errno, flag};
use syscall::{data::NewFdParams, schemev2::Sqe};

use super::memory::os;
use crate::{
    error::{Error, Result},
    scheme::{Answer, SchemeRequest},
};

/// The right to make schemes, as the namespace gives it out.
const CREATION: &str = "/scheme/namespace/scheme-creation-cap";
/// Requests of one read, and answers of one write.
const BATCH: usize = 64;

/// The server's end of a scheme. Clients' buffers are mapped into the process of the thread that made it, for as long as
/// that thread lives.
#[derive(Debug)]
pub struct SchemeSocket {
    fd: OwnedFd,
    sqes: Vec<Sqe>,
}

impl SchemeSocket {
    /// A new scheme that nobody can see yet. Reading from it does not wait.
    ///
    /// # Errors
    /// The namespace does not let this process make one.
    pub fn new() -> Result<Self> {
        let failed = |error| os("make a scheme".to_string(), error);
        let creation = Fd::open(CREATION, flag::O_CLOEXEC, 0).map_err(failed)?;
        let socket = Fd::new(creation.dup(b"create-scheme").map_err(failed)?);
        #[allow(clippy::cast_sign_loss, reason = "flags")]
        socket.fcntl(flag::F_SETFD as usize, flag::O_CLOEXEC as usize).map_err(failed)?;
        #[allow(clippy::cast_sign_loss, reason = "flags")]
        socket.fcntl(syscall::flag::F_SETFL, (flag::O_NONBLOCK | flag::O_RDWR) as usize).map_err(failed)?;
        Ok(SchemeSocket { fd: owned(socket)?, sqes: vec![Sqe::default(); BATCH] })
    }

    /// Shows the scheme under `name`. `root` is the handle that paths are opened from.
    ///
    /// # Errors
    /// The namespace refuses, for instance because there is one with that name.
    pub fn register(&self, name: &str, root: usize) -> Result<()> {
        let failed = |error| os(format!("register the scheme {name}"), error);
        let mut params = [0; size_of::<NewFdParams>()];
        if let Some(number) =
            params.get_mut(offset_of!(NewFdParams, number)..).and_then(<[u8]>::first_chunk_mut)
        {
            *number = root.to_ne_bytes();
        }
        let cap = Fd::new(call::dup(self.raw(), params).map_err(failed)?);
        call::register_scheme_to_ns(call::getns().map_err(failed)?, name, cap.into_raw()).map_err(failed)
    }

    /// Appends the requests that are there, a batch at most; whether there may be more.
    ///
    /// # Errors
    /// What the kernel answers; `UnexpectedEof` when the scheme has ended.
    pub fn read(&mut self, requests: &mut Vec<SchemeRequest>) -> Result<bool> {
        let len = self.sqes.len() * size_of::<Sqe>();
        let raw = self.raw();
        // SAFETY: the memory of the entries, which are plain numbers without a gap, of which the kernel writes any.
        let buffer = unsafe { std::slice::from_raw_parts_mut(self.sqes.as_mut_ptr().cast::<u8>(), len) };
        let read = loop {
            match call::read(raw, buffer) {
                Ok(read) => break read,
                Err(error) if error.errno() == errno::EINTR => {}
                Err(error) if error.is_wouldblock() => return Ok(false),
                Err(error) => return Err(os("read requests".to_string(), error)),
            }
        };
        if read == 0 {
            return Err(Error::os("read requests", io::Error::from(io::ErrorKind::UnexpectedEof)));
        }
        let count = read / size_of::<Sqe>();
        // SAFETY: the kernel has just written them, and each is taken once.
        requests.extend(self.sqes.iter().take(count).map(|sqe| unsafe { SchemeRequest::from_kernel(sqe) }));
        Ok(count == BATCH)
    }

    /// Writes the answers and forgets them. One that the kernel does not want, because its client is gone, is left out.
    ///
    /// # Errors
    /// What the kernel answers for all of them.
    pub fn write(&self, answers: &mut Vec<Answer>) -> Result<()> {
        let mut rest = answers.as_slice();
        while !rest.is_empty() {
            match call::write(self.raw(), Answer::bytes(rest)) {
                Ok(written) if written > 0 => {
                    rest = rest.get(written / size_of::<Answer>()..).unwrap_or_default();
                }
                Err(error) if error.errno() == errno::EINTR => {}
                // The first one is at fault, or the writing would have ended behind it.
                Ok(_) => rest = rest.get(1..).unwrap_or_default(),
                Err(error) => {
                    log::debug!("answer {:?}: {error}", rest.first());
                    rest = rest.get(1..).unwrap_or_default();
                }
            }
        }
        answers.clear();
        Ok(())
    }

    #[allow(clippy::cast_sign_loss, reason = "an open descriptor is not negative")]
    fn raw(&self) -> usize {
        self.fd.as_raw_fd() as usize
    }
}

impl AsFd for SchemeSocket {
    /// Readable when there are requests.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn owned(fd: Fd) -> Result<OwnedFd> {
    let raw = fd.into_raw();
    let raw = RawFd::try_from(raw)
        .map_err(|_| Error::Invalid { what: "number of a descriptor", value: raw.to_string() })?;
    // SAFETY: `into_raw` gave it up.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}
