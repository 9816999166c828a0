//! A port: its registers and its command list (AHCI, chapters 3.3 and 5).

use std::time::Duration;

use ahci_spec::{
    AtaCommand, AtaError, CommandHeader, DeviceToHost, FisType, HostToDevice, PmFlags, SetDeviceBits,
    received,
    registers::{PxCmd, PxDevslp, PxFbs, PxIs, PxSctl, PxSerr, PxSsts, PxTfd},
    table,
};
use fastrand::Rng;
use redox_driver_sys::{model::Bus, time::Time};
use zerocopy::{FromBytes, IntoBytes};

use crate::{
    command::{Command, Failure, Outcome, is_queued},
    config::Config,
    fault::{Action, Faults, LifecycleFault},
    link::LinkEvent,
    statistics::Statistics,
    target::Target,
    transfer::{Transfer, TransferError},
    violation::Violation,
};

/// STATUS of a device that is ready: DRDY and, as ever, bit 4.
pub(crate) const READY: u8 = 0x50;
/// STATUS of one that has the registers.
pub(crate) const BUSY: u8 = 0x80;
/// STATUS while nobody is there.
pub(crate) const ABSENT: u8 = 0x7f;
/// STATUS of a failed command.
const FAILED: u8 = 0x51;
/// Violations beyond this many are not noted.
const MOST_VIOLATIONS: usize = 1024;

/// What all ports share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) rng: Rng,
    pub(crate) faults: Faults,
    pub(crate) statistics: Statistics,
    pub(crate) violations: Vec<Violation>,
    pub(crate) removed: bool,
}

impl Shared {
    pub(crate) fn note(&mut self, violation: Violation) {
        if self.violations.len() < MOST_VIOLATIONS {
            self.violations.push(violation);
        }
    }
}

#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u8,
    pub(crate) clb: u64,
    pub(crate) fb: u64,
    /// Without the bits that mirror SERR.
    pub(crate) is: PxIs,
    pub(crate) ie: PxIs,
    pub(crate) cmd: PxCmd,
    pub(crate) tfd: PxTfd,
    pub(crate) sig: u32,
    pub(crate) ssts: PxSsts,
    pub(crate) sctl: PxSctl,
    pub(crate) serr: PxSerr,
    pub(crate) sact: u32,
    pub(crate) ci: u32,
    pub(crate) fbs: PxFbs,
    pub(crate) devslp: PxDevslp,
    pub(crate) target: Option<Target>,
    /// Commands that were fetched and are not done.
    pub(crate) commands: Vec<Command>,
    /// Their slots.
    fetched: u32,
    /// Whether an error stopped the command list.
    pub(crate) halted: bool,
    /// Whether the device was left with commands that nobody waits for.
    pub(crate) abandoned: bool,
    pub(crate) stop_at: Option<Time>,
    pub(crate) receive_stop_at: Option<Time>,
    pub(crate) link: Vec<(Time, LinkEvent)>,
    pub(crate) reset_since: Option<Time>,
    /// The first half of a software reset came.
    soft_reset: bool,
    /// The next interrupt is not sent.
    pub(crate) lose: bool,
    /// Completions since the last look: for coalescing.
    pub(crate) completions: u32,
    pub(crate) idle_since: Time,
}

impl Port {
    pub(crate) fn new(number: u8, target: Option<Target>) -> Self {
        Port {
            number,
            clb: 0,
            fb: 0,
            is: PxIs::new(),
            ie: PxIs::new(),
            cmd: PxCmd::new(),
            tfd: PxTfd::new(),
            sig: u32::MAX,
            ssts: PxSsts::new(),
            sctl: PxSctl::new(),
            serr: PxSerr::new(),
            sact: 0,
            ci: 0,
            fbs: PxFbs::new(),
            devslp: PxDevslp::new(),
            target,
            commands: Vec::new(),
            fetched: 0,
            halted: false,
            abandoned: false,
            stop_at: None,
            receive_stop_at: None,
            link: Vec::new(),
            reset_since: None,
            soft_reset: false,
            lose: false,
            completions: 0,
            idle_since: Time::default(),
        }
    }

    /// IS as it reads.
    pub(crate) fn interrupt_status(&self) -> PxIs {
        self.is.with_pcs(self.serr.diag_x()).with_prcs(self.serr.diag_n()).with_ufs(self.serr.diag_f())
    }

    /// Whether the port has an interrupt to give.
    pub(crate) fn wants_interrupt(&self) -> bool {
        !self.interrupt_status().and(self.ie).is_empty()
    }

