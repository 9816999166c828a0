//! A network stack on the driver, another one at the other end of the wire.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod support;

use std::time::Duration;

use driver_network::{
    Engine,
    testing::{MailPort, Served, Station, WireEnd, engine, ping, stations, tcp_echo},
};
use support::*;

fn talk(bench: &Bench, options: Options) -> (Station<Served<Rtl8168>>, Station<WireEnd<&Bench>>) {
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
        let mtu = bench.chip.max_mtu;
        let (mut one, mut other) = talk(&bench, Options { mtu, ..Options::default() });
        ping(&mut one, &mut other, &[1472, 4000, usize::from(mtu) - 28]);
        tcp_echo(&mut one, &mut other, 300_000, |_| {});
        bench.assert_clean();
    }
}

#[test]
fn a_conversation_outlives_a_pulled_cable_and_a_hang() {
    let bench = Bench::named("RTL8168C");
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

fn started(bench: &Bench, options: Options) -> Engine<Rtl8168, MailPort> {
    let device = bench.try_attach(options).unwrap();
    let dma = device.dma().clone();
    engine(bench, device, dma)
}

#[test]
fn what_waits_for_a_link_neither_spins_nor_leads_to_a_reset() {
    let bench = Bench::named("RTL8168C");
    let mut engine = started(&bench, Options::default());
    bench.plug(None);
    let mut events = Vec::new();
    let mut turn = |engine: &mut Engine<Rtl8168, MailPort>| engine.turn(&[0], &mut events).unwrap();
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
