//! The rings and pipes between one server and one driver.

use std::{
    io::{self, PipeReader, PipeWriter, Read, Write},
    os::fd::{AsFd, BorrowedFd},
};

use redox_driver_sys::{
    Result,
    dma::PAGE_SIZE,
    shared::{SharedArray, SharedMemory, SharedWord},
};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::entry::{Answer, Entry};
use crate::ring::{Consumer, Producer, Words};

/// Most pieces in a lane: a power of two.
pub(in super::super) const LANE_DEPTH: u32 = 256;

/// Where the words of the two rings are. Each has a cache line of its own.
const PIECES: usize = 0;
const ANSWERS: usize = 192;
const ENTRIES: usize = PAGE_SIZE;
const ANSWER_ENTRIES: usize = ENTRIES + LANE_DEPTH as usize * size_of::<Entry>();
const LEN: usize = ANSWER_ENTRIES + LANE_DEPTH as usize * size_of::<Answer>();

type ProducerOf<T> = Producer<SharedWord, SharedArray<T>>;
type ConsumerOf<T> = Consumer<SharedWord, SharedArray<T>>;

/// The two rings of a queue as one of their ends has them: what it sends, what it gets.
#[derive(Debug)]
pub(super) struct Lane<Out, In> {
    pub(super) out: ProducerOf<Out>,
    pub(super) into: ConsumerOf<In>,
}

/// A pipe that is written to for waking whoever waits for its other end. What is in it means nothing.
#[derive(Debug)]
pub(super) struct Bell(PipeWriter);

impl Bell {
    /// Wakes the other end, now or when it waits next.
    pub(super) fn ring(&self) {
        // Full: it has been woken often enough. Broken: nobody is there, which is noticed elsewhere.
        let _ = (&self.0).write(&[1]);
    }
}

/// The other end of a [`Bell`].
#[derive(Debug)]
pub(in super::super) struct Alarm {
    pipe: PipeReader,
    /// Times it was heard since the pipe was emptied.
    heard: u32,
}

impl Alarm {
    /// Redox tells of each ring by an event, so that what is in the pipe only has to stay below what fits: one ring for
    /// each lane and wait. Linux tells for as long as there is something.
    const EMPTY_EVERY: u32 = if cfg!(target_os = "redox") { 512 } else { 1 };

    fn new(pipe: PipeReader) -> Self {
        Alarm { pipe, heard: 0 }
    }

    /// Gets ready to be woken again.
    pub(in super::super) fn heard(&mut self) {
        self.heard += 1;
        if self.heard >= Self::EMPTY_EVERY {
            self.heard = 0;
            let mut rings = [0; 1024];
            while matches!((&self.pipe).read(&mut rings), Ok(len) if len == rings.len()) {}
        }
    }
}

impl AsFd for Alarm {
    /// Readable when it was rung.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// What the server has of all lanes.
#[derive(Debug)]
pub(in super::super) struct ServerEnds {
    pub(super) lanes: Vec<(Lane<Entry, Answer>, Bell)>,
    /// Readable when the driver has answered while the server slept.
    pub(in super::super) alarm: Alarm,
    /// Messages from the driver. At its end, the driver is dead.
    pub(in super::super) from_driver: PipeReader,
    /// Messages to the driver.
    pub(in super::super) to_driver: PipeWriter,
}

/// What the driver has of all lanes.
#[derive(Debug)]
pub(in super::super) struct DriverEnds {
    pub(super) lanes: Vec<(Lane<Answer, Entry>, Alarm)>,
    bell: PipeWriter,
    pub(in super::super) from_server: PipeReader,
    pub(in super::super) to_server: PipeWriter,
}

/// Makes `count` lanes, empty, and all that goes with them.
///
/// # Errors
/// What the OS answers: usually that there are too many descriptors.
pub(in super::super) fn ends(count: u16) -> io::Result<(ServerEnds, DriverEnds)> {
    let (alarm, bell) = pipe()?;
    let (from_driver, to_server) = pipe()?;
    let (from_server, to_driver) = pipe()?;
    let mut server = ServerEnds { lanes: Vec::new(), alarm: Alarm::new(alarm), from_driver, to_driver };
    let mut driver = DriverEnds { lanes: Vec::new(), bell, from_server, to_server };
    for _ in 0..count {
        let memory = SharedMemory::new(LEN).map_err(io::Error::other)?;
        let (woken, wakes) = pipe()?;
        let (here, there) = lane(&memory).map_err(io::Error::other)?;
        server.lanes.push((here, Bell(wakes)));
        driver.lanes.push((there, Alarm::new(woken)));
    }
    Ok((server, driver))
}

impl DriverEnds {
    /// A way of its own for a queue's thread to wake the server.
    pub(super) fn bell(&self) -> io::Result<Bell> {
        Ok(Bell(self.bell.try_clone()?))
    }
}

/// A pipe that nobody waits for when reading or writing.
fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    for end in [reader.as_fd(), writer.as_fd()] {
        fcntl_setfl(end, fcntl_getfl(end)? | OFlags::NONBLOCK)?;
    }
    Ok((reader, writer))
}

fn lane(memory: &SharedMemory) -> Result<(Lane<Entry, Answer>, Lane<Answer, Entry>)> {
    let words = |at: usize| {
        Ok::<_, redox_driver_sys::Error>(Words {
            tail: memory.word(at)?,
            head: memory.word(at + 64)?,
            asleep: memory.word(at + 128)?,
        })
    };
    let depth = LANE_DEPTH as usize;
    let entries = memory.array::<Entry>(ENTRIES, depth)?;
    let answers = memory.array::<Answer>(ANSWER_ENTRIES, depth)?;
    let here = Lane {
        out: Producer::new(words(PIECES)?, entries.clone(), LANE_DEPTH),
        into: Consumer::new(words(ANSWERS)?, answers.clone(), LANE_DEPTH),
    };
    let there = Lane {
        out: Producer::new(words(ANSWERS)?, answers, LANE_DEPTH),
        into: Consumer::new(words(PIECES)?, entries, LANE_DEPTH),
    };
    Ok((here, there))
}
