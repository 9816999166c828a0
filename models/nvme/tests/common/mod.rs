//! A small host that drives the model by hand.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

use std::{sync::atomic::AtomicU16, sync::atomic::Ordering, time::Duration};

use model_nvme::{Config, Handle, Nvme};
use nvme_spec::{
    AdminOpcode, Cdw0, CompletionEntry, CreateCqCdw11, CreateQueueCdw10, CreateSqCdw11, FeatureCdw10,
    FeatureId, IdentifyCdw10, LogCdw10, LogPage, NvmOpcode, ReadWriteCdw12, Status, SubmissionEntry,
    registers::{ACQ, AQA, ASQ, Aqa, CAP, CC, CSTS, Cap, Cc, Csts, cq_head_doorbell, sq_tail_doorbell},
};
use redox_driver_sys::{
    dma::{DmaAllocator, DmaBuffer, DmaSlice},
    irq::{Interrupt, InterruptKind},
    mmio::{Mmio, ReadWrite, Register},
    model::Host,
    pci::PciFunction,
};
use zerocopy::FromBytes;

pub const PAGE: u64 = 4096;

pub struct Queue {
    pub id: u16,
    pub sq: DmaSlice<SubmissionEntry>,
    pub cq: DmaSlice<CompletionEntry>,
    pub tail: u32,
    pub head: u32,
    pub phase: bool,
}

pub struct Rig {
    // The function goes before the memory.
    pub function: PciFunction,
    pub host: Host,
    pub handle: Handle,
    pub bar: Mmio,
    pub dma: DmaAllocator,
    pub interrupts: Vec<Interrupt>,
    pub admin: Queue,
    pub stride: u8,
    cid: AtomicU16,
}

/// A command with data pointer `buffer`.
pub fn command(opcode: u8, nsid: u32, buffer: Option<&DmaBuffer>) -> SubmissionEntry {
    let first = buffer.map_or(0, |buffer| buffer.addr().get());
    SubmissionEntry {
        cdw0: Cdw0::new().with_opcode(opcode),
        nsid,
        dptr: [first, if buffer.is_some_and(|buffer| buffer.len() > 4096) { first + PAGE } else { 0 }],
        ..Default::default()
    }
}

/// A command that moves `blocks` blocks from `lba` on; the buffer is at most two pages long.
pub fn blocks(opcode: NvmOpcode, nsid: u32, lba: u64, blocks: u16, buffer: &DmaBuffer) -> SubmissionEntry {
    let mut entry = command(opcode.0, nsid, Some(buffer)).with_starting_lba(lba);
    entry.cdw12 = ReadWriteCdw12::new().with_nlb(blocks - 1).into();
    entry
}

pub fn fua(mut entry: SubmissionEntry) -> SubmissionEntry {
    entry.cdw12 = ReadWriteCdw12::from(entry.cdw12).with_fua(true).into();
    entry
}

impl Rig {
    /// A controller with MSI-X that is enabled.
    pub fn new(config: Config) -> Self {
        let rig = Self::disabled(config, Some(InterruptKind::MsiX));
        rig.enable();
        rig
    }

    /// A controller that is not enabled yet, its admin queues set up.
    pub fn disabled(config: Config, kind: Option<InterruptKind>) -> Self {
        let stride = config.doorbell_stride;
        let (nvme, handle) = Nvme::new(config);
        let host = Host::new(Box::new(nvme));
        let function = host.function();
        function.set_bus_master(true).unwrap();
        let interrupts = kind.map_or_else(Vec::new, |kind| {
            let set = function.interrupts_up_to(4, kind).unwrap();
            assert_eq!(set.kind(), kind);
            set.into_vectors()
        });
        let bar = function.map_bar(0).unwrap();
        let dma = function.dma().unwrap();
        let admin = Queue::new(&dma, 0, 32);
        let rig = Rig { function, host, handle, bar, dma, interrupts, admin, stride, cid: AtomicU16::new(1) };
        rig.set_admin_queue();
        rig
    }

    pub fn set_admin_queue(&self) {
        let entries = u16::try_from(self.admin.sq.len() - 1).unwrap();
        self.write32(AQA, Aqa::new().with_asqs(entries).with_acqs(entries).into());
        self.register::<u64>(ASQ).write(self.admin.sq.addr().get());
        self.register::<u64>(ACQ).write(self.admin.cq.addr().get());
    }

    pub fn register<T: redox_driver_sys::mmio::RegisterValue>(&self, offset: u64) -> Register<T, ReadWrite> {
        self.bar.register(offset).unwrap()
    }

