//! A network stack on the driver, another one at the other end of the wire.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod support;

use std::time::Duration;

use driver_network::{
    Engine,
    testing::{MailPort, Served, Station, WireEnd, engine, ping, stations, tcp_echo},
};
use support::*;

fn talk(bench: &Bench, options: Options) -> (Station<Served<E1000>>, Station<WireEnd<&Bench>>) {
    let device = bench.try_attach(options).unwrap();
    let dma = device.dma().clone();
    stations(bench, device, dma)
}

#[test]
fn stations_talk() {
    for name in NAMES {
        let bench = Bench::named(name);
        let (mut one, mut other) = talk(&bench, Options::default());
        ping(&mut one, &mut other, &[0, 56, 1000, 1472]);
        tcp_echo(&mut one, &mut other, 300_000, |_| {});
        bench.assert_clean();
    }
}

#[test]
fn jumbo_frames_go_through() {
    for name in NAMES {
        let bench = Bench::named(name);
        let (mut one, mut other) = talk(&bench, Options { mtu: 9000, ..Options::default() });
        ping(&mut one, &mut other, &[1472, 4096, 8972]);
        tcp_echo(&mut one, &mut other, 300_000, |_| {});
        bench.assert_clean();
    }
}

#[test]
fn a_conversation_outlives_a_pulled_cable_and_a_hang() {
    let bench = Bench::named("82540EM");
    let (mut one, mut other) = talk(&bench, Options::default());
    let mut step = 0;
    tcp_echo(&mut one, &mut other, 400_000, |back| {
        if step == 0 && back > 100_000 {
            step = 1;
            bench.plug(None);
            bench.host.advance(Duration::from_secs(1));
            bench.plug(Some(Partner::SWITCH));
        } else if step == 1 && back > 250_000 {
            step = 2;
            let hang = Rule::only(Packets::Sent, Action::Hang).times(1);
            bench.model.set_faults(FaultPlan::new(1).rule(hang));
        }
    });
    assert_eq!(step, 2);
    assert_eq!(one.nic().0.device().resets(), 1);
    bench.assert_clean();
}

fn started(bench: &Bench, options: Options) -> Engine<E1000, MailPort> {
    let device = bench.try_attach(options).unwrap();
    let dma = device.dma().clone();
    engine(bench, device, dma)
}

#[test]
fn a_packet_that_waits_for_room_is_sent_as_it_is() {
    let bench = Bench::named("82540EM");
    let mut engine = started(&bench, Options { tx_ring: 64, mtu: 9000, ..Options::default() });
    // Three descriptors each: the ring is full before the buffers are used up.
    let frames: Vec<_> = (0..200).map(|n| frame(PEER, 9000, n)).collect();
    let outbox = frames.iter().map(|frame| (frame.clone(), TxOffload::default()));
    engine.ports_mut()[0].outbox.extend(outbox);
    let (mut sent, mut events) = (Vec::new(), Vec::new());
    for _ in 0..1000 {
        engine.turn(&[0], &mut events).unwrap();
        bench.host.advance(Duration::from_micros(5));
        sent.extend(bench.model.take_sent());
    }
    assert!(sent == frames);
}

#[test]
fn one_port_gets_the_frames_of_every_flow() {
    let bench = Bench::named("82574L");
    let mut engine = started(&bench, Options::default());
    assert_eq!(engine.device().capabilities().queues, 2);
    let mut events = Vec::new();
    let mut run = |engine: &mut Engine<E1000, MailPort>| {
        for flow in 0..32 {
            bench.model.send(&Ip { v6: false, tcp: true, ports: (flow, 80), payload: 100 }.frame(OWN));
            bench.host.advance(Duration::from_micros(100));
            engine.turn(&[0], &mut events).unwrap();
        }
        engine.ports_mut()[0].inbox.drain(..).count()
    };
    assert_eq!(run(&mut engine), 32);
    // The vector of the rest is still that of the rest.
    engine.device().interrupt().unwrap().take().unwrap();
    bench.plug(None);
    bench.host.advance(Duration::from_millis(1));
    assert!(engine.device().interrupt().unwrap().take().unwrap() > 0);
    bench.plug(Some(Partner::SWITCH));
    // Nor does a reset bring the other queue back.
    let shape = Shape { mtu: 9000, ..engine.device().shape() };
    engine.reshape(shape, &mut Vec::new()).unwrap().unwrap();
    bench.host.advance(NEGOTIATION);
    assert_eq!(run(&mut engine), 32);
    bench.assert_clean();
}

#[test]
fn what_waits_for_a_link_neither_spins_nor_leads_to_a_reset() {
    let bench = Bench::named("82540EM");
    let mut engine = started(&bench, Options::default());
    bench.plug(None);
    let mut events = Vec::new();
    let mut turn = |engine: &mut Engine<E1000, MailPort>| engine.turn(&[0], &mut events).unwrap();
    turn(&mut engine);
    let bytes = frame(PEER, 100, 0);
    engine.ports_mut()[0].outbox.push_back((bytes.clone(), TxOffload::default()));
    turn(&mut engine);
    bench.host.advance(Duration::from_secs(20));
    let idle = (0..10).filter(|_| !turn(&mut engine).is_zero()).count();
    assert!(idle >= 5, "it waits");
    bench.plug(Some(Partner::SWITCH));
    for _ in 0..20 {
        bench.host.advance(Duration::from_millis(200));
        turn(&mut engine);
    }
    assert_eq!(bench.model.take_sent(), [bytes]);
    assert_eq!(engine.device().resets(), 0);
}
