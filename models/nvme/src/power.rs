//! Power states and their autonomous transitions (section 8.4).

use std::time::Duration;

use nvme_spec::{ApstTable, PowerStateDescriptor};
use redox_driver_sys::time::Time;

#[derive(Debug, Default)]
pub(crate) struct Power {
    pub(crate) state: u8,
    /// The operational state that was last in force.
    operational: u8,
    /// Since when nothing was to be done in this state.
    idle_since: Time,
    pub(crate) autonomous: bool,
    pub(crate) table: ApstTable,
}

impl Power {
    /// Goes to `state`, which exists.
    pub(crate) fn set(&mut self, states: &[PowerStateDescriptor], state: u8, now: Time) {
        self.state = state;
        self.idle_since = now;
        if !is_non_operational(states, state) {
            self.operational = state;
        }
    }

    /// An I/O command came: leaves a non-operational state, which takes the returned time.
    pub(crate) fn wake(&mut self, states: &[PowerStateDescriptor], now: Time) -> Duration {
        self.idle_since = now;
        if !is_non_operational(states, self.state) {
            return Duration::ZERO;
        }
        let exit = states.get(usize::from(self.state)).map_or(0, |state| state.exlat);
        self.state = self.operational;
        Duration::from_micros(exit.into())
    }

    /// Something was done.
    pub(crate) fn active(&mut self, now: Time) {
        self.idle_since = now;
    }

    /// When the controller leaves the state by itself.
    pub(crate) fn next_event(&self) -> Option<Time> {
        let entry = self.table.entries.get(usize::from(self.state)).filter(|_| self.autonomous)?;
        (entry.idle_ms() != 0 && entry.power_state() != self.state)
            .then(|| self.idle_since.plus(Duration::from_millis(entry.idle_ms().into())))
    }

    /// Leaves the state if it is time; returns whether it did.
    pub(crate) fn run(&mut self, states: &[PowerStateDescriptor], now: Time) -> bool {
        let due = self.next_event().is_some_and(|due| due <= now);
        if due && let Some(entry) = self.table.entries.get(usize::from(self.state)) {
            self.set(states, entry.power_state(), now);
        }
        due
    }
}

/// Whether no I/O is processed in `state`.
pub(crate) fn is_non_operational(states: &[PowerStateDescriptor], state: u8) -> bool {
    states.get(usize::from(state)).is_some_and(|state| state.flags.nops())
}
