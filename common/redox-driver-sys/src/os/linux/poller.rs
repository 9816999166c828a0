//! epoll.

use std::{
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
    time::Duration,
};

use rustix::{
    event::{Timespec, epoll},
    io::Errno,
};

use crate::error::{Error, Result};

const MOST_EVENTS: usize = 32;

#[derive(Debug)]
pub(crate) struct Poller {
    epoll: OwnedFd,
    /// What is watched, by number.
    watched: Vec<RawFd>,
}

impl Poller {
    pub(crate) fn new() -> Result<Self> {
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| Error::os("create epoll", error))?;
        Ok(Poller { epoll, watched: Vec::new() })
    }

    pub(crate) fn add(&mut self, fd: BorrowedFd<'_>, token: u64) -> Result<()> {
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)
            .map_err(|error| Error::os("add to epoll", error))?;
        // The number of one that was closed meanwhile is given out again.
        if !self.watched.contains(&fd.as_raw_fd()) {
            self.watched.push(fd.as_raw_fd());
        }
        Ok(())
    }

    /// Watches nothing any more.
    pub(crate) fn clear(&mut self) {
        for raw in self.watched.drain(..) {
            // SAFETY: not -1. A descriptor that was closed meanwhile is not watched any more, nor is another one that got
            // its number: the call answers so.
            let fd = unsafe { BorrowedFd::borrow_raw(raw) };
            let _ = epoll::delete(&self.epoll, fd);
        }
    }

    pub(crate) fn wait(&mut self, timeout: Duration, ready: &mut Vec<u64>) -> Result<()> {
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; MOST_EVENTS];
        match epoll::wait(&self.epoll, &mut events, Some(&timeout)) {
            Ok((came, _)) => ready.extend(came.iter().map(|event| event.data.u64())),
            Err(Errno::INTR) => {}
            Err(error) => return Err(Error::os("wait for events", error)),
        }
        Ok(())
    }
}