    pub(crate) fn next_event(&self, config: &Config) -> Option<Time> {
        let commands = self.commands.iter().filter(|_| self.cmd.cr() && !self.halted).filter_map(|c| c.due);
        let link = self.link.iter().map(|(at, _)| *at);
        commands
            .chain(link)
            .chain(self.stop_at)
            .chain(self.receive_stop_at)
            .chain(self.next_sleep(config))
            .min()
    }

    /// Does what is due.
    pub(crate) fn run(&mut self, bus: &mut dyn Bus, shared: &mut Shared) {
        let now = bus.now();
        if self.stop_at.is_some_and(|at| at <= now) {
            self.stop_at = None;
            self.cmd.set_cr(false);
            self.commands.clear();
            self.fetched = 0;
            self.halted = false;
        }
        if self.receive_stop_at.is_some_and(|at| at <= now) {
            self.receive_stop_at = None;
            self.cmd.set_fr(false);
        }
        self.run_link(bus, shared);
        self.fetch(bus, shared);
        while self.cmd.cr() && !self.halted && !shared.removed {
            let due = |(at, command): (usize, &Command)| Some((command.due?, at));
            let next = self.commands.iter().enumerate().filter_map(due).min();
            let Some((_, at)) = next.filter(|(due, _)| *due <= now) else { break };
            let command = self.commands.remove(at);
            self.fetched &= !(1 << command.slot);
            self.finish(bus, shared, command);
            self.fetch(bus, shared);
        }
        if self.ci == 0 && self.sact == 0 {
            self.sleep(shared, now);
        } else {
            self.idle_since = now;
        }
    }

    /// ST was cleared.
    pub(crate) fn stop(&mut self, shared: &mut Shared, now: Time) {
        if !self.commands.is_empty() && !self.halted {
            self.abandoned = true;
            if self.commands.iter().any(|command| !command.is_queued()) {
                self.tfd.set_status(BUSY);
            }
        }
        (self.ci, self.sact) = (0, 0);
        // So says the definition of SDE (AHCI, section 3.3.16).
        self.fbs.set_sde(false);
        if !shared.faults.lifecycle(|it| it.is(LifecycleFault::NeverStops, Some(self.number))) {
            self.stop_at = Some(now.plus(shared.config.latency.stop));
        }
    }

    /// Forgets what was going on: the link went down.
    pub(crate) fn abandon_commands(&mut self) {
        self.commands.clear();
        self.fetched = 0;
        self.soft_reset = false;
    }

    fn fetch(&mut self, bus: &mut dyn Bus, shared: &mut Shared) {
        while self.cmd.cr() && self.cmd.st() && !self.halted && self.ssts.is_connected() {
            if self.fbs.sde() || (!self.fbs.en() && self.tfd.status() & BUSY != 0) {
                return;
            }
            let waiting = self.ci & !self.fetched;
            if waiting == 0 {
                return;
            }
            // The next one after the last that was processed.
            let turned = waiting.rotate_right(u32::from(self.cmd.ccs()) + 1);
            let slot = (turned.trailing_zeros() + u32::from(self.cmd.ccs()) + 1) & 31;
            let slot = u8::try_from(slot).unwrap_or(0);
            self.cmd.set_ccs(slot);
            self.wake(bus.now());
            match self.fetch_slot(bus, shared, slot) {
                Ok(Some(command)) => {
                    self.fetched |= 1 << slot;
                    if command.is_queued() {
                        // The device took it: the slot is free as far as the list is concerned.
                        self.ci &= !(1 << slot);
                    } else if !self.fbs.en() {
                        self.tfd.set_status(BUSY);
                    }
                    self.commands.push(command);
                    let statistics = &mut shared.statistics;
                    statistics.most_outstanding = statistics.most_outstanding.max(self.commands.len());
                    let mut devices: Vec<u8> = self.commands.iter().map(|c| c.pm_port).collect();
                    devices.sort_unstable();
                    devices.dedup();
                    statistics.most_devices = statistics.most_devices.max(devices.len());
                    if devices.len() > 1 && !self.fbs.en() {
                        shared.note(Violation::MixedDevices { port: self.number });
                    }
                }
                Ok(None) => {}
                Err(()) => {
                    self.is.set_hbfs(true);
                    self.halted = true;
                }
            }
        }
    }

