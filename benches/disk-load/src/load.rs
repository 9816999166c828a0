//! The load: a fixed number of operations, a fixed number of them in flight.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use driver_block::{
    Command, Completed, Completion, Disk, DiskId, HardwareQueue, LbaRange, Operation, Pause, Queue,
    QueueOptions, Request, Segments,
};
use redox_driver_sys::{
    dma::{DmaAllocator, Segment},
    event::EventQueue,
    mark,
    time::{Clock, Time},
};

/// Longest wait for an interrupt before the queue is looked at all the same.
const POLL: Duration = Duration::from_millis(100);
/// Looks at the queue between two looks at the clock.
const ROUNDS: u64 = 1 << 14;

/// What to do.
pub(crate) struct Job {
    pub(crate) operation: Operation,
    pub(crate) random: bool,
    pub(crate) size: u32,
    pub(crate) depth: u16,
    pub(crate) batch: u16,
    pub(crate) operations: u64,
    pub(crate) warmup: u64,
    pub(crate) label: u8,
    pub(crate) deadline: Duration,
}

/// The part of the path that is measured.
pub(crate) trait Path {
    type Queue: HardwareQueue;

    fn submit(&mut self, slot: u16, job: &Job, lba: u64, blocks: u32, segment: Segment)
    -> anyhow::Result<()>;
    fn commit(&mut self, clock: &Clock);
    fn interrupted(&mut self);
    /// Appends the slots whose operation has ended.
    fn reap(&mut self, free: &mut Vec<u16>) -> anyhow::Result<()>;
    fn hardware(&self) -> Option<&Self::Queue>;
    fn into_hardware(self) -> Vec<Self::Queue>;
}

/// The driver's queue alone.
pub(crate) struct Raw<Q> {
    queue: Q,
    disk: DiskId,
    completed: Vec<Completed>,
}

impl<Q: HardwareQueue> Raw<Q> {
    pub(crate) fn new(queue: Q, disk: &Disk) -> Self {
        let completed = Vec::with_capacity(usize::from(queue.depth()));
        Raw { queue, disk: disk.id, completed }
    }
}

impl<Q: HardwareQueue> Path for Raw<Q> {
    type Queue = Q;

    fn submit(
        &mut self,
        slot: u16,
        job: &Job,
        lba: u64,
        blocks: u32,
        segment: Segment,
    ) -> anyhow::Result<()> {
        let command = Command {
            operation: job.operation,
            disk: self.disk,
            fua: false,
            ranges: &[LbaRange { lba, blocks }],
            segments: &[segment],
        };
        Ok(self.queue.submit(slot, &command)?)
    }

    fn commit(&mut self, _clock: &Clock) {
        self.queue.commit();
    }

    fn interrupted(&mut self) {
        self.queue.interrupted();
    }

    fn reap(&mut self, free: &mut Vec<u16>) -> anyhow::Result<()> {
        self.queue.reap(&mut self.completed)?;
        if self.completed.is_empty() {
            return Ok(());
        }
        for completed in self.completed.drain(..) {
            completed.result?;
            free.push(completed.tag);
        }
        Ok(())
    }

    fn hardware(&self) -> Option<&Q> {
        Some(&self.queue)
    }

    fn into_hardware(self) -> Vec<Q> {
        vec![self.queue]
    }
}

/// The block layer over the driver's queue.
pub(crate) struct Layered<Q> {
    queue: Queue<Q>,
    disk: DiskId,
    answers: Vec<Completion>,
    /// As of the last commit: deadlines are seconds away, and a clock costs more than a look at the queue.
    now: Time,
}

impl<Q: HardwareQueue> Layered<Q> {
    pub(crate) fn new(hardware: Q, disk: &Disk, job: &Job) -> anyhow::Result<Self> {
        let mut queue =
            Queue::new(hardware, QueueOptions::new(u32::from(job.depth), Duration::from_secs(30)));
        queue.set_disk(disk)?;
        Ok(Layered {
            queue,
            disk: disk.id,
            answers: Vec::with_capacity(usize::from(job.depth)),
            now: Time::default(),
        })
    }
}

impl<Q: HardwareQueue> Path for Layered<Q> {
    type Queue = Q;

    fn submit(
        &mut self,
        slot: u16,
        job: &Job,
        lba: u64,
        blocks: u32,
        segment: Segment,
    ) -> anyhow::Result<()> {
        let segments = Segments::from_slice(&[segment]);
        let request = Request::transfer(job.operation, self.disk, lba, blocks.into(), segments, slot.into());
        Ok(self.queue.submit(request)?)
    }

    fn commit(&mut self, clock: &Clock) {
        self.now = clock.coarse();
        self.queue.kick(self.now);
    }

    fn interrupted(&mut self) {
        self.queue.interrupted();
    }

