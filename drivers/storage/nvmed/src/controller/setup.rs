//! Bringing a controller up (section 7.6.1).

use std::sync::Arc;

use nvme_spec::{
    AdminOpcode, AsyncEventConfig, Cns, CreateCqCdw11, CreateQueueCdw10, CreateSqCdw11, FeatureId,
    IdentifyController, IdentifyNamespace, InterruptCoalescing, InterruptVectorConfig, NamespaceList,
    NumberOfQueues, QueueEntrySize, Status, SubmissionEntry,
};
use redox_driver_sys::{error::chain, irq::Interrupt, pci::PciFunction};
use zerocopy::{FromZeros, IntoBytes};

use super::{NvmeController, Running};
use crate::{
    admin::Admin,
    data::DataPointer,
    error::{Error, Result},
    hmb::HostMemory,
    io::{Counters, IoQueue, MAX_DEPTH},
    options::{Coalescing, Options},
    power,
    queue::QueuePair,
    regs::{self, Registers},
};

/// Namespaces beyond this many are not looked at: a list without end must not keep the daemon from serving.
const MOST_NAMESPACES: usize = 1024;
/// An I/O queue smaller than this has no room for a command.
const LEAST_ENTRIES: u16 = 2;
/// Class, subclass and programming interface of an NVMe I/O controller (PCI Code and ID Assignment).
const NVM_EXPRESS: (u8, u8, u8) = (0x01, 0x08, 0x02);
/// CAP.CSS bit 0: the NVM command set; bit 6: the sets of 2.0, of which NVM is the default.
const CSS_NVM: u8 = 1 << 0 | 1 << 6;
/// OAES/AEC bit 8: namespace attribute changed.
const OAES_NAMESPACE: u32 = 1 << 8;
/// SMART / health critical warnings to be told of: all that version 1.4 defines.
const AEC_SMART: u8 = 0x1f;

impl NvmeController {
    /// Takes the controller over: resets it, finds its namespaces and makes its queues.
    ///
    /// # Errors
    /// What the controller or the machine refuses. The controller is stopped then.
    pub fn attach(function: PciFunction, options: Options) -> Result<Self> {
        let clock = function.clock();
        let name = NvmeController::name_at(function.address());
        let ids = function.ids().map_err(Error::machine("read the ids"))?;
        if (ids.class, ids.subclass, ids.interface) != NVM_EXPRESS {
            return Err(Error::Unusable(format!("not an NVMe I/O controller: {ids}")));
        }
        function.enable_memory().map_err(Error::machine("enable memory accesses"))?;
        let bar = function.map_bar(0).map_err(Error::machine("map registers"))?;
        let registers = Registers::new(&bar, clock.clone())?;
        let running = Running { registers, function };
        let registers = &running.registers;
        let cap = registers.cap();
        if cap.css() & CSS_NVM == 0 {
            return Err(Error::Unusable(format!("no NVM command set: CAP.CSS is {:#010b}", cap.css())));
        }
        if cap.mpsmin() > cap.mpsmax() || cap.mpsmin() > 4 {
            return Err(Error::Unusable(format!("memory pages of 2^{} bytes", 12 + cap.mpsmin())));
        }
        let page_shift = 12 + u32::from(cap.mpsmin());
        // A controller that firmware or a dead process left running stops here, before it may reach any memory.
        registers.disable()?;
        let kind = Error::machine("set up interrupts");
        let wanted = if options.polled { 1 } else { usize::from(options.queues.max(1)) + 1 };
        let interrupts = running.function.interrupts_up_to(wanted, options.interrupts).map_err(kind)?;
        let interrupt_kind = interrupts.kind();
        let vectors = interrupts.into_vectors();
        let dma = running.function.dma().map_err(Error::machine("set up DMA"))?;
        let admin = Admin::new(registers, &dma, &clock, options.admin_timeout, 1 << page_shift)?;
        running.function.set_bus_master(true).map_err(Error::machine("enable bus mastering"))?;

        let mut controller = NvmeController {
            running,
            name,
            clock,
            dma,
            admin,
            identify: Box::new(IdentifyController::new_zeroed()),
            pointer: DataPointer::new(page_shift, false),
            page_shift,
            interrupt_kind,
            admin_interrupt: None,
            shares_interrupt: false,
            queues: Vec::new(),
            queue_count: 0,
            counters: Arc::new(Counters::default()),
            host_memory: None,
            disks: Vec::new(),
            refused: Vec::new(),
            resets: 0,
            events: 0,
            options,
        };
        controller.start()?;
        controller.make_queues(vectors)?;
        let queues = controller.take_queue_list();
        let created = controller.create_queues(&queues);
        // Owned by the controller again before anything fails: it is stopped before their memory is freed.
        controller.queues = queues;
        created?;
        controller.configure();
        controller.scan()?;
        Ok(controller)
    }

    fn take_queue_list(&mut self) -> Vec<IoQueue> {
        std::mem::take(&mut self.queues)
    }

