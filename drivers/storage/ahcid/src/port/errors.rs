//! Commands that fail, or take too long (AHCI, section 6.2; SATA, section 13.6).

use ahci_spec::{
    AtaError, AtaStatus, NcqErrorLog,
    registers::{PxFbs, PxIs},
};
use driver_block::BlockError;
use redox_driver_sys::time::Time;

use super::{
    Outbox, Port, SLOTS,
    jobs::Job,
    states::{State, Then},
};
use crate::drive::{Class, Kind};

/// What went wrong with clients' commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A command that is not queued failed: the one that was being processed.
    Plain { slot: u8, status: AtaStatus, error: AtaError },
    /// A queued command failed; the device knows which.
    Queued { pm_port: u8, status: AtaStatus, error: AtaError },
    /// The link had an error.
    Link,
    /// The bus refused an access.
    Bus,
    /// A command took too long.
    Timeout,
}

impl Port {
    /// The controller reports what stops the command list.
    pub(super) fn failed(&mut self, now: Time, is: PxIs, out: &mut Outbox) {
        if self.own.is_some() {
            return self.own_failed(is, now);
        }
        let tfd = self.regs.tfd.read();
        // What has completed before is done.
        self.take_finished(out);
        let switching = self.fbs.then(|| self.regs.fbs.read());
        let pm_port = match switching.filter(PxFbs::sde) {
            Some(fbs) => fbs.dwe(),
            None => self.issued_device(),
        };
        let trouble = if is.hbfs() || is.hbds() || is.ofs() {
            Trouble::Bus
        } else if is.ifs() {
            Trouble::Link
        } else if self.queued != 0 {
            Trouble::Queued { pm_port, status: tfd.status().into(), error: tfd.error().into() }
        } else {
            let slot = self.failed_plain(pm_port);
            Trouble::Plain { slot, status: tfd.status().into(), error: tfd.error().into() }
        };
        self.stop(Then::Diagnose(trouble), now);
    }

    /// The device that has commands; with several, the first.
    fn issued_device(&self) -> u8 {
        let slot = self.issued().trailing_zeros() as usize;
        self.slots.get(slot).map_or(0, |slot| slot.pm_port)
    }

    /// The slot whose command is being processed. With FIS-based switching a device has one at a time.
    fn failed_plain(&self, pm_port: u8) -> u8 {
        if !self.fbs {
            return self.regs.cmd.read().ccs();
        }
        let of_device = |slot: &u8| {
            self.plain & 1 << slot != 0
                && self.slots.get(usize::from(*slot)).is_some_and(|entry| entry.pm_port == pm_port)
        };
        (0..32).find(of_device).unwrap_or(u8::MAX)
    }

    /// The command list has stopped after trouble.
    pub(super) fn diagnose(&mut self, trouble: Trouble, now: Time, out: &mut Outbox) {
        let errors = self.regs.clear_errors();
        if errors.is_link_error() || trouble == Trouble::Link {
            self.count_link_error();
        }
        let busy = !AtaStatus::from(self.regs.tfd.read().status()).is_idle();
        match trouble {
            Trouble::Link | Trouble::Timeout => self.recover(now, out),
            Trouble::Bus => self.blame_bus(now, out),
            Trouble::Queued { .. } if busy => self.recover(now, out),
            Trouble::Queued { pm_port, status, error } => {
                self.jobs.push_front(Job::ErrorLog { pm_port, status, error });
                self.run();
                self.state = State::Diagnosing;
                self.due = Some(now);
            }
            Trouble::Plain { slot, status, error } => {
                // A packet command that failed still has to be asked about.
                let asked = self.blame_plain(slot, status, error, out);
                if busy {
                    return self.recover(now, out);
                }
                self.stranded &= !asked;
                self.take_back(out);
                self.stranded = asked;
                self.run();
                self.state = State::Diagnosing;
                self.due = Some(now);
            }
        }
    }

    /// Ends the command that failed, unless its device has to be asked about it: then its bit is returned.
    fn blame_plain(&mut self, slot: u8, status: AtaStatus, error: AtaError, out: &mut Outbox) -> u32 {
        let bit = 1u32.checked_shl(slot.into()).unwrap_or(0);
        if self.stranded & bit == 0 {
            log::warn!("{}: slot {slot} failed, which has no command", self.name);
            self.link.fruitless += 1;
            return 0;
        }
        self.counters.device_errors += 1;
        self.alone &= !bit;
        let entry = self.slots[usize::from(slot) % SLOTS];
        let cd = self.device(entry.pm_port).is_some_and(|device| matches!(device.drive.class, Class::Cd(_)));
        if cd {
            self.jobs.push_front(Job::Sense { pm_port: entry.pm_port, slot: Some(slot), attentions: 0 });
            return bit;
        }
        self.stranded &= !bit;
        self.blame(slot, status, error, out);
        0
    }

