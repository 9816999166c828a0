//! A storage driver that is asked for anything while its device lies.

use std::{
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::Duration,
};

use driver_block::{Command, Completed, Controller, Disk, HardwareQueue, LbaRange, Operation, SubmitError};
use redox_driver_sys::{
    dma::{DmaAllocator, DmaBuffer, Segment},
    model::Host,
};

use crate::input::Input;

/// Data buffer of each tag.
const BUFFER: usize = 64 << 10;
/// Bounds of the virtual time that a step may take: what the specification lets a device take for becoming ready (NVMe's CAP.TO,
/// 127.5 s) a few times, and a deadline for each of the commands that a step sends.
pub(crate) const LONGEST_STEP: Duration = Duration::from_secs(1200);
const LONGEST_SHUTDOWN: Duration = Duration::from_secs(400);
const MOST_STEPS: usize = 256;

/// What happened to a device from outside.
pub(crate) enum Disturbance {
    /// Something that it may do.
    Proper,
    /// Something that the driver must survive.
    Improper,
    /// It was pulled out, or plugged in again.
    Connected(bool),
}

/// A controller with its queues, in the hands of a script.
pub(crate) struct Driven<C: Controller, F> {
    // The controller goes before the memory that it was lent.
    controller: C,
    queues: Vec<Owned<C::Queue>>,
    host: Host,
    /// Does something to the device.
    disturb: F,
    tampered: Arc<AtomicBool>,
    /// What is pulled out hears of nothing, and does no DMA.
    connected: bool,
}

/// A queue, which of its tags are in flight, and their memory.
struct Owned<Q> {
    queue: Q,
    in_flight: Vec<bool>,
    buffer: DmaBuffer,
}

impl<Q: HardwareQueue> Owned<Q> {
    fn new(queue: Q, dma: &DmaAllocator) -> Option<Self> {
        let tags = usize::from(queue.depth());
        let buffer = dma.allocate(tags * BUFFER).ok()?;
        Some(Owned { queue, in_flight: vec![false; tags], buffer })
    }
}

impl<C: Controller, F: FnMut(&mut C, &Input) -> Disturbance> Driven<C, F> {
    pub(crate) fn new(
        host: Host,
        mut controller: C,
        dma: &DmaAllocator,
        disturb: F,
        tampered: Arc<AtomicBool>,
    ) -> Self {
        let queues = controller.take_queues();
        let queues = queues.into_iter().filter_map(|queue| Owned::new(queue, dma)).collect();
        Driven { controller, queues, host, disturb, tampered, connected: true }
    }

    /// Returns whether the controller is still plugged in.
    pub(crate) fn run(mut self, script: &Input) -> bool {
        for _ in 0..MOST_STEPS {
            if script.is_empty() {
                break;
            }
            let start = self.host.now();
            if !self.step(script) {
                return self.connected;
            }
            assert!(self.host.now().since(start) < LONGEST_STEP, "{:?}", self.host.now().since(start));
        }
        let start = self.host.now();
        let queues = self.queues.drain(..);
        let (queues, buffers): (Vec<_>, Vec<_>) = queues.map(|owned| (owned.queue, owned.buffer)).unzip();
        let ended = self.controller.shutdown(queues);
        let took = self.host.now().since(start);
        assert!(took < LONGEST_SHUTDOWN, "shutting down took {took:?}");
        assert!(ended.is_ok() || self.tampered.load(Ordering::Relaxed), "{ended:?}");
        assert!(!self.may_do_dma(), "bus mastering is on after the end");
        drop(buffers);
        self.connected
    }

    fn may_do_dma(&self) -> bool {
        self.connected && self.host.bus_master()
    }

    /// Does one step; false when the controller is lost.
    fn step(&mut self, script: &Input) -> bool {
        match script.byte() % 16 {
            0..=4 => self.submit(script),
            5 => self.each(|owned| owned.queue.commit()),
            6 | 7 => self.reap(true),
            8 => {
                let mut events = Vec::new();
                let _ = self.controller.poll(self.host.now(), &mut events);
            }
            9 => self.abort(script),
            10 => return self.reset(),
            11 => drop(self.controller.inspect()),
            12 => self.host.advance(Duration::from_micros(u64::from(script.word()) * 16)),
            13 => {
                self.each(|owned| owned.queue.commit());
                self.host.advance(Duration::from_millis(1));
                self.reap(true);
            }
            14 => self.disturb(script),
            _ => {
                // Only what is due.
                self.host.advance(Duration::from_millis(script.byte().into()));
                self.reap(false);
                for disk in self.controller.disks() {
                    let limits = &disk.limits;
                    assert!(
                        disk.blocks > 0 && limits.block_size.is_power_of_two() && limits.max_transfer > 0
                    );
                    assert!(limits.max_transfer.is_multiple_of(limits.block_size), "{limits:?}");
                }
            }
        }
        true
    }

    fn each(&mut self, work: impl FnMut(&mut Owned<C::Queue>)) {
        self.queues.iter_mut().for_each(work);
    }

