//! The queue against hardware that completes what the test says: which commands come, and when.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use driver_block::{
    BlockError, Command, Completed, Completion, Disk, DiskId, Expired, HardwareQueue, Limits, Operation,
    Queue, QueueOptions, Request, Segments, SubmitError, WriteCache, testing::plain_disk,
};
use redox_driver_sys::{
    dma::{DmaAddr, Segment},
    irq::Interrupt,
    time::Time,
};

const DISK: DiskId = DiskId(1);

/// A command as it was submitted.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    tag: u16,
    operation: Operation,
    fua: bool,
    ranges: Vec<(u64, u32)>,
    segments: usize,
}

#[derive(Default)]
struct Script {
    seen: Vec<Seen>,
    /// Tags that the queue was asked to end, and whether it says that it does.
    aborted: Vec<u16>,
    ends_commands: bool,
    due: Option<Time>,
    interrupts: u32,
    commits: u32,
    completed: Vec<Completed>,
    full: bool,
}

struct Hardware {
    script: Arc<Mutex<Script>>,
    depth: u16,
}

impl HardwareQueue for Hardware {
    fn depth(&self) -> u16 {
        self.depth
    }
    fn submit(&mut self, tag: u16, command: &Command<'_>) -> Result<(), SubmitError> {
        let mut script = self.script.lock().unwrap();
        if script.full {
            return Err(SubmitError::Full);
        }
        let ranges = command.ranges.iter().map(|range| (range.lba, range.blocks)).collect();
        let Command { operation, fua, segments, .. } = *command;
        script.seen.push(Seen { tag, operation, fua, ranges, segments: segments.len() });
        Ok(())
    }
    fn commit(&mut self) {
        self.script.lock().unwrap().commits += 1;
    }
    fn reap(&mut self, completed: &mut Vec<Completed>) -> Result<(), BlockError> {
        completed.append(&mut self.script.lock().unwrap().completed);
        Ok(())
    }
    fn interrupt(&self) -> Option<&Interrupt> {
        None
    }
    fn abort_handle(&self, tag: u16) -> u32 {
        u32::from(tag) + 100
    }
    fn interrupted(&mut self) {
        self.script.lock().unwrap().interrupts += 1;
    }
    fn due(&self) -> Option<Time> {
        self.script.lock().unwrap().due
    }
    fn abort(&mut self, tag: u16) -> bool {
        let mut script = self.script.lock().unwrap();
        script.aborted.push(tag);
        script.ends_commands
    }
}

struct Bench {
    queue: Queue<Hardware>,
    script: Arc<Mutex<Script>>,
    answers: Vec<Completion>,
    now: Time,
}

impl Bench {
    fn new(depth: u16, change: impl FnOnce(&mut Limits)) -> Self {
        let script = Arc::new(Mutex::new(Script::default()));
        let mut options = QueueOptions::new(16, Duration::from_secs(10));
        options.abort_grace = Duration::from_secs(2);
        options.retries = 2;
        let mut queue = Queue::new(Hardware { script: script.clone(), depth }, options);
        let mut disk = plain_disk(1, 10_000);
        change(&mut disk.limits);
        queue.set_disk(&disk).unwrap();
        Bench { queue, script, answers: Vec::new(), now: Time::from_nanos(1) }
    }

    fn submit(&mut self, requests: impl IntoIterator<Item = Request>) {
        for request in requests {
            self.queue.submit(request).unwrap();
        }
        self.queue.kick(self.now);
    }

    /// What the hardware was given since the last time.
    fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.script.lock().unwrap().seen)
    }

    fn operations(&self) -> Vec<Operation> {
        self.seen().into_iter().map(|seen| seen.operation).collect()
    }

    fn complete(&mut self, tag: u16, result: Result<(), BlockError>) {
        self.script.lock().unwrap().completed.push(Completed { tag, result });
        self.queue.poll(self.now, &mut self.answers).unwrap();
    }

    /// Cookies and results of the answers since the last time.
    fn answers(&mut self) -> Vec<(u64, Result<(), BlockError>)> {
        self.queue.poll(self.now, &mut self.answers).unwrap();
        self.answers.drain(..).map(|answer| (answer.cookie, answer.result)).collect()
    }

    fn advance(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }
}

fn transfer(operation: Operation, lba: u64, blocks: u32, cookie: u64) -> Request {
    let segments: Segments =
        [Segment { addr: DmaAddr::new(0x10_0000 * (cookie + 1)), len: blocks * 512 }].into_iter().collect();
    Request::transfer(operation, DISK, lba, blocks.into(), segments, cookie)
}

