//! Random requests on random disks, compared with what a perfect disk would do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::cast_possible_truncation, reason = "the disks are small")]

use std::{collections::BTreeMap, time::Duration};

use driver_block::{
    Answer, BlockError, Disk, DiskId, Limits, LocalEngine, OPERATIONS, Operation, QueueOptions,
    RecoveryPolicy, Request, Segments, WriteCache,
    testing::{Machine, MemoryDisk, Observer, Plan, Random, plain_disk},
};
use proptest::prelude::*;
use redox_driver_sys::dma::DmaBuffer;

const TIMEOUT: Duration = Duration::from_millis(50);

/// What a block contained over time, oldest first, as one byte per version: blocks are filled with one value.
#[derive(Clone, Debug)]
struct History {
    versions: Vec<u8>,
    /// The newest version that a client was told of. Later ones were written by requests that failed.
    acknowledged: usize,
    /// The oldest version that may be there after a power cut.
    durable: usize,
}

/// A request that has not been answered.
struct Outstanding {
    request: Request,
    memory: Option<DmaBuffer>,
    segments: Vec<(usize, usize)>,
    fill: u8,
    /// For a flush: what was acknowledged when it was submitted.
    covers: Vec<usize>,
}

struct Scenario {
    machine: Machine,
    observer: Observer,
    engine: LocalEngine<MemoryDisk>,
    disks: Vec<Disk>,
    histories: Vec<Vec<History>>,
    outstanding: BTreeMap<u64, Outstanding>,
    random: Random,
    plan: Plan,
    next_cookie: u64,
    accepted: [u64; 5],
    failures: BTreeMap<&'static str, u64>,
}

fn name(error: BlockError) -> &'static str {
    match error {
        BlockError::Medium => "medium",
        BlockError::Transient | BlockError::Aborted => "transient",
        BlockError::TimedOut => "timed out",
        BlockError::Gone => "gone",
        _ => "other",
    }
}

impl Scenario {
    fn new(disks: Vec<Disk>, queues: u16, depth: u16, room: u32, plan: Plan, seed: u64) -> Self {
        let machine = Machine::new().unwrap();
        let device =
            MemoryDisk::new(&machine, disks.clone(), queues, depth, plan.clone(), seed).with_timeout(TIMEOUT);
        let observer = device.observer();
        let mut options = QueueOptions::new(room, TIMEOUT);
        options.abort_grace = Duration::from_millis(20);
        options.retry_delay = Duration::from_micros(50);
        options.retries = 20;
        options.zeroes = Some(machine.dma().unwrap().allocate(8192).unwrap());
        let policy = RecoveryPolicy { resets: u16::MAX, window: Duration::from_secs(1) };
        let engine = LocalEngine::new(device, &machine.clock(), &options, policy).unwrap();
        let fresh = History { versions: vec![0], acknowledged: 0, durable: 0 };
        let histories =
            disks.iter().map(|disk| vec![fresh.clone(); usize::try_from(disk.blocks).unwrap()]).collect();
        Scenario {
            machine,
            observer,
            engine,
            disks,
            histories,
            outstanding: BTreeMap::new(),
            random: Random::new(seed ^ 0xdead),
            plan,
            next_cookie: 0,
            accepted: [0; 5],
            failures: BTreeMap::new(),
        }
    }

    fn faulty(&self) -> bool {
        let Plan { transient, hang, broken, reset_fails, .. } = self.plan;
        transient != 0 || hang != 0 || broken != 0 || reset_fails != 0
    }

    /// A place that no outstanding request touches in a way that matters.
    fn place(&mut self, at: usize, operation: Operation) -> Option<(u64, u64)> {
        let capacity = self.disks[at].blocks;
        let most = if self.random.chance(100) { capacity } else { 12 };
        let blocks = 1 + self.random.below(most.min(capacity));
        // Often right behind another one, so that there is something to merge.
        let last = self.outstanding.values().next_back().filter(|o| o.request.disk == self.disks[at].id);
        let mut lba = self.random.below(capacity);
        if let Some(last) = last
            && self.random.chance(500)
        {
            lba = last.request.lba + last.request.blocks;
        }
        let end = lba + blocks;
        let reads = operation == Operation::Read;
        let free = self.outstanding.values().all(|other| {
            let other = &other.request;
            other.disk != self.disks[at].id
                || other.operation == Operation::Flush
                || (reads && other.operation == Operation::Read)
                || end <= other.lba
                || other.lba + other.blocks <= lba
        });
        (end <= capacity && free).then_some((lba, blocks))
    }