    /// Reads the command of a slot. `None`: it was device control, and is done. An error is one of the bus.
    fn fetch_slot(
        &mut self,
        bus: &mut dyn Bus,
        shared: &mut Shared,
        slot: u8,
    ) -> Result<Option<Command>, ()> {
        let port = self.number;
        let header_at = self.clb + u64::from(slot) * size_of::<CommandHeader>() as u64;
        let mut bytes = [0; size_of::<CommandHeader>()];
        bus.dma_read(header_at, &mut bytes).map_err(drop)?;
        let header = CommandHeader::read_from_bytes(&bytes).map_err(drop)?;
        let mut bytes = [0; size_of::<HostToDevice>()];
        bus.dma_read(header.ctba + table::CFIS as u64, &mut bytes).map_err(drop)?;
        let fis = HostToDevice::read_from_bytes(&bytes).map_err(drop)?;
        let mut packet = [0; 16];
        if header.flags.atapi() {
            bus.dma_read(header.ctba + table::ACMD as u64, &mut packet).map_err(drop)?;
        }
        if !header.ctba.is_multiple_of(128) {
            shared.note(Violation::Table { port });
        }
        let wrong = fis.fis_type != FisType::HOST_TO_DEVICE.0
            || usize::from(header.flags.cfl()) * 4 != size_of::<HostToDevice>()
            || fis.flags.pm_port() != header.flags.pm_port();
        if wrong {
            shared.note(Violation::CommandFis { port });
        }
        if !fis.flags.command() {
            self.ci &= !(1 << slot);
            self.control(shared, &fis, bus.now());
            return Ok(None);
        }
        let mut command = Command {
            slot,
            pm_port: fis.flags.pm_port(),
            fis,
            packet,
            header: header_at,
            prdt: header.ctba + ahci_spec::TABLE_PRDT as u64,
            prdtl: header.prdtl,
            actions: Vec::new(),
            due: None,
        };
        self.check_queueing(shared, &command);
        let code = command.code();
        *shared.statistics.commands.entry(code).or_default() += 1;
        let fua = code == AtaCommand::WRITE_DMA_FUA_EXT
            || (code == AtaCommand::WRITE_FPDMA_QUEUED && fis.device & ahci_spec::device::FUA != 0);
        shared.statistics.fua_writes += u64::from(fua);
        command.actions = shared.faults.strike(|only| only.matches(port, code, command.range()));
        if command.has(Action::SpuriousInterrupt) {
            self.is.set_dps(true);
        }
        let latency = shared.config.latency;
        let mut wait = latency.command;
        if matches!(code, AtaCommand::FLUSH_CACHE | AtaCommand::FLUSH_CACHE_EXT) {
            wait += latency.flush;
        }
        let jitter = u64::try_from(latency.jitter.as_nanos()).unwrap_or(0);
        wait += Duration::from_nanos(shared.rng.u64(0..=jitter));
        for action in &command.actions {
            if let Action::Delay(delay) = action {
                wait += *delay;
            }
        }
        let there = self.target.as_mut().and_then(|target| target.behind(command.pm_port)).is_some()
            || command.pm_port == ahci_spec::pmp::CONTROL_PORT;
        if there && !command.has(Action::Hang) {
            command.due = Some(bus.now().plus(wait));
        }
        Ok(Some(command))
    }

    fn check_queueing(&self, shared: &mut Shared, command: &Command) {
        let (port, slot) = (self.number, command.slot);
        let active = self.sact & 1 << slot != 0;
        let queued = command.is_queued();
        if queued != active || (queued && command.tag() != slot) {
            shared.note(Violation::ActiveMismatch { port, slot });
        }
        let same_device = |other: &&Command| other.pm_port == command.pm_port;
        if self.commands.iter().filter(same_device).any(|other| other.is_queued() != queued) {
            shared.note(Violation::MixedQueueing { port });
        }
        let depth = match &self.target {
            Some(Target::Multiplier(_)) | None => 32,
            Some(target) => target.queue_depth(),
        };
        if queued && slot >= depth {
            shared.note(Violation::QueueDepth { port, tag: slot });
        }
    }