fn read(lba: u64, blocks: u32, cookie: u64) -> Request {
    transfer(Operation::Read, lba, blocks, cookie)
}

fn write(lba: u64, blocks: u32, cookie: u64) -> Request {
    transfer(Operation::Write, lba, blocks, cookie)
}

#[test]
fn neighbours_share_a_command_and_a_batch_one_doorbell() {
    let mut bench = Bench::new(8, |limits| limits.max_transfer = 16 * 512);
    bench.submit([
        read(0, 8, 0),
        read(8, 8, 1),
        read(16, 8, 2),
        read(100, 1, 3),
        write(101, 1, 4),
        write(102, 1, 5).with_fua(),
    ]);
    let ranges: Vec<_> = bench.seen().into_iter().map(|seen| (seen.ranges, seen.segments)).collect();
    assert_eq!(
        ranges,
        [
            (vec![(0, 16)], 2),
            (vec![(16, 8)], 1),
            (vec![(100, 1)], 1),
            (vec![(101, 1)], 1),
            (vec![(102, 1)], 1)
        ]
    );
    assert_eq!(bench.script.lock().unwrap().commits, 1);
    bench.complete(0, Ok(()));
    assert_eq!(bench.answers(), [(0, Ok(())), (1, Ok(()))]);
    assert_eq!(bench.queue.statistics().of(Operation::Read).merges, 1);
}

#[test]
fn nothing_goes_before_the_kick() {
    let mut bench = Bench::new(8, |_| ());
    bench.queue.submit(read(0, 1, 0)).unwrap();
    assert_eq!(bench.answers(), []);
    assert_eq!((bench.seen().len(), bench.queue.waiting()), (0, 1));
    bench.queue.kick(bench.now);
    assert_eq!(bench.seen().len(), 1);
}

#[test]
fn a_full_queue_gives_the_request_back() {
    let mut bench = Bench::new(2, |_| ());
    bench.submit((0..16).map(|n| read(n * 10, 1, n)));
    let rejected = bench.queue.submit(read(900, 1, 99)).unwrap_err();
    assert_eq!((rejected.reason, rejected.request.cookie), (SubmitError::Full, 99));
    assert_eq!((bench.queue.in_flight(), bench.queue.waiting()), (2, 14));
    bench.complete(0, Ok(()));
    assert_eq!((bench.queue.in_flight(), bench.queue.waiting()), (2, 13), "the backlog moves up");
    bench.queue.submit(rejected.request).unwrap();
}

#[test]
fn refusals_name_what_is_wrong() {
    let mut bench = Bench::new(2, |limits| limits.max_discard_blocks = 0);
    let mut refused = |request| bench.queue.submit(request).unwrap_err().error().unwrap();
    assert_eq!(refused(read(9_999, 2, 0)), BlockError::OutOfRange);
    assert_eq!(refused(Request { lba: u64::MAX, ..read(0, 1, 0) }), BlockError::OutOfRange);
    assert_eq!(refused(Request { blocks: 0, ..read(0, 1, 0) }), BlockError::Invalid);
    assert_eq!(refused(Request { blocks: 2, ..read(0, 1, 0) }), BlockError::Invalid);
    assert_eq!(refused(Request::range(Operation::Discard, DISK, 0, 1, 0)), BlockError::Unsupported);
    assert_eq!(refused(Request { disk: DiskId(9), ..read(0, 1, 0) }), BlockError::Gone);
    let mut bench = Bench::new(2, |limits| {
        limits.read_only = true;
        limits.max_write_zeroes_blocks = 0;
    });
    let mut refused = |request| bench.queue.submit(request).unwrap_err().error().unwrap();
    assert_eq!(refused(write(0, 1, 0)), BlockError::ReadOnly);
    assert_eq!(refused(Request::range(Operation::WriteZeroes, DISK, 0, 1, 0)), BlockError::ReadOnly);
    assert_eq!(refused(Request::range(Operation::Discard, DISK, 0, 1, 0)), BlockError::ReadOnly);
}

#[test]
fn fua_is_passed_on_or_made_of_a_flush_or_already_true() {
    for (cache, first) in [
        (WriteCache::Volatile { fua: true }, true),
        (WriteCache::Volatile { fua: false }, false),
        (WriteCache::None, false),
    ] {
        let mut bench = Bench::new(4, |limits| limits.write_cache = cache);
        bench.submit([write(0, 1, 7).with_fua()]);
        assert_eq!(bench.seen().first().map(|seen| seen.fua), Some(first), "{cache:?}");
        bench.complete(0, Ok(()));
        if cache == (WriteCache::Volatile { fua: false }) {
            assert_eq!(bench.answers(), [], "not before the flush");
            let flush = bench.seen();
            assert_eq!(flush[0].operation, Operation::Flush);
            bench.complete(flush[0].tag, Ok(()));
        }
        assert_eq!(bench.answers(), [(7, Ok(()))], "{cache:?}");
        assert!(bench.seen().is_empty());
    }
}