    /// Memory for a transfer, in one piece or scattered as the disk's alignment allows.
    fn memory(&mut self, limits: &Limits, bytes: usize) -> (DmaBuffer, Segments, Vec<(usize, usize)>) {
        let alignment = limits.dma_alignment.max(4) as usize;
        let mut parts = Vec::new();
        let (mut at, mut left) = (0, bytes);
        at += self.random.below(4) as usize * alignment;
        while left > 0 {
            let unit = if self.random.chance(700) { limits.block_size as usize } else { alignment };
            let count = 1 + self.random.below(8) as usize;
            let len = if self.random.chance(400) { left } else { (unit * count).min(left) };
            parts.push((at, len));
            left -= len;
            at += len;
            if self.random.chance(600) {
                // A gap; now and then up to the next page.
                at += alignment * (1 + self.random.below(3) as usize);
                if self.random.chance(500) {
                    at = at.next_multiple_of(4096);
                }
            }
        }
        let buffer = self.machine.dma().unwrap().allocate(at).unwrap();
        let segments =
            parts.iter().map(|&(at, len)| buffer.segment(at, u32::try_from(len).unwrap()).unwrap()).collect();
        (buffer, segments, parts)
    }

    fn submit_one(&mut self) {
        let at = self.random.below(self.disks.len() as u64) as usize;
        let Disk { id, limits, .. } = self.disks[at].clone();
        let operation = match self.random.below(100) {
            0..35 => Operation::Read,
            35..75 => Operation::Write,
            75..85 => Operation::Flush,
            85..93 => Operation::Discard,
            _ => Operation::WriteZeroes,
        };
        let cookie = self.next_cookie;
        let fill = (cookie % 251 + 1) as u8;
        let mut outstanding = Outstanding {
            request: Request::flush(id, cookie),
            memory: None,
            segments: Vec::new(),
            fill,
            covers: self.histories[at].iter().map(|history| history.acknowledged).collect(),
        };
        if operation != Operation::Flush {
            let Some((lba, blocks)) = self.place(at, operation) else { return };
            outstanding.request = Request::range(operation, id, lba, blocks, cookie);
            outstanding.request.fua = self.random.chance(200);
        }
        if matches!(operation, Operation::Read | Operation::Write) {
            let bytes = outstanding.request.blocks as usize * limits.block_size as usize;
            let (buffer, segments, parts) = self.memory(&limits, bytes);
            let content = if operation == Operation::Write { fill } else { 0xee };
            buffer.fill(0, buffer.len(), content).unwrap();
            outstanding.request.segments = segments;
            outstanding.memory = Some(buffer);
            outstanding.segments = parts;
        }
        let queue = self.random.below(self.engine.queues().len() as u64) as u16;
        match self.engine.submit(queue, outstanding.request.clone()) {
            Ok(()) => {
                self.accepted[operation as usize] += 1;
                self.next_cookie += 1;
                self.outstanding.insert(cookie, outstanding);
            }
            Err(rejected) => {
                assert_eq!(rejected.request, outstanding.request, "comes back as it was");
                match rejected.error() {
                    // Full, or given up.
                    None => {}
                    Some(BlockError::Gone) => assert!(self.engine.recovery().given_up().is_some()),
                    Some(BlockError::Unsupported) => {
                        assert!(operation == Operation::Discard && limits.max_discard_blocks == 0);
                    }
                    Some(BlockError::ReadOnly) => {
                        assert!(limits.read_only);
                        assert!(!matches!(operation, Operation::Read | Operation::Flush));
                    }
                    // Memory that cannot be cut at whole blocks.
                    Some(BlockError::Invalid) => assert!(outstanding.segments.len() > 1),
                    Some(other) => panic!("{other} for {:?}", rejected.request),
                }
            }
        }
    }

    fn touches_bad_block(&self, request: &Request) -> bool {
        matches!(request.operation, Operation::Read | Operation::Write | Operation::WriteZeroes)
            && self.plan.bad_blocks.iter().any(|&(disk, lba)| {
                disk == request.disk && (request.lba..request.lba + request.blocks).contains(&lba)
            })
    }

