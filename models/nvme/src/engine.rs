//! Fetching, doing and completing commands (sections 4.1 and 7.2).

use std::time::Duration;

use nvme_spec::{
    AdminOpcode, CompletionEntry, CompletionStatus, NvmOpcode, Status, SubmissionEntry, registers::Csts,
};
use redox_driver_sys::{model::Bus, time::Time};

use crate::{
    controller::{Command, Controller, Reply},
    fault::Action,
    queue::{ADMIN, Posting, SubmissionQueue},
    violation::Violation,
};

/// Commands fetched, and commands done, in one run: the work of a step is bounded whatever the queues hold.
const MOST_IN_A_RUN: usize = 256;
/// Longest time that a completion is held back for another to overtake it.
const LONGEST_HOLD: Duration = Duration::from_millis(10);

impl Controller {
    /// Does everything that is due.
    pub(crate) fn run(&mut self, bus: &mut dyn Bus) {
        self.interrupts.run(bus);
        if self.removed {
            return;
        }
        self.run_lifecycle(bus.now());
        if !self.is_running() {
            return;
        }
        if self.csts.shst() == Csts::SHST_NORMAL {
            self.fetch(bus);
        }
        self.execute_due(bus);
        self.deliver_events(bus);
        self.post_waiting(bus);
        if self.commands.io() == 0 && self.power.run(&self.config.power_states, bus.now()) {
            self.statistics.idle_transitions += 1;
        }
    }

    /// When there is something to do next.
    pub(crate) fn next_event(&self) -> Option<Time> {
        if self.removed {
            return None;
        }
        let lifecycle =
            [self.ready_change.map(|(due, _)| due), self.shut_down_at, self.interrupts.next_event()];
        let mut next = lifecycle.into_iter().flatten().min();
        if self.is_running() {
            let work = (self.csts.shst() == Csts::SHST_NORMAL
                && self.sqs.values().any(|sq| self.can_fetch(sq)))
                || self.events.is_due()
                || self.cqs.values().any(|cq| !cq.backlog.is_empty() && !cq.is_full());
            let idle = if self.commands.io() == 0 { self.power.next_event() } else { None };
            let held = self.cqs.values().filter_map(|cq| cq.held.map(|(until, _)| until)).min();
            let running = [work.then_some(Time::default()), self.commands.next_due(), idle, held];
            next = running.into_iter().flatten().chain(next).min();
        }
        next
    }

    fn can_fetch(&self, sq: &SubmissionQueue) -> bool {
        sq.waiting() > 0
            && sq.fetched < self.config.outstanding
            && self.cqs.get(&sq.cqid).is_some_and(|cq| cq.backlog.is_empty())
    }

    /// Fetches commands, round robin with the arbitration burst (section 4.13).
    fn fetch(&mut self, bus: &mut dyn Bus) {
        let burst = match self.features.arbitration.burst() {
            7 => MOST_IN_A_RUN,
            burst => 1 << burst,
        };
        let mut fetched = 0;
        let after = self.last_served;
        let order: Vec<u16> = {
            let ids = self.sqs.keys().copied();
            let (first, second): (Vec<u16>, Vec<u16>) = ids.partition(|&id| id > after);
            first.into_iter().chain(second).collect()
        };
        loop {
            let before = fetched;
            for &sqid in &order {
                for _ in 0..burst {
                    if fetched == MOST_IN_A_RUN || !self.fetch_one(bus, sqid) {
                        break;
                    }
                    fetched += 1;
                    self.last_served = sqid;
                }
            }
            if fetched == before || fetched == MOST_IN_A_RUN {
                return;
            }
        }
    }

    fn fetch_one(&mut self, bus: &mut dyn Bus, sqid: u16) -> bool {
        if !self.is_running() || !self.sqs.get(&sqid).is_some_and(|sq| self.can_fetch(sq)) {
            return false;
        }
        let Some(sq) = self.sqs.get_mut(&sqid) else { return false };
        let mut bytes = [0; size_of::<SubmissionEntry>()];
        if bus.dma_read(sq.next_entry(), &mut bytes).is_err() {
            self.fail();
            return false;
        }
        let entry: SubmissionEntry = zerocopy::transmute!(bytes);
        sq.advance();
        sq.fetched += 1;
        let unique = sq.outstanding.insert(entry.cdw0.cid());
        self.accept(bus, sqid, entry, unique);
        true
    }