    fn submit(&mut self, script: &Input) {
        let disks = self.controller.disks();
        let disk = disks.get(script.below(disks.len()));
        let at = script.below(self.queues.len());
        let (Some(disk), Some(owned)) = (disk, self.queues.get_mut(at)) else { return };
        let tag = script.below(owned.in_flight.len());
        if owned.in_flight.get(tag) != Some(&false) {
            return;
        }
        let operation = match script.byte() % 8 {
            0..=2 => Operation::Read,
            3 | 4 => Operation::Write,
            5 => Operation::Flush,
            6 => Operation::Discard,
            _ => Operation::WriteZeroes,
        };
        if let Some(submitted) = submit(owned, disk, operation, tag, script) {
            // A queue may be full of others' segments, or take nothing because its device broke it.
            let others = owned.in_flight.iter().any(|&in_flight| in_flight);
            let excused = others || self.tampered.load(Ordering::Relaxed);
            assert!(submitted != Err(SubmitError::Full) || excused, "an empty queue has room");
            owned.in_flight[tag] = submitted.is_ok();
        }
    }

    fn reap(&mut self, interrupted: bool) {
        for owned in &mut self.queues {
            if interrupted {
                owned.queue.interrupted();
            }
            let mut completed: Vec<Completed> = Vec::new();
            let _ = owned.queue.reap(&mut completed);
            let _ = (owned.queue.due(), owned.queue.attention());
            for Completed { tag, .. } in completed {
                let in_flight = owned.in_flight.get_mut(usize::from(tag));
                assert_eq!(in_flight.as_deref(), Some(&true), "tag {tag} completed and was not in flight");
                owned.in_flight[usize::from(tag)] = false;
            }
        }
    }

    fn abort(&mut self, script: &Input) {
        let at = script.below(self.queues.len());
        if let Some(owned) = self.queues.get_mut(at) {
            let tag = u16::try_from(script.below(owned.in_flight.len())).unwrap_or(0);
            if !owned.queue.abort(tag) {
                let handle = owned.queue.abort_handle(tag);
                let _ = self.controller.abort(u16::try_from(at).unwrap_or(0), handle);
            }
        }
    }

    fn reset(&mut self) -> bool {
        let (queues, buffers): (Vec<_>, Vec<_>) =
            self.queues.drain(..).map(|owned| (owned.queue, owned.buffer)).unzip();
        match self.controller.reset(queues) {
            Ok(queues) => {
                self.queues = (queues.into_iter().zip(buffers))
                    .map(|(queue, buffer)| {
                        let in_flight = vec![false; usize::from(queue.depth())];
                        Owned { queue, in_flight, buffer }
                    })
                    .collect();
                true
            }
            Err(error) => {
                assert!(self.tampered.load(Ordering::Relaxed), "a proper controller was lost: {error}");
                assert!(!self.may_do_dma(), "a controller that was given up may still do DMA");
                false
            }
        }
    }

    /// Something happens to the device from outside.
    fn disturb(&mut self, script: &Input) {
        match (self.disturb)(&mut self.controller, script) {
            Disturbance::Proper => return,
            Disturbance::Improper => {}
            Disturbance::Connected(connected) => {
                self.connected = connected;
                self.host.set_connected(connected);
            }
        }
        self.tampered.store(true, Ordering::Relaxed);
    }
}

/// Submits a command that keeps the disk's limits, as the block layer does; `None` if there is none.
fn submit(
    owned: &mut Owned<impl HardwareQueue>,
    disk: &Disk,
    operation: Operation,
    tag: usize,
    script: &Input,
) -> Option<Result<(), SubmitError>> {
    let limits = &disk.limits;
    if limits.read_only && !matches!(operation, Operation::Read | Operation::Flush) {
        return None;
    }
    let most_bytes = match operation {
        Operation::Read | Operation::Write => limits.max_transfer.min(u32::try_from(BUFFER).ok()?),
        Operation::Flush => 0,
        Operation::Discard if limits.max_discard_blocks > 0 => 1 << 20,
        Operation::WriteZeroes if limits.max_write_zeroes_blocks > 0 => {
            limits.max_write_zeroes_blocks.saturating_mul(limits.block_size)
        }
        _ => return None,
    };
    let most = u64::from(most_bytes / limits.block_size).min(disk.blocks);
    let blocks = u32::try_from(u64::from(script.word()) % most.max(1)).ok()? + 1;
    let lba = u64::from(script.word()) % (disk.blocks - u64::from(blocks).min(disk.blocks) + 1);
    let range = [LbaRange { lba, blocks }];
    let len = blocks.checked_mul(limits.block_size)?;
    let transfer = matches!(operation, Operation::Read | Operation::Write);
    let segments = if transfer { segments(owned, tag, len, limits.max_segments)? } else { Vec::new() };
    let ranges = if operation == Operation::Flush { &[][..] } else { &range[..] };
    let fua = operation == Operation::Write && script.byte().is_multiple_of(4);
    let command = Command { operation, disk: disk.id, fua, ranges, segments: &segments };
    Some(owned.queue.submit(u16::try_from(tag).ok()?, &command))
}

/// The tag's buffer from its start, in pieces of a page.
fn segments<Q>(owned: &Owned<Q>, tag: usize, len: u32, most: u16) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    let mut done = 0;
    while done < len {
        let part = (len - done).min(if segments.is_empty() || most > 16 { 4096 } else { len });
        segments.push(owned.buffer.segment(tag * BUFFER + done as usize, part).ok()?);
        done += part;
    }
    Some(segments)
}
