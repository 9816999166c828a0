//! Signals as something to poll.

use std::{
    fmt,
    io::{self, PipeReader, Read},
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{fs::OFlags, io::Errno};
use signal_hook::{SigId, low_level};

/// Receives the signals it was made for; its descriptor is readable when one has come.
pub struct Signals {
    reader: PipeReader,
    pending: Vec<(i32, Arc<AtomicBool>)>,
    registered: Vec<SigId>,
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").field("pending", &self.pending).finish_non_exhaustive()
    }
}

impl Signals {
    /// Receives `signals` from now on, instead of what they would do by default.
    ///
    /// # Errors
    /// As the system answers; a signal that cannot be caught is an invalid argument.
    pub fn new(signals: &[i32]) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let flags = rustix::fs::fcntl_getfl(&reader)?;
        rustix::fs::fcntl_setfl(&reader, flags | OFlags::NONBLOCK)?;
        let mut this = Self { reader, pending: Vec::new(), registered: Vec::new() };
        for &signal in signals {
            if signal_hook::consts::FORBIDDEN.contains(&signal) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("signal {signal} cannot be caught"),
                ));
            }
            let pending = Arc::new(AtomicBool::new(false));
            // The flag first: whoever is woken by the pipe must find it set.
            this.registered.push(signal_hook::flag::register(signal, Arc::clone(&pending))?);
            this.registered.push(low_level::pipe::register(signal, writer.try_clone()?)?);
            this.pending.push((signal, pending));
        }
        Ok(this)
    }

    /// The signals that came since the last call, each once, in the order given to [`Signals::new`].
    pub fn take(&mut self) -> Vec<i32> {
        // Emptied before the flags are looked at, so that a signal in between wakes the poll once more.
        let mut bytes = [0; 64];
        loop {
            match self.reader.read(&mut bytes) {
                Ok(read) if read == bytes.len() => {}
                Err(error) if Errno::from_io_error(&error) == Some(Errno::INTR) => {}
                _ => break,
            }
        }
        let came = self.pending.iter().filter(|(_, pending)| pending.swap(false, Ordering::AcqRel));
        came.map(|(signal, _)| *signal).collect()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            low_level::unregister(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use signal_hook::{
        consts::{SIGKILL, SIGUSR1, SIGUSR2},
        low_level::raise,
    };

    use super::*;

    fn readable(signals: &Signals, milliseconds: i64) -> bool {
        let timeout = Timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 };
        poll(&mut [PollFd::new(signals, PollFlags::IN)], Some(&timeout)).unwrap_or(0) == 1
    }

    #[test]
    fn a_signal_is_polled_and_taken_once() {
        let mut signals = Signals::new(&[SIGUSR1, SIGUSR2]).unwrap();
        assert!(!readable(&signals, 0) && signals.take().is_empty());
        for _ in 0..200 {
            raise(SIGUSR2).unwrap();
        }
        assert!(readable(&signals, 900));
        assert_eq!(signals.take(), [SIGUSR2]);
        assert!(!readable(&signals, 0) && signals.take().is_empty());
        raise(SIGUSR1).unwrap();
        assert!(readable(&signals, 900));
        assert_eq!(signals.take(), [SIGUSR1]);
    }

    #[test]
    fn what_cannot_be_caught_is_refused() {
        assert!(Signals::new(&[SIGKILL]).unwrap_err().to_string().contains('9'));
    }
}
