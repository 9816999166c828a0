//! A disk in memory that fails on purpose.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redox_driver_sys::{
    dma::Segment,
    irq::Interrupt,
    time::{Clock, Time},
};

use super::{machine::Machine, random::Random};
use crate::{
    device::{
        Command, Completed, Controller, ControllerEvent, Disk, DiskId, HardwareQueue, LbaRange, Operation,
        SubmitError, WriteCache,
    },
    error::BlockError,
};

/// What goes wrong, and how often: in parts per thousand.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Commands complete after a random time up to this, and so out of order.
    pub latency: Duration,
    /// A command fails with [`BlockError::Transient`].
    pub transient: u16,
    /// A command never completes by itself.
    pub hang: u16,
    /// An abort is not carried out.
    pub deaf: u16,
    /// An abort cannot be sent.
    pub abort_fails: u16,
    /// A command is not taken for now.
    pub full: u16,
    /// A completion comes twice.
    pub doubled: u16,
    /// A completion comes for a tag that does not exist.
    pub stray: u16,
    /// Reaping ends in [`BlockError::Protocol`]; only a reset helps.
    pub broken: u16,
    /// A reset fails: the controller is gone.
    pub reset_fails: u16,
    /// Blocks that cannot be read nor written: disk and block.
    pub bad_blocks: Vec<(DiskId, u64)>,
}

/// One disk's data.
struct Medium {
    disk: Disk,
    durable: Vec<u8>,
    /// Written, but lost when the power is cut.
    cached: BTreeMap<u64, Vec<u8>>,
}

impl Medium {
    fn block_size(&self) -> usize {
        self.disk.limits.block_size as usize
    }

    fn read(&self, lba: u64) -> &[u8] {
        match self.cached.get(&lba) {
            Some(block) => block,
            None => self.durable_block(lba),
        }
    }

    fn durable_block(&self, lba: u64) -> &[u8] {
        let at = usize::try_from(lba).unwrap_or(usize::MAX).saturating_mul(self.block_size());
        self.durable.get(at..at.saturating_add(self.block_size())).unwrap_or_default()
    }

    fn write(&mut self, lba: u64, data: &[u8], durable: bool) {
        if !durable && self.disk.limits.write_cache != WriteCache::None {
            self.cached.insert(lba, data.to_vec());
            return;
        }
        self.cached.remove(&lba);
        let at = usize::try_from(lba).unwrap_or(usize::MAX).saturating_mul(self.block_size());
        if let Some(target) = self.durable.get_mut(at..at.saturating_add(data.len())) {
            target.copy_from_slice(data);
        }
    }

    fn flush(&mut self) {
        for (lba, data) in std::mem::take(&mut self.cached) {
            self.write(lba, &data, true);
        }
    }
}

/// A command that the device has.
struct Flight {
    tag: u16,
    /// When it completes; never, if it hangs.
    due: Option<Time>,
    result: Option<BlockError>,
    committed: bool,
    operation: Operation,
    disk: DiskId,
    fua: bool,
    ranges: Vec<LbaRange>,
    segments: Vec<Segment>,
}

struct State {
    machine: Machine,
    clock: Clock,
    media: Vec<Medium>,
    flights: Vec<Vec<Flight>>,
    plan: Plan,
    /// Blocks that cannot be read until they are written: disk and block.
    spoiled: BTreeSet<(DiskId, u64)>,
    /// The queue whose next command is never answered.
    hangs_next: Option<usize>,
    random: Random,
    /// What no driver may be asked for.
    violations: Vec<String>,
    broken: bool,
    off: bool,
    events: Vec<ControllerEvent>,
    commands: u64,
}

impl State {
    fn medium(&mut self, disk: DiskId) -> Option<&mut Medium> {
        self.media.iter_mut().find(|medium| medium.disk.id == disk)
    }

    fn violation(&mut self, what: String) {
        if self.violations.len() < 100 {
            self.violations.push(what);
        }
    }

