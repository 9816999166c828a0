//! Deadlines and bounded polling.

mod common;

use std::{cell::Cell, time::Duration};

use common::host;
use redox_driver_sys::{
    Error,
    time::{Clock, Time},
};

const MS: Duration = Duration::from_millis(1);

#[test]
fn polling_ends_with_the_value() {
    let host = host();
    let clock = host.clock();
    let begin = clock.now();
    let asked = Cell::new(0);
    let value = clock.poll_until("third answer", MS * 100, MS, || {
        asked.set(asked.get() + 1);
        Ok((asked.get() == 3).then_some("there"))
    });
    assert_eq!((value.unwrap(), asked.get()), ("there", 3));
    assert_eq!(clock.now().since(begin), MS * 2);
}

#[test]
fn polling_ends_at_the_bound() {
    let host = host();
    let clock = host.clock();
    let begin = clock.now();
    let error = clock.poll_until("ready bit", MS * 10, MS, || Ok(None::<()>)).unwrap_err();
    assert!(matches!(error, Error::Timeout { what: "ready bit", after } if after == MS * 10));
    assert_eq!(error.to_string(), "ready bit did not happen within 10ms");
    assert_eq!(clock.now().since(begin), MS * 10);
}

#[test]
fn a_process_that_slept_too_long_asks_once_more() {
    let host = host();
    let clock = host.clock();
    let asked = Cell::new(0);
    let value = clock.poll_until("answer", MS, MS, || {
        asked.set(asked.get() + 1);
        // The process is not scheduled for a second; the device became ready in time.
        host.advance(Duration::from_secs(1));
        Ok((asked.get() == 2).then_some(()))
    });
    value.unwrap();
}

#[test]
fn a_failure_ends_polling_at_once() {
    let host = host();
    let clock = host.clock();
    let begin = clock.now();
    let failed =
        clock.poll_until("answer", MS * 10, MS, || Err::<Option<()>, _>(Error::Gone { register: "CSTS" }));
    assert!(failed.unwrap_err().is_gone());
    assert_eq!(clock.now(), begin);
}

#[test]
fn a_deadline_passes_when_it_is_reached() {
    let host = host();
    let clock = host.clock();
    let deadline = clock.deadline(MS);
    assert!(!deadline.passed(&clock));
    host.advance(MS - Duration::from_nanos(1));
    assert!(!deadline.passed(&clock));
    host.advance(Duration::from_nanos(1));
    assert!(deadline.passed(&clock));
    assert_eq!(deadline.error("completion").to_string(), "completion did not happen within 1ms");
    assert_eq!(deadline.at(), clock.coarse());
}

#[test]
fn time_does_not_overflow() {
    let end = Time::from_nanos(u64::MAX);
    assert_eq!(Time::from_nanos(5).plus(Duration::MAX), end);
    assert_eq!(end.plus(Duration::from_nanos(1)), end);
    assert_eq!(Time::from_nanos(5).since(end), Duration::ZERO);
    let host = host();
    assert!(!host.clock().deadline(Duration::MAX).passed(&host.clock()));
}

#[test]
fn the_machines_clock_runs() {
    let clock = Clock::monotonic();
    let begin = clock.now();
    clock.sleep(MS * 2);
    assert!(clock.now().since(begin) >= MS * 2);
    // The coarse clock lags by a tick of the kernel's timer, at most 10 ms.
    assert!(clock.coarse().plus(MS * 50) > clock.now());
}