    pub fn read32(&self, offset: u64) -> u32 {
        self.register::<u32>(offset).read()
    }

    pub fn write32(&self, offset: u64, value: u32) {
        self.register::<u32>(offset).write(value);
    }

    pub fn cap(&self) -> Cap {
        self.register::<Cap>(CAP).read()
    }

    pub fn csts(&self) -> Csts {
        self.register::<Csts>(CSTS).read()
    }

    pub fn configure(&self, cc: Cc) {
        self.register::<Cc>(CC).write(cc);
    }

    pub fn cc() -> Cc {
        Cc::new().with_en(true).with_iosqes(6).with_iocqes(4)
    }

    /// Lets time pass until `done`; false when it is not within ten seconds.
    pub fn wait(&self, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.host.now().plus(Duration::from_secs(10));
        while !done(self) {
            if self.host.now() >= end {
                return false;
            }
            self.host.advance_to_next_event(end);
        }
        true
    }

    pub fn enable(&self) {
        self.configure(Self::cc());
        assert!(self.wait(|rig| rig.csts().rdy()), "{:?}", self.csts());
    }

    pub fn disable(&mut self) {
        self.configure(Cc::new());
        assert!(self.wait(|rig| !rig.csts().rdy()), "{:?}", self.csts());
        self.admin.forget();
    }

    pub fn buffer(&self, len: usize) -> DmaBuffer {
        self.dma.allocate(len).unwrap()
    }

    pub fn doorbell(&self, id: u16, completion: bool, value: u32) {
        let offset =
            if completion { cq_head_doorbell(id, self.stride) } else { sq_tail_doorbell(id, self.stride) };
        self.write32(offset, value);
    }

    /// Puts a command into a queue and gives it an identifier, without the doorbell.
    pub fn put(&self, queue: &mut Queue, mut entry: SubmissionEntry) -> u16 {
        let cid = self.cid.fetch_add(1, Ordering::Relaxed);
        entry.cdw0.set_cid(cid);
        queue.sq.write(queue.tail as usize, entry);
        queue.tail = (queue.tail + 1) % queue.sq.len() as u32;
        cid
    }

    pub fn submit(&self, queue: &mut Queue, entry: SubmissionEntry) -> u16 {
        let cid = self.put(queue, entry);
        self.doorbell(queue.id, false, queue.tail);
        cid
    }

    /// Takes a completion if there is one, and tells the controller.
    pub fn reap(&self, queue: &mut Queue) -> Option<CompletionEntry> {
        let entry = queue.take()?;
        self.doorbell(queue.id, true, queue.head);
        Some(entry)
    }

    /// Waits for a completion.
    pub fn next(&self, queue: &mut Queue) -> CompletionEntry {
        let end = self.host.now().plus(Duration::from_secs(10));
        loop {
            if let Some(entry) = self.reap(queue) {
                return entry;
            }
            assert!(self.host.now() < end, "no completion on queue {}: {:?}", queue.id, self.csts());
            self.host.advance_to_next_event(end);
        }
    }

    /// Does one command.
    pub fn run(&self, queue: &mut Queue, entry: SubmissionEntry) -> CompletionEntry {
        let cid = self.submit(queue, entry);
        let done = self.next(queue);
        assert_eq!((done.cid, done.sqid), (cid, queue.id));
        done
    }

    pub fn status(&self, queue: &mut Queue, entry: SubmissionEntry) -> Status {
        self.run(queue, entry).status.status()
    }

    /// Does one admin command.
    pub fn admin(&mut self, entry: SubmissionEntry) -> CompletionEntry {
        let mut queue = std::mem::replace(&mut self.admin, Queue::nothing(&self.dma));
        let done = self.run(&mut queue, entry);
        self.admin = queue;
        done
    }

    pub fn admin_status(&mut self, entry: SubmissionEntry) -> Status {
        self.admin(entry).status.status()
    }

    pub fn submit_admin(&mut self, entry: SubmissionEntry) -> u16 {
        let mut queue = std::mem::replace(&mut self.admin, Queue::nothing(&self.dma));
        let cid = self.submit(&mut queue, entry);
        self.admin = queue;
        cid
    }

    pub fn next_admin(&mut self) -> CompletionEntry {
        let mut queue = std::mem::replace(&mut self.admin, Queue::nothing(&self.dma));
        let done = self.next(&mut queue);
        self.admin = queue;
        done
    }

    pub fn create_cq(&mut self, id: u16, size: u16, base: u64, cdw11: CreateCqCdw11) -> Status {
        self.admin_status(SubmissionEntry {
            cdw10: CreateQueueCdw10::new().with_qid(id).with_qsize(size.wrapping_sub(1)).into(),
            cdw11: cdw11.into(),
            dptr: [base, 0],
            ..command(AdminOpcode::CREATE_IO_CQ.0, 0, None)
        })
    }

