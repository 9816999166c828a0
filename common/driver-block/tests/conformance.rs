//! The conformance checks on a disk in memory, which passes them, and on the same with one flaw each, which does not.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use driver_block::{
    BlockError, Command, Completed, Controller, ControllerEvent, Disk, DiskId, HardwareQueue, LbaRange,
    Limits, Operation, SubmitError, WriteCache,
    testing::{
        Machine, MemoryDisk, MemoryQueue, Modelled, Observer, Plan, Started,
        conformance::{self, BUFFER, Setup, Specimen, TIMEOUT, Unable},
        plain_disk,
    },
};
use redox_driver_sys::{
    irq::Interrupt,
    model::Host,
    time::{Clock, Time},
};

/// What a driver may get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    ReadsTheNeighbour,
    ForgetsTheLastBlock,
    TakesTooMuch,
    IgnoresAlignment,
    NeverFlushes,
    ForgetsFua,
    NeverDiscards,
    HidesErrors,
    WaitsForAborts,
    IgnoresSizes,
    MayBeWritten,
    AnswersTheSmallestLast,
}

/// How many answers one that is held back lets pass: more than its client's patience allows.
const HELD_BACK: usize = 150;

struct Flawed {
    disk: MemoryDisk,
    flaw: Flaw,
    clock: Clock,
}

struct FlawedQueue {
    queue: MemoryQueue,
    flaw: Flaw,
    /// Answers that the device knows nothing of.
    invented: Vec<Completed>,
    /// Commands of one block, and their answers, that are held back, with how many others have passed since.
    small: Vec<u16>,
    held: Vec<(Completed, usize)>,
}

impl Flawed {
    fn wrap(&self, queues: Vec<MemoryQueue>) -> Vec<FlawedQueue> {
        let wrap = |queue| FlawedQueue {
            queue,
            flaw: self.flaw,
            invented: Vec::new(),
            small: Vec::new(),
            held: Vec::new(),
        };
        queues.into_iter().map(wrap).collect()
    }
}

impl Controller for Flawed {
    type Queue = FlawedQueue;

    fn name(&self) -> &str {
        self.disk.name()
    }
    fn disks(&self) -> Vec<Disk> {
        let mut disks = self.disk.disks();
        for Disk { limits, .. } in &mut disks {
            match self.flaw {
                Flaw::TakesTooMuch => limits.max_transfer *= 2,
                Flaw::IgnoresAlignment => limits.dma_alignment = 1,
                Flaw::MayBeWritten => limits.read_only = false,
                _ => {}
            }
        }
        disks
    }
    fn take_queues(&mut self) -> Vec<FlawedQueue> {
        let queues = self.disk.take_queues();
        self.wrap(queues)
    }
    fn command_timeout(&self) -> Duration {
        self.disk.command_timeout()
    }
    fn interrupt(&self) -> Option<&Interrupt> {
        self.disk.interrupt()
    }
    fn shares_interrupt(&self) -> bool {
        self.disk.shares_interrupt()
    }
    fn poll(&mut self, now: Time, events: &mut Vec<ControllerEvent>) -> Result<(), BlockError> {
        self.disk.poll(now, events)?;
        if self.flaw == Flaw::IgnoresSizes {
            events.retain(|event| !matches!(event, ControllerEvent::DiskChanged(_)));
        }
        Ok(())
    }
    fn abort(&mut self, queue: u16, handle: u32) -> Result<(), BlockError> {
        if self.flaw == Flaw::WaitsForAborts {
            self.clock.sleep(TIMEOUT / 2);
        }
        self.disk.abort(queue, handle)
    }
    fn reset(&mut self, queues: Vec<FlawedQueue>) -> Result<Vec<FlawedQueue>, BlockError> {
        let queues = self.disk.reset(queues.into_iter().map(|queue| queue.queue).collect())?;
        Ok(self.wrap(queues))
    }
    fn shutdown(&mut self, queues: Vec<FlawedQueue>) -> Result<(), BlockError> {
        self.disk.shutdown(queues.into_iter().map(|queue| queue.queue).collect())
    }
}

impl HardwareQueue for FlawedQueue {
    fn depth(&self) -> u16 {
        self.queue.depth()
    }
    fn submit(&mut self, tag: u16, command: &Command<'_>) -> Result<(), SubmitError> {
        let invented = match self.flaw {
            Flaw::NeverFlushes => command.operation == Operation::Flush,
            Flaw::NeverDiscards => command.operation == Operation::Discard,
            _ => false,
        };
        if invented {
            self.invented.push(Completed { tag, result: Ok(()) });
            return Ok(());
        }
        let mut ranges = command.ranges.to_vec();
        let mut segments = command.segments.to_vec();
        let mut fua = command.fua;
        match (self.flaw, &mut ranges[..], &mut segments[..]) {
            (Flaw::ReadsTheNeighbour, [LbaRange { lba, blocks: 129 }], _) => *lba ^= 1,
            (Flaw::ForgetsTheLastBlock, [LbaRange { blocks: blocks @ 64.., .. }], [segment]) => {
                *blocks -= 1;
                segment.len -= 512;
            }
            (Flaw::ForgetsFua, ..) => fua = false,
            (Flaw::AnswersTheSmallestLast, [LbaRange { blocks: 1, .. }], _) => self.small.push(tag),
            _ => {}
        }
        self.queue.submit(tag, &Command { ranges: &ranges, segments: &segments, fua, ..*command })
    }
    fn commit(&mut self) {
        self.queue.commit();
    }
    fn reap(&mut self, completed: &mut Vec<Completed>) -> Result<(), BlockError> {
        self.queue.reap(completed)?;
        completed.append(&mut self.invented);
        let passed = completed.extract_if(.., |one| self.small.contains(&one.tag)).map(|one| (one, 0));
        self.held.extend(passed);
        for (_, passed) in &mut self.held {
            *passed += completed.len();
        }
        let alone = completed.is_empty();
        for (one, _) in self.held.extract_if(.., |(_, passed)| alone || *passed > HELD_BACK) {
            self.small.retain(|tag| *tag != one.tag);
            completed.push(one);
        }
        if self.flaw == Flaw::HidesErrors {
            completed.iter_mut().for_each(|completed| completed.result = Ok(()));
        }
        Ok(())
    }
    fn interrupt(&self) -> Option<&Interrupt> {
        self.queue.interrupt()
    }
    fn abort_handle(&self, tag: u16) -> u32 {
        self.queue.abort_handle(tag)
    }
}