#[test]
fn a_failed_write_with_fua_is_not_flushed() {
    let mut bench = Bench::new(4, |limits| limits.write_cache = WriteCache::Volatile { fua: false });
    bench.submit([write(0, 1, 7).with_fua()]);
    bench.complete(0, Err(BlockError::Medium));
    assert_eq!(bench.answers(), [(7, Err(BlockError::Medium))]);
    assert_eq!(bench.operations(), [Operation::Write]);
}

#[test]
fn flushes_run_one_at_a_time_and_later_ones_share_the_next() {
    let mut bench = Bench::new(8, |_| ());
    bench.submit([Request::flush(DISK, 0)]);
    bench.submit([Request::flush(DISK, 1)]);
    bench.submit([Request::flush(DISK, 2)]);
    assert_eq!(bench.operations(), [Operation::Flush], "one runs");
    // It began before the others were submitted: it does not cover them.
    bench.complete(0, Ok(()));
    assert_eq!(bench.answers(), [(0, Ok(()))]);
    let next = bench.seen();
    assert_eq!(next.len(), 1);
    bench.complete(next[0].tag, Err(BlockError::Medium));
    assert_eq!(bench.answers(), [(1, Err(BlockError::Medium)), (2, Err(BlockError::Medium))]);
    assert_eq!(bench.queue.statistics().of(Operation::Flush).merges, 1);
    let mut bench = Bench::new(8, |limits| limits.write_cache = WriteCache::None);
    bench.submit([Request::flush(DISK, 3)]);
    assert_eq!((bench.answers(), bench.seen().len()), (vec![(3, Ok(()))], 0));
}

#[test]
fn discards_share_a_command_and_long_ones_are_split() {
    let mut bench = Bench::new(8, |limits| {
        limits.max_discard_blocks = 10;
        limits.max_discard_ranges = 2;
    });
    let discard = |lba, blocks, cookie| Request::range(Operation::Discard, DISK, lba, blocks, cookie);
    bench.submit([discard(0, 5, 0), discard(100, 5, 1), discard(200, 25, 2)]);
    let ranges: Vec<_> = bench.seen().into_iter().map(|seen| seen.ranges).collect();
    assert_eq!(ranges, [vec![(0, 5), (100, 5)], vec![(200, 10), (210, 10)], vec![(220, 5)]]);
    bench.complete(2, Ok(()));
    assert_eq!(bench.answers(), [], "half of it is missing");
    bench.complete(1, Ok(()));
    assert_eq!(bench.answers(), [(2, Ok(()))]);
}

#[test]
fn one_bad_request_does_not_fail_those_that_shared_its_command() {
    let mut bench = Bench::new(8, |_| ());
    bench.submit([read(0, 8, 0), read(8, 8, 1)]);
    assert_eq!(bench.seen().len(), 1);
    bench.complete(0, Err(BlockError::Medium));
    let alone = bench.seen();
    assert_eq!(alone.len(), 2, "each by itself");
    bench.complete(alone[0].tag, Err(BlockError::Medium));
    bench.complete(alone[1].tag, Ok(()));
    assert_eq!(bench.answers(), [(0, Err(BlockError::Medium)), (1, Ok(()))]);
}

#[test]
fn retries_are_bounded_and_wait_longer_each_time() {
    let mut bench = Bench::new(8, |_| ());
    bench.submit([read(0, 8, 0)]);
    bench.complete(0, Err(BlockError::Transient));
    assert_eq!(bench.seen().len(), 1, "not at once");
    assert_eq!(bench.queue.next_due(), Some(bench.now.plus(Duration::from_millis(10))));
    bench.advance(1);
    assert_eq!(bench.answers(), []);
    assert_eq!(bench.seen().len(), 1);
    bench.complete(0, Err(BlockError::Transient));
    assert_eq!(bench.queue.next_due(), Some(bench.now.plus(Duration::from_millis(20))));
    bench.advance(1);
    assert_eq!(bench.answers(), []);
    bench.complete(0, Err(BlockError::Transient));
    assert_eq!(bench.answers(), [(0, Err(BlockError::Transient))]);
    assert_eq!(bench.queue.statistics().of(Operation::Read).retries, 2);
}

