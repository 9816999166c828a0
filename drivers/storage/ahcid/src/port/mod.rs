//! A port: its devices, the commands in its slots, and the way through its states. Nothing here waits.

mod errors;
mod jobs;
mod multiplier;
mod power;
mod report;
mod states;

use std::collections::VecDeque;

use ahci_spec::registers::{PxFbs, PxIs};
use driver_block::{BlockError, Command, Completed, ControllerEvent, Disk, DiskId, Operation, SubmitError};
use redox_driver_sys::{dma::DmaAllocator, time::Time};

use crate::{
    drive::{Class, Drive, Kind, Work},
    error::{Error, Result},
    memory::{PortMemory, SLOTS},
    options::{LinkPower, Options},
    regs::{HbaRegisters, PortRegisters},
};
use jobs::{Job, Own};
use states::{Link, State};

/// What a port interrupts for.
const INTERRUPTS: PxIs = PxIs::COMPLETIONS
    .with_dss(false)
    .with_dps(false)
    .or(PxIs::FATAL)
    .or(PxIs::HOTPLUG)
    .with_ufs(true)
    .with_ofs(true)
    .with_infs(true);
/// Disk ids are the port's number; behind a multiplier this is added for its first port, twice for the second, ….
const DISK_IDS: u32 = 32;

/// What a port tells the world outside.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) done: Vec<Completed>,
    pub(crate) events: Vec<ControllerEvent>,
    /// Only a reset of the whole controller helps.
    pub(crate) stuck: bool,
}

/// What controller and port can, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Abilities {
    pub(crate) slots: u8,
    pub(crate) ncq: bool,
    pub(crate) multipliers: bool,
    pub(crate) fbs: bool,
    pub(crate) partial: bool,
    pub(crate) slumber: bool,
    pub(crate) aggressive: bool,
    pub(crate) device_sleep: bool,
    /// Completions are gathered by the controller.
    pub(crate) coalesced: bool,
}

impl Abilities {
    pub(crate) fn new(hba: &HbaRegisters, options: &Options) -> Self {
        let (cap, cap2) = (hba.cap(), hba.cap2());
        Abilities {
            slots: (cap.ncs() + 1).min(options.queue_depth.clamp(1, 32)),
            ncq: cap.sncq() && options.ncq,
            multipliers: cap.spm(),
            fbs: cap.fbss(),
            partial: cap.psc(),
            slumber: cap.ssc(),
            aggressive: cap.salp(),
            device_sleep: cap2.sds(),
            coalesced: options.coalescing.is_some() && cap.cccs(),
        }
    }
}

/// A device at the port, or behind its multiplier.
#[derive(Clone, Debug)]
struct Device {
    pm_port: u8,
    id: DiskId,
    drive: Drive,
    /// What clients were told of it; nothing without a medium.
    disk: Option<Disk>,
}

/// A slot of the command list, from when a client's command is put into it until it is answered.
#[derive(Clone, Copy, Debug)]
struct Slot {
    tag: u16,
    pm_port: u8,
    queued: bool,
    work: Work,
}

const IDLE_SLOT: Slot = Slot {
    tag: 0,
    pm_port: 0,
    queued: false,
    work: Work { kind: Kind::Flush, lba: 0, blocks: 0, fua: false, prdtl: 0 },
};

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// COMRESETs that were sent.
    pub resets: u64,
    /// Commands that ended with an error of the device.
    pub device_errors: u64,
    /// Errors of the link.
    pub link_errors: u64,
    /// Errors of the bus.
    pub bus_errors: u64,
    /// Commands that took too long.
    pub timeouts: u64,
    /// Commands that were issued again because another one failed.
    pub reissued: u64,
}

pub(crate) struct Port {
    number: u8,
    name: String,
    regs: PortRegisters,
    memory: PortMemory,
    abilities: Abilities,
    policy: LinkPower,
    state: State,
    due: Option<Time>,
    link: Link,
    devices: Vec<Device>,
    /// What was there before a reset, until it is known what is there now.
    before: Vec<Device>,
    /// Why there is a device that is not served.
    refused: Vec<String>,
    slots: [Slot; SLOTS],
    /// Slots with a client's command.
    used: u32,
    /// Those of them that were not issued, in their order.
    waiting: VecDeque<u8>,
    /// Those that were, by kind.
    queued: u32,
    plain: u32,
    /// Slots that are to be issued alone: one of them broke the bus.
    alone: u32,
    /// Slots whose command failed or was beside one that did, while it is found out which.
    stranded: u32,
    /// Slots whose command took too long.
    expired: u32,
    own: Option<Own>,
    jobs: VecDeque<Job>,
    /// They wait until then.
    pause_until: Time,
    fbs: bool,
    /// When the drives with removable media are to be asked.
    media_due: Option<Time>,
    smart: Vec<(u8, String)>,
    counters: PortCounters,
}

