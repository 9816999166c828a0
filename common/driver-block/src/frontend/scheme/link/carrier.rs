//! The server's side of the lanes: what it has given to the driver, and what becomes of that when the driver dies.

use std::collections::VecDeque;

use redox_driver_sys::{
    scheme::{Errno, SchemeRequest},
    shared::SharedMemory,
    time::Time,
};

use super::{
    LANE_DEPTH, Lane, Pool, ServerEnds,
    entry::{Answer, Entry},
    lane::Bell,
    pool::Range,
};
use crate::{
    error::BlockError,
    frontend::scheme::carrier::{Carried, Carrier, Piece},
    ring::Broken,
};

/// How many drivers may die with a piece before the piece is to blame.
const MOST_DEATHS: u8 = 5;

/// A piece that was given to a driver and has not been answered.
#[derive(Debug)]
struct Recorded {
    piece: Piece,
    data: Option<Range>,
    /// Its place in the order of all pieces.
    serial: u64,
    /// When it was first given to a driver.
    since: Time,
    deaths: u8,
    /// Tells it from earlier pieces in the same place.
    sequence: u16,
}

/// A lane with its record.
#[derive(Debug)]
struct Served {
    lane: Lane<Entry, Answer>,
    bell: Bell,
    record: Vec<Option<Recorded>>,
    free: Vec<u16>,
}

/// What becomes of pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// They go to the driver, as soon as there is one.
    Serving,
    /// They fail.
    Refusing(BlockError),
}

/// Carries pieces through lanes to a driver that can die and be replaced at any time.
#[derive(Debug)]
pub(in super::super) struct LinkCarrier {
    data: SharedMemory,
    pool: Pool,
    most_queues: u16,
    /// None while there is no driver.
    lanes: Vec<Served>,
    /// What dead drivers left, in the order in which it was submitted. It goes to the next one before anything new.
    left: VecDeque<Recorded>,
    mode: Mode,
    /// Answered, but not by a driver.
    ended: Vec<Carried<Range>>,
    serial: u64,
    answered: u64,
    strays: u64,
    now: Time,
}

impl LinkCarrier {
    /// A carrier without a driver. `data` is the pool.
    pub(in super::super) fn new(data: SharedMemory, most_queues: u16) -> Self {
        let bytes = u32::try_from(data.len()).unwrap_or(u32::MAX);
        LinkCarrier {
            data,
            pool: Pool::new(bytes),
            most_queues,
            lanes: Vec::new(),
            left: VecDeque::new(),
            mode: Mode::Serving,
            ended: Vec::new(),
            serial: 0,
            answered: 0,
            strays: 0,
            now: Time::default(),
        }
    }

    /// The memory that data are in.
    pub(in super::super) fn data(&self) -> &SharedMemory {
        &self.data
    }

    /// What time it is, for [`oldest`](Self::oldest).
    pub(in super::super) fn set_now(&mut self, now: Time) {
        self.now = now;
    }

    /// There is a driver, which serves the first `queues` of these lanes. What its predecessors left goes to it.
    pub(in super::super) fn attach(&mut self, ends: &mut ServerEnds, queues: u16) {
        self.mode = Mode::Serving;
        let depth = u16::try_from(LANE_DEPTH).unwrap_or(u16::MAX);
        let lanes = ends.lanes.drain(..).take(queues.into());
        self.lanes = lanes
            .map(|(lane, bell)| Served {
                lane,
                bell,
                record: (0..depth).map(|_| None).collect(),
                free: (0..depth).rev().collect(),
            })
            .collect();
        self.give_again();
    }

    /// The driver is dead, and its device reaches no memory any more. What it had answered before counts; the rest waits
    /// for the next driver, but for pieces that were with too many dying ones.
    pub(in super::super) fn detach(&mut self) {
        let mut ended = std::mem::take(&mut self.ended);
        // If the rings are broken as well, all of it is done again.
        let _ = self.collect(&mut ended);
        self.ended = ended;
        let mut left: Vec<Recorded> = self.left.drain(..).collect();
        for lane in self.lanes.drain(..) {
            left.extend(lane.record.into_iter().flatten().map(|mut recorded| {
                recorded.deaths += 1;
                recorded
            }));
        }
        left.sort_unstable_by_key(|recorded| recorded.serial);
        for recorded in left {
            if recorded.deaths < MOST_DEATHS {
                self.left.push_back(recorded);
            } else {
                log::error!("{:?} was with {} drivers that died: given up", recorded.piece, recorded.deaths);
                self.ended.push(carried(recorded, Err(BlockError::TimedOut)));
            }
        }
    }

    /// Nothing will come of anything for now: fail what waits, and what is still submitted, until there is a driver.
    pub(in super::super) fn refuse(&mut self, error: BlockError) {
        self.mode = Mode::Refusing(error);
        let left = std::mem::take(&mut self.left);
        self.ended.extend(left.into_iter().map(|recorded| carried(recorded, Err(error))));
    }

    /// Appends the answers that have come.
    ///
    /// # Errors
    /// The driver has gone wrong and must be ended.
    pub(in super::super) fn collect(&mut self, into: &mut Vec<Carried<Range>>) -> Result<(), Broken> {
        into.append(&mut self.ended);
        for lane in &mut self.lanes {
            while let Some(answer) = lane.lane.into.pop::<Answer>()? {
                match lane.take(answer.id) {
                    Some(recorded) => {
                        self.answered += 1;
                        into.push(carried(recorded, answer.result()));
                    }
                    None => {
                        self.strays += 1;
                        log::warn!("the driver answered {:#x}, which nobody waits for", answer.id);
                    }
                }
            }
        }
        if !self.left.is_empty() {
            self.give_again();
        }
        Ok(())
    }

