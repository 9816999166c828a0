//! The states of a port: how a device is found, how its link is reset, and when it is given up (AHCI, chapter 10).

use std::time::Duration;

use ahci_spec::{
    AtaStatus,
    registers::{PxCmd, PxIs, PxSctl, PxSsts, SIG_ATA, SIG_ATAPI, SIG_PMP},
};
use driver_block::{BlockError, ControllerEvent};
use redox_driver_sys::time::Time;

use super::{
    INTERRUPTS, Outbox, Port,
    errors::Trouble,
    jobs::{Failure, Job},
};
use crate::error::{Error, Result};

/// How long the command list may take to stop (AHCI, section 10.1.2).
const STOP_TIMEOUT: Duration = Duration::from_millis(500);
/// How long COMRESET is sent: at least 1 ms (AHCI, section 10.4.2).
const RESET_HOLD: Duration = Duration::from_millis(2);
/// How long a link may be silent until nothing is there.
const ABSENT_AFTER: Duration = Duration::from_millis(300);
/// How long a device that is there may take to communicate.
const SILENT_AFTER: Duration = Duration::from_secs(1);
/// How long a device may take to become ready, by attempt: one that spins up needs many seconds.
const READY_TIMEOUTS: [Duration; 3] =
    [Duration::from_secs(10), Duration::from_secs(10), Duration::from_secs(30)];
/// How often a link is reset until its device is given up.
const ATTEMPTS: u8 = 3;
/// Resets in a row without a command that completed, after which the device is given up.
const MOST_FRUITLESS: u8 = 5;
/// Errors of the link after which it is made slower.
const LINK_ERRORS: u8 = 3;
/// HBA resets that a port may be the reason of until it is left alone.
const MOST_STUCK: u8 = 2;
const CONNECT_POLL: Duration = Duration::from_millis(10);
const STOP_POLL: Duration = Duration::from_millis(1);
const LONGEST_POLL: Duration = Duration::from_millis(50);
/// Steps at once: more are a mistake, and go on at the next look.
const MOST_STEPS: usize = 64;

/// Where a port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing is there, until the hardware says that something came.
    Empty,
    /// What is there was given up, until it is exchanged.
    Off(&'static str),
    /// The command list was told to stop.
    Stopping { then: Then, by: Time },
    /// COMRESET is being sent.
    Resetting { until: Time },
    /// The link is to come up.
    Connecting { since: Time },
    /// The device is to become ready; after COMRESET, or after a software reset of a port of the multiplier.
    Settling { by: Time, poll: Duration, soft: Option<u8> },
    /// The driver's own commands find out what is there.
    Probing,
    /// Commands of clients are carried out.
    Running,
    /// The driver's own commands find out what went wrong; those of clients wait.
    Diagnosing,
}

/// Why the command list was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// To reset the link.
    Comreset,
    /// To see to an error of clients' commands.
    Diagnose(Trouble),
    /// To go on after one of the driver's own commands failed, perhaps while finding out what is there.
    Job { job: Job, failure: Failure, probing: bool },
    /// To switch FIS-based switching on.
    Switch,
    /// For good.
    Off(&'static str),
}

/// What is remembered of a link.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Link {
    /// Resets since the device was last found.
    attempts: u8,
    /// Resets since a client's command last completed.
    pub(super) fruitless: u8,
    /// Errors of the link since its speed was last changed.
    errors: u8,
    /// Highest speed to negotiate; 0: any.
    pub(super) limit: u8,
    /// HBA resets that were needed because the command list did not stop.
    stuck: u8,
    /// Ports of the multiplier that is there, and since when their links are to come up.
    pub(super) multiplier: Option<u8>,
    pub(super) multiplied_since: Time,
    /// Software resets of the multiplier's control port are not answered: it is none.
    pub(super) no_soft_reset: bool,
    /// Whether the link goes to power states by itself, so that PhyRdy changes without a reason.
    pub(super) sleeps: bool,
}

impl Port {
    /// Begins after a reset of the controller: everything is in its first state, and nothing is known.
    pub(crate) fn start(&mut self, now: Time, out: &mut Outbox) -> Result<()> {
        self.memory.reset().map_err(Error::machine("clear a command list"))?;
        let (list, fis) = self.memory.addresses();
        self.regs.set_addresses(list, fis);
        self.regs.clear_errors();
        self.fbs = false;
        self.keep_before();
        self.link.attempts = 0;
        if self.link.stuck >= MOST_STUCK {
            self.give_up("its command list does not stop", out);
            return Ok(());
        }
        // No power states before it is known what is there. Spin-up lets the device begin (AHCI, section 10.9).
        self.regs.sctl.write(PxSctl::new().with_spd(self.link.limit).with_ipm(PxSctl::IPM_NONE));
        let cmd = self.regs.cmd.read();
        self.regs.cmd.write(
            cmd.with_fre(true).with_sud(true).with_pod(true).with_alpe(false).with_icc(PxCmd::ICC_ACTIVE),
        );
        self.regs.ie.write(INTERRUPTS);
        self.enter(State::Connecting { since: now }, now);
        Ok(())
    }

