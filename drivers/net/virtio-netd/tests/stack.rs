//! A network stack on the driver, another one at the other end of the wire.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod support;

use std::time::Duration;

use driver_network::testing::{Served, Station, WireEnd, ping, stations, tcp_echo};
use support::*;

fn talk(bench: &Bench, options: Options) -> (Station<Served<VirtioNet>>, Station<WireEnd<&Bench>>) {
    let device = bench.try_attach(options).unwrap();
    let dma = device.dma().clone();
    stations(bench, device, dma)
}

#[test]
fn stations_talk() {
    for packed in [false, true] {
        for mtu in [1500, 9000] {
            let more = if packed { Rings::RING_PACKED } else { Rings::empty() };
            let features = TransportConfig::FEATURES | more;
            let bench =
                Bench::new(TransportConfig { features, ..TransportConfig::default() }, NetConfig::default());
            let (mut one, mut other) = talk(&bench, Options { mtu, ..options() });
            ping(&mut one, &mut other, &[0, 56, 1000, usize::from(mtu) - 28]);
            tcp_echo(&mut one, &mut other, 200_000, |_| {});
            bench.assert_clean();
        }
    }
}

#[test]
fn a_conversation_outlives_a_pulled_cable_and_a_hang() {
    let bench = Bench::usual();
    let (mut one, mut other) = talk(&bench, options());
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
