//! The state of a controller.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fastrand::Rng;
use model_support::generator;
use nvme_spec::{
    AdminOpcode, EventType, LogPage, NoticeEvent, Status, SubmissionEntry,
    registers::{Aqa, Cap, Cc, Csts},
};
use redox_driver_sys::{model::Bus, time::Time};

use crate::{
    config::Config,
    event::Events,
    fault::{Action, FaultPlan, Faults},
    feature::Features,
    hmb::HostMemory,
    interrupt::Interrupts,
    log::{ErrorLog, Health},
    namespace::Namespace,
    power::Power,
    queue::{ADMIN, CompletionQueue, SubmissionQueue},
    statistics::Statistics,
    transfer::Transfer,
    violation::Violation,
};

/// Violations beyond this many are not noted.
const MOST_VIOLATIONS: usize = 1024;

/// What a command is answered: completion dword 0, or a status.
pub(crate) type Reply = Result<u32, Status>;

#[derive(Debug)]
pub(crate) struct Controller {
    pub(crate) config: Config,
    pub(crate) rng: Rng,
    pub(crate) cc: Cc,
    pub(crate) csts: Csts,
    pub(crate) aqa: Aqa,
    pub(crate) asq: u64,
    pub(crate) acq: u64,
    /// When CSTS.RDY changes, and to what.
    pub(crate) ready_change: Option<(Time, bool)>,
    /// When shutdown is complete.
    pub(crate) shut_down_at: Option<Time>,
    pub(crate) sqs: BTreeMap<u16, SubmissionQueue>,
    pub(crate) cqs: BTreeMap<u16, CompletionQueue>,
    pub(crate) commands: Commands,
    /// The submission queue that arbitration came to last.
    pub(crate) last_served: u16,
    pub(crate) interrupts: Interrupts,
    pub(crate) events: Events,
    pub(crate) features: Features,
    pub(crate) power: Power,
    pub(crate) host_memory: HostMemory,
    pub(crate) errors: ErrorLog,
    pub(crate) health: Health,
    pub(crate) namespaces: BTreeMap<u32, Namespace>,
    /// Namespaces in the changed namespace list.
    pub(crate) changed: BTreeSet<u32>,
    pub(crate) faults: Faults,
    pub(crate) statistics: Statistics,
    pub(crate) violations: Vec<Violation>,
    pub(crate) removed: bool,
}

impl Controller {
    pub(crate) fn new(config: Config) -> Self {
        let namespaces = (1..)
            .zip(&config.namespaces)
            .map(|(nsid, &namespace)| (nsid, Namespace::new(namespace, config.cache_blocks)))
            .collect();
        Controller {
            rng: generator(config.seed),
            cc: Cc::new(),
            csts: Csts::new(),
            aqa: Aqa::new(),
            asq: 0,
            acq: 0,
            ready_change: None,
            shut_down_at: None,
            sqs: BTreeMap::new(),
            cqs: BTreeMap::new(),
            commands: Commands::default(),
            last_served: ADMIN,
            interrupts: Interrupts::default(),
            events: Events::default(),
            features: Features::new(&config),
            power: Power::default(),
            host_memory: HostMemory::default(),
            errors: ErrorLog::default(),
            health: Health::default(),
            namespaces,
            changed: BTreeSet::new(),
            faults: Faults::new(FaultPlan::default()),
            statistics: Statistics::default(),
            violations: Vec::new(),
            removed: false,
            config,
        }
    }

    /// The CAP register.
    pub(crate) fn cap(&self) -> Cap {
        let config = &self.config;
        Cap::new()
            .with_mqes(config.mqes)
            .with_cqr(true)
            .with_to(config.timeout)
            .with_dstrd(config.doorbell_stride & 0xf)
            .with_nssrs(config.subsystem_reset)
            .with_css(config.css)
            .with_mpsmin(config.mpsmin & 0xf)
            .with_mpsmax(config.mpsmax & 0xf)
    }

    /// Memory page size in bytes.
    pub(crate) fn page(&self) -> u64 {
        1 << (12 + self.cc.mps())
    }

    /// Largest transfer in bytes.
    pub(crate) fn largest_transfer(&self) -> usize {
        match self.config.mdts {
            0 => usize::MAX,
            mdts => 1usize
                .checked_shl(u32::from(12 + (self.config.mpsmin & 0xf)) + u32::from(mdts))
                .unwrap_or(usize::MAX),
        }
    }

    /// Whether commands are processed.
    pub(crate) fn is_running(&self) -> bool {
        self.csts.rdy() && !self.csts.cfs() && !self.removed
    }

    /// Stops for good, until a reset.
    pub(crate) fn fail(&mut self) {
        self.csts.set_cfs(true);
    }