impl Port {
    pub(crate) fn new(
        hba: &HbaRegisters,
        number: u8,
        controller: &str,
        dma: &DmaAllocator,
        options: &Options,
    ) -> Result<Self> {
        Ok(Port {
            number,
            name: format!("{controller} port {number}"),
            regs: hba.port(number)?,
            memory: PortMemory::new(dma).map_err(Error::machine("allocate a command list"))?,
            abilities: Abilities::new(hba, options),
            policy: options.link_power,
            state: State::Empty,
            due: None,
            link: Link::default(),
            devices: Vec::new(),
            before: Vec::new(),
            refused: Vec::new(),
            slots: [IDLE_SLOT; SLOTS],
            used: 0,
            waiting: VecDeque::with_capacity(SLOTS),
            queued: 0,
            plain: 0,
            alone: 0,
            stranded: 0,
            expired: 0,
            own: None,
            jobs: VecDeque::new(),
            pause_until: Time::default(),
            fbs: false,
            media_due: None,
            smart: Vec::new(),
            counters: PortCounters::default(),
        })
    }

    pub(crate) fn number(&self) -> u8 {
        self.number
    }

    pub(crate) fn counters(&self) -> PortCounters {
        self.counters
    }

    /// When [`serve`](Self::serve) has something to do though no interrupt comes.
    pub(crate) fn due(&self) -> Option<Time> {
        let running = self.state == State::Running;
        if running && self.own.is_none() && !self.jobs.is_empty() && self.issued() == 0 {
            return Some(Time::default());
        }
        let media = self.media_due.filter(|_| running);
        self.due.into_iter().chain(media).min()
    }

    /// Whether it is not known yet what is there.
    pub(crate) fn is_settling(&self) -> bool {
        !matches!(self.state, State::Empty | State::Off(_) | State::Running | State::Diagnosing)
    }

    /// Slots that the controller has.
    #[inline]
    pub(crate) fn issued(&self) -> u32 {
        self.queued | self.plain
    }

    fn disk_id(&self, pm_port: u8) -> DiskId {
        let behind = if self.is_multiplied() { DISK_IDS * (u32::from(pm_port) + 1) } else { 0 };
        DiskId(u32::from(self.number) + behind)
    }

    fn is_multiplied(&self) -> bool {
        self.link.multiplier.is_some()
    }

    /// The port and the multiplier's port of a disk.
    #[inline]
    pub(crate) fn place(disk: DiskId) -> (u8, u8) {
        let port = u8::try_from(disk.0 % DISK_IDS).unwrap_or(u8::MAX);
        (port, u8::try_from((disk.0 / DISK_IDS).saturating_sub(1)).unwrap_or(u8::MAX))
    }

    #[inline]
    fn device(&self, pm_port: u8) -> Option<&Device> {
        self.devices.iter().find(|device| device.pm_port == pm_port)
    }

    fn device_mut(&mut self, pm_port: u8) -> Option<&mut Device> {
        self.devices.iter_mut().find(|device| device.pm_port == pm_port)
    }

    /// How many commands of the port each device may have.
    fn share(&self) -> u16 {
        let devices = u16::try_from(self.devices.len().max(1)).unwrap_or(1);
        (u16::from(self.abilities.slots) / devices).max(1)
    }

    /// Tells of each disk that is not as it was told before.
    fn tell(&mut self, out: &mut Outbox) {
        let share = self.share();
        for at in 0..self.devices.len() {
            let Some(device) = self.devices.get_mut(at) else { break };
            let disk = device.drive.disk(device.id, share);
            if disk == device.disk {
                continue;
            }
            let (pm_port, id) = (device.pm_port, device.id);
            let other_medium = match (&device.disk, &disk) {
                (Some(before), Some(now)) => before.blocks != now.blocks,
                (Some(_), None) => true,
                (None, _) => false,
            };
            device.disk.clone_from(&disk);
            if other_medium {
                self.fail_waiting(Some(pm_port), BlockError::Gone, out);
            }
            out.events.push(match disk {
                Some(disk) => {
                    log::info!(
                        "{}: disk {id}: {} {}, {} blocks",
                        self.name,
                        disk.model,
                        disk.serial,
                        disk.blocks
                    );
                    ControllerEvent::DiskChanged(disk)
                }
                None => ControllerEvent::DiskRemoved(id),
            });
        }
    }

