//! Once a queue and its disks are set up, a request allocates nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use driver_block::BlockError;
use driver_block::{
    Command, Completed, Disk, DiskId, HardwareQueue, Limits, Operation, Queue, QueueOptions, Request,
    Segments, SubmitError, WriteCache, testing::plain_disk,
};
use redox_driver_sys::{
    dma::{DmaAddr, Segment},
    irq::Interrupt,
    time::Time,
};

/// Hardware that fails every seventh command for now.
struct Flaky {
    pending: Vec<Completed>,
    count: u64,
}

impl HardwareQueue for Flaky {
    fn depth(&self) -> u16 {
        8
    }
    fn submit(&mut self, tag: u16, _: &Command<'_>) -> Result<(), SubmitError> {
        self.count += 1;
        let result = if self.count.is_multiple_of(7) { Err(BlockError::Aborted) } else { Ok(()) };
        self.pending.push(Completed { tag, result });
        Ok(())
    }
    fn commit(&mut self) {}
    fn reap(&mut self, completed: &mut Vec<Completed>) -> Result<(), BlockError> {
        completed.append(&mut self.pending);
        Ok(())
    }
    fn interrupt(&self) -> Option<&Interrupt> {
        None
    }
    fn abort_handle(&self, tag: u16) -> u32 {
        tag.into()
    }
}

fn segment(addr: u64, len: u32) -> Segment {
    Segment { addr: DmaAddr::new(addr), len }
}

fn requests(round: u64) -> impl Iterator<Item = Request> {
    let disk = DiskId(1);
    let transfer = move |operation, lba, blocks, list: [Segment; 2]| {
        let list: Segments = list.into_iter().filter(|segment| segment.len != 0).collect();
        Request::transfer(operation, disk, lba, blocks, list, round)
    };
    let none = segment(0, 0);
    let at = round * 64 % 4096;
    [
        // By itself; three that are merged; one that is split; one of two segments; and everything without memory.
        transfer(Operation::Read, at + 9000, 8, [segment(0x1000, 4096), none]),
        transfer(Operation::Write, at, 1, [segment(0x2000, 512), none]),
        transfer(Operation::Write, at + 1, 1, [segment(0x5000, 512), none]),
        transfer(Operation::Write, at + 2, 1, [segment(0x5200, 512), none]),
        transfer(Operation::Read, at + 100, 40, [segment(0x10_0000, 20480), none]),
        transfer(Operation::Read, at + 200, 2, [segment(0x1000, 512), segment(0x9000, 512)]),
        transfer(Operation::Write, at + 300, 1, [segment(0x1000, 512), none]).with_fua(),
        Request::range(Operation::Discard, disk, at + 400, 100, round),
        Request::range(Operation::Discard, disk, at + 600, 3, round),
        Request::range(Operation::WriteZeroes, disk, at + 700, 100, round),
        Request::flush(disk, round),
        Request::flush(disk, round),
    ]
    .into_iter()
}

#[test]
fn requests_do_not_allocate() {
    let limits = Limits {
        max_transfer: 8192,
        max_commands: u16::MAX,
        max_segments: 8,
        max_discard_blocks: 20,
        max_discard_ranges: 3,
        max_write_zeroes_blocks: 30,
        write_cache: WriteCache::Volatile { fua: false },
        ..plain_disk(1, 0).limits
    };
    let options = QueueOptions::new(32, Duration::from_secs(1));
    let mut queue = Queue::new(Flaky { pending: Vec::with_capacity(64), count: 0 }, options);
    queue.set_disk(&Disk { limits, ..plain_disk(1, 1 << 20) }).unwrap();
    let mut answers = Vec::with_capacity(64);
    let mut answered = 0;
    let measured = allocation_counter::measure(|| {
        for round in 0..1000 {
            for request in requests(round) {
                queue.submit(request).unwrap();
            }
            let now = Time::from_nanos(round + 1);
            queue.kick(now);
            while !queue.is_idle() {
                queue.poll(now, &mut answers).unwrap();
                assert!(queue.expired(now).is_none());
            }
            queue.poll(now, &mut answers).unwrap();
            answered += answers.drain(..).filter(|answer| answer.result.is_ok()).count();
        }
    });
    assert_eq!(answered, 12_000);
    let total = queue.statistics().total();
    assert!(total.merges >= 3000 && total.splits >= 3000 && total.retries > 1000, "{total:?}");
    assert_eq!(measured.count_total, 0);
}