    pub(crate) fn note(&mut self, violation: Violation) {
        if self.violations.len() < MOST_VIOLATIONS {
            self.violations.push(violation);
        }
    }

    /// A namespace came, went or changed (section 5.2, Namespace Attribute Changed).
    pub(crate) fn namespace_changed(&mut self, nsid: u32) {
        if self.features.async_events.namespace() {
            self.changed.insert(nsid);
            self.events.happen(
                EventType::NOTICE,
                NoticeEvent::NAMESPACE_CHANGED.0,
                LogPage::CHANGED_NAMESPACE_LIST,
            );
        }
    }

    /// A critical warning appeared (section 5.2, SMART / Health Status).
    pub(crate) fn check_health(&mut self) {
        let over = self.health.temperature >= self.features.over_temperature;
        let under = self.health.temperature <= self.features.under_temperature;
        self.health.warning.set_temperature(over || under);
        let new = u8::from(self.health.warning) & !u8::from(self.health.reported);
        self.health.reported = self.health.warning;
        if new & self.features.async_events.smart() != 0 {
            self.events.happen(EventType::SMART, Health::event(new).0, LogPage::SMART);
        }
    }

    /// The data of an admin command, which PRP entries describe.
    pub(crate) fn admin_transfer(
        &self,
        bus: &mut dyn Bus,
        entry: &SubmissionEntry,
        len: usize,
    ) -> Result<Transfer, Status> {
        Transfer::prp(bus, entry.dptr, len, self.page())
    }

    /// Returns data for an admin command.
    pub(crate) fn send(
        &mut self,
        bus: &mut dyn Bus,
        command: &Command,
        data: &mut [u8],
    ) -> Result<(), Status> {
        if command.has(Action::Garbage) {
            self.faults.garble(data);
        }
        self.admin_transfer(bus, &command.entry, data.len())?.write_host(bus, data)
    }

    /// Reads data of an admin command.
    pub(crate) fn receive(
        &self,
        bus: &mut dyn Bus,
        command: &Command,
        data: &mut [u8],
    ) -> Result<(), Status> {
        self.admin_transfer(bus, &command.entry, data.len())?.read_host(bus, data)
    }
}

/// A command that was fetched.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) sqid: u16,
    pub(crate) entry: SubmissionEntry,
    /// What goes wrong with it.
    pub(crate) actions: Vec<Action>,
    /// The answer, where it was decided when the command was fetched.
    pub(crate) refused: Option<Status>,
}

impl Command {
    pub(crate) fn cid(&self) -> u16 {
        self.entry.cdw0.cid()
    }

    pub(crate) fn has(&self, action: Action) -> bool {
        self.actions.contains(&action)
    }

    fn is_admin(&self, opcode: AdminOpcode) -> bool {
        self.sqid == ADMIN && self.entry.cdw0.opcode() == opcode.0
    }
}

/// Commands in the order in which they will be done.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    queue: BTreeMap<(Time, u64), Command>,
    sequence: u64,
    io: usize,
}

/// When hung commands are done.
const NEVER: Time = Time::from_nanos(u64::MAX);

impl Commands {
    /// Adds a command that is done at `now` plus `latency`, or never.
    pub(crate) fn add(&mut self, now: Time, latency: Option<Duration>, command: Command) {
        let due = latency.map_or(NEVER, |latency| now.plus(latency));
        self.sequence += 1;
        self.io += usize::from(command.sqid != ADMIN);
        self.queue.insert((due, self.sequence), command);
    }

    /// Takes the next command that is due.
    pub(crate) fn take_due(&mut self, now: Time) -> Option<Command> {
        let first =
            self.queue.first_entry().filter(|first| first.key().0 <= now && first.key().0 != NEVER)?;
        let command = first.remove();
        self.io -= usize::from(command.sqid != ADMIN);
        Some(command)
    }

    /// Takes a command, however long it would take.
    pub(crate) fn take(&mut self, mut which: impl FnMut(&Command) -> bool) -> Option<Command> {
        let key = *self.queue.iter().find(|(_, command)| which(command))?.0;
        let command = self.queue.remove(&key)?;
        self.io -= usize::from(command.sqid != ADMIN);
        Some(command)
    }

    pub(crate) fn next_due(&self) -> Option<Time> {
        self.queue.first_key_value().map(|((due, _), _)| *due).filter(|&due| due != NEVER)
    }

    /// Outstanding admin commands with `opcode`.
    pub(crate) fn admin(&self, opcode: AdminOpcode) -> usize {
        self.queue.values().filter(|command| command.is_admin(opcode)).count()
    }

    /// Outstanding I/O commands.
    pub(crate) fn io(&self) -> usize {
        self.io
    }

    pub(crate) fn clear(&mut self) {
        self.queue.clear();
        self.io = 0;
    }
}
