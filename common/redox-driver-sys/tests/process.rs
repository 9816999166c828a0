//! Children that share memory. A process that forks has one thread, so that each test is done by a process of its own.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "support/alone.rs"]
mod alone;

use std::{sync::atomic::Ordering, time::Duration};

use alone::alone;
use redox_driver_sys::{
    process::{Child, End},
    shared::SharedMemory,
};

const LONG: Duration = Duration::from_secs(10);

fn fork(work: impl FnOnce() -> u8) -> Child {
    // SAFETY: see `alone`.
    unsafe { Child::fork(work) }.unwrap()
}

#[test]
fn what_a_child_writes_is_there() {
    alone("what_a_child_writes_is_there", || {
        let memory = SharedMemory::new(1).unwrap();
        let (theirs, ours) = (memory.word(4).unwrap(), memory.word(8).unwrap());
        let mut child = fork(|| {
            theirs.store(7, Ordering::Release);
            while ours.load(Ordering::Acquire) == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            42
        });
        assert_eq!(child.try_wait().unwrap(), None);
        while theirs.load(Ordering::Acquire) != 7 {
            std::thread::sleep(Duration::from_millis(1));
        }
        ours.store(1, Ordering::Release);
        assert_eq!(child.wait(LONG).unwrap(), Some(End::Exited(42)));
        assert_eq!(child.kill(LONG).unwrap(), End::Exited(42), "nobody else's number is hit");
    });
}

#[test]
fn a_child_can_be_killed_and_waiting_has_an_end() {
    alone("a_child_can_be_killed_and_waiting_has_an_end", || {
        let mut child = fork(|| {
            std::thread::sleep(Duration::from_secs(1000));
            0
        });
        assert_eq!(child.wait(Duration::from_millis(5)).unwrap(), None);
        let end = child.kill(LONG).unwrap();
        assert_eq!((end, end.to_string().as_str()), (End::Killed(9), "was killed by signal 9"));
        assert_eq!(child.try_wait().unwrap(), Some(end));
    });
}

#[test]
fn a_panic_ends_the_child_alone() {
    alone("a_panic_ends_the_child_alone", || {
        let mut child = fork(|| {
            std::panic::set_hook(Box::new(|_| {}));
            panic!("on purpose")
        });
        assert_eq!(child.wait(LONG).unwrap(), Some(End::Exited(101)));
    });
}

#[test]
fn signals_that_the_parent_takes_end_the_child() {
    alone("signals_that_the_parent_takes_end_the_child", || {
        let memory = SharedMemory::new(1).unwrap();
        let running = memory.word(0).unwrap();
        let mut child = fork(|| {
            running.store(1, Ordering::Release);
            std::thread::sleep(Duration::from_secs(1000));
            0
        });
        while running.load(Ordering::Acquire) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let killed = std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(killed.success());
        assert_eq!(child.wait(LONG).unwrap(), Some(End::Killed(15)));
    });
}
