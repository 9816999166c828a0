//! A driver that dies at every step that it takes.

use std::sync::{Arc, Mutex};

use redox_driver_sys::{
    scheme::{Errno, SchemeRequest},
    shared::SharedMemory,
    time::Time,
};
use syscall::{
    flag::{O_RDWR, StdFsCallKind},
    schemev2::{Opcode, Sqe},
};

use super::{
    carrier::LinkCarrier,
    ends,
    entry::{Answer, Entry},
    lane::DriverEnds,
};
use crate::{
    device::{DiskId, Operation},
    error::BlockError,
    frontend::scheme::{DiskScheme, testing},
};

const DISK: DiskId = DiskId(1);
const BLOCKS: usize = 512;
const LANES: u16 = 2;

/// What a driver does, a step at a time.
struct Driver {
    ends: DriverEnds,
    /// Taken out, with whether it was carried out.
    taken: Option<(usize, Entry, bool)>,
    unshown: Option<usize>,
}

impl Driver {
    fn attach(scheme: &mut DiskScheme<LinkCarrier>) -> Self {
        let (mut server, ends) = ends(LANES).unwrap();
        scheme.carrier_mut().attach(&mut server, LANES);
        scheme.queues_changed();
        Driver { ends, taken: None, unshown: None }
    }

    /// One step; `false` when there is nothing to do.
    fn step(&mut self, medium: &mut [u8], data: &SharedMemory) -> bool {
        if let Some(lane) = self.unshown.take() {
            self.ends.lanes[lane].0.out.show();
            return true;
        }
        match self.taken.take() {
            Some((lane, entry, false)) => {
                let start = usize::try_from(entry.lba).unwrap() * 512;
                let end = start + entry.blocks as usize * 512;
                match entry.operation().unwrap() {
                    Operation::Read => data.copy_in(entry.offset as usize, &medium[start..end]).unwrap(),
                    Operation::Write => {
                        data.copy_out(entry.offset as usize, &mut medium[start..end]).unwrap();
                    }
                    _ => {}
                }
                self.taken = Some((lane, entry, true));
            }
            Some((lane, entry, true)) => {
                self.ends.lanes[lane].0.out.push(Answer::new(entry.id, Ok(()))).unwrap();
                self.unshown = Some(lane);
            }
            None => {
                let found = (0..usize::from(LANES)).find_map(|lane| {
                    self.ends.lanes[lane].0.into.pop::<Entry>().unwrap().map(|entry| (lane, entry, false))
                });
                self.taken = found;
                return self.taken.is_some();
            }
        }
        true
    }
}

/// A scheme over lanes, and clients that count their answers.
struct Rig {
    scheme: DiskScheme<LinkCarrier>,
    medium: Vec<u8>,
    answers: Vec<(u32, Result<usize, i32>)>,
    tag: u32,
}

impl Rig {
    fn new() -> Self {
        let data = SharedMemory::new(1 << 20).unwrap();
        let scheme = DiskScheme::new("disk.test", LinkCarrier::new(data, LANES));
        Rig { scheme, medium: vec![0; BLOCKS * 512], answers: Vec::new(), tag: 0 }
    }

    fn ask(&mut self, opcode: Opcode, args: [u64; 6], buffer: &Arc<Mutex<Vec<u8>>>) -> u32 {
        self.tag += 1;
        let sqe = Sqe { opcode: opcode as u8, tag: self.tag, args, ..Sqe::default() };
        self.scheme.requests([SchemeRequest::of_test(&sqe, buffer.clone())]);
        self.scheme.carrier_mut().commit();
        self.tag
    }

    fn collect(&mut self) {
        let mut carried = Vec::new();
        self.scheme.carrier_mut().collect(&mut carried).unwrap();
        self.scheme.carried(carried);
        self.scheme.carrier_mut().commit();
        let answers = self.scheme.answers().drain(..);
        self.answers
            .extend(answers.map(|answer| (answer.tag(), answer.result().map_err(Errno::raw_os_error))));
    }

