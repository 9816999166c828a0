//! Random requests against random faults: every request is answered exactly once and in bounded time, what was answered
//! is true, nothing panics. A run is replayed by its seed: `RB_FAULT_SEED=… cargo test -p virtio-blkd --test faults`.
//!
//! `RB_FAULT_RUNS` sets the number of runs (2,000 by default, 200 when `RB_QUICK` is set).
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::{collections::BTreeMap, env, ops::Range, time::Duration};

use driver_block::{
    BlockError, Controller, DiskId, LocalEngine, Operation, QueueOptions, RecoveryPolicy, Request, Segments,
    SubmitError,
};
use fastrand::Rng;
use model_virtio::{
    Action, BlkConfig, FaultPlan, Latency, LifecycleFault, PowerCut, Rule, TransportConfig, Violation,
};
use redox_driver_sys::dma::DmaBuffer;
use support::{Bench, all_rings, pattern};
use virtio_blkd::{BlkController, Options};
use virtio_core::Features;
use virtio_spec::blk::{BlkFeatures, RequestStatus};

const BLOCK: usize = 512;
/// Blocks that the runs work on: few, so that requests follow each other on the same ones.
const BLOCKS: u64 = 512;
const SLOTS: usize = 24;
const SLOT_BYTES: usize = 64 * BLOCK;
const REQUESTS: u64 = 150;
/// Retries, aborts and resets included, no request may take longer.
const BOUND: Duration = Duration::from_secs(300);

/// What a block may hold: one value, or several where a write failed or is not yet flushed.
type Oracle = BTreeMap<u64, Vec<[u8; 8]>>;

struct Outstanding {
    operation: Operation,
    lba: u64,
    blocks: u64,
    data: Vec<u8>,
}

/// Faults that a driver can notice. What no driver can, is left out: data that is wrong though the status is fine.
fn random_plan(rng: &mut Rng) -> FaultPlan {
    let seed = rng.u64(..);
    let actions = [
        Action::Drop,
        Action::Hang,
        Action::Delay(Duration::from_millis(rng.u64(1..4000))),
        Action::CorruptId(rng.u32(1..)),
        // Perhaps that of another request in flight: it comes back without a status.
        Action::CorruptId(rng.u32(1..32)),
        Action::BadLength(rng.u32(1..)),
        Action::IndexJump(rng.u16(1..)),
        Action::Fail(RequestStatus::IOERR.0),
        Action::Fail(rng.u8(3..)),
        Action::NoStatus,
        Action::Duplicate,
        Action::Reorder,
        Action::LoseInterrupt,
        Action::SpuriousInterrupt,
        Action::NeedsReset,
        Action::WildRead(rng.u64(..)),
        Action::WildWrite(rng.u64(..)),
    ];
    let mut plan = FaultPlan::new(seed);
    for action in actions {
        if rng.u8(..) < 80 {
            let often = f64::from(rng.u32(1..40)) / 1000.0;
            plan = plan.rule(Rule::new(action).probability(often));
        }
    }
    if rng.u8(..) < 8 {
        let faults = [LifecycleFault::NeverReset, LifecycleFault::RefuseFeatures];
        plan = plan.lifecycle_times(faults[rng.usize(..faults.len())], rng.u32(1..3));
    }
    plan
}