struct Memory {
    machine: Machine,
    observer: Observer,
}

impl Modelled for Memory {
    type Controller = Flawed;

    fn host(&self) -> &Host {
        self.machine.host()
    }
    fn is_quiet(&self) -> bool {
        self.observer.is_off()
    }
    fn pull_out(&self) {
        self.observer.pull_out();
    }
    fn block(&self, disk: DiskId, lba: u64) -> Vec<u8> {
        self.observer.block(disk, lba)
    }

    fn durable_block(&self, disk: DiskId, lba: u64) -> Vec<u8> {
        self.observer.durable_block(disk, lba)
    }
    fn cut_power(&self) {
        self.observer.cut_power();
    }
    fn violations(&self) -> Vec<String> {
        self.observer.take_violations()
    }
}

impl Specimen for Memory {
    type Variant = Flaw;

    fn start(flaw: &Flaw, setup: &Setup) -> Result<Started<Self>, Unable> {
        let machine = Machine::new().unwrap();
        let disk = |id: u16| {
            let disk = plain_disk(id.into(), setup.blocks);
            let limits = Limits {
                block_size: setup.block_size,
                physical_block_size: setup.block_size,
                discard_granularity: setup.block_size,
                max_transfer: 128 << 10,
                max_commands: 16,
                write_cache: if setup.cache { WriteCache::Volatile { fua: true } } else { WriteCache::None },
                read_only: setup.read_only,
                ..disk.limits
            };
            Disk { limits, ..disk }
        };
        let plan = Plan { latency: Duration::from_micros(30), ..Plan::default() };
        let disks = (0..setup.disks).map(disk).collect();
        let memory = MemoryDisk::new(&machine, disks, setup.queues, 32, plan, 1).with_timeout(TIMEOUT);
        let observer = memory.observer();
        let clock = machine.clock();
        let dma = machine.dma().unwrap();
        let flawed = Flawed { disk: memory, flaw: *flaw, clock: clock.clone() };
        let device = Memory { machine, observer };
        Ok(Started::new(device, flawed, &dma, &clock, BUFFER, &conformance::options(&dma)))
    }

    /// What a discard leaves is recognised by its looks.
    fn allocated(&self, disk: DiskId) -> u64 {
        let discarded = |lba: &u64| self.observer.block(disk, *lba).iter().all(|&byte| byte == 0xdc);
        (0..Setup::default().blocks).filter(|lba| !discarded(lba)).count() as u64
    }
    fn spoil(&self, disk: DiskId, lba: u64) {
        self.observer.spoil(disk, lba);
    }
    fn hang_next(&self, queue: u16, _: DiskId) {
        self.observer.hang_next(queue);
    }
    fn resize(&self, disk: DiskId, blocks: u64) -> Result<(), Unable> {
        self.observer.resize(disk, blocks);
        Ok(())
    }
}

#[test]
fn a_disk_in_memory_conforms() {
    conformance::run::<Memory>(&Flaw::None).assert_passed(&[]);
}

#[test]
fn each_flaw_is_found() {
    for (flaw, check) in [
        (Flaw::ReadsTheNeighbour, "reads and writes of every length"),
        (Flaw::ForgetsTheLastBlock, "memory of every alignment"),
        (Flaw::TakesTooMuch, "what is longer than the largest transfer is split"),
        (Flaw::IgnoresAlignment, "memory of every alignment"),
        (Flaw::NeverFlushes, "a flush survives a power cut, and covers every queue"),
        (Flaw::ForgetsFua, "a write with FUA survives a power cut"),
        (Flaw::NeverDiscards, "discard"),
        (Flaw::HidesErrors, "a bad block is an error to its reader alone"),
        (Flaw::WaitsForAborts, "a command that times out never blocks another queue or disk"),
        (Flaw::IgnoresSizes, "a disk that grows and shrinks"),
        (Flaw::MayBeWritten, "a read-only disk is read and refuses the rest"),
        (Flaw::AnswersTheSmallestLast, "a client with many requests leaves one with few its turn"),
    ] {
        let report = conformance::run::<Memory>(&flaw);
        let failed: Vec<_> = report.failed.iter().map(|(name, _)| *name).collect();
        assert!(failed.contains(&check), "{flaw:?} was not found by {check:?}, but by {failed:?}");
    }
}