    fn answer(&self, tag: u32) -> Option<Result<usize, i32>> {
        let mut found = self.answers.iter().filter(|(answered, _)| *answered == tag);
        let answer = found.next().map(|(_, result)| *result);
        assert!(found.next().is_none(), "{tag} was answered twice");
        answer
    }
}

fn buffer(bytes: Vec<u8>) -> Arc<Mutex<Vec<u8>>> {
    Arc::new(Mutex::new(bytes))
}

/// Writes, flushes and reads back, with drivers that die after the given numbers of steps. How many steps it took.
fn run(deaths: &[usize]) -> usize {
    let mut rig = Rig::new();
    let mut driver = Driver::attach(&mut rig.scheme);
    rig.scheme.set_disks(vec![testing::disk(DISK, BLOCKS as u64)]);
    let (mut steps, mut deaths) = (0, deaths.iter().copied());
    let mut death = deaths.next();
    let mut settle = |rig: &mut Rig| {
        loop {
            rig.collect();
            if death == Some(steps) {
                rig.scheme.carrier_mut().detach();
                driver = Driver::attach(&mut rig.scheme);
                death = deaths.next();
            }
            steps += 1;
            let data = rig.scheme.carrier().data().clone();
            if !driver.step(&mut rig.medium, &data) && rig.scheme.carrier().outstanding() == 0 {
                rig.collect();
                return;
            }
        }
    };
    settle(&mut rig);
    let flags = O_RDWR as u64;
    let open = rig.ask(Opcode::OpenAt, [0, 1, 1, flags, 0, 0], &buffer(b"1".to_vec()));
    rig.collect();
    let handle = rig.answer(open).unwrap().unwrap() as u64;
    // Three writes at once, one of which is split over the lanes.
    let image: Vec<u8> = (0..BLOCKS * 512)
        .map(|at| u8::try_from(at / 512 % 251).unwrap() ^ u8::try_from(at % 7).unwrap())
        .collect();
    let parts = [(0, 300), (300, 1), (301, 211)];
    let writes = parts.map(|(lba, blocks)| {
        let bytes = image[lba * 512..(lba + blocks) * 512].to_vec();
        let args = [handle, 1, bytes.len() as u64, lba as u64 * 512, 0, 0];
        (rig.ask(Opcode::Write, args, &buffer(bytes)), blocks * 512)
    });
    settle(&mut rig);
    for (write, len) in writes {
        assert_eq!(rig.answer(write), Some(Ok(len)));
    }
    assert_eq!(rig.medium, image);
    let fsync = StdFsCallKind::Fsync as u64;
    let flush = rig.ask(Opcode::StdFsCall, [handle, 0, 0, fsync, 0, 0], &buffer(Vec::new()));
    let reads = parts.map(|(lba, blocks)| {
        let into = buffer(vec![0; blocks * 512]);
        let args = [handle, 1, blocks as u64 * 512, lba as u64 * 512, 0, 0];
        (rig.ask(Opcode::Read, args, &into), into, lba * 512..(lba + blocks) * 512)
    });
    settle(&mut rig);
    assert_eq!(rig.answer(flush), Some(Ok(0)));
    for (read, into, range) in reads {
        assert_eq!(rig.answer(read), Some(Ok(range.len())));
        assert_eq!(*into.lock().unwrap(), image[range]);
    }
    assert!(rig.scheme.is_idle());
    steps
}

#[test]
fn a_driver_may_die_at_every_step() {
    let steps = run(&[]);
    for step in 0..steps {
        run(&[step]);
    }
}

#[test]
fn its_successor_may_as_well() {
    let steps = run(&[]);
    for step in 0..steps {
        for later in 1..8 {
            run(&[step, step + later]);
        }
        run(&[step, step + 1, step + 2, step + 3]);
    }
}