    /// A FIS that changes device control: a half of a software reset (AHCI, section 10.4.1).
    fn control(&mut self, shared: &mut Shared, fis: &HostToDevice, now: Time) {
        let reset = fis.control & HostToDevice::SRST != 0;
        if reset {
            self.soft_reset = true;
            return;
        }
        if !std::mem::take(&mut self.soft_reset) {
            return;
        }
        let pm_port = fis.flags.pm_port();
        let Some(target) = self.target.as_mut() else { return };
        if pm_port == ahci_spec::pmp::CONTROL_PORT {
            target.reset();
        } else if let Some(target) = target.behind(pm_port) {
            target.reset();
        }
        if !self.fbs.en() {
            self.tfd.set_status(BUSY);
        }
        // It turns already.
        let wait = shared.config.latency.ready.min(Duration::from_millis(50));
        self.link.push((now.plus(wait), LinkEvent::Ready { pm_port, hard: false }));
    }

    /// Carries out a command that is due.
    fn finish(&mut self, bus: &mut dyn Bus, shared: &mut Shared, mut command: Command) {
        for action in command.actions.clone() {
            match action {
                Action::Unplug => return self.unplug(),
                Action::LinkLoss => return self.lose_link(shared, bus.now()),
                Action::Remove => {
                    shared.removed = true;
                    return;
                }
                Action::WildRead(addr) => drop(bus.dma_read(addr, &mut [0; 64])),
                Action::WildWrite(addr) => drop(bus.dma_write(addr, &[0x66; 64])),
                Action::LoseInterrupt => self.lose = true,
                Action::LinkError => return self.link_error(command),
                Action::BusError => {
                    self.is.set_hbfs(true);
                    self.halted = true;
                    return self.keep(command);
                }
                _ => {}
            }
        }
        let speed = self.ssts.spd();
        let moves = command.range().is_some();
        if moves && self.target.as_ref().is_some_and(|target| target.is_unstable_at(speed)) {
            return self.link_error(command);
        }
        let result = self.execute(bus, shared, &command);
        if command.has(Action::Drop) {
            command.due = None;
            return self.keep(command);
        }
        match result {
            Err(Failure::Transfer(TransferError::Bus)) => {
                self.is.set_hbfs(true);
                self.halted = true;
                self.keep(command);
            }
            Err(Failure::Transfer(TransferError::Overflow)) => {
                self.is.set_ofs(true);
                self.fail(bus, &command, Failure::ABORT);
            }
            Err(failure) => self.fail(bus, &command, failure),
            Ok(outcome) => self.complete(bus, &command, outcome),
        }
    }

    /// Leaves a command where it is; it is never done.
    fn keep(&mut self, command: Command) {
        self.fetched |= 1 << command.slot;
        self.commands.push(Command { due: None, ..command });
    }

    fn execute(
        &mut self,
        bus: &mut dyn Bus,
        shared: &mut Shared,
        command: &Command,
    ) -> Result<Outcome, Failure> {
        let injected = command.actions.iter().find_map(|action| match action {
            Action::Fail(error) => {
                Some(Failure::Ata { error: *error, lba: command.range().map_or(0, |(lba, _)| lba) })
            }
            Action::DeviceFault => Some(Failure::Fault),
            _ => None,
        });
        if let Some(failure) = injected {
            return Err(failure);
        }
        let mut transfer = Transfer::read(bus, command.prdt, command.prdtl)?;
        if transfer.odd {
            shared.note(Violation::Table { port: self.number });
        }
        let Some(mut target) = self.target.as_mut() else { return Err(Failure::ABORT) };
        if command.pm_port != ahci_spec::pmp::CONTROL_PORT || !matches!(target, Target::Multiplier(_)) {
            target = target.behind(command.pm_port).ok_or(Failure::ABORT)?;
        }
        let result = target.execute(bus, command, &mut transfer, &mut shared.faults);
        if !command.is_queued() {
            bus.dma_write(command.header + 4, transfer.moved.as_bytes()).map_err(|_| TransferError::Bus)?;
        }
        result
    }

