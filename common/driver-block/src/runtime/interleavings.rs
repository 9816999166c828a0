//! The threads' handshake under every interleaving:
//! `RUSTFLAGS="--cfg loom" cargo test -p driver-block --lib interleavings`.
//!
//! The real supervisor and workers run; only descriptors, devices and time are replaced. Waits have no bound here, so a
//! lost wake-up is a deadlock, which loom reports; a doubled, missing or wrong answer fails an assertion.

use std::{io, time::Duration};

use loom::thread;
use redox_driver_sys::{
    irq::Interrupt,
    time::{Clock, Time},
};

use super::{
    mailbox::Mailbox,
    messages::{ToSupervisor, ToWorker},
    supervisor::Supervisor,
    worker::{Turn, Worker},
};
use crate::{
    device::{
        Command, Completed, Controller, ControllerEvent, Disk, DiskId, HardwareQueue, Limits, SubmitError,
        WriteCache,
    },
    error::BlockError,
    frontend::{QueueFrontend, Ready},
    queue::{Queue, QueueOptions},
    recovery::RecoveryPolicy,
    request::{Completion, Request},
    waker::Waker,
};

const DISK: DiskId = DiskId(1);

fn disk() -> Disk {
    let limits = Limits {
        block_size: 512,
        physical_block_size: 512,
        optimal_io_size: 0,
        max_transfer: 4096,
        max_commands: u16::MAX,
        max_segments: 1,
        segment_boundary: 1,
        dma_alignment: 1,
        max_discard_blocks: 8,
        max_discard_ranges: 1,
        discard_granularity: 512,
        max_write_zeroes_blocks: 0,
        write_cache: WriteCache::None,
        read_only: false,
        rotational: false,
    };
    Disk { id: DISK, blocks: 8, limits, model: String::new(), serial: String::new() }
}

/// A queue that keeps what it is given until it was reset.
struct Hardware {
    pending: Vec<u16>,
    hangs: bool,
}

impl HardwareQueue for Hardware {
    fn depth(&self) -> u16 {
        2
    }
    fn submit(&mut self, tag: u16, _: &Command<'_>) -> Result<(), SubmitError> {
        assert!(!self.pending.contains(&tag));
        self.pending.push(tag);
        Ok(())
    }
    fn commit(&mut self) {}
    fn reap(&mut self, completed: &mut Vec<Completed>) -> Result<(), BlockError> {
        if !self.hangs {
            completed.extend(self.pending.drain(..).map(|tag| Completed { tag, result: Ok(()) }));
        }
        Ok(())
    }
    fn interrupt(&self) -> Option<&Interrupt> {
        None
    }
    fn abort_handle(&self, tag: u16) -> u32 {
        tag.into()
    }
}

/// What becomes of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// A reset helps.
    Recovers,
    /// A reset does not help.
    Fails,
    /// It vanishes with the first look at it after an abort.
    Vanishes,
}

struct Device {
    fate: Fate,
    queues: usize,
    aborted: bool,
    off: bool,
}

impl Controller for Device {
    type Queue = Hardware;

    fn name(&self) -> &str {
        "device"
    }
    fn disks(&self) -> Vec<Disk> {
        vec![disk()]
    }
    fn take_queues(&mut self) -> Vec<Hardware> {
        Vec::new()
    }
    fn command_timeout(&self) -> Duration {
        Duration::from_secs(1)
    }
    fn interrupt(&self) -> Option<&Interrupt> {
        None
    }
    fn shares_interrupt(&self) -> bool {
        false
    }
    fn poll(&mut self, _: Time, _: &mut Vec<ControllerEvent>) -> Result<(), BlockError> {
        if self.aborted && self.fate == Fate::Vanishes { Err(BlockError::Gone) } else { Ok(()) }
    }
    fn abort(&mut self, _: u16, _: u32) -> Result<(), BlockError> {
        assert!(!self.off);
        self.aborted = true;
        Ok(())
    }
    fn reset(&mut self, mut queues: Vec<Hardware>) -> Result<Vec<Hardware>, BlockError> {
        assert!(!self.off);
        assert_eq!(queues.len(), self.queues, "a reset without all hardware");
        if self.fate == Fate::Fails {
            return Err(BlockError::Gone);
        }
        for queue in &mut queues {
            queue.pending.clear();
            queue.hangs = false;
        }
        Ok(queues)
    }
    fn shutdown(&mut self, queues: Vec<Hardware>) -> Result<(), BlockError> {
        assert!(!self.off, "shut down twice");
        assert!(queues.len() <= self.queues);
        self.off = true;
        Ok(())
    }
}