#[test]
fn what_kills_every_driver_is_given_up_and_nothing_else() {
    let mut rig = Rig::new();
    let mut driver = Driver::attach(&mut rig.scheme);
    rig.scheme.set_disks(vec![testing::disk(DISK, BLOCKS as u64)]);
    let data = rig.scheme.carrier().data().clone();
    while driver.step(&mut rig.medium, &data) {
        rig.collect();
    }
    rig.collect();
    let open = rig.ask(Opcode::OpenAt, [0, 1, 1, O_RDWR as u64, 0, 0], &buffer(b"1".to_vec()));
    rig.collect();
    let handle = rig.answer(open).unwrap().unwrap() as u64;
    let poison = rig.ask(Opcode::Read, [handle, 1, 512, 0, 0, 0], &buffer(vec![0; 512]));
    let mut deaths = 0;
    while rig.answer(poison).is_none() {
        rig.scheme.carrier_mut().detach();
        driver = Driver::attach(&mut rig.scheme);
        rig.collect();
        deaths += 1;
        assert!(deaths < 100);
    }
    assert_eq!((rig.answer(poison), deaths), (Some(Err(5)), 5), "EIO");
    // The next one works.
    let read = rig.ask(Opcode::Read, [handle, 1, 512, 512, 0, 0], &buffer(vec![0; 512]));
    while driver.step(&mut rig.medium, &data) {}
    rig.collect();
    assert_eq!(rig.answer(read), Some(Ok(512)));
}

#[test]
fn without_a_driver_requests_wait_until_they_are_refused() {
    let mut rig = Rig::new();
    let mut driver = Driver::attach(&mut rig.scheme);
    rig.scheme.set_disks(vec![testing::disk(DISK, BLOCKS as u64)]);
    let data = rig.scheme.carrier().data().clone();
    while driver.step(&mut rig.medium, &data) {
        rig.collect();
    }
    rig.collect();
    let open = rig.ask(Opcode::OpenAt, [0, 1, 1, O_RDWR as u64, 0, 0], &buffer(b"1".to_vec()));
    rig.collect();
    let handle = rig.answer(open).unwrap().unwrap() as u64;
    let read = |rig: &mut Rig| rig.ask(Opcode::Read, [handle, 1, 512, 0, 0, 0], &buffer(vec![0; 512]));
    let begun = read(&mut rig);
    rig.scheme.carrier_mut().detach();
    let waits = read(&mut rig);
    rig.collect();
    assert_eq!((rig.answer(begun), rig.answer(waits)), (None, None));
    rig.scheme.carrier_mut().refuse(BlockError::TimedOut);
    let late = read(&mut rig);
    rig.collect();
    rig.collect();
    for tag in [begun, waits, late] {
        assert_eq!(rig.answer(tag), Some(Err(5)), "EIO");
    }
    // All is well again with a driver.
    let mut driver = Driver::attach(&mut rig.scheme);
    let well = read(&mut rig);
    while driver.step(&mut rig.medium, &data) {}
    rig.collect();
    assert_eq!(rig.answer(well), Some(Ok(512)));
}

#[test]
fn answers_that_nobody_waits_for_are_ignored() {
    let mut rig = Rig::new();
    let driver = Driver::attach(&mut rig.scheme);
    rig.scheme.carrier_mut().set_now(Time::from_nanos(5));
    rig.scheme.set_disks(vec![testing::disk(DISK, BLOCKS as u64)]);
    rig.scheme.carrier_mut().commit();
    assert_eq!(rig.scheme.carrier().oldest(), Some(Time::from_nanos(5)), "the search for partitions");
    let mut lanes = driver.ends.lanes;
    for id in [0, 0xffff, 0x1_0000, u32::MAX] {
        for (lane, _) in &mut lanes {
            // One of these is the id of the search's first read.
            if id != 0 {
                lane.out.push(Answer::new(id, Ok(()))).unwrap();
                lane.out.show();
            }
        }
    }
    rig.collect();
    assert_eq!(rig.scheme.carrier().outstanding(), 1);
    assert_eq!(rig.scheme.carrier().answered(), 0);
}