    /// Enables a disabled controller and identifies it.
    pub(super) fn start(&mut self) -> Result<()> {
        self.admin.reset();
        self.running.registers.enable(self.admin.pair(), self.page_shift)?;
        self.admin.open();
        *self.identify = self.admin.identify(Cns::CONTROLLER, 0)?;
        check_size("submission", self.identify.sqes, regs::SQES)?;
        check_size("completion", self.identify.cqes, regs::CQES)?;
        let sgl = self.options.sgl && matches!(self.identify.sgls.support(), 1 | 2);
        self.pointer = DataPointer::new(self.page_shift, sgl);
        Ok(())
    }

    /// How many I/O queue pairs the controller grants of those that are wanted.
    pub(super) fn grant_queues(&mut self, wanted: u16) -> Result<u16> {
        let less_one = wanted.clamp(1, u16::MAX - 1) - 1;
        let value = NumberOfQueues::new().with_submission(less_one).with_completion(less_one);
        let granted =
            NumberOfQueues::from(self.admin.set_feature(FeatureId::NUMBER_OF_QUEUES, value.into())?);
        Ok(granted.submission().min(granted.completion()).saturating_add(1).min(wanted.max(1)))
    }

    /// Allocates the I/O queues and hands out the interrupts.
    fn make_queues(&mut self, mut vectors: Vec<Interrupt>) -> Result<()> {
        let Options { queues: wanted, queue_depth, polled, .. } = self.options;
        let registers = &self.running.registers;
        let in_bar = u16::try_from(registers.queue_pairs_in_bar().saturating_sub(1)).unwrap_or(u16::MAX);
        // The first vector is the admin queue's. A single one serves everything, through one I/O queue.
        let shared = !polled && vectors.len() == 1;
        let by_vectors =
            if polled { u16::MAX } else { u16::try_from(vectors.len().max(2) - 1).unwrap_or(u16::MAX) };
        let granted = self.grant_queues(wanted.min(by_vectors).min(in_bar).max(1))?;

        let registers = &self.running.registers;
        let most = registers.cap().mqes().saturating_add(1);
        if most < LEAST_ENTRIES {
            return Err(Error::Unusable(format!(
                "I/O queues of {most} entry: CAP.MQES is {}",
                registers.cap().mqes()
            )));
        }
        let depth = queue_depth.clamp(1, MAX_DEPTH - 1).min(most - 1);
        // A polled queue may leave completions unacknowledged, where its completion queue has room for them.
        let cq_entries = if polled { most.min((depth + 1).saturating_mul(2)) } else { depth + 1 };
        let lazy = cq_entries - (depth + 1);

        let mut vectors = vectors.drain(..);
        if !shared {
            self.admin_interrupt = vectors.next();
        }
        self.shares_interrupt = shared;
        for id in 1..=granted {
            let interrupt = if polled { None } else { vectors.next() };
            if let Some(interrupt) = &interrupt
                && let Err(error) = interrupt.set_affinity(usize::from(id - 1))
            {
                log::debug!("{}: queue {id}: {error}", self.name);
            }
            let pair = QueuePair::new(
                registers,
                &self.dma,
                1 << self.page_shift,
                id,
                [depth + 1, cq_entries],
                lazy,
            )?;
            let queue = IoQueue::new(pair, &self.dma, depth, self.pointer, interrupt, self.counters.clone())?;
            self.queues.push(queue);
        }
        self.queue_count = granted;
        Ok(())
    }

    /// Creates the I/O queues in the controller.
    pub(super) fn create_queues(&mut self, queues: &[IoQueue]) -> Result<()> {
        for (index, queue) in queues.iter().enumerate() {
            let pair = queue.pair();
            let (sq, cq) = pair.addresses();
            let size =
                |entries: u16| CreateQueueCdw10::new().with_qid(pair.id()).with_qsize(entries - 1).into();
            let vector = if self.shares_interrupt { 0 } else { u16::try_from(index + 1).unwrap_or(0) };
            let interrupts = queue.is_interrupt_driven();
            let cdw11 = CreateCqCdw11::new().with_pc(true).with_ien(interrupts).with_iv(if interrupts {
                vector
            } else {
                0
            });
            let create = [size(pair.completion_entries()), cdw11.into()];
            self.admin.create_queue(AdminOpcode::CREATE_IO_CQ, pair.id(), cq, create)?;
            let create =
                [size(pair.entries()), CreateSqCdw11::new().with_pc(true).with_cqid(pair.id()).into()];
            self.admin.create_queue(AdminOpcode::CREATE_IO_SQ, pair.id(), sq, create)?;
        }
        Ok(())
    }

    /// Sets the optional features. A controller that refuses one works without it.
    pub(super) fn configure(&mut self) {
        self.optional("interrupt coalescing", Self::set_coalescing);
        self.optional("autonomous power state transitions", Self::set_power);
        self.optional("host memory buffer", Self::lend_memory);
        self.optional("asynchronous events", |this| {
            let namespaces = this.identify.oaes & OAES_NAMESPACE != 0;
            let config = AsyncEventConfig::new().with_smart(AEC_SMART).with_namespace(namespaces);
            this.admin.set_feature(FeatureId::ASYNC_EVENT_CONFIG, config.into()).map(drop)
        });
        if !self.admin.request_event() {
            log::warn!("{}: no room for an asynchronous event request", self.name);
        }
    }