    /// Stops everything, without waiting for it: the controller is about to be reset or cut off.
    pub(crate) fn halt(&mut self) {
        self.regs.ie.write(PxIs::new());
        self.regs.cmd.modify(|cmd| cmd.with_st(false));
        self.state = State::Off("the controller is off");
        self.due = None;
    }

    /// Whether neither commands are processed nor FISes received, and with that the port's memory is its own again. As
    /// soon as the command list has stopped, receiving is stopped as well (AHCI, section 10.3.2).
    pub(crate) fn has_stopped(&self) -> bool {
        let cmd = self.regs.cmd.read();
        if u32::from(cmd) == u32::MAX {
            return true;
        }
        if !cmd.cr() && cmd.fre() {
            self.regs.cmd.write(cmd.with_fre(false));
        }
        !cmd.cr() && !cmd.fre() && !cmd.fr()
    }

    fn enter(&mut self, state: State, due: Time) {
        self.state = state;
        self.due = Some(due);
    }

    /// Does what is due, or was announced by an interrupt that completed nothing.
    pub(crate) fn serve(&mut self, now: Time, interrupted: bool, out: &mut Outbox) {
        if interrupted {
            self.look(now, out);
        }
        for _ in 0..MOST_STEPS {
            if !self.step(now, out) {
                break;
            }
        }
        self.issue();
    }

    /// Sees to what an interrupt may have announced beside completions.
    fn look(&mut self, now: Time, out: &mut Outbox) {
        let is = self.regs.is.read();
        self.regs.is.write(is);
        if is.pcs() || is.prcs() || is.ufs() {
            let changed = is.pcs() || (is.prcs() && !self.link.sleeps);
            // Clears what IS mirrors; without it no signature would get through.
            self.regs.serr.write(self.regs.serr.read());
            if changed {
                self.link_changed(now, out);
            }
        }
        let fatal = is.and(PxIs::FATAL.with_ofs(true));
        if !fatal.is_empty() && matches!(self.state, State::Running | State::Probing | State::Diagnosing) {
            self.failed(now, fatal, out);
        }
    }

    /// A device came, went, or was exchanged.
    fn link_changed(&mut self, now: Time, out: &mut Outbox) {
        match self.state {
            // Consequences of our own resets.
            State::Stopping { .. }
            | State::Resetting { .. }
            | State::Connecting { .. }
            | State::Settling { .. } => {}
            State::Empty | State::Off(_) => {
                if self.regs.ssts.read().det() != PxSsts::DET_NONE && self.link.stuck < MOST_STUCK {
                    log::info!("{}: a device appeared", self.name);
                    self.refused.clear();
                    self.link = Link { stuck: self.link.stuck, ..Link::default() };
                    self.enter(State::Connecting { since: now }, now);
                }
            }
            State::Probing | State::Running | State::Diagnosing => {
                log::warn!("{}: the link changed", self.name);
                self.take_finished(out);
                self.link.attempts = 0;
                self.stop(Then::Comreset, now);
            }
        }
    }

    /// Stops the command list, and then goes on.
    pub(super) fn stop(&mut self, then: Then, now: Time) {
        self.own = None;
        // Stopping clears CI and SACT, which must not be taken for completions.
        self.stranded |= self.issued();
        (self.queued, self.plain) = (0, 0);
        self.regs.cmd.modify(|cmd| cmd.with_st(false));
        self.enter(State::Stopping { then, by: now.plus(STOP_TIMEOUT) }, now);
    }

    /// Lets the command list run. The device is ready.
    pub(super) fn run(&mut self) {
        self.regs.cmd.modify(|cmd| cmd.with_st(true).with_fre(true));
    }

