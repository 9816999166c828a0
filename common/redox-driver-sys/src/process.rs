//! A child that goes on with this process's own program and memory.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use crate::error::{Error, Result};

/// How often an ending child is looked at.
const LOOK: Duration = Duration::from_millis(1);
/// What a child that panicked exits with, as Rust's own programs do.
const PANICKED: i32 = 101;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Exited(code) => write!(f, "ended with code {code}"),
            End::Killed(signal) => write!(f, "was killed by signal {signal}"),
        }
    }
}

/// A process that was forked off. Dropping it kills it.
#[derive(Debug)]
pub struct Child {
    pid: libc::pid_t,
    end: Option<End>,
}

impl Child {
    /// Starts a child that does `work` and exits with what it returns. SIGTERM and SIGINT end it, whatever they do here.
    ///
    /// The child has a copy of this process as it is: memory, of which only [`SharedMemory`](crate::shared::SharedMemory)
    /// stays common, and descriptors. What `work` does not capture is never dropped there.
    ///
    /// # Safety
    /// The calling thread is the only one of this process: what another one was doing, with a lock for instance, would stay
    /// half done in the child for ever.
    ///
    /// # Errors
    /// What the OS answers.
    pub unsafe fn fork(work: impl FnOnce() -> u8) -> Result<Child> {
        // SAFETY: with one thread, the child is in a state that the program can go on from.
        let pid = unsafe { libc::fork() };
        if pid < 0 {
            return Err(Error::os("fork", io::Error::last_os_error()));
        }
        if pid > 0 {
            return Ok(Child { pid, end: None });
        }
        for signal in [libc::SIGTERM, libc::SIGINT] {
            // SAFETY: the default action needs nothing of the program.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        // A panic must not run on into what the parent was doing.
        let code = catch_unwind(AssertUnwindSafe(work)).map_or(PANICKED, i32::from);
        // SAFETY: what is registered to be done at the end of the program is the parent's to do.
        unsafe { libc::_exit(code) }
    }

    /// The child's number.
    pub fn id(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// What the OS answers.
    pub fn try_wait(&mut self) -> Result<Option<End>> {
        if self.end.is_none() {
            let mut status = 0;
            // SAFETY: a child of this process that was not waited for yet, and an integer for what became of it.
            let ended = unsafe { libc::waitpid(self.pid, &raw mut status, libc::WNOHANG) };
            match ended {
                0 => {}
                ended if ended < 0 => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(Error::os(format!("wait for process {}", self.pid), error));
                    }
                }
                _ if libc::WIFEXITED(status) => self.end = Some(End::Exited(libc::WEXITSTATUS(status))),
                _ if libc::WIFSIGNALED(status) => self.end = Some(End::Killed(libc::WTERMSIG(status))),
                // Stopped or continued by somebody.
                _ => {}
            }
        }
        Ok(self.end)
    }

    /// Waits for its end, at most `timeout`.
    ///
    /// # Errors
    /// As [`try_wait`](Self::try_wait).
    pub fn wait(&mut self, timeout: Duration) -> Result<Option<End>> {
        let by = Instant::now() + timeout;
        loop {
            let late = Instant::now() >= by;
            let end = self.try_wait()?;
            if end.is_some() || late {
                return Ok(end);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Ends it at once, and waits until it is gone, at most `timeout`.
    ///
    /// # Errors
    /// As [`try_wait`](Self::try_wait); [`Error::Timeout`] when it is not gone in time.
    pub fn kill(&mut self, timeout: Duration) -> Result<End> {
        if let Some(end) = self.try_wait()? {
            return Ok(end);
        }
        // SAFETY: it was not waited for, so that its number is not somebody else's yet.
        if unsafe { libc::kill(self.pid, libc::SIGKILL) } != 0 {
            return Err(Error::os(format!("kill process {}", self.pid), io::Error::last_os_error()));
        }
        self.wait(timeout)?.ok_or(Error::Timeout { what: "the end of a killed process", after: timeout })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Err(error) = self.kill(Duration::from_secs(1)) {
            log::warn!("process {}: {error}", self.pid);
        }
    }
}