    /// What is there and not served, and why.
    pub(crate) fn refused(&self) -> &[String] {
        &self.refused
    }

    /// Puts a client's command into a slot.
    #[inline]
    pub(crate) fn submit(&mut self, tag: u16, command: &Command<'_>, pm_port: u8) -> Result<u8, SubmitError> {
        let free = !self.used & (u32::MAX >> (32 - u32::from(self.abilities.slots)));
        let devices = if self.devices.is_empty() { &self.before } else { &self.devices };
        let Some(device) = devices.iter().find(|device| device.pm_port == pm_port && device.disk.is_some())
        else {
            return Err(BlockError::Gone.into());
        };
        if free == 0 {
            return Err(SubmitError::Full);
        }
        #[allow(clippy::cast_possible_truncation, reason = "below 32")]
        let slot = free.trailing_zeros() as u8;
        let index = usize::from(slot);
        let range = || command.ranges.first().copied().ok_or(BlockError::Invalid);
        let cd = matches!(device.drive.class, Class::Cd(_));
        let mut work = Work { kind: Kind::Flush, lba: 0, blocks: 0, fua: command.fua, prdtl: 0 };
        match command.operation {
            Operation::Read | Operation::Write => {
                if cd && command.operation == Operation::Write {
                    return Err(BlockError::ReadOnly.into());
                }
                let range = range()?;
                (work.lba, work.blocks) = (range.lba, range.blocks);
                work.kind = if command.operation == Operation::Read { Kind::Read } else { Kind::Write };
                work.prdtl = self.memory.write_segments(index, command.segments)?;
            }
            Operation::Flush if !cd => {}
            Operation::Discard if !cd => {
                work.kind = Kind::Trim(self.memory.write_ranges(index, command.ranges)?);
                work.prdtl = 1;
            }
            Operation::Flush | Operation::Discard | Operation::WriteZeroes => {
                return Err(BlockError::Unsupported.into());
            }
        }
        let built = device.drive.build(&work, slot, pm_port);
        self.memory.write_fis(index, &built.fis)?;
        self.memory.write_header(index, built.shape)?;
        if let Some(packet) = built.packet {
            self.memory.write_packet(index, packet)?;
        }
        self.slots[index] = Slot { tag, pm_port, queued: built.queued, work };
        self.used |= 1 << slot;
        self.waiting.push_back(slot);
        Ok(slot)
    }

    /// Writes the commands in slots anew: their device takes others than before.
    fn rebuild_waiting(&mut self) {
        for &slot in &self.waiting {
            let index = usize::from(slot);
            let Some(entry) = self.slots.get_mut(index) else { continue };
            let Some(device) = self.devices.iter().find(|device| device.pm_port == entry.pm_port) else {
                continue;
            };
            let built = device.drive.build(&entry.work, slot, entry.pm_port);
            entry.queued = built.queued;
            // The table is the port's own: neither write can fail.
            let _ = self.memory.write_fis(index, &built.fis);
            let _ = self.memory.write_header(index, built.shape);
        }
    }

    /// Gives the controller the commands that it may have now.
    #[inline]
    pub(crate) fn issue(&mut self) {
        if self.waiting.is_empty()
            || self.state != State::Running
            || self.own.is_some()
            || !self.jobs.is_empty()
        {
            return;
        }
        if self.alone != 0 {
            return self.issue_alone();
        }
        if self.is_multiplied() {
            return self.issue_multiplied();
        }
        let (mut queued, mut plain) = (0u32, 0u32);
        while let Some(&slot) = self.waiting.front() {
            let entry = &self.slots[usize::from(slot) % SLOTS];
            // Queued commands and others exclude each other (SATA, section 13.6.3).
            if if entry.queued { self.plain | plain } else { self.queued | queued } != 0 {
                break;
            }
            if entry.queued {
                queued |= 1 << slot;
            } else {
                plain |= 1 << slot;
            }
            self.waiting.pop_front();
        }
        self.show(queued, plain);
    }