/// One client with one request.
struct Client {
    asked: bool,
    answer: Option<Completion>,
    fate: Fate,
}

impl QueueFrontend for Client {
    fn watch(&mut self, _: Option<&Interrupt>, _: &Waker) -> io::Result<()> {
        Ok(())
    }
    fn wait(&mut self, _: Duration) -> io::Result<Ready> {
        Err(io::Error::other("the test waits by itself"))
    }
    fn submit<H: HardwareQueue>(&mut self, queue: &mut Queue<H>) {
        if !self.asked {
            self.asked = true;
            queue.submit(Request::range(crate::Operation::Discard, DISK, 0, 8, 7)).expect("taken");
        }
    }
    fn answer(&mut self, answers: &[Completion]) {
        for answer in answers {
            assert!(self.asked && self.answer.is_none(), "answered once");
            assert_eq!(answer.cookie, 7);
            if self.fate == Fate::Recovers {
                assert_eq!(answer.result, Ok(()));
            }
            self.answer = Some(*answer);
        }
    }
    fn disk_changed(&mut self, _: &Disk) {}
    fn disk_removed(&mut self, _: DiskId) {}
    fn stop(&mut self) {}
}

impl Drop for Client {
    fn drop(&mut self) {
        assert_eq!(self.asked, self.answer.is_some(), "every request is answered");
    }
}

/// A queue's thread: time passes only when nothing else can happen.
fn work(mut worker: Worker<Hardware, Client>, inbox: &Mailbox<ToWorker<Hardware>>) {
    let mut now = Time::from_nanos(1);
    while worker.turn(now, Ready { interrupt: false, message: true }) != Turn::Done {
        match worker.due() {
            Some(due) => now = now.max(due),
            None => inbox.waker().wait(),
        }
    }
    worker.say_ended();
}

fn run(fate: Fate, hangs: &'static [bool]) {
    let mut builder = loom::model::Builder::new();
    // More takes hours.
    builder.preemption_bound = Some(if hangs.len() == 1 { 2 } else { 1 });
    builder.check(move || {
        let mut options = QueueOptions::new(4, Duration::from_secs(1));
        options.retries = 3;
        // The end of draining would be decided by time alone.
        let drain = Duration::from_secs(1 << 30);
        let inbox = Mailbox::<ToSupervisor<Hardware>>::new().unwrap();
        let boxes: Vec<_> = hangs.iter().map(|_| Mailbox::new().unwrap()).collect();
        let device = Device { fate, queues: hangs.len(), aborted: false, off: false };
        let (events, _listener) = std::sync::mpsc::sync_channel(8);
        let behaviour = (options.clone(), RecoveryPolicy::default(), drain);
        let clock = Clock::monotonic();
        let mut supervisor = Supervisor::new(device, &clock, boxes.clone(), inbox.clone(), behaviour, events);
        let threads: Vec<_> = (0..)
            .zip(boxes)
            .zip(hangs)
            .map(|((number, own), &hangs)| {
                let (to_supervisor, options) = (inbox.clone(), options.clone());
                thread::spawn(move || {
                    let mut queue = Queue::new(Hardware { pending: Vec::new(), hangs }, options);
                    queue.set_disk(&disk()).unwrap();
                    let mut worker = Worker::new(number, queue, own.clone(), to_supervisor, false, drain);
                    worker.serve(Client { asked: false, answer: None, fate });
                    work(worker, &own);
                })
            })
            .collect();
        // At any time, also before anything has begun.
        let stopper = {
            let inbox = inbox.clone();
            thread::spawn(move || inbox.post(ToSupervisor::Stop))
        };
        let result = loop {
            match supervisor.turn(Time::from_nanos(1)) {
                Some(result) => break result,
                None => inbox.waker().wait(),
            }
        };
        if fate == Fate::Recovers {
            assert_eq!(result, Ok(()));
        }
        stopper.join().unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn one_queue_stops() {
    run(Fate::Recovers, &[false]);
}

#[test]
fn one_queue_recovers_while_it_is_stopped() {
    run(Fate::Recovers, &[true]);
}

#[test]
fn a_failing_reset_meets_a_stop() {
    run(Fate::Fails, &[true]);
}

#[test]
fn a_vanishing_device_meets_a_stop() {
    run(Fate::Vanishes, &[true]);
}

#[test]
fn two_queues_ask_for_a_reset_and_are_stopped() {
    run(Fate::Recovers, &[true, true]);
}

#[test]
fn one_queue_works_while_the_other_needs_a_reset() {
    run(Fate::Recovers, &[true, false]);
}
