//! The runtime with its threads, on disks in memory, in real time.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{HashMap, VecDeque},
    io,
    os::fd::AsFd,
    sync::mpsc::{self, Receiver, Sender},
    time::Duration,
};

use driver_block::{
    BlockError, Completion, Controller, ControllerEvent, Disk, DiskId, HardwareQueue, Operation, Queue,
    QueueOptions, RecoveryPolicy, Request, Runtime, RuntimeError, RuntimeEvent, RuntimeOptions, Waker,
    frontend::{QueueFrontend, Ready},
    testing::{Machine, MemoryDisk, Observer, Plan, plain_disk},
};
use redox_driver_sys::{dma::DmaBuffer, event::EventQueue, irq::Interrupt, time::Clock};

const DISK: DiskId = DiskId(1);
const PATIENCE: Duration = Duration::from_secs(30);

/// Clients on other threads.
struct Clients {
    requests: Receiver<Request>,
    answers: Sender<Completion>,
    waker: Waker,
    events: Option<EventQueue>,
    kept: VecDeque<Request>,
    disks: Sender<(DiskId, Option<u64>)>,
    fails: bool,
}

impl QueueFrontend for Clients {
    fn watch(&mut self, interrupt: Option<&Interrupt>, waker: &Waker) -> io::Result<()> {
        let mut events = EventQueue::new(&Clock::monotonic()).map_err(io::Error::other)?;
        events.add_fd(waker.as_fd(), 0).map_err(io::Error::other)?;
        events.add_fd(self.waker.as_fd(), 1).map_err(io::Error::other)?;
        assert!(interrupt.is_none(), "a memory disk is polled");
        self.events = Some(events);
        Ok(())
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<Ready> {
        if self.fails {
            return Err(io::Error::other("as planned"));
        }
        let mut ready = Vec::new();
        self.events.as_mut().unwrap().wait(timeout, &mut ready).map_err(io::Error::other)?;
        if ready.contains(&1) {
            self.waker.clear();
        }
        Ok(Ready { interrupt: false, message: ready.contains(&0) })
    }

    fn submit<H: HardwareQueue>(&mut self, queue: &mut Queue<H>) {
        self.kept.extend(self.requests.try_iter());
        while let Some(request) = self.kept.pop_front() {
            let cookie = request.cookie;
            if let Err(rejected) = queue.submit(request) {
                match rejected.error() {
                    None => {
                        self.kept.push_front(rejected.request);
                        return;
                    }
                    Some(error) => {
                        self.answers.send(Completion { cookie, result: Err(error), bytes: 0 }).unwrap();
                    }
                }
            }
        }
    }

    fn answer(&mut self, answers: &[Completion]) {
        answers.iter().for_each(|answer| self.answers.send(*answer).unwrap());
    }

    fn disk_changed(&mut self, disk: &Disk) {
        self.disks.send((disk.id, Some(disk.blocks))).unwrap();
    }

    fn disk_removed(&mut self, disk: DiskId) {
        self.disks.send((disk, None)).unwrap();
    }

    fn stop(&mut self) {
        for request in self.requests.try_iter().chain(self.kept.drain(..)) {
            let answer = Completion { cookie: request.cookie, result: Err(BlockError::Gone), bytes: 0 };
            self.answers.send(answer).unwrap();
        }
    }
}

/// The other side of [`Clients`].
struct Client {
    requests: Sender<Request>,
    answers: Receiver<Completion>,
    waker: Waker,
    disks: Receiver<(DiskId, Option<u64>)>,
}

impl Client {
    fn ask(&self, request: Request) {
        self.requests.send(request).unwrap();
        self.waker.wake();
    }