    /// Tells the controller of commands.
    #[inline]
    fn show(&mut self, queued: u32, plain: u32) {
        if queued != 0 {
            self.queued |= queued;
            self.regs.sact.write(queued);
        }
        self.plain |= plain;
        if queued | plain != 0 {
            self.regs.ci.write(queued | plain);
        }
    }

    /// Issues one command and nothing beside it.
    fn issue_alone(&mut self) {
        if self.issued() != 0 {
            return;
        }
        if let Some(slot) = self.waiting.pop_front() {
            let entry = self.slots[usize::from(slot) % SLOTS];
            self.select(entry.pm_port);
            let bit = 1 << slot;
            if entry.queued { self.show(bit, 0) } else { self.show(0, bit) }
        }
    }

    /// With FIS-based switching: says whom the next commands are for.
    fn select(&self, pm_port: u8) {
        if self.fbs {
            self.regs.fbs.write(PxFbs::new().with_en(true).with_dev(pm_port));
        }
    }

    /// Looks which commands are done, without looking for errors. Returns whether any was.
    #[inline]
    pub(crate) fn take_completions(&mut self, out: &mut Outbox) -> bool {
        // Before the look: what completes after it interrupts again.
        self.regs.is.write(PxIs::COMPLETIONS);
        self.take_finished(out)
    }

    /// As [`take_completions`](Self::take_completions), leaving the interrupts as they are.
    #[inline]
    pub(crate) fn take_finished(&mut self, out: &mut Outbox) -> bool {
        let mut done = 0;
        if self.queued != 0 {
            done |= self.queued & !self.regs.sact.read();
        }
        if self.plain != 0 {
            done |= self.plain & !self.regs.ci.read();
        }
        if done == 0 {
            return false;
        }
        self.queued &= !done;
        self.plain &= !done;
        self.alone &= !done;
        self.expired &= !done;
        self.link.fruitless = 0;
        let mut rest = done;
        while rest != 0 {
            let slot = rest.trailing_zeros();
            rest &= rest - 1;
            self.finish(slot, Ok(()), out);
        }
        true
    }

    /// Answers the command of a slot that is neither issued nor waiting any more.
    #[inline]
    fn finish(&mut self, slot: u32, result: std::result::Result<(), BlockError>, out: &mut Outbox) {
        let bit = 1 << slot;
        if self.used & bit != 0 {
            self.used &= !bit;
            let tag = self.slots[slot as usize % SLOTS].tag;
            out.done.push(Completed { tag, result });
        }
    }

    /// Answers all commands of one device, or of all. They must not be issued.
    fn fail_waiting(&mut self, pm_port: Option<u8>, error: BlockError, out: &mut Outbox) {
        let mut kept = VecDeque::with_capacity(SLOTS);
        for slot in std::mem::take(&mut self.waiting) {
            let of_device = pm_port.is_none_or(|only| self.slots[usize::from(slot) % SLOTS].pm_port == only);
            if of_device {
                self.alone &= !(1 << slot);
                self.finish(slot.into(), Err(error), out);
            } else {
                kept.push_back(slot);
            }
        }
        self.waiting = kept;
    }

    /// Has what was issued wait to be issued again, before all else: the controller has forgotten it. What took too long
    /// is answered.
    fn take_back(&mut self, out: &mut Outbox) {
        let mut issued = (self.issued() | self.stranded) & self.used;
        (self.queued, self.plain, self.stranded) = (0, 0, 0);
        let mut expired = issued & std::mem::take(&mut self.expired);
        issued &= !expired;
        while expired != 0 {
            let slot = expired.trailing_zeros();
            expired &= expired - 1;
            self.alone &= !(1 << slot);
            self.finish(slot, Err(BlockError::Aborted), out);
        }
        self.counters.reissued += u64::from(issued.count_ones());
        while issued != 0 {
            let slot = 31 - issued.leading_zeros();
            issued &= !(1 << slot);
            #[allow(clippy::cast_possible_truncation, reason = "below 32")]
            self.waiting.push_front(slot as u8);
        }
    }

    /// Forgets every command of the clients: the controller was reset, and they will be submitted again.
    pub(crate) fn forget_commands(&mut self) {
        (self.used, self.queued, self.plain, self.alone) = (0, 0, 0, 0);
        (self.stranded, self.expired) = (0, 0);
        self.waiting.clear();
        self.own = None;
        self.jobs.clear();
    }
}