    /// The bus refused an access of one of the commands that were issued. Which one, shows when they are issued alone.
    fn blame_bus(&mut self, now: Time, out: &mut Outbox) {
        self.counters.bus_errors += 1;
        let issued = self.stranded;
        if issued.count_ones() == 1 {
            let slot = issued.trailing_zeros();
            log::error!("{}: the command in slot {slot} reaches memory that it may not", self.name);
            self.stranded = 0;
            self.alone &= !issued;
            self.finish(slot, Err(BlockError::Protocol), out);
        } else {
            self.alone |= issued;
        }
        self.recover(now, out);
    }

    /// The device has told which queued command failed, or not. `said` is what it said when it failed.
    pub(super) fn judge_queued(
        &mut self,
        log: Option<NcqErrorLog>,
        said: (AtaStatus, AtaError),
        now: Time,
        out: &mut Outbox,
    ) {
        let stranded = self.stranded;
        let told = log.filter(NcqErrorLog::is_intact).and_then(|log| Some((log, log.failed_tag()?)));
        if let Some((log, tag)) = told.filter(|(_, tag)| stranded & 1 << tag != 0) {
            self.blame_queued(tag, log.status.into(), log.error.into(), out);
            return self.take_back(out);
        }
        if stranded.count_ones() == 1 {
            // It needs no log to know which.
            let slot = u8::try_from(stranded.trailing_zeros()).unwrap_or(0);
            self.blame_queued(slot, said.0, said.1, out);
        } else {
            log::warn!(
                "{}: the device does not tell which command failed; trying them one by one",
                self.name
            );
            self.alone |= stranded;
        }
        // As long as its log was not read it refuses everything: only a reset helps.
        self.stop(Then::Diagnose(Trouble::Timeout), now);
    }

    fn blame_queued(&mut self, slot: u8, status: AtaStatus, error: AtaError, out: &mut Outbox) {
        self.counters.device_errors += 1;
        self.link.fruitless = 0;
        let bit = 1u32.checked_shl(slot.into()).unwrap_or(0);
        self.stranded &= !bit;
        self.alone &= !bit;
        self.blame(slot, status, error, out);
    }

    /// Ends a command that the device failed.
    fn blame(&mut self, slot: u8, status: AtaStatus, error: AtaError, out: &mut Outbox) {
        let work = self.slots[usize::from(slot) % SLOTS].work;
        log::warn!(
            "{}: {:?} of {} blocks at {} failed: {status:?}, {error:?}",
            self.name,
            work.kind,
            work.blocks,
            work.lba
        );
        if error.icrc() {
            self.count_link_error();
        }
        self.finish(slot.into(), Err(block_error(work.kind, status, error)), out);
    }

    /// Ends a command that takes too long.
    pub(crate) fn abort(&mut self, slot: u8, now: Time, out: &mut Outbox) {
        let bit = 1u32.checked_shl(slot.into()).unwrap_or(0);
        if self.used & bit == 0 {
            return;
        }
        if let Some(at) = self.waiting.iter().position(|&waiting| waiting == slot) {
            self.waiting.remove(at);
            self.alone &= !bit;
            return self.finish(slot.into(), Err(BlockError::Aborted), out);
        }
        if self.state == State::Diagnosing && self.stranded & bit != 0 {
            // The device has forgotten it, and what it has instead may take long.
            self.stranded &= !bit;
            self.alone &= !bit;
            return self.finish(slot.into(), Err(BlockError::Aborted), out);
        }
        // Perhaps only its interrupt was lost.
        self.take_completions(out);
        if self.used & bit == 0 {
            return;
        }
        self.counters.timeouts += 1;
        self.expired |= bit;
        if self.state == State::Running {
            self.stop(Then::Diagnose(Trouble::Timeout), now);
        }
    }
}

/// What an error of the device means for the block layer.
fn block_error(kind: Kind, status: AtaStatus, error: AtaError) -> BlockError {
    if error.icrc() || (status.df() && !error.unc()) {
        return BlockError::Transient;
    }
    match kind {
        Kind::Trim(_) if error.abrt() && !error.unc() && !error.idnf() => BlockError::Unsupported,
        _ => BlockError::Medium,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again() {
        let (bad, abort) = (AtaStatus::new().with_err(true), AtaError::new().with_abrt(true));
        assert_eq!(block_error(Kind::Read, bad, abort.with_icrc(true)), BlockError::Transient);
        assert_eq!(block_error(Kind::Read, bad.with_df(true), AtaError::new()), BlockError::Transient);
        assert_eq!(block_error(Kind::Read, bad, AtaError::new().with_unc(true)), BlockError::Medium);
        assert_eq!(block_error(Kind::Write, bad, abort), BlockError::Medium);
        assert_eq!(block_error(Kind::Trim(1), bad, abort), BlockError::Unsupported);
    }
}
