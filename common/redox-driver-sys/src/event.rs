//! Waiting for several things at once, always with a bound.
//!
//! Redox reports a change once, Linux as long as it lasts: whoever is woken must take everything there is.

use std::{os::fd::BorrowedFd, time::Duration};

use crate::{
    error::Result,
    irq::{Interrupt, Source},
    os,
    time::Clock,
};

/// Waits for interrupts and descriptors. With a model's clock, waiting lets the model run.
#[derive(Debug)]
pub struct EventQueue {
    poller: os::Poller,
    clock: Clock,
    #[cfg(feature = "model")]
    lines: Vec<(u64, crate::model::Line)>,
}

impl EventQueue {
    /// An empty queue.
    ///
    /// # Errors
    /// What the OS answers.
    pub fn new(clock: &Clock) -> Result<Self> {
        Ok(EventQueue {
            poller: os::Poller::new()?,
            clock: clock.clone(),
            #[cfg(feature = "model")]
            lines: Vec::new(),
        })
    }

    /// Reports `token` whenever `interrupt` is pending. The interrupt must outlive its registration.
    ///
    /// # Errors
    /// What the OS answers.
    pub fn add_interrupt(&mut self, interrupt: &Interrupt, token: u64) -> Result<()> {
        match &interrupt.0 {
            Source::Os(fd) => self.poller.add(fd.as_fd(), token),
            #[cfg(feature = "model")]
            Source::Model(line) => {
                self.lines.push((token, line.clone()));
                Ok(())
            }
        }
    }

    /// Reports `token` whenever `fd` is readable.
    ///
    /// # Errors
    /// What the OS answers.
    pub fn add_fd(&mut self, fd: BorrowedFd<'_>, token: u64) -> Result<()> {
        self.poller.add(fd, token)
    }

    /// Forgets everything that was added.
    pub fn clear(&mut self) {
        self.poller.clear();
        #[cfg(feature = "model")]
        self.lines.clear();
    }

    /// Waits at most `timeout`, or a little less, and appends the tokens of what is ready to `ready`, which stays as it was when nothing
    /// came in time.
    ///
    /// # Errors
    /// What the OS answers. An interrupted call counts as nothing having come.
    pub fn wait(&mut self, timeout: Duration, ready: &mut Vec<u64>) -> Result<()> {
        #[cfg(feature = "model")]
        if let Some(host) = self.clock.model_host() {
            let end = host.now().plus(timeout);
            let before = ready.len();
            loop {
                ready
                    .extend(self.lines.iter().filter(|(_, line)| line.is_pending()).map(|(token, _)| *token));
                self.poller.wait(Duration::ZERO, ready)?;
                if ready.len() > before || host.now() >= end {
                    return Ok(());
                }
                host.advance_to_next_event(end);
            }
        }
        self.poller.wait(timeout, ready)
    }

    /// The clock by which the queue waits.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}