    fn answered(&mut self, answer: Answer) {
        let completion = answer.completion;
        let outstanding = self.outstanding.remove(&completion.cookie).expect("answered exactly once");
        let request = &outstanding.request;
        let at = self.disks.iter().position(|disk| disk.id == request.disk).unwrap();
        let limits = &self.disks[at].limits;
        let size = limits.block_size as usize;
        match completion.result {
            Ok(()) => {
                assert!(!self.touches_bad_block(request), "{request:?}");
                let bytes =
                    if request.operation == Operation::Flush { 0 } else { request.blocks * size as u64 };
                assert_eq!(completion.bytes, bytes);
            }
            Err(error) => {
                *self.failures.entry(name(error)).or_default() += 1;
                assert!(completion.bytes <= request.blocks * size as u64);
                match error {
                    BlockError::Medium => assert!(self.touches_bad_block(request), "{request:?}"),
                    _ => assert!(self.faulty(), "{error} without a fault for {request:?}"),
                }
            }
        }
        let histories = &mut self.histories[at];
        if request.operation == Operation::Flush {
            if completion.result.is_ok() {
                for (history, covered) in histories.iter_mut().zip(&outstanding.covers) {
                    history.durable = history.durable.max(*covered);
                }
            }
            return;
        }
        let start = request.lba as usize;
        let blocks = &mut histories[start..start + request.blocks as usize];
        if request.operation == Operation::Read {
            if completion.result.is_ok() {
                let memory = outstanding.memory.as_ref().unwrap();
                let mut data = Vec::new();
                for &(at, len) in &outstanding.segments {
                    let mut part = vec![0; len];
                    memory.copy_to(at, &mut part).unwrap();
                    data.extend(part);
                }
                for (block, history) in data.chunks(size).zip(blocks) {
                    assert!(block.iter().all(|byte| *byte == block[0]), "torn block");
                    let expected = &history.versions[history.acknowledged..];
                    assert!(expected.contains(&block[0]), "{:#x} is none of {expected:x?}", block[0]);
                }
            }
            return;
        }
        let content = match request.operation {
            Operation::Write => outstanding.fill,
            Operation::Discard => 0xdc,
            _ => 0,
        };
        for history in blocks {
            history.versions.push(content);
            let newest = history.versions.len() - 1;
            if completion.result.is_ok() {
                history.acknowledged = newest;
                let fua = request.fua && request.operation != Operation::Discard;
                if fua || limits.write_cache == WriteCache::None {
                    history.durable = newest;
                }
            }
        }
    }

    fn step(&mut self) {
        let mut answers = Vec::new();
        self.engine.step(&mut answers);
        for answer in answers {
            self.answered(answer);
        }
    }

    fn run(&mut self, rounds: u32) {
        for _ in 0..rounds {
            for _ in 0..self.random.below(12) {
                self.submit_one();
            }
            if self.random.chance(700) {
                self.engine.kick();
            }
            self.step();
            let pause = self.random.below(300);
            self.machine.clock().sleep(Duration::from_micros(pause));
        }
        self.engine.kick();
        // Each command is tried 21 times at most, with a deadline, a grace time and delays each time.
        for _ in 0..2_000_000 {
            self.step();
            if self.outstanding.is_empty() {
                break;
            }
            self.machine.clock().sleep(Duration::from_micros(500));
        }
        assert!(self.outstanding.is_empty(), "{} requests were never answered", self.outstanding.len());
        assert!(self.engine.is_idle());
        self.check_end();
    }

    fn check_end(&mut self) {
        assert_eq!(self.observer.take_violations(), Vec::<String>::new());
        assert_eq!(self.machine.stray_accesses(), 0);
        let statistics = self.engine.statistics();
        for operation in OPERATIONS {
            let counted = statistics.of(operation);
            assert_eq!(counted.requests, self.accepted[operation as usize], "{operation:?}");
            assert_eq!(counted.succeeded + counted.failed, counted.requests, "{operation:?}");
        }
        let total = statistics.total();
        assert_eq!(total.failed, self.failures.values().sum::<u64>());
        assert_eq!(total.commands, self.observer.commands());
        if !self.faulty() && self.plan.bad_blocks.is_empty() && self.plan.full == 0 {
            // Every command beyond the first of a request is a split, every request beyond the first of one a merge.
            let without = |operation| {
                let flushes = statistics.of(operation);
                flushes.commands + flushes.merges - flushes.splits
            };
            for operation in [Operation::Read, Operation::Write, Operation::Discard, Operation::WriteZeroes] {
                assert_eq!(without(operation), statistics.of(operation).requests, "{operation:?}");
            }
            assert_eq!((total.retries, total.timeouts, statistics.stray), (0, 0, 0));
        }
        assert!(statistics.commits <= total.commands);
        // What was promised to be on the medium is there after a power cut.
        self.observer.cut_power();
        for (disk, histories) in self.disks.iter().zip(&self.histories) {
            for (lba, history) in (0..).zip(histories) {
                let block = self.observer.durable_block(disk.id, lba);
                let allowed = &history.versions[history.durable..];
                assert!(
                    allowed.contains(&block[0]) && block.iter().all(|byte| *byte == block[0]),
                    "disk {} block {lba}: {:#x} is none of {allowed:x?}",
                    disk.id,
                    block[0]
                );
            }
        }
    }
}