    /// Shows the driver what was submitted.
    pub(in super::super) fn commit(&mut self) {
        for lane in &mut self.lanes {
            if lane.lane.out.show() {
                lane.bell.ring();
            }
        }
    }

    /// Asks the driver to wake the server from now on; `false` when there is something already.
    pub(in super::super) fn sleep(&self) -> bool {
        self.ended.is_empty() && self.lanes.iter().all(|lane| lane.lane.into.sleep())
    }

    /// The server is awake.
    pub(in super::super) fn wake(&self) {
        self.lanes.iter().for_each(|lane| lane.lane.into.wake());
    }

    /// Since when a driver has been working at the piece that it was given first.
    pub(in super::super) fn oldest(&self) -> Option<Time> {
        self.lanes.iter().flat_map(|lane| lane.record.iter().flatten()).map(|recorded| recorded.since).min()
    }

    /// How many pieces drivers have answered so far.
    pub(in super::super) fn answered(&self) -> u64 {
        self.answered
    }

    /// Pieces that a driver has.
    #[cfg(test)]
    pub(in super::super) fn outstanding(&self) -> usize {
        self.lanes.iter().map(|lane| lane.record.iter().flatten().count()).sum()
    }

    /// Gives what dead drivers left to where most room is, as far as there is any.
    fn give_again(&mut self) {
        while let Some(lane) = self.lanes.iter_mut().max_by_key(|lane| lane.free.len())
            && let Some(mut recorded) = self.left.pop_front()
        {
            recorded.since = self.now;
            if let Err(recorded) = lane.give(recorded) {
                self.left.push_front(recorded);
                return;
            }
        }
    }
}

fn carried(recorded: Recorded, result: Result<(), BlockError>) -> Carried<Range> {
    Carried { cookie: recorded.piece.cookie, result, data: recorded.data }
}

impl Served {
    fn give(&mut self, mut recorded: Recorded) -> Result<(), Recorded> {
        let Some(slot) = self.free.pop() else { return Err(recorded) };
        #[allow(clippy::cast_possible_truncation, reason = "a sequence wraps around")]
        let sequence = recorded.serial as u16;
        recorded.sequence = sequence ^ u16::from(recorded.deaths) << 12;
        let piece = &recorded.piece;
        let id = u32::from(recorded.sequence) << 16 | u32::from(slot);
        let mut entry = Entry::new(id, piece.operation, piece.disk, piece.lba, piece.blocks);
        if let Some(data) = &recorded.data {
            (entry.offset, entry.len) = (data.offset, data.len);
        }
        // There are as many entries as records, unless the driver keeps back what it took out.
        if self.lane.out.push(entry).is_err() {
            self.free.push(slot);
            return Err(recorded);
        }
        if let Some(place) = self.record.get_mut(usize::from(slot)) {
            *place = Some(recorded);
        }
        Ok(())
    }

    fn take(&mut self, id: u32) -> Option<Recorded> {
        let [low, high] = [id & 0xffff, id >> 16];
        let recorded =
            self.record.get_mut(low as usize)?.take_if(|recorded| u32::from(recorded.sequence) == high)?;
        self.free.push(u16::try_from(low).ok()?);
        Some(recorded)
    }
}

impl Carrier for LinkCarrier {
    type Range = Range;

    fn queues(&self) -> u16 {
        match self.lanes.len() {
            0 => self.most_queues,
            lanes => u16::try_from(lanes).unwrap_or(u16::MAX),
        }
    }

    fn most_bytes(&self) -> u32 {
        u32::try_from(self.data.len()).unwrap_or(u32::MAX)
    }

    fn reserve(&mut self, bytes: u32) -> Option<Range> {
        self.pool.take(bytes)
    }

    fn release(&mut self, range: Range) {
        self.pool.give_back(&range);
    }

    fn load(&mut self, range: &Range, from: &SchemeRequest, offset: usize, len: usize) -> Result<(), Errno> {
        from.load_shared(offset, &self.data, range.offset as usize, len)
    }

    fn store(&self, range: &Range, to: &SchemeRequest, offset: usize, len: usize) -> Result<(), Errno> {
        to.store_shared(offset, &self.data, range.offset as usize, len)
    }

    fn copy_out(&self, range: &Range, into: &mut [u8]) {
        if let Err(error) = self.data.copy_out(range.offset as usize, into) {
            log::error!("{error}");
        }
    }

    fn submit(&mut self, queue: u16, piece: Piece, data: Option<Range>) -> Result<(), Option<Range>> {
        if let Mode::Refusing(error) = self.mode {
            self.ended.push(Carried { cookie: piece.cookie, result: Err(error), data });
            return Ok(());
        }
        if !self.left.is_empty() {
            return Err(data);
        }
        let Some(lane) = self.lanes.get_mut(usize::from(queue)) else { return Err(data) };
        let recorded = Recorded { piece, data, serial: self.serial, since: self.now, deaths: 0, sequence: 0 };
        lane.give(recorded).map_err(|recorded| recorded.data)?;
        self.serial += 1;
        Ok(())
    }
}