#[test]
fn what_takes_too_long_is_aborted_then_the_device_is_reset_then_it_fails() {
    let mut bench = Bench::new(8, |_| ());
    bench.submit([read(0, 1, 0)]);
    bench.advance(5);
    bench.submit([read(10, 1, 1)]);
    assert_eq!(bench.queue.expired(bench.now), None);
    bench.advance(5);
    assert_eq!(bench.queue.expired(bench.now), Some(Expired::Abort { tag: 0, handle: 100 }));
    assert_eq!(bench.queue.expired(bench.now), None, "once, and not the younger one");
    bench.advance(2);
    assert_eq!(bench.queue.expired(bench.now), Some(Expired::Reset));
    assert_eq!(bench.queue.expired(bench.now), None, "once");
    for _ in 0..2 {
        bench.seen();
        let hardware = bench.queue.take_hardware().unwrap();
        assert_eq!(bench.queue.next_due(), None, "nothing to be done meanwhile");
        bench.queue.submit(read(20, 1, 2)).unwrap();
        bench.queue.kick(bench.now);
        assert_eq!(bench.answers(), []);
        bench.queue.put_hardware(hardware, bench.now);
        assert!(bench.seen().len() >= 2, "submitted again");
    }
    let hardware = bench.queue.take_hardware().unwrap();
    bench.queue.put_hardware(hardware, bench.now);
    let answers = bench.answers();
    assert!(answers.contains(&(0, Err(BlockError::TimedOut))), "{answers:?}");
    assert!(answers.contains(&(1, Err(BlockError::TimedOut))), "{answers:?}");
    // Late completions of before the reset name tags that are no longer theirs.
    bench.complete(7, Ok(()));
    assert_eq!(bench.queue.statistics().stray, 1);
}

#[test]
fn an_abort_that_works_leads_to_another_try() {
    let mut bench = Bench::new(8, |_| ());
    bench.submit([read(0, 1, 0)]);
    bench.advance(10);
    assert!(matches!(bench.queue.expired(bench.now), Some(Expired::Abort { .. })));
    bench.complete(0, Err(BlockError::Aborted));
    assert_eq!(bench.seen().len(), 2, "at once");
    bench.complete(0, Ok(()));
    assert_eq!(bench.answers(), [(0, Ok(()))]);
}

#[test]
fn giving_up_answers_everything_once() {
    let mut bench = Bench::new(2, |limits| limits.max_transfer = 512);
    bench.submit([read(0, 5, 0), Request::flush(DISK, 1), write(50, 1, 2), read(60, 1, 3)]);
    bench.queue.submit(read(70, 1, 4)).unwrap();
    assert!(bench.queue.fail_all(BlockError::Gone).is_some());
    let mut answers = bench.answers();
    answers.sort_by_key(|(cookie, _)| *cookie);
    assert_eq!(answers, (0..5).map(|n| (n, Err(BlockError::Gone))).collect::<Vec<_>>());
    assert!(bench.queue.is_idle());
    assert_eq!(bench.queue.submit(read(0, 1, 5)).unwrap_err().error(), Some(BlockError::Gone));
}

#[test]
fn a_shrinking_or_vanishing_disk_answers_what_no_longer_fits() {
    let mut bench = Bench::new(1, |_| ());
    bench.submit([read(0, 1, 0), read(500, 1, 1), read(5_000, 1, 2), read(9_000, 1, 3)]);
    bench.queue.set_disk(&Disk { ..plain_disk(1, 1_000) }).unwrap();
    assert_eq!(bench.answers(), [(2, Err(BlockError::OutOfRange)), (3, Err(BlockError::OutOfRange))]);
    bench.queue.remove_disk(DISK);
    assert_eq!(bench.answers(), [(1, Err(BlockError::Gone))]);
    bench.complete(0, Ok(()));
    assert_eq!(bench.answers(), [(0, Ok(()))], "the device had it already");
}

#[test]
fn hardware_that_stays_full_without_commands_is_an_error_in_the_end() {
    let mut bench = Bench::new(4, |_| ());
    bench.script.lock().unwrap().full = true;
    bench.submit([read(0, 1, 0)]);
    for _ in 0..2 {
        assert_eq!(bench.answers(), []);
        bench.advance(1);
    }
    assert_eq!(bench.answers(), [(0, Err(BlockError::Transient))]);
}

