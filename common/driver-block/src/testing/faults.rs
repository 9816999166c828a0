//! Random requests against random faults of a device, judged by an oracle: every request is answered exactly once and in
//! bounded time, what was answered is true, and nothing panics.
//!
//! There are 2,000 runs, unless the environment says otherwise: see [`over_seeds`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test, used by those of drivers"
)]

use std::{collections::BTreeMap, ops::Range, time::Duration};

use fastrand::Rng;
use redox_driver_sys::dma::DmaBuffer;

use super::{Modelled, Started, over_seeds, pattern};
use crate::{
    device::{DiskId, Operation, SubmitError},
    error::BlockError,
    local::LocalEngine,
    request::{Request, Segments},
};

/// Bytes of a block.
pub const BLOCK: usize = 512;
/// Blocks that the runs work on: few, so that requests follow each other on the same ones.
pub const BLOCKS: u64 = 512;
/// Requests at a time.
pub const SLOTS: usize = 24;
const SLOT_BYTES: usize = 64 * BLOCK;
/// What requests need of memory.
pub const BUFFER: usize = SLOTS * SLOT_BYTES;
const REQUESTS: u64 = 150;
/// Retries, aborts and resets included, no request may take longer.
const BOUND: Duration = Duration::from_secs(300);

/// A model of a device of [`BLOCKS`] zeroed blocks of [`BLOCK`] bytes, as the runs see it.
pub trait Faulty: Modelled {
    /// A device and a driver of chance's choice, with [`BUFFER`] bytes. From here on it has faults that a driver can notice.
    fn start(rng: &mut Rng) -> Started<Self>;

    /// No more faults.
    fn mend(&self);

    /// How often it had to be reset.
    fn resets(&self, engine: &LocalEngine<Self::Controller>) -> u64;

    /// Whether a request may be refused with this error.
    fn may_refuse(error: BlockError) -> bool {
        matches!(error, BlockError::Gone | BlockError::TimedOut)
    }
}

/// What the runs came to.
#[derive(Clone, Copy, Debug)]
pub struct Totals {
    /// How many there were.
    pub runs: u64,
    /// Resets of all of them.
    pub resets: u64,
    /// How many devices were still served at the end.
    pub serving: u64,
}

/// Runs as the environment says: see [`over_seeds`].
pub fn random_faults<F: Faulty>() -> Totals {
    let outcomes = over_seeds(2000, |seed| Run::<F>::new(seed).go());
    let (resets, serving) =
        outcomes.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + u64::from(one.1)));
    Totals { runs: outcomes.len() as u64, resets, serving }
}

/// What is known of a block.
struct Known {
    /// What it may hold, by [`digest`]: one content, or several where writes failed.
    possible: Vec<u64>,
    /// The number of the step in which it was written to last, or a write of it ended.
    touched: u64,
}

/// Tells contents of a block from each other; that of zeroes is 0.
fn digest(block: &[u8]) -> u64 {
    let words = block.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
    words.fold(0, |digest: u64, word| digest.rotate_left(5) ^ word)
}

struct Outstanding {
    operation: Operation,
    lba: u64,
    blocks: u64,
    data: Vec<u8>,
    /// The number of the step in which it was submitted.
    step: u64,
}

struct Run<F: Faulty> {
    device: F,
    engine: LocalEngine<F::Controller>,
    buffer: DmaBuffer,
    disk: DiskId,
    rng: Rng,
    oracle: BTreeMap<u64, Known>,
    step: u64,
    outstanding: BTreeMap<u64, Outstanding>,
    free: Vec<usize>,
}

