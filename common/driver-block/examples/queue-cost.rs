//! What the software queue costs per request: 4 KiB reads through a queue whose hardware does nothing.
//!
//! `queue-cost [REQUESTS] [DEPTH]` prints nanoseconds per request. For instructions, run it under
//! `valgrind --tool=none` replaced by `--tool=callgrind`, or `perf stat`, with two numbers of requests and divide the
//! difference.

use std::time::Instant;

use driver_block::{
    DiskId, Operation, Queue, QueueOptions, Request, Segments,
    testing::{NullQueue, plain_disk},
};
use redox_driver_sys::{
    dma::{DmaAddr, Segment},
    time::Time,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let requests: u64 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let depth: u16 = arguments.next().map_or(Ok(32), |text| text.parse())?;
    let options = QueueOptions::new(u32::from(depth) * 2, std::time::Duration::from_secs(30));
    let mut queue = Queue::new(NullQueue::new(depth), options);
    queue.set_disk(&plain_disk(1, 1 << 30))?;
    let mut answers = Vec::with_capacity(usize::from(depth));
    let now = Time::from_nanos(1);
    let start = Instant::now();
    let (mut submitted, mut answered) = (0, 0);
    while answered < requests {
        while submitted < requests && queue.outstanding() < u32::from(depth) {
            // Never adjacent to the one before.
            let lba = submitted.wrapping_mul(0x9e37_79b9) % (1 << 26) * 16;
            let segments: Segments =
                [Segment { addr: DmaAddr::new(0x10_0000), len: 4096 }].into_iter().collect();
            queue.submit(Request::transfer(Operation::Read, DiskId(1), lba, 8, segments, submitted))?;
            submitted += 1;
        }
        queue.kick(now);
        queue.poll(now, &mut answers)?;
        answered += answers.drain(..).filter(|answer| answer.result.is_ok()).count() as u64;
    }
    let nanoseconds = start.elapsed().as_nanos() as f64 / requests as f64;
    println!("{nanoseconds:.1} ns per request, {} commits", queue.statistics().commits);
    Ok(())
}