#[test]
fn limits_that_contradict_themselves_are_refused() {
    let mut bench = Bench::new(4, |_| ());
    let mut refused = |change: fn(&mut Disk)| {
        let mut disk = plain_disk(2, 10);
        change(&mut disk);
        bench.queue.set_disk(&disk).unwrap_err().to_string()
    };
    assert_eq!(refused(|disk| disk.limits.block_size = 520), "disk 2: logical block size 520 is not usable");
    assert_eq!(refused(|disk| disk.limits.max_transfer = 511), "disk 2: largest transfer 511 is not usable");
    assert_eq!(refused(|disk| disk.limits.max_segments = 0), "disk 2: number of segments 0 is not usable");
    assert_eq!(refused(|disk| disk.limits.segment_boundary = 3), "disk 2: segment boundary 3 is not usable");
    assert_eq!(
        refused(|disk| disk.blocks = u64::MAX),
        "disk 2: capacity in blocks 18446744073709551615 is not usable"
    );
}

#[test]
fn a_disk_that_hangs_leaves_the_others_their_tags() {
    let mut bench = Bench::new(4, |limits| limits.max_commands = 2);
    let other = Disk { id: DiskId(2), ..plain_disk(2, 10_000) };
    bench.queue.set_disk(&other).unwrap();
    let on_other = |lba, cookie| Request { disk: DiskId(2), ..read(lba, 1, cookie) };
    bench.submit((0..6).map(|n| read(n * 10, 1, n)).chain((6..10).map(|n| on_other(n * 10, n))));
    let lbas = |bench: &Bench| bench.seen().iter().map(|seen| seen.ranges[0].0).collect::<Vec<_>>();
    assert_eq!(lbas(&bench), [0, 10, 60, 70], "two of the first disk, then the other's");
    // The first disk does not answer; the other goes on, with as many tags as are left.
    bench.complete(2, Ok(()));
    bench.complete(3, Ok(()));
    assert_eq!(lbas(&bench), [80, 90]);
    assert_eq!(bench.queue.waiting(), 4);
    bench.complete(2, Ok(()));
    bench.complete(3, Ok(()));
    assert_eq!(lbas(&bench), []);
    // It answers: what waited follows in its order, a flush as well.
    bench.submit([Request::flush(DISK, 20)]);
    assert_eq!(bench.operations(), []);
    bench.complete(0, Ok(()));
    bench.complete(1, Ok(()));
    assert_eq!(bench.operations(), [Operation::Flush, Operation::Read]);
    for tag in [0, 1, 0, 1, 0, 1] {
        bench.complete(tag, Ok(()));
    }
    assert_eq!(lbas(&bench), [30, 40, 50]);
    assert_eq!((bench.answers().len(), bench.queue.waiting(), bench.queue.in_flight()), (11, 0, 0));
}

#[test]
fn what_was_put_aside_is_answered_when_its_disk_goes() {
    let mut bench = Bench::new(4, |limits| limits.max_commands = 1);
    bench.submit((0..3).map(|n| read(n * 10, 1, n)));
    bench.queue.remove_disk(DISK);
    assert_eq!(bench.answers(), [(1, Err(BlockError::Gone)), (2, Err(BlockError::Gone))]);
    bench.complete(0, Ok(()));
    assert_eq!(bench.answers(), [(0, Ok(()))]);
    // It comes back, and has all of its share.
    let disk = plain_disk(1, 10_000);
    bench
        .queue
        .set_disk(&Disk { limits: Limits { max_commands: 1, ..disk.limits.clone() }, ..disk })
        .unwrap();
    bench.submit([read(0, 1, 7)]);
    assert_eq!(bench.queue.in_flight(), 1);
    drop(bench.queue.fail_all(BlockError::Gone));
    assert_eq!(bench.answers(), [(7, Err(BlockError::Gone))]);
}

#[test]
fn a_queue_that_ends_its_commands_itself_is_asked_before_the_controller() {
    let mut bench = Bench::new(4, |_| ());
    bench.script.lock().unwrap().ends_commands = true;
    bench.submit([read(0, 1, 0), read(10, 1, 1)]);
    bench.advance(11);
    assert_eq!(bench.queue.expired(bench.now), None);
    assert_eq!(bench.script.lock().unwrap().aborted, [0, 1]);
    bench.complete(0, Ok(()));
    assert_eq!(bench.answers(), [(0, Ok(()))]);
    // The other does not end after all.
    bench.advance(3);
    assert_eq!(bench.queue.expired(bench.now), Some(Expired::Reset));
}

#[test]
fn hardware_is_looked_at_when_it_wants_to_be() {
    let mut bench = Bench::new(4, |_| ());
    assert_eq!(bench.queue.next_due(), None);
    let soon = bench.now.plus(Duration::from_millis(3));
    bench.script.lock().unwrap().due = Some(soon);
    assert_eq!(bench.queue.next_due(), Some(soon));
    bench.queue.interrupted();
    assert_eq!(bench.script.lock().unwrap().interrupts, 1);
    assert!(!bench.queue.attention());
}
