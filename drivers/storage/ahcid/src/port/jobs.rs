//! The driver's own commands. They go one at a time, while no client's command is with the controller, through the first
//! slot, with a table of their own.

use std::time::Duration;

use ahci_spec::{
    AtaCommand, AtaError, AtaStatus, FeatureCode, GeneralPurposeLog, HostToDevice, Identify, NcqErrorLog,
    NcqSendReceiveLog, SmartData, SmartFeature,
    atapi::{self, Capacity, PACKET_BYTES, Sense},
    registers::PxIs,
};
use driver_block::BlockError;
use redox_driver_sys::time::Time;

use super::{
    Device, Outbox, Port,
    states::{State, Then},
};
use crate::{
    drive::{Class, Drive, shape},
    memory::OWN_TABLE,
};

/// How long IDENTIFY may take, by attempt: one that comes during spin-up takes long.
const IDENTIFY_TIMEOUTS: [Duration; 3] =
    [Duration::from_secs(5), Duration::from_secs(10), Duration::from_secs(31)];
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a software reset may take to be sent, and to be answered.
const SOFT_RESET_TIMEOUT: Duration = Duration::from_secs(1);
const SOFT_RESET_ANSWER: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_micros(200);
const LONGEST_POLL: Duration = Duration::from_millis(10);
/// How often a device behind a multiplier is asked again what it is. One at the port itself is reset.
const MOST_IDENTIFY: u8 = 3;
/// How often drives are asked for their medium.
const MEDIA_INTERVAL: Duration = Duration::from_secs(2);
/// Unit attentions in a row that are believed.
const MOST_ATTENTIONS: u8 = 4;

/// What one of the driver's own commands is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// Half of a software reset (AHCI, section 10.4.1).
    SoftReset { pm_port: u8, release: bool },
    /// What a device is; so many times it did not answer.
    Identify { pm_port: u8, cd: bool, failed: u8 },
    /// Set the transfer mode.
    TransferMode { pm_port: u8, mode: u8 },
    /// Switch a feature of the serial interface.
    SataFeature { pm_port: u8, feature: u8, on: bool },
    /// What can be sent queued.
    SendReceiveLog { pm_port: u8 },
    /// Which queued command failed; with what the device said then.
    ErrorLog { pm_port: u8, status: AtaStatus, error: AtaError },
    /// Whether a drive has a medium; so many unit attentions came before.
    TestUnit { pm_port: u8, attentions: u8 },
    /// Why it has none, or why the client's command in a slot failed.
    Sense { pm_port: u8, slot: Option<u8>, attentions: u8 },
    /// How large the medium is.
    Capacity { pm_port: u8 },
    /// Whether a disk expects to fail.
    SmartStatus { pm_port: u8 },
    /// A disk's attributes.
    SmartData { pm_port: u8 },
    /// Stop turning.
    Standby { pm_port: u8 },
    /// Read a register of a port multiplier, or of one of its ports.
    ReadMultiplier { port: u8, register: u16 },
    /// Write one.
    WriteMultiplier { port: u8, register: u16, value: u32 },
}

/// A command of the driver's own that the controller has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    job: Job,
    by: Time,
    poll: Duration,
}

/// How one failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The device says so.
    Device(AtaStatus, AtaError),
    /// The link or the bus.
    Transport,
}

impl Port {
    /// Begins the next of the driver's own commands, if there is one and nothing is in its way. Returns whether one runs.
    pub(super) fn start_own(&mut self, now: Time) -> bool {
        if self.own.is_some() {
            return true;
        }
        if self.issued() != 0 || self.pause_until > now {
            return false;
        }
        let Some(job) = self.jobs.pop_front() else { return false };
        let (fis, packet, bytes) = command(job);
        let pm_port = fis.flags.pm_port();
        let mut header = shape(pm_port, false, 0);
        let mut timeout = TIMEOUT;
        match job {
            Job::SoftReset { release, .. } => {
                header.flags.set_reset(!release);
                header.flags.set_clear_busy(!release);
                timeout = SOFT_RESET_TIMEOUT;
            }
            Job::Identify { .. } => timeout = self.of_attempt(IDENTIFY_TIMEOUTS),
            _ => {}
        }
        let write = || -> Result<(), BlockError> {
            if bytes != 0 {
                self.memory.clear_page()?;
                header.prdtl = self.memory.write_segments(OWN_TABLE, &[self.memory.page(bytes)])?;
            }
            if let Some(packet) = packet {
                header.flags.set_atapi(true);
                self.memory.write_packet(OWN_TABLE, packet)?;
            }
            self.memory.write_fis(OWN_TABLE, &fis)?;
            self.memory.point_first(OWN_TABLE)?;
            self.memory.write_header(0, header)
        };
        let mut write = write;
        if let Err(error) = write() {
            log::error!("{}: {job:?}: {error}", self.name);
            return false;
        }
        self.select(pm_port);
        self.regs.ci.write(1);
        self.own = Some(Own { job, by: now.plus(timeout), poll: POLL });
        self.due = Some(now.plus(POLL));
        true
    }

