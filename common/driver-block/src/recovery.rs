//! What to do about a device in trouble: abort, then reset, then give up. Decisions only; whoever asks carries them out.
//!
//! ```text
//!            a command expires                   it ends: nothing more to do
//!   Serving ──────────────────▶ Step::Abort ───▶
//!      ▲  │ the abort cannot be sent, its grace is over, a queue breaks, the controller says so
//!      │  ▼
//!      │  Gathering: Step::Quiesce; every queue hands its hardware over
//!      │  │ all are here                                  │ too many resets, or the device is gone
//!      │  ▼                                               ▼
//!      │  Step::Reset ──── fails ───────────────────▶ Step::GiveUp: every request is answered
//!      └──┘ Step::Resume: commands are submitted again
//! ```

use std::{collections::VecDeque, time::Duration};

use redox_driver_sys::time::Time;

use crate::error::BlockError;

/// When a device is no longer worth a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryPolicy {
    /// Most resets within [`window`](Self::window).
    pub resets: u16,
    /// The time in which they are counted.
    pub window: Duration,
}

impl Default for RecoveryPolicy {
    fn default() -> Self {
        RecoveryPolicy { resets: 8, window: Duration::from_secs(600) }
    }
}

/// What has to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// Send an abort for this command of this queue; say [`Recovery::abort_refused`] if that is not possible.
    Abort {
        /// The queue's number.
        queue: u16,
        /// What the queue calls the command.
        handle: u32,
    },
    /// Have every queue hand over its hardware and tell each by [`Recovery::returned`].
    Quiesce,
    /// All hardware is here: reset the controller and say how it went by [`Recovery::reset_done`].
    Reset,
    /// The controller works again: give the queues their hardware back.
    Resume,
    /// Shut the controller down as far as that is possible, and answer every request with this error.
    GiveUp(BlockError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Serving,
    /// Waiting for the queues' hardware; then a reset, or the end with this error.
    Gathering(Option<BlockError>),
    /// All hardware is here.
    Resetting,
    Over(BlockError),
}

/// Where the recovery of one controller stands.
#[derive(Debug)]
pub struct Recovery {
    policy: RecoveryPolicy,
    state: State,
    /// Which queues have their hardware.
    away: Vec<bool>,
    resets: VecDeque<Time>,
    count: u64,
}

impl Recovery {
    /// A controller with `queues` queues that works.
    pub fn new(queues: usize, policy: RecoveryPolicy) -> Self {
        Recovery {
            policy,
            state: State::Serving,
            away: vec![true; queues],
            resets: VecDeque::with_capacity(usize::from(policy.resets) + 1),
            count: 0,
        }
    }

    /// Whether nothing is wrong that anybody knows of.
    pub fn is_serving(&self) -> bool {
        self.state == State::Serving
    }

    /// Why the controller was given up, if it was.
    pub fn given_up(&self) -> Option<BlockError> {
        match self.state {
            State::Over(error) => Some(error),
            State::Serving | State::Gathering(_) | State::Resetting => None,
        }
    }

    /// Resets so far.
    pub fn resets(&self) -> u64 {
        self.count
    }

    /// A command passed its deadline. While a reset is under way it needs no abort.
    pub fn expired(&self, queue: u16, handle: u32) -> Step {
        if self.is_serving() { Step::Abort { queue, handle } } else { Step::Nothing }
    }

    /// An abort could not be sent.
    pub fn abort_refused(&mut self, now: Time) -> Step {
        self.reset_needed(now)
    }

    /// A command outlived its abort, a queue broke, or the controller asks for a reset itself.
    pub fn reset_needed(&mut self, now: Time) -> Step {
        if !self.is_serving() {
            return Step::Nothing;
        }
        while self.resets.front().is_some_and(|&then| now.since(then) > self.policy.window) {
            self.resets.pop_front();
        }
        let worth = self.resets.len() < usize::from(self.policy.resets);
        self.gather((!worth).then_some(BlockError::TimedOut))
    }

    /// The device is no longer there, or nobody wants it any more.
    pub fn gone(&mut self, error: BlockError) -> Step {
        match self.state {
            State::Serving => self.gather(Some(error)),
            State::Gathering(_) => {
                self.state = State::Gathering(Some(error));
                Step::Nothing
            }
            State::Resetting | State::Over(_) => Step::Nothing,
        }
    }

    fn gather(&mut self, end: Option<BlockError>) -> Step {
        self.state = State::Gathering(end);
        // All may be here already, while the daemon stops.
        if self.away.contains(&true) { Step::Quiesce } else { self.gathered() }
    }