    fn accept(&mut self, bus: &mut dyn Bus, sqid: u16, entry: SubmissionEntry, unique: bool) {
        let (opcode, cid) = (entry.cdw0.opcode(), entry.cdw0.cid());
        let admin = sqid == ADMIN;
        let now = bus.now();
        let actions = self.faults.strike(|only| only.matches(sqid, opcode));
        self.statistics.faults += actions.len() as u64;
        let mut refused = None;
        if admin {
            *self.statistics.admin.entry(AdminOpcode(opcode)).or_default() += 1;
            let aborts = self.commands.admin(AdminOpcode::ABORT);
            if opcode == AdminOpcode::ABORT.0 && aborts > usize::from(self.config.abort_limit) {
                refused = Some(Status::ABORT_LIMIT_EXCEEDED);
            }
        } else {
            *self.statistics.io.entry(NvmOpcode(opcode)).or_default() += 1;
        }
        if !unique {
            self.note(Violation::CommandId { sqid, cid });
            refused = Some(Status::COMMAND_ID_CONFLICT);
        }
        let latency = self.latency(admin, opcode, now, &actions);
        self.commands.add(now, latency, Command { sqid, entry, actions, refused });
        self.statistics.most_outstanding = self.statistics.most_outstanding.max(self.commands.io());
    }

    /// How long a command takes; `None`: for ever.
    fn latency(&mut self, admin: bool, opcode: u8, now: Time, actions: &[Action]) -> Option<Duration> {
        let configured = self.config.latency;
        let mut latency = if admin {
            configured.admin
        } else {
            let wake = self.power.wake(&self.config.power_states, now);
            let flush = if opcode == NvmOpcode::FLUSH.0 { configured.flush } else { Duration::ZERO };
            configured.io + flush + wake
        };
        let jitter = u64::try_from(configured.jitter.as_nanos()).unwrap_or(u64::MAX);
        if jitter > 0 {
            latency = latency.saturating_add(Duration::from_nanos(self.rng.u64(..jitter)));
        }
        for action in actions {
            match action {
                Action::Hang => return None,
                Action::Delay(more) => latency = latency.saturating_add(*more),
                _ => {}
            }
        }
        Some(latency)
    }

    fn execute_due(&mut self, bus: &mut dyn Bus) {
        for _ in 0..MOST_IN_A_RUN {
            if !self.is_running() {
                return;
            }
            let Some(command) = self.commands.take_due(bus.now()) else { return };
            if let Some(reply) = self.execute(bus, &command) {
                self.complete(bus, &command, reply);
            }
        }
    }

    /// Does a command; `None` where its completion comes later, or never.
    fn execute(&mut self, bus: &mut dyn Bus, command: &Command) -> Option<Reply> {
        let mut scratch = [0; 64];
        for action in &command.actions {
            match *action {
                Action::SpuriousInterrupt => {
                    let cqid = self.sqs.get(&command.sqid).map(|sq| sq.cqid);
                    let vector = cqid.and_then(|cqid| self.cqs.get(&cqid)).and_then(|cq| cq.vector);
                    self.interrupts.spurious(bus, vector.unwrap_or(0));
                }
                Action::Fatal => {
                    self.fail();
                    return None;
                }
                Action::Remove => {
                    self.removed = true;
                    self.interrupts.reset(Some(bus));
                    return None;
                }
                // The machine notes the fault; this controller does not care.
                Action::WildRead(addr) => drop(bus.dma_read(addr, &mut scratch)),
                Action::WildWrite(addr) => drop(bus.dma_write(addr, &scratch)),
                Action::Fail(status, _) => return Some(Err(status)),
                _ => {}
            }
        }
        if let Some(status) = command.refused {
            return Some(Err(status));
        }
        // No fused commands (FUSES is 0), and PRP entries only for admin commands (section 4.2).
        let cdw0 = command.entry.cdw0;
        if cdw0.fuse() != 0 {
            return Some(Err(Status::INVALID_FIELD));
        }
        if command.sqid == ADMIN {
            self.admin(bus, command)
        } else {
            let (touched, violation) = self.host_memory.touch(bus);
            self.statistics.host_memory_checks += u64::from(touched);
            if let Some(violation) = violation {
                self.note(violation);
            }
            let reply = self.io(bus, command);
            self.power.active(bus.now());
            Some(reply)
        }
    }

    /// Writes the completion of a command.
    pub(crate) fn complete(&mut self, bus: &mut dyn Bus, command: &Command, reply: Reply) {
        let Some(sq) = self.sqs.get_mut(&command.sqid) else { return };
        let cid = command.cid();
        sq.fetched = sq.fetched.saturating_sub(1);
        if command.refused != Some(Status::COMMAND_ID_CONFLICT) {
            sq.outstanding.remove(&cid);
        }
        // At most 65536 entries.
        let sqhd = u16::try_from(sq.head).unwrap_or(0);
        let cqid = sq.cqid;
        let mut status = CompletionStatus::new();
        let mut dw0 = 0;
        match reply {
            Ok(result) => dw0 = result,
            Err(error) => {
                self.statistics.errors += 1;
                status = status.with_status(error).with_dnr(!is_worth_retrying(error)).with_more(true);
                self.errors.push(command, status, usize::from(self.config.error_log) + 1);
            }
        }
        let entry = CompletionEntry { dw0, dw1: 0, sqhd, sqid: command.sqid, cid, status };
        self.post_faulty(bus, cqid, entry, &command.actions);
    }

