//! Port multipliers (SATA, chapter 16; AHCI, chapter 9).

use std::{collections::VecDeque, time::Duration};

use ahci_spec::{
    pmp::{
        CONTROL_PORT, GSCR_ERROR, GSCR_ERROR_ENABLE, GSCR_PORTS, MOST_PORTS, PSCR_CONTROL, PSCR_ERROR,
        PSCR_STATUS,
    },
    registers::{PxFbs, PxSctl, PxSerr, PxSsts},
};
use redox_driver_sys::time::Time;

use super::{
    Port, SLOTS,
    jobs::Job,
    states::{State, Then},
};

/// How long links behind a multiplier may be silent until nothing is there, and until what is there is not waited for.
const ABSENT_AFTER: Duration = Duration::from_millis(200);
const SILENT_AFTER: Duration = Duration::from_secs(1);
const LINK_POLL: Duration = Duration::from_millis(10);

impl Port {
    /// The answer to a software reset is here.
    pub(super) fn soft_reset_done(&mut self, pm_port: u8, now: Time) {
        let area = if self.fbs { pm_port } else { 0 };
        let signature = match self.memory.received(area) {
            Ok(fis) => fis.pmp_value(),
            Err(_) => self.regs.sig.read(),
        };
        if pm_port == CONTROL_PORT && signature != ahci_spec::registers::SIG_PMP {
            // An ordinary device answers for every port.
            return self.identify(signature, 0, now);
        }
        self.identify(signature, pm_port, now);
    }

    /// A port multiplier answered.
    pub(super) fn found_multiplier(&mut self) {
        self.link.multiplier = Some(0);
        self.regs.cmd.modify(|cmd| cmd.with_pma(true));
        self.jobs.push_back(Job::ReadMultiplier { port: CONTROL_PORT, register: GSCR_PORTS });
    }

    /// Where FISes of the multiplier itself are received.
    pub(super) fn control_area(&self) -> u8 {
        if self.fbs { CONTROL_PORT } else { 0 }
    }

    pub(super) fn multiplier_read(&mut self, port: u8, register: u16, value: Option<u32>, now: Time) {
        let Some(value) = value else {
            if self.state == State::Probing {
                self.retry("its port multiplier does not answer", now);
            }
            return;
        };
        match (port, register) {
            (CONTROL_PORT, GSCR_PORTS) => {
                let ports = u8::try_from(value & 0xf).unwrap_or(0).min(MOST_PORTS);
                log::info!("{}: a port multiplier with {ports} ports", self.name);
                self.link.multiplier = Some(ports);
                // Changes of PhyRdy and COMINIT behind it are to be told.
                let changes = PxSerr::new().with_diag_n(true).with_diag_x(true);
                self.write(CONTROL_PORT, GSCR_ERROR_ENABLE, changes.into());
                for port in 0..ports {
                    let reset = PxSctl::new().with_det(PxSctl::DET_RESET).with_ipm(PxSctl::IPM_NONE);
                    self.write(port, PSCR_CONTROL, reset.into());
                    self.write(port, PSCR_CONTROL, reset.with_det(0).into());
                    self.write(port, PSCR_ERROR, u32::MAX);
                }
                self.link.multiplied_since = now;
                for port in 0..ports {
                    self.jobs.push_back(Job::ReadMultiplier { port, register: PSCR_STATUS });
                }
            }
            (port, PSCR_STATUS) if port < MOST_PORTS => {
                let link = PxSsts::from(value);
                let waited = now.since(self.link.multiplied_since);
                let patience = if link.det() == PxSsts::DET_NONE { ABSENT_AFTER } else { SILENT_AFTER };
                if link.is_connected() {
                    self.write(port, PSCR_ERROR, u32::MAX);
                    self.jobs.push_back(Job::SoftReset { pm_port: port, release: false });
                } else if waited < patience && self.state == State::Probing {
                    self.jobs.push_back(Job::ReadMultiplier { port, register });
                    self.pause_until = now.plus(LINK_POLL);
                }
            }
            (CONTROL_PORT, GSCR_ERROR) if value & 0x7fff != 0 => {
                // Something came or went behind it: everything is looked at again.
                log::info!("{}: ports {value:#x} of the multiplier changed", self.name);
                self.stop(Then::Comreset, now);
            }
            _ => {}
        }
    }

    fn write(&mut self, port: u8, register: u16, value: u32) {
        self.jobs.push_back(Job::WriteMultiplier { port, register, value });
    }

    /// Asks whether something changed behind the multiplier.
    pub(super) fn ask_multiplier(&mut self) {
        let ask = Job::ReadMultiplier { port: CONTROL_PORT, register: GSCR_ERROR };
        if self.is_multiplied() && !self.jobs.contains(&ask) {
            self.jobs.push_back(ask);
        }
    }

    /// Whether FIS-based switching is possible and not yet on.
    pub(super) fn wants_switching(&self) -> bool {
        self.is_multiplied() && !self.fbs && self.abilities.fbs && self.regs.cmd.read().fbscp()
    }

    /// The command list has stopped for FIS-based switching.
    pub(super) fn switched(&mut self, now: Time) {
        self.regs.fbs.write(PxFbs::new().with_en(true));
        self.fbs = self.regs.fbs.read().en();
        if !self.fbs {
            log::warn!("{}: no FIS-based switching though it is offered", self.name);
            self.abilities.fbs = false;
        }
        self.run();
        self.state = State::Probing;
        self.due = Some(now);
    }

    /// Gives the controller the commands that it may have now, of several devices. Without FIS-based switching one device
    /// has its turn until its commands are done.
    pub(super) fn issue_multiplied(&mut self) {
        // By device: what it has, and what it gets.
        let mut queued = [0u32; 16];
        let mut plain = [0u32; 16];
        let mut issued = self.issued();
        let mut turn = None;
        while issued != 0 {
            let slot = issued.trailing_zeros() as usize;
            issued &= issued - 1;
            let entry = &self.slots[slot % SLOTS];
            let device = usize::from(entry.pm_port & 0xf);
            turn = Some(device);
            if entry.queued { queued[device] |= 1 << slot } else { plain[device] |= 1 << slot }
        }
        let (mut new_queued, mut new_plain) = ([0u32; 16], [0u32; 16]);
        let mut blocked = 0u16;
        let mut kept = VecDeque::with_capacity(SLOTS);
        for slot in std::mem::take(&mut self.waiting) {
            let entry = &self.slots[usize::from(slot) % SLOTS];
            let device = usize::from(entry.pm_port & 0xf);
            let conflict = if entry.queued { plain[device] } else { queued[device] | plain[device] } != 0;
            let other_turn = !self.fbs && *turn.get_or_insert(device) != device;
            if conflict || other_turn || blocked & 1 << device != 0 {
                blocked |= 1 << device;
                kept.push_back(slot);
                continue;
            }
            let bit = 1 << slot;
            if entry.queued {
                queued[device] |= bit;
                new_queued[device] |= bit;
            } else {
                plain[device] |= bit;
                new_plain[device] |= bit;
            }
        }
        self.waiting = kept;
        for (pm_port, (queued, plain)) in (0..).zip(new_queued.into_iter().zip(new_plain)) {
            if queued | plain != 0 {
                self.select(pm_port);
                self.show(queued, plain);
            }
        }
    }
}
