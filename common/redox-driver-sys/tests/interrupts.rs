//! Interrupts and waiting, in virtual time.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::{io::Write, os::fd::AsFd, time::Duration};

use common::{DELAY, STATUS, full_config, host, host_with, ids, start, started};
use redox_driver_sys::{
    Error,
    event::EventQueue,
    irq::{Interrupt, InterruptKind},
    mmio::{Mmio, ReadWrite},
    model::{ConfigSpace, Host},
    pci::PciFunction,
    time::Clock,
};

fn kinds(host: &Host, wanted: usize) -> (InterruptKind, usize) {
    let set = host.function().interrupts(wanted).unwrap();
    assert!(!set.is_empty());
    (set.kind(), set.len())
}

#[test]
fn the_best_kind_is_taken_and_fewer_rather_than_none() {
    let host = host();
    assert_eq!(kinds(&host, 4), (InterruptKind::MsiX, 4));
    assert_eq!(kinds(&host, 100), (InterruptKind::MsiX, 8));
    assert_eq!(kinds(&host, 0), (InterruptKind::MsiX, 1));
    host.refuse_interrupts(InterruptKind::MsiX);
    assert_eq!(kinds(&host, 4), (InterruptKind::Msi, 4));
    assert_eq!(kinds(&host, 3), (InterruptKind::Msi, 2), "powers of two");
    assert_eq!(kinds(&host, 100), (InterruptKind::Msi, 4));
    host.refuse_interrupts(InterruptKind::Msi);
    assert_eq!(kinds(&host, 4), (InterruptKind::Intx, 1));
    host.refuse_interrupts(InterruptKind::Intx);
    let error = host.function().interrupts(4).unwrap_err().to_string();
    for kind in ["MSI-X", "MSI", "INTx"] {
        assert!(error.contains(&format!("{kind} is switched off in this machine")), "{error}");
    }
}

#[test]
fn a_driver_can_ask_for_less() {
    let function = host().function();
    let kind = |best| function.interrupts_up_to(2, best).unwrap().kind();
    assert_eq!(kind(InterruptKind::MsiX), InterruptKind::MsiX);
    assert_eq!(kind(InterruptKind::Msi), InterruptKind::Msi);
    assert_eq!(kind(InterruptKind::Intx), InterruptKind::Intx);
}

#[test]
fn only_what_the_function_has_is_tried() {
    let bare = || ConfigSpace::new(ids()).with_memory_bar(0, 0x1000);
    assert_eq!(kinds(&host_with(bare()), 4), (InterruptKind::Intx, 1));
    assert_eq!(kinds(&host_with(bare().with_msi(1)), 4), (InterruptKind::Msi, 1));
    let none = host_with(bare().without_interrupt_pin()).function().interrupts(1).unwrap_err();
    assert!(matches!(none, Error::Unsupported(_)));
    assert!(none.to_string().contains("neither MSI-X nor MSI nor an interrupt pin"), "{none}");
}

struct Driver {
    host: Host,
    function: PciFunction,
    registers: Mmio,
    vectors: Vec<Interrupt>,
    queue: EventQueue,
}

fn driver(config: ConfigSpace, best: InterruptKind, wanted: usize) -> Driver {
    let host = host_with(config);
    let (function, registers) = started(host.function());
    let vectors = function.interrupts_up_to(wanted, best).unwrap().into_vectors();
    let mut queue = EventQueue::new(&function.clock()).unwrap();
    for (vector, token) in vectors.iter().zip(100..) {
        queue.add_interrupt(vector, token).unwrap();
    }
    Driver { host, function, registers, vectors, queue }
}

impl Driver {
    /// Has the device do something, after which it interrupts.
    fn ring(&self, vector: u32) {
        start(&self.registers, 0, 0, 0, vector);
    }

    fn wait(&mut self, timeout: Duration) -> Vec<u64> {
        let mut ready = vec![1];
        self.queue.wait(timeout, &mut ready).unwrap();
        assert_eq!(ready.remove(0), 1, "what was there stays");
        ready
    }
}