    fn reap(&mut self, free: &mut Vec<u16>) -> anyhow::Result<()> {
        self.queue.poll(self.now, &mut self.answers)?;
        if self.answers.is_empty() {
            return Ok(());
        }
        for answer in self.answers.drain(..) {
            answer.result?;
            free.push(u16::try_from(answer.cookie).unwrap_or(0));
        }
        Ok(())
    }

    fn hardware(&self) -> Option<&Q> {
        self.queue.hardware()
    }

    fn into_hardware(mut self) -> Vec<Q> {
        self.queue.take_hardware().into_iter().collect()
    }
}

/// Where the next operation goes: xorshift64, or one after the other.
struct Places {
    slots: u64,
    next: u64,
    random: bool,
}

impl Places {
    fn take(&mut self) -> u64 {
        if self.random {
            self.next ^= self.next << 13;
            self.next ^= self.next >> 7;
            self.next ^= self.next << 17;
            self.next % self.slots
        } else {
            self.next = (self.next + 1) % self.slots;
            self.next
        }
    }
}

/// What the measured part took.
pub(crate) struct Measured {
    pub(crate) elapsed: Duration,
    /// Looks at the queue that found nothing: waiting, not work, and as many as the device is slow.
    pub(crate) empty_polls: u64,
}

/// Runs the job and gives what it took and the queue back.
pub(crate) fn run<P: Path>(
    mut path: P,
    (clock, dma): (&Clock, &DmaAllocator),
    disk: &Disk,
    job: &Job,
) -> anyhow::Result<(Measured, Vec<P::Queue>)> {
    let buffer = dma.allocate(usize::from(job.depth) * job.size as usize)?;
    let segments: Vec<Segment> = (0..usize::from(job.depth))
        .map(|slot| buffer.segment(slot * job.size as usize, job.size))
        .collect::<Result<_, _>>()?;
    let blocks = job.size / disk.limits.block_size;
    let mut places = Places { slots: disk.blocks / u64::from(blocks), next: 0x9e37_79b9, random: job.random };
    ensure!(places.slots > 0, "the disk is smaller than one operation");
    let mut events = EventQueue::new(clock)?;
    let polled = match path.hardware().and_then(HardwareQueue::interrupt) {
        Some(interrupt) => {
            events.add_interrupt(interrupt, 0)?;
            false
        }
        None => true,
    };

    let mut free: Vec<u16> = (0..job.depth).rev().collect();
    let mut phase = |operations: u64| -> anyhow::Result<u64> {
        let deadline = Instant::now() + job.deadline;
        let (mut submitted, mut done, mut empty_polls) = (0, 0, 0);
        while done < operations {
            let in_flight = submitted - done;
            let room = (free.len() as u64).min(operations - submitted);
            if room >= u64::from(job.batch) || (room > 0 && in_flight == 0) {
                for _ in 0..room {
                    let Some(slot) = free.pop() else { break };
                    let lba = places.take() * u64::from(blocks);
                    path.submit(slot, job, lba, blocks, segments[usize::from(slot)])?;
                }
                submitted += room;
                path.commit(clock);
            }
            let before = free.len();
            if polled {
                empty_polls += poll(&mut path, &mut free, deadline)?;
            } else {
                sleep(&mut path, &mut events, &mut free, deadline)?;
            }
            done += (free.len() - before) as u64;
        }
        Ok(empty_polls)
    };
    phase(job.warmup).context("warm-up")?;
    mark::begin(job.label);
    let start = Instant::now();
    let empty_polls = phase(job.operations)?;
    let elapsed = start.elapsed();
    mark::end(job.label);
    Ok((Measured { elapsed, empty_polls }, path.into_hardware()))
}

/// Looks until something has ended, pausing as the runtime's thread of a polled queue does. Gives the looks that found
/// nothing.
fn poll<P: Path>(path: &mut P, free: &mut Vec<u16>, deadline: Instant) -> anyhow::Result<u64> {
    let before = free.len();
    let mut pause = Pause::new();
    let mut empty = 0;
    loop {
        path.reap(free)?;
        if free.len() != before {
            return Ok(empty);
        }
        empty += 1;
        ensure!(empty % ROUNDS != 0 || Instant::now() < deadline, "the device does not answer in time");
        pause.wait();
    }
}

/// Sleeps until the interrupt, and looks once.
fn sleep<P: Path>(
    path: &mut P,
    events: &mut EventQueue,
    free: &mut Vec<u16>,
    deadline: Instant,
) -> anyhow::Result<()> {
    let before = free.len();
    let mut ready = Vec::new();
    events.wait(POLL, &mut ready)?;
    if let Some(interrupt) = path.hardware().and_then(HardwareQueue::interrupt) {
        interrupt.take()?;
    }
    path.interrupted();
    path.reap(free)?;
    if let Some(interrupt) = path.hardware().and_then(HardwareQueue::interrupt) {
        interrupt.rearm()?;
    }
    ensure!(free.len() != before || Instant::now() < deadline, "the device does not answer in time");
    Ok(())
}
