//! Admin commands: queues, events, aborts (section 5).

use nvme_spec::{
    AbortCdw10, AdminOpcode, Cdw0, CreateCqCdw11, CreateQueueCdw10, CreateSqCdw11, Status, SubmissionEntry,
};
use redox_driver_sys::{irq::InterruptKind, model::Bus};

use crate::{
    controller::{Command, Controller, Reply},
    queue::{ADMIN, CompletionQueue, SubmissionQueue},
};

impl Controller {
    /// Does an admin command; `None`: its completion comes later.
    pub(crate) fn admin(&mut self, bus: &mut dyn Bus, command: &Command) -> Option<Reply> {
        let entry = &command.entry;
        if entry.cdw0.psdt() != Cdw0::PSDT_PRP {
            return Some(Err(Status::INVALID_FIELD));
        }
        let reply = match AdminOpcode(entry.cdw0.opcode()) {
            AdminOpcode::DELETE_IO_SQ => self.delete_sq(bus, entry),
            AdminOpcode::CREATE_IO_SQ => self.create_sq(entry),
            AdminOpcode::GET_LOG_PAGE => self.get_log_page(bus, command),
            AdminOpcode::DELETE_IO_CQ => self.delete_cq(bus, entry),
            AdminOpcode::CREATE_IO_CQ => self.create_cq(bus, entry),
            AdminOpcode::IDENTIFY => self.identify(bus, command),
            AdminOpcode::ABORT => Ok(self.abort(bus, entry)),
            AdminOpcode::SET_FEATURES => self.set_features(bus, command),
            AdminOpcode::GET_FEATURES => self.get_features(bus, command),
            AdminOpcode::ASYNC_EVENT_REQUEST => {
                if self.events.request(command.cid(), self.config.event_limit) {
                    return None;
                }
                Err(Status::AER_LIMIT_EXCEEDED)
            }
            _ => Err(Status::INVALID_OPCODE),
        };
        Some(reply)
    }

    /// Entries of the queue that `entry` asks for, and its address (sections 5.3 and 5.4).
    fn queue_shape(&self, entry: &SubmissionEntry, contiguous: bool) -> Result<(u32, u64), Status> {
        let qsize = CreateQueueCdw10::from(entry.cdw10).qsize();
        if qsize == 0 || qsize > self.config.mqes {
            return Err(Status::INVALID_QUEUE_SIZE);
        }
        // CAP.CQR is set.
        if !contiguous {
            return Err(Status::INVALID_FIELD);
        }
        let [base, _] = entry.dptr;
        if !base.is_multiple_of(self.page()) {
            return Err(Status::INVALID_PRP_OFFSET);
        }
        Ok((u32::from(qsize) + 1, base))
    }

    fn create_cq(&mut self, bus: &mut dyn Bus, entry: &SubmissionEntry) -> Reply {
        let qid = CreateQueueCdw10::from(entry.cdw10).qid();
        let shape = CreateCqCdw11::from(entry.cdw11);
        if qid == ADMIN || qid > self.features.completion_queues || self.cqs.contains_key(&qid) {
            return Err(Status::INVALID_QUEUE_ID);
        }
        let (size, base) = self.queue_shape(entry, shape.pc())?;
        if self.cc.iocqes() != 4 {
            return Err(Status::INVALID_QUEUE_SIZE);
        }
        let vectors = match bus.interrupt_kind() {
            Some(InterruptKind::MsiX) => self.config.msix_vectors,
            Some(InterruptKind::Msi) => self.config.msi_vectors.into(),
            Some(InterruptKind::Intx) => 1,
            None => self.config.msix_vectors.max(1),
        };
        if shape.ien() && shape.iv() >= vectors {
            return Err(Status::INVALID_INTERRUPT_VECTOR);
        }
        let vector = shape.ien().then_some(shape.iv());
        self.cqs.insert(qid, CompletionQueue::new(base, size, vector));
        Ok(0)
    }

    fn create_sq(&mut self, entry: &SubmissionEntry) -> Reply {
        let qid = CreateQueueCdw10::from(entry.cdw10).qid();
        let shape = CreateSqCdw11::from(entry.cdw11);
        let cqid = shape.cqid();
        if qid == ADMIN || qid > self.features.submission_queues || self.sqs.contains_key(&qid) {
            return Err(Status::INVALID_QUEUE_ID);
        }
        if cqid == ADMIN || cqid > self.features.completion_queues {
            return Err(Status::INVALID_QUEUE_ID);
        }
        if !self.cqs.contains_key(&cqid) {
            return Err(Status::INVALID_CQ);
        }
        let (size, base) = self.queue_shape(entry, shape.pc())?;
        if self.cc.iosqes() != 6 {
            return Err(Status::INVALID_QUEUE_SIZE);
        }
        self.sqs.insert(qid, SubmissionQueue::new(base, size, cqid));
        Ok(0)
    }

    fn delete_sq(&mut self, bus: &mut dyn Bus, entry: &SubmissionEntry) -> Reply {
        let qid = CreateQueueCdw10::from(entry.cdw10).qid();
        if qid == ADMIN || !self.sqs.contains_key(&qid) {
            return Err(Status::INVALID_QUEUE_ID);
        }
        while let Some(command) = self.commands.take(|command| command.sqid == qid) {
            self.complete(bus, &command, Err(Status::ABORTED_SQ_DELETION));
        }
        self.sqs.remove(&qid);
        Ok(0)
    }

    fn delete_cq(&mut self, bus: &mut dyn Bus, entry: &SubmissionEntry) -> Reply {
        let qid = CreateQueueCdw10::from(entry.cdw10).qid();
        if qid == ADMIN || !self.cqs.contains_key(&qid) {
            return Err(Status::INVALID_QUEUE_ID);
        }
        if self.sqs.values().any(|sq| sq.cqid == qid) {
            return Err(Status::INVALID_QUEUE_DELETION);
        }
        if let Some(cq) = self.cqs.get_mut(&qid) {
            cq.head = cq.tail;
        }
        self.drained(bus, qid);
        self.cqs.remove(&qid);
        Ok(0)
    }

    /// Abort (section 5.1): bit 0 of the result is clear when the command was ended.
    fn abort(&mut self, bus: &mut dyn Bus, entry: &SubmissionEntry) -> u32 {
        let wanted = AbortCdw10::from(entry.cdw10);
        let (sqid, cid) = (wanted.sqid(), wanted.cid());
        let found = self.commands.take(|command| command.sqid == sqid && command.cid() == cid);
        let found = found.or_else(|| {
            let cdw0 = Cdw0::new().with_opcode(AdminOpcode::ASYNC_EVENT_REQUEST.0).with_cid(cid);
            let entry = SubmissionEntry { cdw0, ..SubmissionEntry::default() };
            (sqid == ADMIN && self.events.withdraw(cid)).then(|| Command {
                sqid,
                entry,
                actions: Vec::new(),
                refused: None,
            })
        });
        let Some(command) = found else { return 1 };
        self.statistics.aborted += 1;
        self.complete(bus, &command, Err(Status::ABORT_REQUESTED));
        0
    }
}