    /// Tells the host that a command is done.
    fn complete(&mut self, bus: &mut dyn Bus, command: &Command, outcome: Outcome) {
        let bit = 1 << command.slot;
        self.completions += 1;
        let cleared = command.actions.iter().fold(bit, |bits, action| match action {
            Action::ClearOthers(others) => bits | others,
            _ => bits,
        });
        if command.is_queued() {
            let fis = SetDeviceBits {
                fis_type: FisType::SET_DEVICE_BITS.0,
                flags: PmFlags::new().with_pm_port(command.pm_port).with_interrupt(true),
                status: READY,
                error: 0,
                active: cleared,
            };
            self.receive(bus, command.pm_port, received::SET_DEVICE_BITS, fis.as_bytes());
            self.sact &= !cleared;
            self.is.set_sdbs(true);
            return;
        }
        let mut fis = DeviceToHost {
            fis_type: FisType::DEVICE_TO_HOST.0,
            flags: PmFlags::new().with_pm_port(command.pm_port).with_interrupt(true),
            status: READY,
            lba_low: command.fis.lba_low,
            lba_high: command.fis.lba_high,
            device: command.fis.device,
            count: command.fis.count,
            ..DeviceToHost::default()
        };
        match outcome {
            Outcome::Pio => {
                let setup = [FisType::PIO_SETUP.0, 0x60, READY, 0];
                self.receive(bus, command.pm_port, received::PIO_SETUP, &setup);
                self.is.set_pss(true);
            }
            Outcome::Registers { count, lba } => {
                let [a, b, c, d, e, f, ..] = lba.to_le_bytes();
                fis = DeviceToHost { count, lba_low: [a, b, c], lba_high: [d, e, f], ..fis };
                self.is.set_dhrs(true);
            }
            Outcome::Done => self.is.set_dhrs(true),
        }
        if outcome != Outcome::Pio {
            self.receive(bus, command.pm_port, received::DEVICE_TO_HOST, fis.as_bytes());
        }
        self.tfd = PxTfd::new().with_status(READY);
        self.ci &= !cleared;
    }

    /// Tells the host that a command failed. The command list stops.
    fn fail(&mut self, bus: &mut dyn Bus, command: &Command, failure: Failure) {
        let (error, status) = match failure {
            Failure::Ata { error, .. } => (error, FAILED),
            Failure::Fault => (AtaError::new(), 0x70),
            Failure::Transfer(_) => (AtaError::new().with_icrc(true).with_abrt(true), FAILED),
        };
        let lba = if let Failure::Ata { lba, .. } = failure { lba } else { 0 };
        let [a, b, c, d, e, f, ..] = lba.to_le_bytes();
        let fis = DeviceToHost {
            fis_type: FisType::DEVICE_TO_HOST.0,
            flags: PmFlags::new().with_pm_port(command.pm_port).with_interrupt(true),
            status,
            error: error.into(),
            lba_low: [a, b, c],
            lba_high: [d, e, f],
            ..DeviceToHost::default()
        };
        self.receive(bus, command.pm_port, received::DEVICE_TO_HOST, fis.as_bytes());
        self.tfd = PxTfd::new().with_status(status).with_error(error.into());
        self.is.set_tfes(true);
        self.is.set_dhrs(true);
        let queued = command.is_queued();
        if queued && let Some(target) = self.target.as_mut().and_then(|target| target.behind(command.pm_port))
        {
            target.queued_failed(command, failure);
        }
        // The device gives all of its commands up.
        self.commands.retain(|other| other.pm_port != command.pm_port);
        if self.fbs.en() {
            self.fbs.set_sde(true);
            self.fbs.set_dwe(command.pm_port);
        } else {
            self.halted = true;
        }
    }

    /// A CRC error: the transfer ended early, and nobody knows what became of the command.
    fn link_error(&mut self, command: Command) {
        self.serr.set_diag_c(true);
        self.serr.set_err_t(true);
        self.is.set_ifs(true);
        self.halted = true;
        self.keep(command);
    }

    /// Writes a FIS where the host wants it.
    pub(crate) fn receive(&mut self, bus: &mut dyn Bus, pm_port: u8, at: usize, fis: &[u8]) {
        if !self.cmd.fr() {
            return;
        }
        let area = if self.fbs.en() { u64::from(pm_port) * 256 } else { 0 };
        if bus.dma_write(self.fb + area + at as u64, fis).is_err() {
            self.is.set_hbfs(true);
            self.halted = true;
        }
    }

    /// FBS.DEC: the error of one device is over (AHCI, section 9.3.6).
    pub(crate) fn clear_device_error(&mut self) {
        let device = self.fbs.dwe();
        let others = self.commands.iter().filter(|command| command.pm_port != device);
        let keep = others.fold(0, |bits, command| bits | 1u32 << command.slot);
        // What was issued and not fetched belongs to nobody yet.
        self.sact &= keep;
        self.ci &= keep;
        self.fetched &= keep;
        self.commands.retain(|command| command.pm_port != device);
        self.fbs.set_sde(false);
    }

    /// Whether a queued command would be told from the code, for registers.
    pub(crate) fn holds(&self, slot: u8) -> bool {
        self.commands.iter().any(|command| command.slot == slot && is_queued(command.code()))
    }
}