    /// Does what a command asks for.
    fn execute(&mut self, flight: &Flight) -> Result<(), BlockError> {
        let machine = self.machine.clone();
        let bad = self.plan.bad_blocks.iter().any(|&(disk, lba)| {
            disk == flight.disk
                && flight.operation != Operation::Discard
                && flight.ranges.iter().any(|r| (r.lba..r.lba + u64::from(r.blocks)).contains(&lba))
        });
        let blocks = || flight.ranges.iter().flat_map(|r| r.lba..r.lba + u64::from(r.blocks));
        let spoiled = |lba: &u64| self.spoiled.contains(&(flight.disk, *lba));
        if bad || (flight.operation == Operation::Read && blocks().any(|lba| spoiled(&lba))) {
            return Err(BlockError::Medium);
        }
        if flight.operation != Operation::Read {
            for lba in blocks() {
                self.spoiled.remove(&(flight.disk, lba));
            }
        }
        let Some(medium) = self.medium(flight.disk) else { return Err(BlockError::Gone) };
        let size = medium.block_size();
        let total = flight.ranges.iter().map(|range| range.blocks as usize * size).sum();
        match flight.operation {
            Operation::Read => {
                let mut data = Vec::with_capacity(total);
                blocks().for_each(|lba| data.extend_from_slice(medium.read(lba)));
                if !machine.scatter(&flight.segments, &data) {
                    return Err(BlockError::Protocol);
                }
            }
            Operation::Write => {
                let mut data = vec![0; total];
                if !machine.gather(&flight.segments, &mut data) {
                    return Err(BlockError::Protocol);
                }
                for (lba, block) in blocks().zip(data.chunks(size)) {
                    medium.write(lba, block, flight.fua);
                }
            }
            Operation::Flush => medium.flush(),
            Operation::Discard => {
                let garbage = vec![0xdc; size];
                blocks().for_each(|lba| medium.write(lba, &garbage, false));
            }
            Operation::WriteZeroes => {
                let zeroes = vec![0; size];
                blocks().for_each(|lba| medium.write(lba, &zeroes, flight.fua));
            }
        }
        Ok(())
    }

    /// Checks a command against the disk's limits, as a device that is strict would.
    fn check(&mut self, queue: usize, tag: u16, depth: u16, command: &Command<'_>) {
        let taken = self.flights.get(queue).is_some_and(|queue| queue.iter().any(|f| f.tag == tag));
        if taken || tag >= depth {
            self.violation(format!("queue {queue}: tag {tag} is in use or too high"));
        }
        let Some(medium) = self.medium(command.disk) else {
            self.violation(format!("no disk {}", command.disk));
            return;
        };
        let limits = medium.disk.limits.clone();
        let capacity = medium.disk.blocks;
        if let Some(what) = wrong(&limits, capacity, command) {
            self.violation(format!("{what}: {command:?}"));
        }
    }
}

