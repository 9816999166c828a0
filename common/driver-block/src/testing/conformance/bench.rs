//! A device under its driver and the block layer, beside what its disk must hold.

use std::{collections::BTreeMap, time::Duration};

use redox_driver_sys::dma::{DmaBuffer, Segment};

use super::{Setup, Specimen, Unable};
use crate::{
    device::{Disk, DiskId, Operation, SubmitError},
    error::BlockError,
    local::LocalEngine,
    request::{Request, Segments},
    testing::{Started, pattern},
};

/// Longer than anything may take, in virtual time.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What a request came to.
pub(super) type Outcome = Result<(), BlockError>;

pub(super) struct Bench<S: Specimen> {
    pub(super) device: S,
    pub(super) engine: LocalEngine<S::Controller>,
    pub(super) buffer: DmaBuffer,
    pub(super) disk: DiskId,
    /// What every block of the disk must read as.
    content: Vec<u8>,
}

impl<S: Specimen> Bench<S> {
    pub(super) fn new(variant: &S::Variant, setup: &Setup) -> Result<Self, Unable> {
        let Started { device, engine, buffer, disk } = S::start(variant, setup)?;
        let mut bench = Bench { device, engine, buffer, disk, content: Vec::new() };
        let found = bench.disk();
        assert_eq!(found.blocks, setup.blocks, "the disk has another size");
        assert!(found.limits.block_size == setup.block_size || setup.read_only, "{:?}", found.limits);
        bench.content = (0..setup.blocks).flat_map(|lba| bench.device.block(disk, lba)).collect();
        assert_eq!(bench.content.len(), bench.bytes(setup.blocks));
        Ok(bench)
    }

    /// As the driver describes the disk now.
    pub(super) fn disk(&self) -> Disk {
        let disk = self.engine.disks().iter().find(|disk| disk.id == self.disk);
        disk.expect("the disk is there").clone()
    }

    pub(super) fn block_size(&self) -> usize {
        self.disk().limits.block_size as usize
    }

    pub(super) fn bytes(&self, blocks: u64) -> usize {
        usize::try_from(blocks).unwrap() * self.block_size()
    }

    pub(super) fn queues(&self) -> u16 {
        u16::try_from(self.engine.queues().len()).unwrap()
    }

    pub(super) fn segment(&self, at: usize, len: usize) -> Segment {
        self.buffer.segment(at, u32::try_from(len).unwrap()).unwrap()
    }

    /// A read or write of whole blocks from or to memory that begins at `at`.
    pub(super) fn transfer(
        &self,
        operation: Operation,
        lba: u64,
        blocks: u64,
        at: usize,
        cookie: u64,
    ) -> Request {
        let segments = Segments::from_slice(&[self.segment(at, self.bytes(blocks))]);
        Request::transfer(operation, self.disk, lba, blocks, segments, cookie)
    }

    /// Carries out requests together, each on its queue, and returns their answers by cookie.
    pub(super) fn all(
        &mut self,
        requests: impl IntoIterator<Item = (u16, Request)>,
    ) -> BTreeMap<u64, Outcome> {
        let mut wanted = 0;
        for (queue, request) in requests {
            self.engine.submit(queue, request).unwrap();
            wanted += 1;
        }
        self.engine.drain(PATIENCE).unwrap();
        let mut answers = Vec::new();
        self.engine.step(&mut answers);
        assert_eq!(answers.len(), wanted, "every request is answered once");
        let answers: BTreeMap<_, _> =
            answers.iter().map(|answer| (answer.completion.cookie, answer.completion.result)).collect();
        assert_eq!(answers.len(), wanted, "every request is answered once");
        answers
    }

    pub(super) fn execute(&mut self, request: Request) -> Outcome {
        self.engine.execute(request, PATIENCE)
    }

    /// What a request that must not be taken is refused with.
    pub(super) fn refusal(&mut self, request: Request) -> BlockError {
        match self.engine.submit(0, request).map_err(|rejected| rejected.reason) {
            Err(SubmitError::Refused(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    /// Notes that blocks hold `data` from now on.
    pub(super) fn now_holds(&mut self, lba: u64, data: &[u8]) {
        let at = self.bytes(lba);
        self.content[at..at + data.len()].copy_from_slice(data);
    }

    pub(super) fn must_hold(&self, lba: u64, blocks: u64) -> &[u8] {
        &self.content[self.bytes(lba)..self.bytes(lba + blocks)]
    }

    /// Bytes of blocks that differ from each other and from seed to seed.
    pub(super) fn pattern(&self, blocks: u64, seed: u64) -> Vec<u8> {
        pattern(self.bytes(blocks), seed + 1)
    }

    /// Writes a pattern through the driver, from memory at `at`.
    pub(super) fn write_from(&mut self, lba: u64, blocks: u64, at: usize, seed: u64) {
        let data = self.pattern(blocks, seed);
        self.buffer.copy_from(at, &data).unwrap();
        let request = self.transfer(Operation::Write, lba, blocks, at, 0);
        assert_eq!(self.execute(request), Ok(()), "a write of {blocks} blocks at {lba}");
        self.now_holds(lba, &data);
    }

    pub(super) fn write(&mut self, lba: u64, blocks: u64, seed: u64) {
        self.write_from(lba, blocks, 0, seed);
    }

    /// Reads through the driver into memory at `at`, and compares.
    pub(super) fn read_to(&mut self, lba: u64, blocks: u64, at: usize) {
        let len = self.bytes(blocks);
        self.buffer.fill(at, len, 0xa5).unwrap();
        let request = self.transfer(Operation::Read, lba, blocks, at, 0);
        assert_eq!(self.execute(request), Ok(()), "a read of {blocks} blocks at {lba}");
        self.compare(lba, blocks, at);
    }

    pub(super) fn read(&mut self, lba: u64, blocks: u64) {
        self.read_to(lba, blocks, 0);
    }

    /// Compares memory at `at` with what blocks must hold.
    pub(super) fn compare(&self, lba: u64, blocks: u64, at: usize) {
        let mut found = vec![0; self.bytes(blocks)];
        self.buffer.copy_to(at, &mut found).unwrap();
        let size = self.block_size();
        let wanted = self.must_hold(lba, blocks);
        let wrong = (lba..).zip(found.chunks(size).zip(wanted.chunks(size))).find(|(_, (a, b))| a != b);
        assert!(wrong.is_none(), "block {:?} reads wrong in a read of {blocks} at {lba}", wrong.map(|w| w.0));
    }

    pub(super) fn flush_on(&mut self, queue: u16) {
        let flush = Request::flush(self.disk, 7);
        assert_eq!(self.all([(queue, flush)])[&7], Ok(()), "a flush");
    }

    /// Whether blocks would be there after a power cut.
    pub(super) fn is_durable(&self, lba: u64, blocks: u64) -> bool {
        (lba..lba + blocks).all(|lba| self.device.durable_block(self.disk, lba) == self.must_hold(lba, 1))
    }

    /// The medium holds what it must, in all blocks, and nothing happened that may not.
    pub(super) fn check(&self) {
        let blocks = (self.content.len() / self.block_size()) as u64;
        let wrong = (0..blocks).find(|&lba| self.device.block(self.disk, lba) != self.must_hold(lba, 1));
        assert_eq!(wrong, None, "a block of the medium is wrong");
        self.check_behaviour();
    }

    /// The driver did nothing that no driver may.
    pub(super) fn check_behaviour(&self) {
        assert_eq!(self.device.violations(), [""; 0]);
        assert_eq!(self.device.host().take_faults(), [], "stray DMA");
    }
}