    /// Looks whether the driver's own command is done. Returns whether there may be more to do.
    pub(super) fn check_own(&mut self, now: Time, out: &mut Outbox) -> bool {
        let Some(mut own) = self.own else { return false };
        if self.regs.ci.read() & 1 == 0 {
            self.regs.is.write(PxIs::COMPLETIONS);
            self.own = None;
            self.restore_first();
            self.job_done(own.job, Ok(()), now, out);
            return true;
        }
        let fatal = self.regs.is.read().and(PxIs::FATAL.with_ofs(true));
        if !fatal.is_empty() {
            self.regs.is.write(fatal);
            self.failed(now, fatal, out);
            return true;
        }
        if now >= own.by {
            log::warn!("{}: {:?} takes too long", self.name, own.job);
            self.counters.timeouts += 1;
            if let Job::SoftReset { .. } = own.job {
                self.link.no_soft_reset = true;
            }
            self.retry("its device does not answer", now);
            return true;
        }
        own.poll = (own.poll * 2).min(LONGEST_POLL);
        self.own = Some(own);
        self.due = Some(now.plus(own.poll).min(own.by));
        false
    }

    /// One of the driver's own commands failed: the command list has to be stopped before anything else.
    pub(super) fn own_failed(&mut self, is: PxIs, now: Time) {
        let Some(own) = self.own else { return };
        let tfd = self.regs.tfd.read();
        let failure = if is.tfes() {
            Failure::Device(tfd.status().into(), tfd.error().into())
        } else {
            Failure::Transport
        };
        let probing = self.state == State::Probing;
        self.stop(Then::Job { job: own.job, failure, probing }, now);
    }

    /// The command list has stopped after a command of the driver's own had failed.
    pub(super) fn job_stopped(
        &mut self,
        job: Job,
        failure: Failure,
        probing: bool,
        now: Time,
        out: &mut Outbox,
    ) {
        self.restore_first();
        let errors = self.regs.clear_errors();
        let busy = !AtaStatus::from(self.regs.tfd.read().status()).is_idle();
        if errors.is_link_error() || failure == Failure::Transport {
            self.count_link_error();
        }
        if busy || failure == Failure::Transport {
            return self.retry("its link or the bus had an error", now);
        }
        self.run();
        self.state = if probing { State::Probing } else { State::Diagnosing };
        self.due = Some(now);
        self.job_done(job, Err(failure), now, out);
    }

    /// Gives the first slot its own table back.
    fn restore_first(&mut self) {
        // The list is the port's own: none of this can fail.
        let _ = self.memory.point_first(0);
        if self.used & 1 == 0 {
            return;
        }
        let devices = if self.devices.is_empty() { &self.before } else { &self.devices };
        let [slot, ..] = &self.slots;
        if let Some(device) = devices.iter().find(|device| device.pm_port == slot.pm_port) {
            let _ = self.memory.write_header(0, device.drive.build(&slot.work, 0, slot.pm_port).shape);
        }
    }

