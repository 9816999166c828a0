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
    model: Handle<Net>,
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

type Ends = (Station<Served<VirtioNet>>, Station<OtherEnd>);

fn stations(bench: &Bench, options: Options) -> Ends {
    let mtu = options.mtu;
    let device = bench.try_attach(options).unwrap();
    let (dma, clock) = (device.dma().clone(), device.clock().clone());
    let engine = Engine::start(device, dma, clock, vec![MailPort::default()]).unwrap();
    let one = Station::new(Served(engine), MacAddress(OWN), 1, mtu);
    let other = OtherEnd { host: bench.host.clone(), model: bench.model.clone(), came: VecDeque::new() };
    (one, Station::new(other, MacAddress(PEER), 2, mtu))
}

#[test]
fn stations_talk() {
    for packed in [false, true] {
        for mtu in [1500, 9000] {
            let more = if packed { Rings::RING_PACKED } else { Rings::empty() };
            let features = TransportConfig::FEATURES | more;
            let bench =
                Bench::new(TransportConfig { features, ..TransportConfig::default() }, NetConfig::default());
            let (mut one, mut other) = stations(&bench, Options { mtu, ..options() });
            ping(&mut one, &mut other, &[0, 56, 1000, usize::from(mtu) - 28]);
            tcp_echo(&mut one, &mut other, 200_000, |_| {});
            bench.assert_clean();
        }
    }
}

#[test]
fn a_conversation_outlives_a_pulled_cable_and_a_hang() {
    let bench = Bench::usual();
    let (mut one, mut other) = stations(&bench, options());
    let mut step = 0;
    tcp_echo(&mut one, &mut other, 400_000, |back| {
        if step == 0 && back > 100_000 {
            step = 1;
            bench.model.set_link(false);
            bench.host.advance(Duration::from_secs(1));
            bench.model.set_link(true);
        } else if step == 1 && back > 250_000 {
            step = 2;
            let hang = Rule::only(Requests::of_kind(Net::TRANSMIT), Action::Hang).times(64);
            bench.model.set_faults(FaultPlan::new(1).rule(hang));
        }
    });
    assert_eq!(step, 2);
    assert!(one.nic().0.device().resets() >= 1);
    bench.assert_clean();
}