    /// One step. Returns whether the next one may be made at once.
    fn step(&mut self, now: Time, out: &mut Outbox) -> bool {
        if !matches!(self.state, State::Running | State::Probing | State::Diagnosing)
            && self.due.is_none_or(|due| due > now)
        {
            return false;
        }
        match self.state {
            State::Empty | State::Off(_) => {
                self.due = None;
                false
            }
            State::Stopping { then, by } => {
                if !self.regs.cmd.read().cr() {
                    self.stopped(then, now, out);
                    return true;
                }
                if now >= by {
                    log::error!(
                        "{}: the command list does not stop; the controller must be reset",
                        self.name
                    );
                    self.link.stuck += 1;
                    out.stuck = true;
                    self.state = State::Off("its command list does not stop");
                    self.due = None;
                    return false;
                }
                self.due = Some(now.plus(STOP_POLL));
                false
            }
            State::Resetting { until } => {
                if now < until {
                    self.due = Some(until);
                    return false;
                }
                self.regs.sctl.write(PxSctl::new().with_spd(self.link.limit).with_ipm(PxSctl::IPM_NONE));
                self.enter(State::Connecting { since: now }, now);
                true
            }
            State::Connecting { since } => self.connect(since, now, out),
            State::Settling { by, poll, soft } => {
                let status = AtaStatus::from(self.regs.tfd.read().status());
                if status.is_idle() {
                    match soft {
                        None => self.probe(now),
                        Some(pm_port) => {
                            self.state = State::Probing;
                            self.soft_reset_done(pm_port, now);
                        }
                    }
                    return true;
                }
                if now >= by {
                    if soft.is_some() {
                        log::info!("{}: no answer to a software reset; no port multiplier", self.name);
                        self.link.no_soft_reset = true;
                    }
                    self.retry("its device does not become ready", now);
                    return true;
                }
                let poll = (poll * 2).min(LONGEST_POLL);
                self.enter(State::Settling { by, poll, soft }, now.plus(poll));
                false
            }
            State::Probing | State::Diagnosing => {
                if self.own.is_some() {
                    return self.check_own(now, out);
                }
                if self.start_own(now) {
                    return false;
                }
                if !self.jobs.is_empty() {
                    self.due = Some(self.pause_until.max(now));
                    return false;
                }
                if self.state == State::Probing {
                    self.found(now, out);
                } else {
                    self.state = State::Running;
                    self.due = None;
                }
                false
            }
            State::Running => self.maintain(now, out),
        }
    }

    /// A time limit that depends on how often the device was tried.
    pub(super) fn of_attempt(&self, [first, second, last]: [Duration; 3]) -> Duration {
        match self.link.attempts {
            0 => first,
            1 => second,
            _ => last,
        }
    }

    fn connect(&mut self, since: Time, now: Time, out: &mut Outbox) -> bool {
        let link = self.regs.ssts.read();
        let waited = now.since(since);
        if link.is_connected() {
            self.regs.clear_errors();
            let by = now.plus(self.of_attempt(READY_TIMEOUTS));
            self.enter(State::Settling { by, poll: STOP_POLL, soft: None }, now);
            return true;
        }
        if link.det() == PxSsts::DET_NONE && waited >= ABSENT_AFTER {
            self.vacate(out);
            return false;
        }
        if waited >= SILENT_AFTER {
            self.retry("its device does not communicate", now);
            return true;
        }
        self.due = Some(now.plus(CONNECT_POLL));
        false
    }

    /// The command list has stopped.
    fn stopped(&mut self, then: Then, now: Time, out: &mut Outbox) {
        match then {
            Then::Comreset => {
                self.take_back(out);
                self.comreset(now);
            }
            Then::Diagnose(trouble) => self.diagnose(trouble, now, out),
            Then::Job { job, failure, probing } => self.job_stopped(job, failure, probing, now, out),
            Then::Switch => self.switched(now),
            Then::Off(why) => self.give_up(why, out),
        }
    }

    /// Resets the link, whose command list has stopped.
    pub(super) fn comreset(&mut self, now: Time) {
        self.keep_before();
        self.own = None;
        self.jobs.clear();
        self.counters.resets += 1;
        self.link.sleeps = false;
        self.regs.cmd.modify(|cmd| cmd.with_alpe(false).with_asp(false));
        self.regs.sctl.write(
            PxSctl::new().with_det(PxSctl::DET_RESET).with_spd(self.link.limit).with_ipm(PxSctl::IPM_NONE),
        );
        let until = now.plus(RESET_HOLD);
        self.enter(State::Resetting { until }, until);
    }

    /// Resets the link once more while it is being brought up, unless that was often enough.
    pub(super) fn retry(&mut self, why: &'static str, now: Time) {
        self.link.attempts += 1;
        log::warn!("{}: {why} (attempt {} of {ATTEMPTS})", self.name, self.link.attempts);
        if self.link.attempts >= ATTEMPTS {
            return self.stop(Then::Off(why), now);
        }
        if self.link.attempts > 1 {
            self.slow_down();
        }
        self.stop(Then::Comreset, now);
    }

