//! epoll, which Redox's libc has too: over the event scheme, with timeouts as the kernel at hand wants them.
//! (The crate `redox_event` cannot wait with a bound.) Redox reports a change once, Linux as long as it lasts: whoever
//! is woken must take everything there is.

use std::{
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{Timespec, epoll},
    io::Errno,
};

use crate::error::{Error, Result};

const MOST_EVENTS: usize = 32;

#[derive(Debug)]
pub(crate) struct Poller(OwnedFd);

impl Poller {
    pub(crate) fn new() -> Result<Self> {
        epoll::create(epoll::CreateFlags::CLOEXEC)
            .map(Poller)
            .map_err(|error| Error::os("create epoll", error))
    }

    pub(crate) fn add(&self, fd: BorrowedFd<'_>, token: u64) -> Result<()> {
        epoll::add(&self.0, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)
            .map_err(|error| Error::os("add to epoll", error))
    }

    pub(crate) fn wait(&self, timeout: Duration, ready: &mut Vec<u64>) -> Result<()> {
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; MOST_EVENTS];
        match epoll::wait(&self.0, &mut events, Some(&timeout)) {
            Ok((came, _)) => ready.extend(came.iter().map(|event| event.data.u64())),
            Err(Errno::INTR) => {}
            Err(error) => return Err(Error::os("wait for events", error)),
        }
        Ok(())
    }
}
