//! A network stack on the driver, another one at the other end of the wire.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod support;

use std::{collections::VecDeque, time::Duration};

use driver_network::{
    Engine,
    testing::{MailPort, Nic, Served, Station, ping, tcp_echo},
};
use support::*;

/// The other end: frames go in and out by the model's wire.
struct OtherEnd {
    host: Host,
    model: Handle,
    came: VecDeque<Vec<u8>>,
}

impl Nic for OtherEnd {
    fn run(&mut self) {
        self.host.advance(Duration::from_micros(100));
        self.came.extend(self.model.take_sent());
    }

    fn send(&mut self, frame: Vec<u8>) {
        self.model.send(&frame);
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        self.came.pop_front()
    }
}

type Ends = (Station<Served<Rtl8168>>, Station<OtherEnd>);

fn stations(bench: &Bench, options: Options) -> Ends {
    let mtu = options.mtu;
    let device = bench.try_attach(options).unwrap();
    let (dma, clock) = (device.dma().clone(), device.clock().clone());
    let ports = (0..device.capabilities().queues).map(|_| MailPort::default()).collect();
    let engine = Engine::start(device, dma, clock, ports).unwrap();
    bench.host.advance(NEGOTIATION);
    let one = Station::new(Served(engine), MacAddress(OWN), 1, mtu);
    let other = OtherEnd { host: bench.host.clone(), model: bench.model.clone(), came: VecDeque::new() };
    (one, Station::new(other, MacAddress(PEER), 2, mtu))
}

#[test]
fn stations_talk() {
    for name in NAMES {
        let bench = Bench::named(name);
        let (mut one, mut other) = stations(&bench, Options { ..Options::default() });
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
        let (mut one, mut other) = stations(&bench, Options { mtu, ..Options::default() });
        ping(&mut one, &mut other, &[1472, 4000, usize::from(mtu) - 28]);
        tcp_echo(&mut one, &mut other, 300_000, |_| {});
        bench.assert_clean();
    }
}

#[test]
fn a_conversation_outlives_a_pulled_cable_and_a_hang() {
    let bench = Bench::named("RTL8168C");
    let (mut one, mut other) = stations(&bench, Options { ..Options::default() });
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

fn engine(bench: &Bench, options: &Options) -> Engine<Rtl8168, MailPort> {
    let device = bench.try_attach(Options { ..options.clone() }).unwrap();
    let (dma, clock) = (device.dma().clone(), device.clock().clone());
    let engine = Engine::start(device, dma, clock, vec![MailPort::default()]).unwrap();
    bench.host.advance(NEGOTIATION);
    engine
}

#[test]
fn what_waits_for_a_link_neither_spins_nor_leads_to_a_reset() {
    let bench = Bench::named("RTL8168C");
    let mut engine = engine(&bench, &Options::default());
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