    fn answer(&self) -> Completion {
        self.answers.recv_timeout(PATIENCE).expect("an answer in time")
    }
}

struct Setup {
    machine: Machine,
    observer: Observer,
    runtime: Runtime<MemoryDisk>,
    clients: Vec<Client>,
}

fn options() -> RuntimeOptions {
    let mut queue = QueueOptions::new(64, Duration::from_millis(50));
    queue.abort_grace = Duration::from_millis(30);
    queue.retries = 20;
    let recovery = RecoveryPolicy { resets: 200, window: Duration::from_secs(600) };
    RuntimeOptions { queue, recovery, drain: Duration::from_secs(20) }
}

fn try_start(
    queues: u16,
    plan: Plan,
    options: &RuntimeOptions,
    broken: Option<usize>,
    fails: bool,
) -> Result<Setup, RuntimeError> {
    let machine = Machine::new().unwrap();
    let mut device = MemoryDisk::new(&machine, vec![plain_disk(1, 4096)], queues, 16, plan, 7).in_real_time();
    let observer = device.observer();
    let (mut clients, mut frontends) = (Vec::new(), Vec::new());
    for number in 0..usize::from(queues) {
        let (requests, from_client) = mpsc::channel();
        let (answers, to_client) = mpsc::channel();
        let (disks, seen) = mpsc::channel();
        let waker = Waker::new().unwrap();
        clients.push(Client { requests, answers: to_client, waker: waker.clone(), disks: seen });
        frontends.push(move || {
            if broken == Some(number) {
                return Err(io::Error::other("no front end"));
            }
            Ok(Clients {
                requests: from_client,
                answers,
                waker,
                events: None,
                kept: VecDeque::new(),
                disks,
                fails,
            })
        });
    }
    let hardware = device.take_queues();
    let runtime = Runtime::start(device, hardware, &Clock::monotonic(), options, frontends)?;
    Ok(Setup { machine, observer, runtime, clients })
}

fn start(queues: u16, plan: Plan) -> Setup {
    try_start(queues, plan, &options(), None, false).unwrap()
}

fn memory(setup: &Setup, fill: u8) -> DmaBuffer {
    let buffer = setup.machine.dma().unwrap().allocate(4096).unwrap();
    buffer.fill(0, 4096, fill).unwrap();
    buffer
}

fn transfer(operation: Operation, lba: u64, buffer: &DmaBuffer, cookie: u64) -> Request {
    let segments = [buffer.segment(0, 4096).unwrap()].into_iter().collect();
    Request::transfer(operation, DISK, lba, 8, segments, cookie)
}

#[test]
fn serves_and_stops_with_everything_on_the_medium() {
    let setup = start(2, Plan::default());
    let buffers: Vec<_> = (0..40u8).map(|n| memory(&setup, n + 1)).collect();
    for (n, buffer) in (0..).zip(&buffers) {
        let client = &setup.clients[usize::try_from(n % 2).unwrap()];
        client.ask(transfer(Operation::Write, n * 8, buffer, n));
    }
    for n in 0..40 {
        let answer = setup.clients[n % 2].answer();
        assert_eq!((answer.result, answer.bytes), (Ok(()), 4096));
    }
    let statistics = setup.runtime.statistics(PATIENCE).unwrap();
    assert_eq!(statistics.of(Operation::Write).succeeded, 40);
    assert_eq!(setup.observer.durable_block(DISK, 0)[0], 0, "not flushed yet");
    setup.runtime.stop().unwrap();
    for n in 0..40u8 {
        assert_eq!(setup.observer.durable_block(DISK, u64::from(n) * 8 + 7), [n + 1; 512]);
    }
}

#[test]
fn recovers_from_hangs_and_broken_queues_without_losing_an_answer() {
    let plan = Plan {
        hang: 30,
        deaf: 300,
        abort_fails: 100,
        broken: 1,
        transient: 50,
        doubled: 20,
        ..Plan::default()
    };
    let setup = start(2, plan);
    let buffers: Vec<_> = (0..128u8).map(|n| memory(&setup, n + 1)).collect();
    let mut outstanding: [HashMap<u64, usize>; 2] = Default::default();
    for round in 0..4u64 {
        for (n, buffer) in buffers.iter().enumerate() {
            let cookie = round * 1000 + n as u64;
            setup.clients[n % 2].ask(transfer(Operation::Write, n as u64 * 8, buffer, cookie));
            outstanding[n % 2].insert(cookie, n);
        }
        for (client, outstanding) in setup.clients.iter().zip(&mut outstanding) {
            while !outstanding.is_empty() {
                let answer = client.answer();
                assert!(outstanding.remove(&answer.cookie).is_some(), "answered once");
                assert_eq!(answer.result, Ok(()));
            }
        }
    }
    let resets =
        setup.runtime.events().try_iter().filter(|event| *event == RuntimeEvent::Reset(Ok(()))).count();
    assert!(resets > 0, "nothing was recovered from");
    assert_eq!(setup.runtime.statistics(PATIENCE).unwrap().resets, 2 * resets as u64);
    setup.observer.set_plan(Plan::default());
    setup.runtime.stop().unwrap();
    assert_eq!(setup.observer.take_violations(), Vec::<String>::new());
    for n in 0..128u8 {
        assert_eq!(setup.observer.durable_block(DISK, u64::from(n) * 8), [n + 1; 512]);
    }
}

#[test]
fn a_controller_that_does_not_come_back_answers_with_errors() {
    let plan = Plan { hang: 1000, deaf: 1000, reset_fails: 1000, ..Plan::default() };
    let setup = start(2, plan);
    let buffer = memory(&setup, 1);
    for client in &setup.clients {
        (0..20).for_each(|n| client.ask(transfer(Operation::Write, n * 8, &buffer, n)));
    }
    for client in &setup.clients {
        let mut cookies: Vec<_> = (0..20)
            .map(|_| {
                let answer = client.answer();
                assert_eq!(answer.result, Err(BlockError::Gone));
                answer.cookie
            })
            .collect();
        cookies.sort_unstable();
        assert!(cookies.into_iter().eq(0..20));
        // And goes on answering.
        client.ask(Request::flush(DISK, 99));
        assert_eq!(client.answer(), Completion { cookie: 99, result: Err(BlockError::Gone), bytes: 0 });
    }
    let events: Vec<_> = setup.runtime.events().try_iter().collect();
    assert_eq!(events, [RuntimeEvent::Reset(Err(BlockError::Gone)), RuntimeEvent::GivenUp(BlockError::Gone)]);
    assert!(matches!(setup.runtime.stop(), Err(RuntimeError::Device(BlockError::Gone))));
}

#[test]
fn stopping_answers_what_the_device_does_not() {
    let mut options = options();
    options.queue.timeout = Duration::from_secs(600);
    options.drain = Duration::from_millis(100);
    let plan = Plan { hang: 1000, ..Plan::default() };
    let setup = try_start(2, plan, &options, None, false).unwrap();
    let buffer = memory(&setup, 1);
    (0..5).for_each(|n| setup.clients[1].ask(transfer(Operation::Read, n * 8, &buffer, n)));
    while setup.observer.in_flight() == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(matches!(setup.runtime.stop(), Err(RuntimeError::Device(BlockError::TimedOut))));
    for _ in 0..5 {
        assert_eq!(setup.clients[1].answer().result, Err(BlockError::Gone));
    }
    assert_eq!(setup.observer.in_flight(), 0, "the device has forgotten the commands");
}

#[test]
fn disks_change_while_they_are_used() {
    let setup = start(1, Plan::default());
    let buffer = memory(&setup, 1);
    let ask = |lba| {
        setup.clients[0].ask(transfer(Operation::Read, lba, &buffer, 1));
        setup.clients[0].answer().result
    };
    assert_eq!(ask(4096), Err(BlockError::OutOfRange));
    setup.observer.resize(DISK, 5000);
    assert_eq!(setup.clients[0].disks.recv_timeout(PATIENCE), Ok((DISK, Some(5000))));
    assert_eq!(ask(4096), Ok(()));
    setup.observer.resize(DISK, 100);
    assert_eq!(setup.clients[0].disks.recv_timeout(PATIENCE), Ok((DISK, Some(100))));
    assert_eq!(ask(93), Err(BlockError::OutOfRange));
    setup.observer.report(ControllerEvent::DiskRemoved(DISK));
    assert_eq!(setup.clients[0].disks.recv_timeout(PATIENCE), Ok((DISK, None)));
    assert_eq!(ask(0), Err(BlockError::Gone));
    let events: Vec<_> = (0..3).map(|_| setup.runtime.events().recv_timeout(PATIENCE).unwrap()).collect();
    assert_eq!(events[2], RuntimeEvent::DiskRemoved(DISK));
    setup.runtime.stop().unwrap();
}

#[test]
fn a_front_end_that_cannot_be_made_is_an_error_that_says_so() {
    let error = try_start(2, Plan::default(), &options(), Some(1), false).err().unwrap();
    assert_eq!(error.to_string(), "front end of queue 1: no front end");
}

#[test]
fn a_front_end_that_fails_is_reported_and_the_rest_stops_orderly() {
    let setup = try_start(1, Plan::default(), &options(), None, true).unwrap();
    let event = setup.runtime.events().recv_timeout(PATIENCE).unwrap();
    assert_eq!(event, RuntimeEvent::FrontendFailed { queue: 0, error: "as planned".into() });
    setup.runtime.stop().unwrap();
}
