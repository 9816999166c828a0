//! A daemon's life as its supervisor sees it: it becomes ready once, and it ends when it is told to.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use redox_driver_sys::fd;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::signals::Signals;

/// The environment variable with the number of the descriptor that readiness is written to.
pub const INIT_NOTIFY: &str = "INIT_NOTIFY";

/// The supervisor cannot be told, or termination cannot be noticed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `INIT_NOTIFY` is set to something that is no descriptor of ours.
    #[error("cannot tell the supervisor about readiness")]
    Descriptor(#[source] redox_driver_sys::Error),
    /// The supervisor does not listen any more.
    #[error("cannot tell the supervisor about readiness")]
    Notify(#[source] io::Error),
    /// Signals cannot be received.
    #[error("cannot receive the signals that end the daemon")]
    Signals(#[source] io::Error),
}

/// The promise to tell the supervisor when the daemon is ready to serve.
///
/// Take it early, before descriptors are handed about; dropping it without [`Readiness::notify`] tells the supervisor
/// that the daemon will not become ready.
#[derive(Debug)]
#[must_use = "the supervisor waits until it is told"]
pub struct Readiness {
    supervisor: Option<OwnedFd>,
}

impl Readiness {
    /// Takes over the descriptor named by [`INIT_NOTIFY`]. A daemon that was started by hand has none, and nobody to
    /// tell.
    ///
    /// # Errors
    /// [`Error::Descriptor`] when the variable is set, but does not name a descriptor for us.
    pub fn from_env() -> Result<Self, Error> {
        Ok(Self { supervisor: fd::from_env(INIT_NOTIFY).map_err(Error::Descriptor)? })
    }

    /// Whether anybody waits.
    pub fn is_awaited(&self) -> bool {
        self.supervisor.is_some()
    }

    /// Tells the supervisor that the daemon is ready: one zero byte.
    ///
    /// # Errors
    /// [`Error::Notify`] when the supervisor cannot be told.
    pub fn notify(self) -> Result<(), Error> {
        let Some(supervisor) = self.supervisor else { return Ok(()) };
        File::from(supervisor).write_all(&[0]).map_err(Error::Notify)
    }

    /// The descriptor itself, for a Redox scheme that sends its root along it instead of a byte.
    pub fn into_descriptor(self) -> Option<OwnedFd> {
        self.supervisor
    }
}

/// Notices that the daemon is to end: SIGTERM, or SIGINT from a terminal.
#[derive(Debug)]
pub struct Termination {
    signals: Signals,
    requested: bool,
}

impl Termination {
    /// Receives SIGTERM and SIGINT from now on.
    ///
    /// # Errors
    /// [`Error::Signals`] when they cannot be received.
    pub fn install() -> Result<Self, Error> {
        let signals = Signals::new(&[SIGTERM, SIGINT]).map_err(Error::Signals)?;
        Ok(Self { signals, requested: false })
    }

    /// Whether the daemon has been told to end. Call it when the descriptor is readable, or at any time.
    pub fn requested(&mut self) -> bool {
        self.requested |= !self.signals.take().is_empty();
        self.requested
    }
}

impl AsFd for Termination {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}