    /// Writes a completion as the faults of its command want it.
    fn post_faulty(&mut self, bus: &mut dyn Bus, cqid: u16, mut entry: CompletionEntry, actions: &[Action]) {
        let (mut interrupt, mut copies, mut hold, mut wrong_phase) = (true, 1, false, false);
        for action in actions {
            match *action {
                Action::Drop => return,
                Action::CorruptCid(bits) => entry.cid ^= bits,
                Action::CorruptSqid(bits) => entry.sqid ^= bits,
                Action::CorruptSqHead(bits) => entry.sqhd ^= bits,
                Action::WrongPhase => wrong_phase = true,
                Action::Fail(_, dnr) => entry.status.set_dnr(dnr),
                Action::Duplicate => copies = 2,
                Action::Reorder => hold = true,
                Action::LoseInterrupt => interrupt = false,
                _ => {}
            }
        }
        // The phase is set when the entry is written; here it tells whether to set the wrong one.
        entry.status.set_phase(wrong_phase);
        let posting = Posting { entry, interrupt };
        if hold
            && let Some(cq) = self.cqs.get_mut(&cqid)
            && cq.held.is_none()
        {
            cq.held = Some((bus.now().plus(LONGEST_HOLD), posting));
            return;
        }
        for _ in 0..copies {
            self.post(bus, cqid, posting);
        }
        if let Some((_, overtaken)) = self.cqs.get_mut(&cqid).and_then(|cq| cq.held.take()) {
            self.post(bus, cqid, overtaken);
        }
    }

    /// Writes a completion, or lets it wait for room.
    fn post(&mut self, bus: &mut dyn Bus, cqid: u16, posting: Posting) {
        let Some(cq) = self.cqs.get_mut(&cqid) else { return };
        if cq.is_full() || !cq.backlog.is_empty() {
            cq.backlog.push_back(posting);
            self.statistics.stalls += 1;
        } else {
            self.write_completion(bus, cqid, posting);
        }
    }

    fn write_completion(&mut self, bus: &mut dyn Bus, cqid: u16, Posting { mut entry, interrupt }: Posting) {
        let Some(cq) = self.cqs.get_mut(&cqid) else { return };
        let wrong_phase = entry.status.phase();
        entry.status.set_phase(cq.phase != wrong_phase);
        let bytes: [u8; size_of::<CompletionEntry>()] = zerocopy::transmute!(entry);
        if bus.dma_write(cq.next_entry(), &bytes).is_err() {
            self.fail();
            return;
        }
        cq.advance();
        self.statistics.completions += 1;
        if let Some(vector) = cq.vector.filter(|_| interrupt) {
            self.interrupts.completion(bus, vector, cqid == ADMIN);
        }
    }

    /// Writes what waited for room, and what was held back long enough.
    fn post_waiting(&mut self, bus: &mut dyn Bus) {
        let ids: Vec<u16> = self.cqs.keys().copied().collect();
        for cqid in ids {
            while self.is_running()
                && let Some(cq) = self.cqs.get_mut(&cqid)
                && !cq.is_full()
                && let Some(posting) = cq.backlog.pop_front()
            {
                self.write_completion(bus, cqid, posting);
            }
            if let Some(cq) = self.cqs.get_mut(&cqid)
                && let Some((_, posting)) = cq.held.take_if(|(until, _)| *until <= bus.now())
            {
                self.post(bus, cqid, posting);
            }
        }
    }

    fn deliver_events(&mut self, bus: &mut dyn Bus) {
        while self.is_running()
            && let Some((cid, event)) = self.events.deliver()
        {
            let entry = SubmissionEntry {
                cdw0: nvme_spec::Cdw0::new().with_opcode(AdminOpcode::ASYNC_EVENT_REQUEST.0).with_cid(cid),
                ..SubmissionEntry::default()
            };
            let command = Command { sqid: ADMIN, entry, actions: Vec::new(), refused: None };
            self.complete(bus, &command, Ok(event.into()));
        }
    }
}

/// Whether the same command may succeed later (DNR is clear then).
fn is_worth_retrying(status: Status) -> bool {
    matches!(
        status,
        Status::DATA_TRANSFER_ERROR
            | Status::INTERNAL_ERROR
            | Status::ABORT_REQUESTED
            | Status::ABORTED_SQ_DELETION
            | Status::NAMESPACE_NOT_READY
            | Status::COMMAND_INTERRUPTED
            | Status::TRANSIENT_TRANSPORT_ERROR
            | Status::COMMAND_ID_CONFLICT
            | Status::ABORT_LIMIT_EXCEEDED
    )
}
