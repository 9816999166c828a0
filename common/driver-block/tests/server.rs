//! The scheme's server and its drivers, as processes that are killed. Each test has a process of its own, because one that
//! forks has one thread.
#![allow(unsafe_code, reason = "running a server")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    reason = "clients of a test"
)]

#[path = "../../redox-driver-sys/tests/support/alone.rs"]
mod alone;

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, PipeReader, PipeWriter, Read, Write},
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

use alone::alone;
use common::daemon::Termination;
use driver_block::{
    frontend::scheme::server::{Driving, Launcher, Patience, RequestSource, Server, ServerError, drive},
    testing::{Machine, Random, SurvivingDisk, plain_disk},
};
use redox_driver_sys::{
    process::End,
    scheme::{Answer, SchemeRequest},
    shared::{SharedMemory, SharedWord},
    time::Clock,
};
use rustix::process::{Pid, Signal, getpid, kill_process};
use syscall::{
    flag::{O_RDWR, StdFsCallKind},
    schemev2::{Opcode, Sqe},
};

const BLOCKS: u64 = 4096;
const QUEUES: u16 = 2;
const DATA: usize = 1 << 20;
/// Clients, each with a part of the disk and one request at a time.
const CLIENTS: usize = 12;
const PART: usize = BLOCKS as usize * 512 / CLIENTS / 4096 * 4096;

type Buffer = Arc<Mutex<Vec<u8>>>;

/// What a client waits for.
enum Asked {
    Open,
    Write { bytes: Vec<u8>, at: usize },
    Read { into: Buffer, at: usize },
    Flush,
}

/// Clients that write, read back and compare, and somebody who kills drivers.
struct Clients {
    /// Readable while there is something to be read.
    bell: (PipeReader, PipeWriter),
    queue: VecDeque<SchemeRequest>,
    asked: BTreeMap<u32, (usize, Asked)>,
    next_tag: u32,
    handle: Option<usize>,
    /// What the disk has to contain.
    expected: Vec<u8>,
    random: Random,
    answered: usize,
    wanted: usize,
    /// Kill the driver whenever this many more were answered.
    kill_every: usize,
    kills: usize,
    /// The driver's number, which it tells itself.
    driver: SharedWord,
}

impl Clients {
    fn new(driver: SharedWord, wanted: usize, kill_every: usize) -> Self {
        let mut clients = Clients {
            bell: io::pipe().unwrap(),
            queue: VecDeque::new(),
            asked: BTreeMap::new(),
            next_tag: 0,
            handle: None,
            expected: vec![0; BLOCKS as usize * 512],
            random: Random::new(7),
            answered: 0,
            wanted,
            kill_every,
            kills: 0,
            driver,
        };
        let path = Arc::new(Mutex::new(b"1".to_vec()));
        clients.ask(0, Asked::Open, Opcode::OpenAt, [0, 1, 1, O_RDWR as u64, 0, 0], path);
        clients
    }

    fn ask(&mut self, client: usize, asked: Asked, opcode: Opcode, args: [u64; 6], buffer: Buffer) {
        self.next_tag += 1;
        let sqe = Sqe { opcode: opcode as u8, tag: self.next_tag, args, ..Sqe::default() };
        self.asked.insert(self.next_tag, (client, asked));
        self.queue.push_back(SchemeRequest::of_test(&sqe, buffer));
        self.bell.1.write_all(&[1]).unwrap();
    }