struct Run {
    bench: Bench,
    engine: LocalEngine<BlkController>,
    buffer: DmaBuffer,
    rng: Rng,
    oracle: Oracle,
    outstanding: BTreeMap<u64, Outstanding>,
    free: Vec<usize>,
    disk: DiskId,
    packed: bool,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rings = all_rings();
        let transport = TransportConfig {
            queue_size: [8, 32, 64][rng.usize(..3)],
            latency: Latency { jitter: Duration::from_micros(rng.u64(0..300)), ..Latency::default() },
            seed: rng.u64(..),
            ..rings[rng.usize(..rings.len())].clone()
        };
        let mut features = BlkConfig::FEATURES;
        features.set(BlkFeatures::FLUSH, rng.bool());
        features.set(BlkFeatures::SIZE_MAX, rng.bool());
        let config = BlkConfig {
            sectors: BLOCKS,
            features,
            size_max: 2048,
            cache_sectors: rng.usize(1..200),
            seed: rng.u64(..),
            ..BlkConfig::default()
        };
        let bench = Bench::new(transport, config);
        let options = Options {
            queues: rng.u16(1..4),
            queue_depth: rng.u16(1..32),
            polled: rng.bool(),
            in_order: rng.bool(),
            command_timeout: Duration::from_secs(2),
            ..Options::default()
        };
        let timeout = options.command_timeout;
        let controller = bench.attach(options);
        let buffer = controller.dma().allocate(SLOTS * SLOT_BYTES).unwrap();
        let clock = controller.clock().clone();
        let disk = controller.disks()[0].id;
        let packed = controller.features().contains(Features::RING_PACKED);
        let options = QueueOptions::new(u32::try_from(SLOTS).unwrap(), timeout);
        let engine = LocalEngine::new(controller, &clock, &options, RecoveryPolicy::default()).unwrap();
        let plan = random_plan(&mut rng);
        bench.model.set_faults(plan);
        let oracle = (0..BLOCKS).map(|lba| (lba, vec![[0; 8]])).collect();
        let free = (0..SLOTS).collect();
        Run { bench, engine, buffer, rng, oracle, outstanding: BTreeMap::new(), free, disk, packed }
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
                self.outstanding.insert(cookie, Outstanding { operation, lba, blocks, data });
            }
            Err(rejected) => {
                assert!(
                    matches!(
                        rejected.reason,
                        SubmitError::Full | SubmitError::Refused(BlockError::Gone | BlockError::TimedOut)
                    ),
                    "{:?}: {:?}",
                    rejected.reason,
                    rejected.request
                );
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

    /// Compares what was answered with what the oracle knows, and learns from it.
    fn judge(&mut self, request: &Outstanding, at: usize, result: Result<(), BlockError>) {
        let Outstanding { operation, lba, blocks, data } = request;
        for block in 0..*blocks {
            let possible = self.oracle.get_mut(&(lba + block)).expect("inside the disk");
            let offset = usize::try_from(block).unwrap() * BLOCK;
            let head = |data: &[u8]| <[u8; 8]>::try_from(&data[offset..offset + 8]).unwrap();
            let new = match operation {
                Operation::Flush => continue,
                Operation::Read => {
                    if result.is_ok() {
                        let mut bytes = [0; BLOCK];
                        self.buffer.copy_to(at + offset, &mut bytes).unwrap();
                        let found = <[u8; 8]>::try_from(&bytes[..8]).unwrap();
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
                Operation::Write => head(data),
                Operation::WriteZeroes | Operation::Discard => [0; 8],
            };
            if result.is_ok() {
                *possible = vec![new];
            } else {
                possible.push(new);
            }
        }
    }

    fn go(mut self) -> (u64, bool) {
        let mut number = 0;
        while number < REQUESTS {
            for _ in 0..self.rng.u64(1..8) {
                self.submit(number);
                number += 1;
            }
            self.engine.kick();
            self.take_answers();
            self.bench.host.advance(Duration::from_micros(self.rng.u64(1..200)));
        }
        let end = self.bench.host.now().plus(BOUND);
        while !self.outstanding.is_empty() {
            self.take_answers();
            self.bench.host.advance(Duration::from_millis(5));
            assert!(self.bench.host.now() < end, "{} requests were never answered", self.outstanding.len());
        }
        // Whatever happened, the medium holds what was answered.
        self.bench.model.set_faults(FaultPlan::new(0));
        for (&lba, possible) in &self.oracle {
            let block = self.bench.model.read(lba, 1);
            let found = <[u8; 8]>::try_from(&block[..8]).unwrap();
            assert!(possible.contains(&found), "block {lba} on the medium: {found:x?}, not {possible:x?}");
        }
        let serving = self.engine.recovery().is_serving();
        let resets = self.engine.controller().map_or(0, BlkController::resets);
        let flushed = self.engine.shutdown(Duration::from_secs(30)).is_ok();
        if serving && flushed {
            self.bench.model.power_cut(PowerCut::Lost);
            for (&lba, possible) in &self.oracle {
                let block = self.bench.model.read(lba, 1);
                let found = <[u8; 8]>::try_from(&block[..8]).unwrap();
                assert!(
                    possible.contains(&found),
                    "block {lba} after the power cut: {found:x?}, not {possible:x?}"
                );
            }
        }
        drop(self.engine);
        assert!(!self.bench.host.bus_master(), "the device may still do DMA");
        let mut violations = self.bench.model.take_violations();
        if self.packed {
            // A device that writes used descriptors in wrong places destroys what the driver had written there.
            violations.retain(|violation| !matches!(violation, Violation::Ring { .. }));
        }
        assert_eq!(violations, []);
        (resets, serving)
    }
}

#[test]
fn random_faults_lose_nothing() {
    if let Ok(seed) = env::var("RB_FAULT_SEED") {
        let seed = seed.trim_start_matches("0x");
        let (resets, serving) = Run::new(u64::from_str_radix(seed, 16).unwrap()).go();
        println!("{resets} resets, still serving: {serving}");
        return;
    }
    let usual = if env::var_os("RB_QUICK").is_some() { 200 } else { 2000 };
    let runs = env::var("RB_FAULT_RUNS").map_or(usual, |runs| runs.parse().unwrap());
    let base: u64 = env::var("RB_FAULT_BASE").map_or(0x5eed, |base| base.parse().unwrap());
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let totals: Vec<(u64, u64)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn(move || {
                    let mut totals = (0, 0);
                    for run in (worker..runs).step_by(usize::try_from(workers).unwrap()) {
                        let seed = base.wrapping_mul(0x9e37_79b9).wrapping_add(run);
                        let outcome = std::panic::catch_unwind(|| Run::new(seed).go());
                        let Ok((resets, serving)) = outcome else { panic!("RB_FAULT_SEED={seed:#x}") };
                        totals = (totals.0 + resets, totals.1 + u64::from(serving));
                    }
                    totals
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("see the seed above")).collect()
    });
    let resets: u64 = totals.iter().map(|totals| totals.0).sum();
    let serving: u64 = totals.iter().map(|totals| totals.1).sum();
    println!("{runs} runs, {resets} resets, {serving} devices still serving at the end");
    // A plan without consequences would prove nothing.
    assert!(resets > runs / 10 && serving > runs / 3, "{resets} resets, {serving} of {runs} serving");
}