fn limits() -> impl Strategy<Value = Limits> {
    let sizes =
        (prop_oneof![Just(512u32), Just(4096)], 1u32..40, 1u16..20, prop_oneof![Just(u16::MAX), 1u16..6]);
    let memory =
        (prop_oneof![Just(1u32), Just(512), Just(4096)], prop_oneof![Just(4u32), Just(1), Just(512)]);
    let ranges = (prop_oneof![Just(0u32), 1u32..50], 1u16..6, prop_oneof![Just(0u32), 1u32..50]);
    let cache = prop_oneof![
        Just(WriteCache::None),
        Just(WriteCache::Volatile { fua: true }),
        Just(WriteCache::Volatile { fua: false })
    ];
    (sizes, memory, ranges, cache, 0u8..20).prop_map(|(sizes, memory, ranges, write_cache, ro)| {
        let (block_size, max_blocks, max_segments, max_commands) = sizes;
        Limits {
            block_size,
            physical_block_size: block_size,
            optimal_io_size: 0,
            max_transfer: block_size * max_blocks,
            max_commands,
            max_segments,
            segment_boundary: memory.0,
            dma_alignment: memory.1,
            max_discard_blocks: ranges.0,
            max_discard_ranges: ranges.1,
            discard_granularity: block_size,
            max_write_zeroes_blocks: ranges.2,
            write_cache,
            read_only: ro == 0,
            rotational: false,
        }
    })
}

fn disks() -> impl Strategy<Value = Vec<Disk>> {
    proptest::collection::vec((limits(), 1u64..120), 1..4).prop_map(|disks| {
        (1..).zip(disks).map(|(id, (limits, blocks))| Disk { limits, ..plain_disk(id * 3, blocks) }).collect()
    })
}

/// Faults after which every request can still succeed or fail by itself.
fn faults() -> impl Strategy<Value = Plan> {
    ((0u16..200, 0u16..40, 0u16..500, 0u16..200), (0u16..200, 0u16..50, 0u16..50, 0u16..5), 0u64..3).prop_map(
        |((transient, hang, deaf, abort_fails), (full, doubled, stray, broken), bad)| Plan {
            latency: Duration::from_micros(400),
            transient,
            hang,
            deaf,
            abort_fails,
            full,
            doubled,
            stray,
            broken,
            reset_fails: 0,
            bad_blocks: (0..bad).map(|n| (DiskId(3), n * 7)).collect(),
        },
    )
}

fn cases(few: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(few);
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn data_end_up_where_they_belong(
        disks in disks(), queues in 1u16..3, depth in 1u16..9, room in 1u32..40, latency in 0u64..500, seed: u64
    ) {
        let plan = Plan { latency: Duration::from_micros(latency), ..Plan::default() };
        Scenario::new(disks, queues, depth, room, plan, seed).run(60);
    }

    #[test]
    fn a_bad_block_fails_its_reader_alone(disks in disks(), depth in 1u16..9, room in 1u32..40, seed: u64) {
        let bad_blocks = vec![(DiskId(3), 0), (DiskId(3), 9), (DiskId(6), 5)];
        let plan = Plan { bad_blocks, latency: Duration::from_micros(50), ..Plan::default() };
        Scenario::new(disks, 1, depth, room, plan, seed).run(60);
    }

    #[test]
    fn faults_neither_lose_nor_double_an_answer(
        disks in disks(), queues in 1u16..3, depth in 1u16..9, room in 1u32..40, plan in faults(), seed: u64
    ) {
        Scenario::new(disks, queues, depth, room, plan, seed).run(60);
    }

    #[test]
    fn a_controller_that_does_not_come_back_answers_everything(
        disks in disks(), depth in 1u16..9, room in 1u32..40, mut plan in faults(), seed: u64
    ) {
        plan.reset_fails = 300;
        plan.hang = plan.hang.max(20);
        Scenario::new(disks, 2, depth, room, plan, seed).run(60);
    }
}