    pub fn create_sq(&mut self, id: u16, size: u16, base: u64, cqid: u16) -> Status {
        self.admin_status(SubmissionEntry {
            cdw10: CreateQueueCdw10::new().with_qid(id).with_qsize(size.wrapping_sub(1)).into(),
            cdw11: CreateSqCdw11::new().with_pc(true).with_cqid(cqid).into(),
            dptr: [base, 0],
            ..command(AdminOpcode::CREATE_IO_SQ.0, 0, None)
        })
    }

    pub fn delete(&mut self, opcode: AdminOpcode, id: u16) -> Status {
        let cdw10 = CreateQueueCdw10::new().with_qid(id).into();
        self.admin_status(SubmissionEntry { cdw10, ..command(opcode.0, 0, None) })
    }

    /// Creates a pair of I/O queues with interrupt vector `vector`.
    pub fn queue(&mut self, id: u16, entries: u16, vector: u16) -> Queue {
        let queue = Queue::new(&self.dma, id, entries.into());
        let cdw11 = CreateCqCdw11::new().with_pc(true).with_ien(true).with_iv(vector);
        assert_eq!(self.create_cq(id, entries, queue.cq.addr().get(), cdw11), Status::SUCCESS);
        assert_eq!(self.create_sq(id, entries, queue.sq.addr().get(), id), Status::SUCCESS);
        queue
    }

    pub fn identify<T: FromBytes>(&mut self, cns: u8, nsid: u32) -> Result<T, Status> {
        let buffer = self.buffer(4096);
        let cdw10 = IdentifyCdw10::new().with_cns(cns).into();
        let done =
            self.admin(SubmissionEntry { cdw10, ..command(AdminOpcode::IDENTIFY.0, nsid, Some(&buffer)) });
        if done.status.status().is_success() {
            Ok(buffer.read(0).unwrap())
        } else {
            Err(done.status.status())
        }
    }

    pub fn log<T: FromBytes>(&mut self, page: LogPage) -> Result<T, Status> {
        let buffer = self.buffer(4096);
        let cdw10 = log_cdw10(page, size_of::<T>());
        let nsid = nvme_spec::ALL_NAMESPACES;
        let done = self
            .admin(SubmissionEntry { cdw10, ..command(AdminOpcode::GET_LOG_PAGE.0, nsid, Some(&buffer)) });
        if done.status.status().is_success() {
            Ok(buffer.read(0).unwrap())
        } else {
            Err(done.status.status())
        }
    }

    pub fn set_feature(&mut self, id: FeatureId, value: impl Into<u32>) -> CompletionEntry {
        let cdw10 = FeatureCdw10::new().with_fid(id.0).into();
        let cdw11 = value.into();
        self.admin(SubmissionEntry { cdw10, cdw11, ..command(AdminOpcode::SET_FEATURES.0, 0, None) })
    }

    pub fn get_feature(&mut self, id: FeatureId, cdw11: u32) -> CompletionEntry {
        let cdw10 = FeatureCdw10::new().with_fid(id.0).into();
        self.admin(SubmissionEntry { cdw10, cdw11, ..command(AdminOpcode::GET_FEATURES.0, 0, None) })
    }
}

pub fn log_cdw10(page: LogPage, len: usize) -> u32 {
    LogCdw10::new().with_lid(page.0).with_numdl(u16::try_from(len / 4 - 1).unwrap()).into()
}

impl Queue {
    pub fn new(dma: &DmaAllocator, id: u16, entries: usize) -> Self {
        let (sq, cq) = (dma.allocate_slice(entries).unwrap(), dma.allocate_slice(entries).unwrap());
        Queue { id, sq, cq, tail: 0, head: 0, phase: true }
    }

    fn nothing(dma: &DmaAllocator) -> Self {
        Queue::new(dma, 0, 1)
    }

    /// Back to the state after creation.
    pub fn forget(&mut self) {
        (self.tail, self.head, self.phase) = (0, 0, true);
        self.cq.clear();
    }

    /// Takes a completion without telling the controller.
    pub fn take(&mut self) -> Option<CompletionEntry> {
        let entry = self.cq.read(self.head as usize);
        if entry.status.phase() != self.phase {
            return None;
        }
        self.head = (self.head + 1) % self.cq.len() as u32;
        if self.head == 0 {
            self.phase = !self.phase;
        }
        Some(entry)
    }
}