    fn next(&mut self, client: usize) {
        let handle = self.handle.unwrap() as u64;
        let blocks = self.random.below(64) as usize + 1;
        let at = client * PART + self.random.below((PART / 512 - blocks) as u64) as usize * 512;
        match self.random.below(8) {
            0 => {
                let fsync = StdFsCallKind::Fsync as u64;
                let args = [handle, 0, 0, fsync, 0, 0];
                self.ask(client, Asked::Flush, Opcode::StdFsCall, args, Buffer::default());
            }
            1..4 => {
                let bytes: Vec<u8> = (0..blocks * 512).map(|_| self.random.below(256) as u8).collect();
                let buffer = Arc::new(Mutex::new(bytes.clone()));
                let args = [handle, 1, 1, at as u64, 0, 0];
                self.ask(client, Asked::Write { bytes, at }, Opcode::Write, args, buffer);
            }
            _ => {
                let into: Buffer = Arc::new(Mutex::new(vec![0; blocks * 512]));
                let args = [handle, 1, 1, at as u64, 0, 0];
                self.ask(client, Asked::Read { into: into.clone(), at }, Opcode::Read, args, into);
            }
        }
    }

    fn answer(&mut self, answer: &Answer) {
        let (client, asked) = self.asked.remove(&answer.tag()).expect("asked once, answered once");
        let result = answer.result().expect("well");
        match asked {
            Asked::Open => {
                self.handle = Some(result);
                (0..CLIENTS).for_each(|client| self.next(client));
                return;
            }
            Asked::Write { bytes, at } => {
                assert_eq!(result, bytes.len());
                self.expected[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            Asked::Read { into, at } => {
                let bytes = into.lock().unwrap();
                assert_eq!(result, bytes.len());
                assert!(*bytes == self.expected[at..at + bytes.len()], "wrong data at {at:#x}");
            }
            Asked::Flush => assert_eq!(result, 0),
        }
        self.answered += 1;
        // Not near the end: a driver that is dead when it is told to end has not ended in order.
        if self.answered < self.wanted && self.answered.is_multiple_of(self.kill_every) {
            let driver = self.driver.load(Ordering::Acquire);
            kill_process(Pid::from_raw(i32::try_from(driver).unwrap()).unwrap(), Signal::KILL).unwrap();
            self.kills += 1;
        }
        if self.answered < self.wanted {
            self.next(client);
        } else if self.asked.is_empty() {
            kill_process(getpid(), Signal::TERM).unwrap();
        }
    }
}

impl RequestSource for Clients {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.0.as_fd()
    }
    fn read(&mut self, requests: &mut Vec<SchemeRequest>) -> redox_driver_sys::Result<bool> {
        let mut rings = [0; 64];
        if !self.queue.is_empty() {
            self.bell.0.read_exact(&mut rings[..self.queue.len()]).unwrap();
        }
        requests.extend(self.queue.drain(..));
        Ok(false)
    }
    fn write(&mut self, answers: &mut Vec<Answer>) -> redox_driver_sys::Result<()> {
        answers.drain(..).for_each(|answer| self.answer(&answer));
        Ok(())
    }
}

/// Starts drivers of a disk that survives them.
struct Drivers {
    medium: SharedMemory,
    driver: SharedWord,
    /// Started so far.
    started: SharedWord,
    /// DMA was stopped so often.
    stopped: u32,
    /// Does what a driver with this number does, if it is not to serve.
    mischief: fn(u32) -> Option<u8>,
}

impl Drivers {
    fn new(mischief: fn(u32) -> Option<u8>) -> Self {
        let words = SharedMemory::new(8).unwrap();
        Drivers {
            medium: SharedMemory::new(BLOCKS as usize * 512).unwrap(),
            driver: words.word(0).unwrap(),
            started: words.word(4).unwrap(),
            stopped: 0,
            mischief,
        }
    }
}

impl Launcher for Drivers {
    fn drive(&mut self, driving: Driving) -> u8 {
        let number = self.started.fetch_add(1, Ordering::AcqRel);
        self.driver.store(getpid().as_raw_nonzero().get().unsigned_abs(), Ordering::Release);
        if let Some(code) = (self.mischief)(number) {
            return code;
        }
        let machine = Machine::new().unwrap();
        let disk = SurvivingDisk::new(&machine, plain_disk(1, BLOCKS), &self.medium, QUEUES, 32);
        match drive(driving, disk, (&machine.dma().unwrap(), &Clock::monotonic()), || {}) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("driver {number}: {error}");
                1
            }
        }
    }
    fn stop_dma(&mut self) -> redox_driver_sys::Result<()> {
        self.stopped += 1;
        Ok(())
    }
}

