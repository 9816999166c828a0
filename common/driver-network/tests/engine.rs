//! The engine with a device that is not well.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use driver_network::{
    Engine, EngineError, NetDevice, TxOffload, WakeOn,
    testing::{Handle, MailPort, Trouble, WireDevice, wire},
};

fn engine() -> (Engine<WireDevice, MailPort>, Handle, WireDevice) {
    let [device, other] = wire();
    let (handle, dma, clock) = (device.handle(), device.dma(), device.clock());
    let engine = Engine::start(device, dma, clock, vec![MailPort::default()]).unwrap();
    (engine, handle, other)
}

fn send(engine: &mut Engine<WireDevice, MailPort>, count: usize) {
    let packets = (0..count).map(|_| (vec![2; 100], TxOffload::default()));
    engine.ports_mut()[0].outbox.extend(packets);
}

fn statistic(engine: &mut Engine<WireDevice, MailPort>, name: &str) -> u64 {
    let text = engine.statistics();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap().parse().unwrap()
}

#[test]
fn a_device_that_never_sends_again_is_given_up_though_it_takes_packets() {
    let (mut engine, handle, _other) = engine();
    handle.make(Trouble::HangsForGood);
    let mut events = Vec::new();
    for _ in 0..100 {
        send(&mut engine, 1);
        handle.advance(Duration::from_secs(1));
        match engine.turn(&[0], &mut events) {
            Ok(_) => {}
            Err(EngineError::GivenUp) => {
                assert_eq!(handle.resets(), 5);
                assert!(handle.is_shut_down());
                return;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("it goes on after {} resets", handle.resets());
}

#[test]
fn what_a_reset_loses_is_counted() {
    let (mut engine, handle, _other) = engine();
    handle.make(Trouble::Hangs);
    // There is room for eight.
    send(&mut engine, 12);
    let mut events = Vec::new();
    while handle.resets() == 0 {
        engine.turn(&[0], &mut events).unwrap();
        handle.advance(Duration::from_secs(1));
    }
    assert_eq!(statistic(&mut engine, "lane_tx_dropped"), 9, "eight, and the one that waited for room");
    for _ in 0..10 {
        engine.turn(&[0], &mut events).unwrap();
    }
    let all = statistic(&mut engine, "lane_tx_packets");
    assert_eq!(all, 8 + 3, "the others are sent");
}

#[test]
fn a_device_is_shut_down_though_its_queue_fails() {
    let (mut engine, handle, _other) = engine();
    engine.turn(&[0], &mut Vec::new()).unwrap();
    handle.make(Trouble::Hangs);
    send(&mut engine, 1);
    engine.turn(&[0], &mut Vec::new()).unwrap();
    assert!(engine.device().link().is_up());
    handle.make(Trouble::Breaks);
    assert_eq!(engine.shutdown(Duration::from_secs(1), WakeOn::empty()), Ok(()));
    assert!(handle.is_shut_down());
}