#[test]
fn each_vector_is_its_own() {
    let mut d = driver(full_config(), InterruptKind::MsiX, 3);
    for vector in [2, 0, 1] {
        d.ring(vector);
        assert_eq!(d.wait(Duration::from_millis(1)), [100 + u64::from(vector)]);
        assert_eq!(d.vectors[vector as usize].take().unwrap(), 1);
        assert_eq!(d.vectors[vector as usize].take().unwrap(), 0);
        d.vectors[vector as usize].rearm().unwrap();
    }
    // Messages add up until they are taken; a vector that was not enabled is lost.
    for _ in 0..3 {
        d.ring(1);
        d.host.advance(DELAY * 2);
    }
    d.ring(3);
    d.host.advance(DELAY * 2);
    assert_eq!(d.wait(Duration::ZERO), [101]);
    assert_eq!(d.vectors[1].take().unwrap(), 3);
    assert_eq!(d.wait(Duration::from_millis(1)), []);
    assert!(d.vectors.iter().all(|vector| vector.set_affinity(1).is_ok() && vector.as_fd().is_none()));
}

#[test]
fn messages_need_bus_mastering() {
    let mut d = driver(full_config(), InterruptKind::Msi, 1);
    d.function.set_bus_master(false).unwrap();
    d.ring(0);
    assert_eq!(d.wait(Duration::from_millis(1)), []);
}

#[test]
fn intx_is_a_level() {
    let mut d = driver(full_config(), InterruptKind::Intx, 4);
    assert_eq!(d.vectors.len(), 1);
    d.ring(0);
    assert_eq!(d.wait(Duration::from_millis(1)), [100]);
    assert_eq!(d.vectors[0].take().unwrap(), 1);
    // Masked until rearmed: another reason does not come through.
    d.ring(0);
    assert_eq!(d.wait(Duration::from_millis(1)), []);
    // Rearmed while the device still asserts it: it fires again at once.
    d.vectors[0].rearm().unwrap();
    assert_eq!(d.wait(Duration::ZERO), [100]);
    assert_eq!(d.vectors[0].take().unwrap(), 1);
    // Rearmed after the reason was taken away: silence, until the next one.
    d.registers.register::<u32, ReadWrite>(STATUS).unwrap().write(1);
    d.vectors[0].rearm().unwrap();
    assert_eq!(d.wait(Duration::from_millis(1)), []);
    d.ring(0);
    assert_eq!(d.wait(Duration::from_millis(1)), [100]);
}

#[test]
fn waiting_takes_the_time_until_the_event() {
    let mut d = driver(full_config(), InterruptKind::MsiX, 1);
    d.ring(0);
    let begin = d.host.now();
    assert_eq!(d.wait(Duration::from_secs(3600)), [100]);
    assert_eq!(d.host.now().since(begin), DELAY);
    d.vectors[0].take().unwrap();
    let begin = d.host.now();
    assert_eq!(d.wait(Duration::from_secs(3600)), []);
    assert_eq!(d.host.now().since(begin), Duration::from_secs(3600), "and not a moment of real time");
    // A bound before the event is kept to.
    d.ring(0);
    let begin = d.host.now();
    assert_eq!(d.wait(DELAY / 2), []);
    assert_eq!(d.host.now().since(begin), DELAY / 2);
    assert_eq!(d.wait(DELAY), [100]);
}

#[test]
fn what_is_not_taken_is_reported_again() {
    let mut d = driver(full_config(), InterruptKind::MsiX, 1);
    d.ring(0);
    assert_eq!(d.wait(DELAY * 2), [100]);
    assert_eq!(d.wait(Duration::ZERO), [100]);
}

#[test]
fn descriptors_are_waited_for_beside_interrupts() {
    let mut d = driver(full_config(), InterruptKind::MsiX, 1);
    let (reader, mut writer) = std::io::pipe().unwrap();
    d.queue.add_fd(reader.as_fd(), 7).unwrap();
    assert_eq!(d.wait(Duration::from_secs(1)), []);
    writer.write_all(b"x").unwrap();
    assert_eq!(d.wait(Duration::from_secs(1)), [7]);
    d.ring(0);
    d.host.advance(DELAY * 2);
    let mut both = d.wait(Duration::ZERO);
    both.sort_unstable();
    assert_eq!(both, [7, 100]);
    assert!(d.queue.add_fd(reader.as_fd(), 8).is_err(), "twice");
}

#[test]
fn real_time_waits_are_bounded_too() {
    let clock = Clock::monotonic();
    let mut queue = EventQueue::new(&clock).unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    queue.add_fd(reader.as_fd(), 3).unwrap();
    let mut ready = Vec::new();
    let begin = clock.now();
    queue.wait(Duration::from_millis(20), &mut ready).unwrap();
    assert!(ready.is_empty());
    assert!(clock.now().since(begin) >= Duration::from_millis(20));
    writer.write_all(b"x").unwrap();
    queue.wait(Duration::from_secs(60), &mut ready).unwrap();
    assert_eq!(ready, [3]);
    assert!(clock.now().since(begin) < Duration::from_secs(60));
}