    /// Resets the link after commands of clients had trouble, unless that never helps.
    pub(super) fn recover(&mut self, now: Time, out: &mut Outbox) {
        self.take_back(out);
        self.link.fruitless += 1;
        self.link.attempts = 0;
        if self.link.fruitless > MOST_FRUITLESS {
            self.give_up("resets do not help", out);
        } else {
            self.comreset(now);
        }
    }

    /// Counts an error of the link; after some it is to be slower from the next reset on.
    pub(super) fn count_link_error(&mut self) {
        self.counters.link_errors += 1;
        self.link.errors += 1;
        if self.link.errors >= LINK_ERRORS {
            self.slow_down();
        }
    }

    fn slow_down(&mut self) {
        self.link.errors = 0;
        // What did not help at this speed may at another.
        self.link.fruitless = 0;
        let speed = if self.link.limit == 0 { self.regs.ssts.read().spd() } else { self.link.limit };
        if speed > 1 && speed <= 3 {
            self.link.limit = speed - 1;
            log::warn!("{}: the link is limited to generation {}", self.name, self.link.limit);
        }
    }

    /// Keeps what was known of the devices until it is known what is there now.
    fn keep_before(&mut self) {
        if self.before.is_empty() {
            self.before = std::mem::take(&mut self.devices);
        }
        self.devices.clear();
    }

    /// The device is ready: finds out what it is.
    fn probe(&mut self, now: Time) {
        self.keep_before();
        self.refused.clear();
        self.media_due = None;
        self.regs.clear_errors();
        self.run();
        self.state = State::Probing;
        self.link.multiplier = None;
        if self.abilities.multipliers && !self.link.no_soft_reset {
            self.jobs.push_back(Job::SoftReset { pm_port: ahci_spec::pmp::CONTROL_PORT, release: false });
        } else {
            self.identify(self.regs.sig.read(), 0, now);
        }
    }

    /// Asks a device for its identity, as its signature demands.
    pub(super) fn identify(&mut self, signature: u32, pm_port: u8, now: Time) {
        match signature {
            SIG_ATA => self.jobs.push_back(Job::Identify { pm_port, cd: false, failed: 0 }),
            SIG_ATAPI => self.jobs.push_back(Job::Identify { pm_port, cd: true, failed: 0 }),
            SIG_PMP if pm_port == ahci_spec::pmp::CONTROL_PORT => self.found_multiplier(),
            _ if self.is_multiplied() => {
                self.refused.push(format!("port {pm_port} of the multiplier: signature {signature:#010x}"));
            }
            _ => {
                log::warn!("{}: signature {signature:#010x}", self.name);
                self.retry("its device has a signature that means nothing", now);
            }
        }
    }

    /// It is known what is there: tells the clients, and begins to serve.
    fn found(&mut self, now: Time, out: &mut Outbox) {
        if self.wants_switching() {
            return self.stop(Then::Switch, now);
        }
        let before = std::mem::take(&mut self.before);
        for old in &before {
            let same = |new: &&mut super::Device| new.id == old.id && new.drive.is_same(&old.drive);
            if let Some(new) = self.devices.iter_mut().find(same) {
                new.disk.clone_from(&old.disk);
                continue;
            }
            self.fail_waiting(Some(old.pm_port), BlockError::Gone, out);
            if old.disk.is_some() {
                out.events.push(ControllerEvent::DiskRemoved(old.id));
            }
        }
        self.tell(out);
        self.link.attempts = 0;
        self.rebuild_waiting();
        self.state = State::Running;
        self.due = None;
        self.watch_media(now);
        self.set_link_power();
    }

    /// Nothing is there.
    fn vacate(&mut self, out: &mut Outbox) {
        self.drop_devices(out);
        self.link = Link { stuck: self.link.stuck, ..Link::default() };
        self.state = State::Empty;
        self.due = None;
    }

    /// What is there is not served any more.
    pub(super) fn give_up(&mut self, why: &'static str, out: &mut Outbox) {
        log::error!("{}: given up: {why}", self.name);
        self.drop_devices(out);
        self.refused.push(why.to_string());
        self.state = State::Off(why);
        self.due = None;
    }

    fn drop_devices(&mut self, out: &mut Outbox) {
        self.own = None;
        self.jobs.clear();
        self.media_due = None;
        self.take_back(out);
        self.fail_waiting(None, BlockError::Gone, out);
        let gone = std::mem::take(&mut self.before).into_iter().chain(std::mem::take(&mut self.devices));
        let mut ids: Vec<_> = gone.filter(|device| device.disk.is_some()).map(|device| device.id).collect();
        ids.dedup();
        for id in ids {
            log::warn!("{}: disk {id} is gone", self.name);
            out.events.push(ControllerEvent::DiskRemoved(id));
        }
    }
}