    /// What follows from one of the driver's own commands.
    fn job_done(&mut self, job: Job, result: Result<(), Failure>, now: Time, out: &mut Outbox) {
        match job {
            Job::SoftReset { pm_port, release: false } => match result {
                Ok(()) => self.jobs.push_front(Job::SoftReset { pm_port, release: true }),
                Err(_) => self.retry("a software reset failed", now),
            },
            Job::SoftReset { pm_port, release: true } => match result {
                Ok(()) => {
                    let by = now.plus(SOFT_RESET_ANSWER);
                    self.state = State::Settling { by, poll: POLL, soft: Some(pm_port) };
                    self.due = Some(now.plus(POLL));
                }
                Err(_) => self.retry("a software reset failed", now),
            },
            Job::Identify { pm_port, cd, failed } => {
                self.identified((pm_port, cd, failed), result, now);
            }
            Job::TransferMode { .. } | Job::SataFeature { .. } | Job::WriteMultiplier { .. } => {
                if let Err(failure) = result {
                    log::debug!("{}: {job:?}: {failure:?}", self.name);
                }
            }
            Job::SendReceiveLog { pm_port } => {
                let log = result.ok().and_then(|()| self.memory.read_page::<NcqSendReceiveLog>().ok());
                if let Some(device) = self.device_mut(pm_port) {
                    device.drive.queued_trim = log.is_some_and(|log| log.has_trim());
                }
            }
            Job::ErrorLog { status, error, .. } => {
                let log = result.ok().and_then(|()| self.memory.read_page::<NcqErrorLog>().ok());
                self.judge_queued(log, (status, error), now, out);
            }
            Job::TestUnit { pm_port, attentions } => match result {
                Ok(()) => self.jobs.push_back(Job::Capacity { pm_port }),
                Err(_) => self.jobs.push_front(Job::Sense { pm_port, slot: None, attentions }),
            },
            Job::Sense { pm_port, slot, attentions } => {
                let sense = result.ok().and_then(|()| self.memory.read_page::<Sense>().ok());
                self.sensed(pm_port, slot, attentions, sense, out);
            }
            Job::Capacity { pm_port } => {
                let capacity = result.ok().and_then(|()| self.memory.read_page::<Capacity>().ok());
                self.set_medium(pm_port, capacity, out);
            }
            Job::SmartStatus { pm_port } => {
                let text = match (result, self.memory.received(if self.fbs { pm_port } else { 0 })) {
                    (Ok(()), Ok(fis)) => {
                        let [_, mid, high] = fis.lba_low;
                        if u16::from_le_bytes([mid, high]) == SmartFeature::THRESHOLD_EXCEEDED {
                            "a threshold is exceeded: the disk expects to fail"
                        } else {
                            "no threshold is exceeded"
                        }
                    }
                    _ => "not available",
                };
                self.smart.push((pm_port, format!("  health            {text}\n")));
            }
            Job::SmartData { pm_port } => {
                if let (Ok(()), Ok(data)) = (result, self.memory.read_page::<SmartData>()) {
                    let lines = data.attributes().map(|(id, value, worst, raw)| {
                        let name = SmartData::attribute_name(id);
                        format!("  attribute {id:3}     {value} (worst {worst}), raw {raw}: {name}\n")
                    });
                    self.smart.push((pm_port, lines.collect()));
                }
            }
            Job::Standby { pm_port } => {
                if let Err(failure) = result {
                    log::warn!("{}: device {pm_port} does not go to standby: {failure:?}", self.name);
                }
            }
            Job::ReadMultiplier { port, register } => {
                let value = result.ok().and_then(|()| self.memory.received(self.control_area()).ok());
                self.multiplier_read(port, register, value.map(|fis| fis.pmp_value()), now);
            }
        }
    }

    fn identified(&mut self, (pm_port, cd, failed): (u8, bool, u8), result: Result<(), Failure>, now: Time) {
        let multiplied = self.is_multiplied();
        let identify = match (result, self.memory.read_page::<Identify>()) {
            (Ok(()), Ok(identify)) => identify,
            (Err(_), _) if multiplied && failed < MOST_IDENTIFY => {
                return self.jobs.push_front(Job::Identify { pm_port, cd, failed: failed + 1 });
            }
            (Err(failure), _) if multiplied => {
                return self.refused.push(format!("port {pm_port} of the multiplier: IDENTIFY: {failure:?}"));
            }
            _ => return self.retry("its device does not identify itself", now),
        };
        let drive = match Drive::new(Box::new(identify), cd, self.abilities.ncq) {
            Ok(drive) => drive,
            Err(_) if !identify.is_intact() && !multiplied => {
                return self.retry("its device identifies itself with a wrong checksum", now);
            }
            Err(why) => {
                log::warn!("{}: not served: {why}", self.name);
                return self.refused.push(why);
            }
        };
        if !identify.udma_selected()
            && let Some(mode) = identify.udma_mode()
        {
            self.jobs.push_back(Job::TransferMode { pm_port, mode });
        }
        if drive.ncq && identify.has_trim() && identify.has_ncq_send() && identify.has_gpl() {
            self.jobs.push_back(Job::SendReceiveLog { pm_port });
        }
        if cd {
            self.jobs.push_back(Job::TestUnit { pm_port, attentions: 0 });
        } else {
            self.jobs.extend(self.power_features(pm_port, &identify));
        }
        let id = self.disk_id(pm_port);
        self.devices.push(Device { pm_port, id, drive, disk: None });
    }