/// What is wrong with a command.
fn wrong(limits: &crate::device::Limits, capacity: u64, command: &Command<'_>) -> Option<&'static str> {
    let outside = command.ranges.iter().any(|range| {
        range.blocks == 0 || range.lba.checked_add(range.blocks.into()).is_none_or(|end| end > capacity)
    });
    if outside {
        return Some("empty or out of range");
    }
    let writes = !matches!(command.operation, Operation::Read | Operation::Flush);
    if writes && limits.read_only {
        return Some("writes to a read-only disk");
    }
    let takes_fua = limits.write_cache == WriteCache::Volatile { fua: true };
    if command.fua && !(takes_fua && command.operation == Operation::Write) {
        return Some("FUA where it is not taken");
    }
    let ranges = match command.operation {
        Operation::Flush => 0..=0,
        Operation::Discard => 1..=usize::from(limits.max_discard_ranges),
        _ => 1..=1,
    };
    if !ranges.contains(&command.ranges.len()) {
        return Some("number of ranges");
    }
    let blocks: u64 = command.ranges.iter().map(|range| u64::from(range.blocks)).sum();
    let bytes: u64 = command.segments.iter().map(|segment| u64::from(segment.len)).sum();
    match command.operation {
        Operation::Flush => {
            (limits.write_cache == WriteCache::None || bytes != 0).then_some("flush without a cache")
        }
        Operation::Discard => command
            .ranges
            .iter()
            .any(|range| range.blocks > limits.max_discard_blocks)
            .then_some("discard range too long"),
        Operation::WriteZeroes => {
            (blocks > limits.max_write_zeroes_blocks.into() || bytes != 0).then_some("write-zeroes too long")
        }
        Operation::Read | Operation::Write => {
            if bytes != blocks * u64::from(limits.block_size) {
                return Some("memory and blocks differ");
            }
            if bytes > limits.max_transfer.into() || command.segments.len() > limits.max_segments.into() {
                return Some("too long");
            }
            let boundary = u64::from(limits.segment_boundary);
            let meets = |pair: &[Segment]| match pair {
                [a, b] => {
                    (a.addr.get() + u64::from(a.len)).is_multiple_of(boundary)
                        && b.addr.get().is_multiple_of(boundary)
                }
                _ => true,
            };
            let alignment = u64::from(limits.dma_alignment);
            let aligned =
                |s: &Segment| s.len != 0 && (s.addr.get() | u64::from(s.len)).is_multiple_of(alignment);
            (!command.segments.windows(2).all(meets) || !command.segments.iter().all(aligned))
                .then_some("segments")
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A controller whose disks are in memory.
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
    queues: Vec<MemoryQueue>,
    timeout: Duration,
}

impl MemoryDisk {
    /// A controller with these disks and `queues` queues of `depth` commands in `machine`, that fails as `plan` says.
    pub fn new(machine: &Machine, disks: Vec<Disk>, queues: u16, depth: u16, plan: Plan, seed: u64) -> Self {
        let media = disks
            .into_iter()
            .map(|disk| Medium {
                durable: vec![0; usize::try_from(disk.blocks).unwrap_or(0) * disk.limits.block_size as usize],
                cached: BTreeMap::new(),
                disk,
            })
            .collect();
        let state = Arc::new(Mutex::new(State {
            machine: machine.clone(),
            clock: machine.clock(),
            media,
            flights: (0..queues).map(|_| Vec::new()).collect(),
            plan,
            spoiled: BTreeSet::new(),
            hangs_next: None,
            random: Random::new(seed),
            violations: Vec::new(),
            broken: false,
            off: false,
            events: Vec::new(),
            commands: 0,
        }));
        let queues =
            (0..queues.into()).map(|index| MemoryQueue { state: state.clone(), index, depth }).collect();
        MemoryDisk { state, queues, timeout: Duration::from_secs(1) }
    }

    /// The same, by the machine's real clock instead of the virtual one.
    #[must_use]
    pub fn in_real_time(self) -> Self {
        lock(&self.state).clock = Clock::monotonic();
        self
    }

    /// The same, with this time limit for a command.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// For looking at the disks from outside, while a block layer owns the controller.
    pub fn observer(&self) -> Observer {
        Observer(self.state.clone())
    }
}

/// Looks at a [`MemoryDisk`] from outside.
#[derive(Clone)]
pub struct Observer(Arc<Mutex<State>>);

impl Observer {
    /// What reading this block gives now, cache included.
    pub fn block(&self, disk: DiskId, lba: u64) -> Vec<u8> {
        lock(&self.0).medium(disk).map(|medium| medium.read(lba).to_vec()).unwrap_or_default()
    }

    /// What this block is after a power cut.
    pub fn durable_block(&self, disk: DiskId, lba: u64) -> Vec<u8> {
        lock(&self.0).medium(disk).map(|medium| medium.durable_block(lba).to_vec()).unwrap_or_default()
    }

    /// Puts data on the medium, behind the back of whoever uses it.
    pub fn set_durable(&self, disk: DiskId, lba: u64, data: &[u8]) {
        if let Some(medium) = lock(&self.0).medium(disk) {
            medium.write(lba, data, true);
        }
    }

    /// Loses everything that was not flushed.
    pub fn cut_power(&self) {
        for medium in &mut lock(&self.0).media {
            medium.cached.clear();
        }
    }

    /// Changes a disk's size, and has the controller report it.
    pub fn resize(&self, disk: DiskId, blocks: u64) {
        let mut state = lock(&self.0);
        let Some(medium) = state.medium(disk) else { return };
        medium.disk.blocks = blocks;
        let size = medium.block_size();
        medium.durable.resize(usize::try_from(blocks).unwrap_or(0) * size, 0);
        medium.cached.retain(|&lba, _| lba < blocks);
        let disk = medium.disk.clone();
        state.events.push(ControllerEvent::DiskChanged(disk));
    }

    /// Has the controller report an event.
    pub fn report(&self, event: ControllerEvent) {
        lock(&self.0).events.push(event);
    }

    /// From now on this block cannot be read, until it is written.
    pub fn spoil(&self, disk: DiskId, lba: u64) {
        lock(&self.0).spoiled.insert((disk, lba));
    }

    /// The next command of this queue is never answered.
    pub fn hang_next(&self, queue: u16) {
        lock(&self.0).hangs_next = Some(queue.into());
    }

    /// The controller is pulled out.
    pub fn pull_out(&self) {
        lock(&self.0).off = true;
    }

    /// Whether the controller does nothing any more.
    pub fn is_off(&self) -> bool {
        lock(&self.0).off
    }

    /// From now on, other things go wrong.
    pub fn set_plan(&self, plan: Plan) {
        lock(&self.0).plan = plan;
    }

    /// What was asked of the disk although its limits forbid it, and forgets it.
    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.0).violations)
    }

    /// Commands that were submitted so far.
    pub fn commands(&self) -> u64 {
        lock(&self.0).commands
    }

    /// Commands that the device has now.
    pub fn in_flight(&self) -> usize {
        lock(&self.0).flights.iter().map(Vec::len).sum()
    }
}