    fn optional(&mut self, what: &str, set: impl FnOnce(&mut Self) -> Result<()>) {
        if let Err(error) = set(self) {
            log::warn!("{}: no {what}: {}", self.name, chain(&error));
        }
    }

    fn set_coalescing(&mut self) -> Result<()> {
        let Some(Coalescing { completions, delay }) = self.options.coalescing else { return Ok(()) };
        let threshold = u8::try_from(completions.clamp(1, 256) - 1).unwrap_or(u8::MAX);
        let time = u8::try_from(delay.as_micros().div_ceil(100)).unwrap_or(u8::MAX);
        let value = InterruptCoalescing::new().with_threshold(threshold).with_time(time);
        self.admin.set_feature(FeatureId::INTERRUPT_COALESCING, value.into())?;
        if !self.shares_interrupt {
            // Admin completions are rare and waited for.
            let config = InterruptVectorConfig::new().with_vector(0).with_coalescing_disable(true);
            self.admin.set_feature(FeatureId::INTERRUPT_VECTOR_CONFIG, config.into())?;
        }
        Ok(())
    }

    fn set_power(&mut self) -> Result<()> {
        if self.identify.apsta & 1 == 0 {
            return Ok(());
        }
        let table = self.options.power_latency.and_then(|latency| power::table(&self.identify, latency));
        let enable = u32::from(table.is_some());
        let data = table.unwrap_or_default();
        self.admin
            .set_feature_data(FeatureId::AUTONOMOUS_POWER_STATE_TRANSITION, enable, data.as_bytes())
            .map(drop)
    }

    fn lend_memory(&mut self) -> Result<()> {
        if self.host_memory.is_none() {
            self.host_memory =
                HostMemory::allocate(&self.identify, &self.dma, self.page_shift, self.options.host_memory)?;
        }
        let Some(memory) = &mut self.host_memory else { return Ok(()) };
        let lent = memory.enable(&mut self.admin);
        // A refusal is certain knowledge that the controller does not use the memory; a lost answer is not.
        if let Err(Error::Command { .. }) = lent {
            self.host_memory = None;
        }
        lent
    }

    /// Asks for all active namespaces and makes disks of those that can be served.
    pub(super) fn scan(&mut self) -> Result<()> {
        let mut disks = Vec::new();
        let mut refused = Vec::new();
        for nsid in self.active_namespaces()? {
            let namespace: IdentifyNamespace = match self.admin.identify(Cns::NAMESPACE, nsid) {
                Ok(namespace) => namespace,
                // It went away between the list and the question.
                Err(Error::Command { status: Status::INVALID_NAMESPACE, .. }) => continue,
                Err(error) => return Err(error),
            };
            match self.common().disk(nsid, &namespace) {
                Ok(disk) => disks.push(disk),
                Err(error) => {
                    log::warn!("{}: {error}", self.name);
                    refused.push(error);
                }
            }
        }
        (self.disks, self.refused) = (disks, refused);
        Ok(())
    }

    /// The ids of the active namespaces. Controllers before 1.1 have no list: there it is 1 to NN.
    fn active_namespaces(&mut self) -> Result<Vec<u32>> {
        let mut found: Vec<u32> = Vec::new();
        loop {
            let after = found.last().copied().unwrap_or(0);
            let list: NamespaceList = match self.admin.identify(Cns::ACTIVE_NAMESPACES, after) {
                Ok(list) => list,
                Err(Error::Command { status: Status::INVALID_FIELD, .. }) if found.is_empty() => {
                    return Ok((1..=self.identify.nn).take(MOST_NAMESPACES).collect());
                }
                Err(error) => return Err(error),
            };
            let before = found.len();
            for nsid in list.iter() {
                // Ids ascend; anything else is a controller that would have us ask for ever.
                if nsid <= found.last().copied().unwrap_or(0) || found.len() == MOST_NAMESPACES {
                    log::warn!("{}: the list of namespaces ends with {nsid}", self.name);
                    return Ok(found);
                }
                found.push(nsid);
            }
            if found.len() - before < size_of_val(&list.ids) / size_of::<u32>() {
                return Ok(found);
            }
        }
    }

    /// Sends an entry that has no data and no result; used for deleting queues.
    pub(super) fn delete_queue(&mut self, opcode: AdminOpcode, queue: u16) -> Result<()> {
        let entry = SubmissionEntry {
            cdw10: CreateQueueCdw10::new().with_qid(queue).into(),
            ..crate::admin::command(opcode)
        };
        self.admin.execute(&format_args!("{opcode} {queue}"), entry).map(drop)
    }
}

/// Whether entries of 2^`size` bytes are among those that the controller takes.
fn check_size(queue: &str, sizes: QueueEntrySize, size: u8) -> Result<()> {
    let (least, most) = (sizes.required(), sizes.largest());
    if (least..=most).contains(&size) {
        return Ok(());
    }
    Err(Error::Unusable(format!("{queue} queue entries of 2^{least} to 2^{most} bytes")))
}