    /// What a drive says about a failure.
    fn sensed(
        &mut self,
        pm_port: u8,
        slot: Option<u8>,
        attentions: u8,
        sense: Option<Sense>,
        out: &mut Outbox,
    ) {
        let (key, code) =
            sense.map_or((atapi::KEY_HARDWARE_ERROR, 0), |sense| (sense.sense_key(), sense.asc));
        let attention = key == atapi::KEY_UNIT_ATTENTION;
        if let Some(slot) = slot
            && self.stranded & 1 << slot != 0
        {
            let error = match (key, code) {
                (atapi::KEY_UNIT_ATTENTION, atapi::ASC_MEDIUM_CHANGED) => BlockError::Gone,
                (atapi::KEY_UNIT_ATTENTION, _) | (atapi::KEY_NOT_READY, atapi::ASC_NOT_READY) => {
                    BlockError::Transient
                }
                (atapi::KEY_NOT_READY, _) => BlockError::Gone,
                (atapi::KEY_ILLEGAL_REQUEST, atapi::ASC_OUT_OF_RANGE) => BlockError::OutOfRange,
                (atapi::KEY_ILLEGAL_REQUEST, _) => BlockError::Unsupported,
                (atapi::KEY_DATA_PROTECT, _) => BlockError::ReadOnly,
                _ => BlockError::Medium,
            };
            log::debug!("{}: sense key {key:#x}, code {code:#04x}", self.name);
            self.stranded &= !(1 << slot);
            self.finish(slot.into(), Err(error), out);
        }
        match key {
            _ if attention && attentions < MOST_ATTENTIONS => {
                self.jobs.push_back(Job::TestUnit { pm_port, attentions: attentions + 1 });
            }
            // Not ready: no medium, or one that spins up and is asked again.
            atapi::KEY_NOT_READY | atapi::KEY_UNIT_ATTENTION => self.set_medium(pm_port, None, out),
            _ => {}
        }
    }

    fn set_medium(&mut self, pm_port: u8, capacity: Option<Capacity>, out: &mut Outbox) {
        let Some(device) = self.device_mut(pm_port) else { return };
        let before = device.drive.class;
        device.drive.set_medium(capacity);
        // While probing, `found` compares with what was there before.
        if device.drive.class != before && self.before.is_empty() && self.state != State::Probing {
            self.tell(out);
        }
    }

    /// Looks after what is to be done beside clients' commands.
    pub(super) fn maintain(&mut self, now: Time, out: &mut Outbox) -> bool {
        if self.own.is_some() {
            if self.check_own(now, out) {
                return true;
            }
            return false;
        }
        if self.media_due.is_some_and(|due| due <= now) {
            self.watch_media(now);
            self.ask_media();
        }
        if self.jobs.is_empty() {
            self.due = None;
            return false;
        }
        self.start_own(now);
        false
    }

    /// Drives with removable media are to be asked from time to time.
    pub(super) fn watch_media(&mut self, now: Time) {
        let any = self.devices.iter().any(|device| matches!(device.drive.class, Class::Cd(_)));
        self.media_due = (any || self.is_multiplied()).then(|| now.plus(MEDIA_INTERVAL));
    }

