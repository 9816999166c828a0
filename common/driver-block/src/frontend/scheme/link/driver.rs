//! The driver's side of a lane: the front end of its queue.

use std::{io, os::fd::AsFd, time::Duration};

use redox_driver_sys::{dma::DmaPages, event::EventQueue, irq::Interrupt, time::Clock};

use super::{
    DriverEnds, Lane,
    entry::{Answer, Entry},
    lane::{Alarm, Bell},
};
use crate::{
    device::{Disk, DiskId, HardwareQueue, Operation},
    error::BlockError,
    frontend::{QueueFrontend, Ready},
    queue::Queue,
    request::{Completion, Request},
    waker::Waker,
};

const PIECES: u64 = 0;
const MESSAGE: u64 = 1;
const INTERRUPT: u64 = 2;
/// How often a queue that always has something to do, or is polled, goes on without asking for messages.
const MOST_SKIPPED: u32 = 32;

/// What a queue's thread makes its [`LinkQueue`] of.
pub(in super::super) struct LinkSeed {
    lane: Lane<Answer, Entry>,
    alarm: Alarm,
    server: Bell,
    data: DmaPages,
    clock: Clock,
}

impl DriverEnds {
    /// The seeds of the first `count` queues.
    ///
    /// # Errors
    /// There are not as many lanes, or too many descriptors.
    pub(in super::super) fn seeds(
        &mut self,
        count: usize,
        data: &DmaPages,
        clock: &Clock,
    ) -> io::Result<Vec<LinkSeed>> {
        if count > self.lanes.len() {
            return Err(io::Error::other(format!("{count} queues, but {} lanes", self.lanes.len())));
        }
        let lanes: Vec<_> = self.lanes.drain(..count).collect();
        lanes
            .into_iter()
            .map(|(lane, alarm)| {
                Ok(LinkSeed { lane, alarm, server: self.bell()?, data: data.clone(), clock: clock.clone() })
            })
            .collect()
    }
}

impl LinkSeed {
    /// The front end, to be used on the calling thread only.
    ///
    /// # Errors
    /// What the OS answers.
    pub(in super::super) fn grow(self) -> io::Result<LinkQueue> {
        let LinkSeed { lane, alarm, server, data, clock } = self;
        let events = EventQueue::new(&clock).map_err(io::Error::other)?;
        Ok(LinkQueue {
            lane,
            alarm,
            server,
            data,
            events,
            refused: None,
            ready: Vec::new(),
            skipped: 0,
            stopping: false,
            broken: false,
        })
    }
}

/// The front end of a queue whose clients are pieces in a lane.
pub(in super::super) struct LinkQueue {
    lane: Lane<Answer, Entry>,
    alarm: Alarm,
    server: Bell,
    data: DmaPages,
    events: EventQueue,
    /// Was taken out of the lane while the queue was full.
    refused: Option<Request>,
    ready: Vec<u64>,
    skipped: u32,
    stopping: bool,
    broken: bool,
}

impl LinkQueue {
    /// # Errors
    /// The piece makes no sense.
    fn request(&self, entry: &Entry) -> Result<Request, BlockError> {
        let operation = entry.operation().ok_or(BlockError::Invalid)?;
        let (disk, blocks, cookie) = (DiskId(entry.disk), u64::from(entry.blocks), u64::from(entry.id));
        Ok(match operation {
            Operation::Flush => Request::flush(disk, cookie),
            Operation::Discard | Operation::WriteZeroes => {
                Request::range(operation, disk, entry.lba, blocks, cookie)
            }
            Operation::Read | Operation::Write => {
                let segments = self.data.segments(entry.offset as usize, entry.len);
                let segments = segments.map_err(|_| BlockError::Invalid)?.collect();
                Request::transfer(operation, disk, entry.lba, blocks, segments, cookie)
            }
        })
    }

    fn push(&mut self, id: u32, result: Result<(), BlockError>) {
        // The server never has more pieces outstanding than there is room for their answers.
        self.broken |= self.lane.out.push(Answer::new(id, result)).is_err();
    }

    /// Gives a request to the queue; `false` when it is full.
    fn give<H: HardwareQueue>(&mut self, request: Request, queue: &mut Queue<H>) -> bool {
        #[allow(clippy::cast_possible_truncation, reason = "it was an id")]
        let id = request.cookie as u32;
        if let Err(rejected) = queue.submit(request) {
            match rejected.error() {
                Some(error) => self.push(id, Err(error)),
                None => {
                    self.refused = Some(rejected.request);
                    return false;
                }
            }
        }
        true
    }
}

impl QueueFrontend for LinkQueue {
    fn watch(&mut self, interrupt: Option<&Interrupt>, waker: &Waker) -> io::Result<()> {
        self.events.clear();
        self.events.add_fd(self.alarm.as_fd(), PIECES).map_err(io::Error::other)?;
        self.events.add_fd(waker.as_fd(), MESSAGE).map_err(io::Error::other)?;
        match interrupt {
            Some(interrupt) => self.events.add_interrupt(interrupt, INTERRUPT).map_err(io::Error::other),
            None => Ok(()),
        }
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<Ready> {
        if self.broken {
            return Err(io::Error::other("the server's end of the lane has gone wrong"));
        }
        if self.lane.out.show() {
            self.server.ring();
        }
        // Pieces that cannot be taken, because the queue is full or ends, wake nobody.
        let takes = self.refused.is_none() && !self.stopping;
        let asleep = takes && !timeout.is_zero() && self.lane.into.sleep();
        let waits = asleep || !takes && !timeout.is_zero();
        if !waits && self.skipped < MOST_SKIPPED {
            self.skipped += 1;
            return Ok(Ready::default());
        }
        self.skipped = 0;
        self.ready.clear();
        let waited = self.events.wait(if waits { timeout } else { Duration::ZERO }, &mut self.ready);
        if asleep {
            self.lane.into.wake();
        }
        waited.map_err(io::Error::other)?;
        if self.ready.contains(&PIECES) {
            self.alarm.heard();
        }
        Ok(Ready { interrupt: self.ready.contains(&INTERRUPT), message: self.ready.contains(&MESSAGE) })
    }

    fn submit<H: HardwareQueue>(&mut self, queue: &mut Queue<H>) {
        if let Some(request) = self.refused.take()
            && !self.give(request, queue)
        {
            return;
        }
        loop {
            let entry = match self.lane.into.pop::<Entry>() {
                Ok(Some(entry)) => entry,
                Ok(None) => return,
                Err(_) => {
                    self.broken = true;
                    return;
                }
            };
            match self.request(&entry) {
                Ok(request) => {
                    if !self.give(request, queue) {
                        break;
                    }
                }
                Err(error) => self.push(entry.id, Err(error)),
            }
        }
        self.lane.into.give_back();
    }

    fn answer(&mut self, answers: &[Completion]) {
        for answer in answers {
            #[allow(clippy::cast_possible_truncation, reason = "it was an id")]
            self.push(answer.cookie as u32, answer.result);
        }
    }

    // The server is told by the controller's thread.
    fn disk_changed(&mut self, _: &Disk) {}

    fn disk_removed(&mut self, _: DiskId) {}

    fn stop(&mut self) {
        self.stopping = true;
    }
}

impl Drop for LinkQueue {
    fn drop(&mut self) {
        // Answers that were given last.
        if self.lane.out.show() {
            self.server.ring();
        }
    }
}