impl Controller for MemoryDisk {
    type Queue = MemoryQueue;

    fn name(&self) -> &str {
        "memory"
    }

    fn disks(&self) -> Vec<Disk> {
        lock(&self.state).media.iter().map(|medium| medium.disk.clone()).collect()
    }

    fn take_queues(&mut self) -> Vec<MemoryQueue> {
        std::mem::take(&mut self.queues)
    }

    fn command_timeout(&self) -> Duration {
        self.timeout
    }

    fn interrupt(&self) -> Option<&Interrupt> {
        None
    }

    fn shares_interrupt(&self) -> bool {
        false
    }

    fn poll(&mut self, _: Time, events: &mut Vec<ControllerEvent>) -> Result<(), BlockError> {
        let mut state = lock(&self.state);
        events.append(&mut state.events);
        if state.off { Err(BlockError::Gone) } else { Ok(()) }
    }

    fn abort(&mut self, queue: u16, handle: u32) -> Result<(), BlockError> {
        let mut state = lock(&self.state);
        let chance = state.plan.abort_fails;
        if state.random.chance(chance) {
            return Err(BlockError::Transient);
        }
        let chance = state.plan.deaf;
        let deaf = state.random.chance(chance);
        let now = state.clock.now();
        let flights = state.flights.get_mut(usize::from(queue));
        if let Some(flight) = flights.and_then(|all| all.iter_mut().find(|f| u32::from(f.tag) == handle))
            && !deaf
        {
            flight.due = Some(now);
            flight.result = Some(BlockError::Aborted);
        }
        Ok(())
    }