impl<F: Faulty> Run<F> {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let Started { device, engine, buffer, disk } = F::start(&mut rng);
        let oracle = (0..BLOCKS).map(|lba| (lba, Known { possible: vec![0], touched: 0 })).collect();
        let free = (0..SLOTS).collect();
        Run { device, engine, buffer, disk, rng, oracle, step: 0, outstanding: BTreeMap::new(), free }
    }

    fn overlaps(&self, range: &Range<u64>) -> bool {
        self.outstanding.values().any(|other| {
            other.operation != Operation::Flush
                && range.start < other.lba + other.blocks
                && other.lba < range.end
        })
    }

    /// Submits a random request, unless it would race with another on the same blocks.
    fn submit(&mut self, number: u64) {
        let Some(slot) = self.free.pop() else { return };
        let operation = match self.rng.u8(0..20) {
            0..8 => Operation::Read,
            8..16 => Operation::Write,
            16 => Operation::Flush,
            17..19 => Operation::WriteZeroes,
            _ => Operation::Discard,
        };
        let blocks = self.rng.u64(1..=(SLOT_BYTES / BLOCK) as u64);
        let lba = self.rng.u64(0..=BLOCKS - blocks);
        if operation != Operation::Flush && self.overlaps(&(lba..lba + blocks)) {
            self.free.push(slot);
            return;
        }
        let bytes = usize::try_from(blocks).unwrap() * BLOCK;
        let at = slot * SLOT_BYTES;
        let cookie = number << 8 | slot as u64;
        let data = if operation == Operation::Write { pattern(bytes, number + 1) } else { Vec::new() };
        let request = match operation {
            Operation::Flush => Request::flush(self.disk, cookie),
            Operation::Discard | Operation::WriteZeroes => {
                Request::range(operation, self.disk, lba, blocks, cookie)
            }
            Operation::Read | Operation::Write => {
                if operation == Operation::Write {
                    self.buffer.copy_from(at, &data).unwrap();
                } else {
                    self.buffer.fill(at, bytes, 0xa5).unwrap();
                }
                let segment = self.buffer.segment(at, u32::try_from(bytes).unwrap()).unwrap();
                Request::transfer(operation, self.disk, lba, blocks, Segments::from_slice(&[segment]), cookie)
            }
        };
        let queue = self.rng.u16(..) % u16::try_from(self.engine.queues().len()).unwrap();
        match self.engine.submit(queue, request) {
            Ok(()) => {
                let step = self.touch(operation, lba, blocks);
                self.outstanding.insert(cookie, Outstanding { operation, lba, blocks, data, step });
            }
            Err(rejected) => {
                let expected = match rejected.reason {
                    SubmitError::Full => true,
                    SubmitError::Refused(error) => F::may_refuse(error),
                };
                assert!(expected, "{:?}: {:?}", rejected.reason, rejected.request);
                self.free.push(slot);
            }
        }
    }

    fn take_answers(&mut self) {
        let mut answers = Vec::new();
        self.engine.step(&mut answers);
        for answer in answers {
            let cookie = answer.completion.cookie;
            let request = self.outstanding.remove(&cookie).expect("an answer to nothing, or a second one");
            let slot = usize::try_from(cookie & 0xff).unwrap();
            self.free.push(slot);
            self.judge(&request, slot * SLOT_BYTES, answer.completion.result);
        }
    }

    /// Begins another step, in which something happens to blocks.
    fn touch(&mut self, operation: Operation, lba: u64, blocks: u64) -> u64 {
        self.step += 1;
        if !matches!(operation, Operation::Read | Operation::Flush) {
            self.oracle.range_mut(lba..lba + blocks).for_each(|(_, known)| known.touched = self.step);
        }
        self.step
    }

    /// Compares what was answered with what the oracle knows, and learns from it.
    fn judge(&mut self, request: &Outstanding, at: usize, result: Result<(), BlockError>) {
        let Outstanding { operation, lba, blocks, data, step } = request;
        if *operation == Operation::Flush {
            if result.is_ok() {
                self.check_durable(*step);
            }
            return;
        }
        self.touch(*operation, *lba, *blocks);
        for block in 0..*blocks {
            let possible = &mut self.oracle.get_mut(&(lba + block)).expect("inside the disk").possible;
            let offset = usize::try_from(block).unwrap() * BLOCK;
            let new = match operation {
                Operation::Write => digest(&data[offset..offset + BLOCK]),
                Operation::Read => {
                    if result.is_ok() {
                        let mut bytes = [0; BLOCK];
                        self.buffer.copy_to(at + offset, &mut bytes).unwrap();
                        let found = digest(&bytes);
                        assert!(
                            possible.contains(&found),
                            "block {}: {found:x?}, not {possible:x?}",
                            lba + block
                        );
                        // It has been seen: it stays.
                        *possible = vec![found];
                    }
                    continue;
                }
                Operation::WriteZeroes | Operation::Discard | Operation::Flush => 0,
            };
            if result.is_ok() {
                *possible = vec![new];
            } else {
                possible.push(new);
            }
        }
    }

    /// A flush that was submitted in `step` has ended: what was written before it is on the medium.
    fn check_durable(&self, step: u64) {
        for (&lba, Known { possible, touched }) in &self.oracle {
            if *touched >= step || self.overlaps(&(lba..lba + 1)) {
                continue;
            }
            let found = digest(&self.device.durable_block(self.disk, lba));
            assert!(possible.contains(&found), "block {lba} after a flush: {found:x?}, not {possible:x?}");
        }
    }

    /// Every block is one of what it may be.
    fn check_medium(&self, when: &str) {
        for (&lba, Known { possible, .. }) in &self.oracle {
            let found = digest(&self.device.block(self.disk, lba));
            assert!(possible.contains(&found), "block {lba} {when}: {found:x?}, not {possible:x?}");
        }
    }

    fn is_served(&self) -> bool {
        self.engine.recovery().is_serving() && self.engine.disks().iter().any(|disk| disk.id == self.disk)
    }

    /// How often the device was reset, and whether it was served at the end.
    fn go(mut self) -> (u64, bool) {
        let mut number = 0;
        while number < REQUESTS {
            for _ in 0..self.rng.u64(1..8) {
                self.submit(number);
                number += 1;
            }
            self.engine.kick();
            self.take_answers();
            self.device.host().advance(Duration::from_micros(self.rng.u64(1..200)));
        }
        let end = self.device.host().now().plus(BOUND);
        while !self.outstanding.is_empty() {
            self.take_answers();
            self.device.host().advance(Duration::from_millis(5));
            assert!(
                self.device.host().now() < end,
                "{} requests were never answered",
                self.outstanding.len()
            );
        }
        // Whatever happened, the medium holds what was answered.
        self.device.mend();
        self.check_medium("on the medium");
        let (serving, resets) = (self.is_served(), self.device.resets(&self.engine));
        let flushed = self.engine.shutdown(Duration::from_secs(30)).is_ok();
        // A disk that went away meanwhile was not flushed.
        if serving && flushed && self.engine.disks().iter().any(|disk| disk.id == self.disk) {
            self.device.cut_power();
            self.check_medium("after the power cut");
        }
        drop(self.engine);
        assert!(self.device.is_quiet(), "the device may still do DMA");
        let violations = self.device.violations();
        assert!(violations.is_empty(), "{violations:?}");
        (resets, serving)
    }
}