    /// A queue has handed over its hardware, asked or not.
    pub fn returned(&mut self, queue: u16) -> Step {
        if let Some(away) = self.away.get_mut(usize::from(queue)) {
            *away = false;
        }
        self.gathered()
    }

    fn gathered(&mut self) -> Step {
        match self.state {
            State::Gathering(end) if !self.away.contains(&true) => match end {
                None => {
                    self.state = State::Resetting;
                    Step::Reset
                }
                Some(error) => self.give_up(error),
            },
            _ => Step::Nothing,
        }
    }

    /// A queue was given its hardware.
    pub fn handed_out(&mut self, queue: u16) {
        if let Some(away) = self.away.get_mut(usize::from(queue)) {
            *away = true;
        }
    }

    /// The reset is over.
    pub fn reset_done(&mut self, result: Result<(), BlockError>, now: Time) -> Step {
        if self.state != State::Resetting {
            return Step::Nothing;
        }
        self.count += 1;
        self.resets.push_back(now);
        match result {
            Ok(()) => {
                self.state = State::Serving;
                Step::Resume
            }
            Err(error) => self.give_up(error),
        }
    }

    /// The hardware cannot be gathered: somebody keeps it.
    pub fn give_up(&mut self, error: BlockError) -> Step {
        if self.given_up().is_some() {
            return Step::Nothing;
        }
        self.state = State::Over(error);
        Step::GiveUp(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::default().plus(Duration::from_secs(seconds))
    }

    #[test]
    fn escalates_from_abort_to_reset_and_back() {
        let mut recovery = Recovery::new(2, RecoveryPolicy::default());
        assert_eq!(recovery.expired(1, 7), Step::Abort { queue: 1, handle: 7 });
        assert_eq!(recovery.abort_refused(at(1)), Step::Quiesce);
        assert_eq!(recovery.reset_needed(at(1)), Step::Nothing, "one reset is enough");
        assert_eq!(recovery.expired(0, 3), Step::Nothing);
        assert_eq!(recovery.returned(1), Step::Nothing);
        assert_eq!(recovery.returned(0), Step::Reset);
        assert_eq!(recovery.reset_done(Ok(()), at(2)), Step::Resume);
        recovery.handed_out(0);
        recovery.handed_out(1);
        assert!(recovery.is_serving() && recovery.resets() == 1);
        assert_eq!(recovery.reset_needed(at(3)), Step::Quiesce);
    }

    #[test]
    fn gives_up_what_keeps_failing_but_not_what_fails_rarely() {
        let policy = RecoveryPolicy { resets: 2, window: Duration::from_secs(10) };
        let reset = |recovery: &mut Recovery, now| {
            assert_eq!(recovery.reset_needed(now), Step::Quiesce);
            let step = recovery.returned(0);
            if step == Step::Reset {
                assert_eq!(recovery.reset_done(Ok(()), now), Step::Resume);
                recovery.handed_out(0);
            }
            step
        };
        let mut recovery = Recovery::new(1, policy);
        for n in 0..9 {
            assert_eq!(reset(&mut recovery, at(n * 6)), Step::Reset);
        }
        let mut recovery = Recovery::new(1, policy);
        assert_eq!(reset(&mut recovery, at(1)), Step::Reset);
        assert_eq!(reset(&mut recovery, at(2)), Step::Reset);
        assert_eq!(reset(&mut recovery, at(3)), Step::GiveUp(BlockError::TimedOut));
        assert_eq!(recovery.given_up(), Some(BlockError::TimedOut));
        assert_eq!(recovery.gone(BlockError::Gone), Step::Nothing);
    }

    #[test]
    fn a_device_that_vanishes_is_not_reset() {
        let mut recovery = Recovery::new(1, RecoveryPolicy::default());
        assert_eq!(recovery.reset_needed(at(1)), Step::Quiesce);
        assert_eq!(recovery.gone(BlockError::Gone), Step::Nothing);
        assert_eq!(recovery.returned(0), Step::GiveUp(BlockError::Gone));
        let mut recovery = Recovery::new(1, RecoveryPolicy::default());
        recovery.returned(0);
        assert_eq!(recovery.reset_needed(at(1)), Step::Reset, "all hardware was here");
        assert_eq!(recovery.reset_done(Err(BlockError::Gone), at(1)), Step::GiveUp(BlockError::Gone));
    }
}