    fn reset(&mut self, queues: Vec<MemoryQueue>) -> Result<Vec<MemoryQueue>, BlockError> {
        let mut state = lock(&self.state);
        let unfinished: Vec<Flight> = state.flights.iter_mut().flat_map(std::mem::take).collect();
        for flight in unfinished {
            // The device may or may not have done what it did not report.
            if state.random.chance(500) {
                let _ = state.execute(&flight);
            }
        }
        let chance = state.plan.reset_fails;
        if state.random.chance(chance) {
            state.off = true;
            return Err(BlockError::Gone);
        }
        state.broken = false;
        Ok(queues)
    }

    fn shutdown(&mut self, queues: Vec<MemoryQueue>) -> Result<(), BlockError> {
        drop(queues);
        let mut state = lock(&self.state);
        state.flights.iter_mut().for_each(Vec::clear);
        state.media.iter_mut().for_each(Medium::flush);
        state.off = true;
        Ok(())
    }
}

impl Drop for MemoryDisk {
    fn drop(&mut self) {
        lock(&self.state).off = true;
    }
}

/// A queue of [`MemoryDisk`].
pub struct MemoryQueue {
    state: Arc<Mutex<State>>,
    index: usize,
    depth: u16,
}

impl HardwareQueue for MemoryQueue {
    fn depth(&self) -> u16 {
        self.depth
    }

    fn submit(&mut self, tag: u16, command: &Command<'_>) -> Result<(), SubmitError> {
        let mut state = lock(&self.state);
        let chance = state.plan.full;
        if state.random.chance(chance) {
            return Err(SubmitError::Full);
        }
        state.check(self.index, tag, self.depth, command);
        state.commands += 1;
        let Plan { latency, transient, hang, .. } = state.plan;
        let delay = state.random.below(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        let due = state.clock.now().plus(Duration::from_nanos(delay));
        let result = state.random.chance(transient).then_some(BlockError::Transient);
        let hangs =
            state.random.chance(hang) || state.hangs_next.take_if(|next| *next == self.index).is_some();
        let due = (!hangs).then_some(due);
        let flight = Flight {
            tag,
            due,
            result,
            committed: false,
            operation: command.operation,
            disk: command.disk,
            fua: command.fua,
            ranges: command.ranges.to_vec(),
            segments: command.segments.to_vec(),
        };
        if let Some(flights) = state.flights.get_mut(self.index) {
            flights.push(flight);
        }
        Ok(())
    }

    fn commit(&mut self) {
        if let Some(flights) = lock(&self.state).flights.get_mut(self.index) {
            flights.iter_mut().for_each(|flight| flight.committed = true);
        }
    }

    fn reap(&mut self, completed: &mut Vec<Completed>) -> Result<(), BlockError> {
        let mut state = lock(&self.state);
        if state.off {
            return Err(BlockError::Gone);
        }
        if state.broken {
            return Err(BlockError::Protocol);
        }
        let now = state.clock.now();
        let Some(flights) = state.flights.get_mut(self.index) else { return Ok(()) };
        let mut done: Vec<Flight> = flights
            .extract_if(.., |flight| flight.committed && flight.due.is_some_and(|due| due <= now))
            .collect();
        done.sort_by_key(|flight| flight.due);
        for flight in done {
            let result = match flight.result {
                // What failed may have happened all the same.
                Some(error) => {
                    if state.random.chance(500) {
                        let _ = state.execute(&flight);
                    }
                    Err(error)
                }
                None => state.execute(&flight),
            };
            completed.push(Completed { tag: flight.tag, result });
            let Plan { doubled, stray, .. } = state.plan;
            if state.random.chance(doubled) {
                completed.push(Completed { tag: flight.tag, result: Ok(()) });
            }
            if state.random.chance(stray) {
                completed.push(Completed { tag: u16::MAX, result: Ok(()) });
            }
        }
        let chance = state.plan.broken;
        state.broken = state.random.chance(chance);
        Ok(())
    }

    fn interrupt(&self) -> Option<&Interrupt> {
        None
    }

    fn abort_handle(&self, tag: u16) -> u32 {
        tag.into()
    }
}