    fn ask_media(&mut self) {
        // One that is busy has a medium.
        if self.used == 0 && self.jobs.is_empty() {
            let cds = self.devices.iter().filter(|device| matches!(device.drive.class, Class::Cd(_)));
            let asks = cds.map(|device| Job::TestUnit { pm_port: device.pm_port, attentions: 0 });
            self.jobs.extend(asks.collect::<Vec<_>>());
        }
        self.ask_multiplier();
    }
}

/// The command of a job: its FIS, its packet, and how many bytes it returns.
fn command(job: Job) -> (HostToDevice, Option<[u8; PACKET_BYTES]>, u32) {
    let ata = HostToDevice::command;
    let packet = |pm_port, packet, bytes: u32| {
        // FEATURE bit 0: the data goes by DMA, which a command without data must not say.
        let fis = ata(AtaCommand::PACKET, pm_port).with_feature((bytes != 0).into());
        (fis, Some(packet), bytes)
    };
    let smart = |pm_port, feature: SmartFeature| {
        let [mid, high] = SmartFeature::SIGNATURE.to_le_bytes();
        let fis = HostToDevice { lba_low: [0, mid, high], ..ata(AtaCommand::SMART, pm_port) };
        fis.with_feature(feature.0.into())
    };
    let log = |pm_port, log: GeneralPurposeLog| {
        let fis = HostToDevice { count: 1, ..ata(AtaCommand::READ_LOG_EXT, pm_port) };
        fis.with_lba(log.0.into())
    };
    let set = |pm_port, feature: FeatureCode, count: u8| {
        let fis = HostToDevice { count: count.into(), ..ata(AtaCommand::SET_FEATURES, pm_port) };
        fis.with_feature(feature.0.into())
    };
    match job {
        Job::SoftReset { pm_port, release } => {
            let mut fis = HostToDevice::command(AtaCommand::NOP, pm_port);
            fis.flags.set_command(false);
            fis.control = if release { 0 } else { HostToDevice::SRST };
            (fis, None, 0)
        }
        Job::Identify { pm_port, cd: false, .. } => (ata(AtaCommand::IDENTIFY_DEVICE, pm_port), None, 512),
        Job::Identify { pm_port, cd: true, .. } => {
            (ata(AtaCommand::IDENTIFY_PACKET_DEVICE, pm_port), None, 512)
        }
        Job::TransferMode { pm_port, mode } => {
            (set(pm_port, FeatureCode::SET_TRANSFER_MODE, FeatureCode::UDMA_0 | mode), None, 0)
        }
        Job::SataFeature { pm_port, feature, on } => {
            let code = if on { FeatureCode::ENABLE_SATA } else { FeatureCode::DISABLE_SATA };
            (set(pm_port, code, feature), None, 0)
        }
        Job::SendReceiveLog { pm_port } => (log(pm_port, GeneralPurposeLog::NCQ_SEND_RECEIVE), None, 512),
        Job::ErrorLog { pm_port, .. } => (log(pm_port, GeneralPurposeLog::NCQ_ERROR), None, 512),
        Job::TestUnit { pm_port, .. } => packet(pm_port, atapi::test_unit_ready(), 0),
        Job::Sense { pm_port, .. } => packet(pm_port, atapi::request_sense(18), 18),
        Job::Capacity { pm_port } => packet(pm_port, atapi::read_capacity(), 8),
        Job::SmartStatus { pm_port } => (smart(pm_port, SmartFeature::RETURN_STATUS), None, 0),
        Job::SmartData { pm_port } => (smart(pm_port, SmartFeature::READ_DATA), None, 512),
        Job::Standby { pm_port } => (ata(AtaCommand::STANDBY_IMMEDIATE, pm_port), None, 0),
        Job::ReadMultiplier { port, register } => {
            let fis = ata(AtaCommand::READ_PORT_MULTIPLIER, ahci_spec::pmp::CONTROL_PORT);
            (HostToDevice { device: port & 0xf, ..fis }.with_feature(register), None, 0)
        }
        Job::WriteMultiplier { port, register, value } => {
            let [count, a, b, c] = value.to_le_bytes();
            let fis = ata(AtaCommand::WRITE_PORT_MULTIPLIER, ahci_spec::pmp::CONTROL_PORT);
            let fis = HostToDevice { device: port & 0xf, count: count.into(), lba_low: [a, b, c], ..fis };
            (fis.with_feature(register), None, 0)
        }
    }
}