struct Outcome {
    result: Result<(), ServerError>,
    started: u32,
    kills: usize,
}

fn serve(wanted: usize, kill_every: usize, mischief: fn(u32) -> Option<u8>, patience: Patience) -> Outcome {
    let drivers = Drivers::new(mischief);
    let (medium, started) = (drivers.medium.clone(), drivers.started.clone());
    let clients = Clients::new(drivers.driver.clone(), wanted, kill_every);
    let data = SharedMemory::new(DATA).unwrap();
    let termination = Termination::install().unwrap();
    let clock = Clock::monotonic();
    let parts = (clients, drivers);
    let mut server = Server::new("disk.test", parts, (QUEUES, data), &clock, patience, termination);
    // SAFETY: see `alone`.
    let result = unsafe { server.run(|_| Ok(())) };
    let (clients, drivers) = server.into_parts();
    let clients = clients.unwrap();
    let started = started.load(Ordering::Acquire);
    if result.is_ok() {
        assert_eq!(clients.answered, wanted + CLIENTS - 1);
        let mut bytes = vec![0; clients.expected.len()];
        medium.copy_out(0, &mut bytes).unwrap();
        assert!(bytes == clients.expected, "what was written is on the disk");
        assert_eq!(drivers.stopped, started, "no driver's device is left running");
    }
    Outcome { result, started, kills: clients.kills }
}

#[test]
fn requests_are_answered_and_the_end_is_in_order() {
    alone("requests_are_answered_and_the_end_is_in_order", || {
        let outcome = serve(2000, usize::MAX, |_| None, Patience::default());
        outcome.result.unwrap();
        assert_eq!(outcome.started, 1);
    });
}

#[test]
fn drivers_are_killed_and_nothing_is_lost() {
    alone("drivers_are_killed_and_nothing_is_lost", || {
        let outcome = serve(4039, 40, |_| None, Patience::default());
        outcome.result.unwrap();
        assert!(outcome.kills >= 100);
        // A driver that is killed while its predecessor's answers are still being taken out is one less.
        assert!(outcome.started > 50, "{} drivers", outcome.started);
    });
}

#[test]
fn a_device_that_cannot_be_driven_ends_the_server() {
    alone("a_device_that_cannot_be_driven_ends_the_server", || {
        let outcome = serve(1, usize::MAX, |_| Some(3), Patience::default());
        let error = outcome.result.unwrap_err();
        assert!(matches!(error, ServerError::Driver(End::Exited(3))), "{error}");
        assert_eq!(outcome.started, 1);
    });
}

fn sleep() -> Option<u8> {
    std::thread::sleep(Duration::from_secs(1000));
    None
}

#[test]
fn a_driver_that_does_not_attach_is_ended() {
    alone("a_driver_that_does_not_attach_is_ended", || {
        let patience = Patience { start: Duration::from_millis(300), ..Patience::default() };
        let outcome = serve(1, usize::MAX, |_| sleep(), patience);
        let error = outcome.result.unwrap_err();
        assert!(matches!(error, ServerError::Driver(End::Killed(9))), "{error}");
    });
}

#[test]
fn drivers_that_die_at_once_are_started_again_after_pauses() {
    alone("drivers_that_die_at_once_are_started_again_after_pauses", || {
        let pause = (Duration::from_millis(20), Duration::from_millis(80));
        let begun = Instant::now();
        // The first one serves until it is killed; the next ones do not even begin.
        let mischief = |number| matches!(number, 1..=4).then_some(1);
        let outcome = serve(400, 100, mischief, Patience { pause, ..Patience::default() });
        outcome.result.unwrap();
        assert!(outcome.started >= 6, "{}", outcome.started);
        assert!(begun.elapsed() >= Duration::from_millis(20 + 40 + 80 + 80));
    });
}
