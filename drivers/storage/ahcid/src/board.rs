//! What the ports, on the thread of their queue, and the controller tell each other.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use driver_block::ControllerEvent;

use crate::options::LinkPower;

#[derive(Debug, Default)]
pub(crate) struct Board {
    /// Whether there is something for the ports: looked at without taking the lock.
    called: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<ControllerEvent>,
    report_wanted: bool,
    report: Option<String>,
    policy: Option<LinkPower>,
}

/// What the controller asks of the ports.
#[derive(Debug, Default)]
pub(crate) struct Call {
    pub(crate) report: bool,
    pub(crate) policy: Option<LinkPower>,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves events for the controller.
    pub(crate) fn post(&self, events: &mut Vec<ControllerEvent>) {
        self.lock().events.append(events);
    }

    /// Takes the events that the ports left.
    pub(crate) fn take_events(&self) -> Vec<ControllerEvent> {
        std::mem::take(&mut self.lock().events)
    }

    /// Asks the ports for a report.
    pub(crate) fn want_report(&self) {
        let mut state = self.lock();
        state.report = None;
        state.report_wanted = true;
        self.called.store(true, Ordering::Release);
    }

    /// Leaves the report.
    pub(crate) fn set_report(&self, report: String) {
        self.lock().report = Some(report);
    }

    /// Takes the report, if it is there.
    pub(crate) fn take_report(&self) -> Option<String> {
        self.lock().report.take()
    }

    /// Asks the ports for another policy.
    pub(crate) fn set_policy(&self, policy: LinkPower) {
        self.lock().policy = Some(policy);
        self.called.store(true, Ordering::Release);
    }

    /// What the controller asks, if it does.
    #[inline]
    pub(crate) fn take_call(&self) -> Option<Call> {
        if !self.called.load(Ordering::Relaxed) {
            return None;
        }
        self.called.store(false, Ordering::Relaxed);
        let mut state = self.lock();
        Some(Call { report: std::mem::take(&mut state.report_wanted), policy: state.policy.take() })
    }
}
