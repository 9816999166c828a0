//! Attaching, interrupts, link, settings, reset, shutting down.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod support;

use std::time::Duration;

use support::*;

fn up(speed: Option<u32>) -> Link {
    Link::Up { speed, duplex: Duplex::Full, flow_control: FlowControl::default() }
}

#[test]
fn attaches_and_says_what_it_can() {
    for transitional in [false, true] {
        let transport = TransportConfig { transitional, ..TransportConfig::default() };
        let bench = Bench::new(transport, NetConfig::default());
        let mut device = bench.try_attach(Options { queues: 8, ..Options::default() }).unwrap();
        assert_eq!(device.settings().address, MacAddress(OWN));
        assert_eq!(device.name(), "pci-0000-00-04.0_virtio_net");
        assert_eq!(device.link(), up(Some(10_000)));
        let capabilities = device.capabilities().clone();
        let all = Features::TX_CHECKSUM
            | Features::TSO4
            | Features::TSO6
            | Features::RX_CHECKSUM
            | Features::RX_LRO;
        assert_eq!((capabilities.features, capabilities.queues), (all, 2));
        assert_eq!((capabilities.mtu, capabilities.tx_ring), (68..=9000, 16..=256));
        assert!(device.inspect().contains("MRG_RXBUF") && device.inspect().contains("not used: HOST_ECN"));
        let queues = device.take_queues(usize::MAX);
        device.start().unwrap();
        assert_eq!(bench.model.state().pairs, 2);
        device.shutdown(queues, WakeOn::empty()).unwrap();
        assert!(!bench.host.bus_master());
        bench.assert_clean();
    }
}

#[test]
fn what_cannot_be_driven_is_refused() {
    let refused = |transport, config| {
        let bench = Bench::new(transport, config);
        let error = bench.try_attach(Options::default()).unwrap_err();
        assert!(!bench.host.bus_master(), "{error}");
        error.to_string()
    };
    let legacy = TransportConfig { transitional: true, modern: false, ..TransportConfig::default() };
    assert!(refused(legacy, NetConfig::default()).contains("legacy devices"));
    let group = NetConfig { mac: [1, 0, 0, 0, 0, 1], ..NetConfig::default() };
    assert!(refused(TransportConfig::default(), group).contains("01:00:00:00:00:01"));
    let small = NetConfig { mtu: 67, ..NetConfig::default() };
    assert_eq!(refused(TransportConfig::default(), small), "MTU of the device: 67");
    let none =
        NetConfig { features: NetConfig::FEATURES - NetFeatures::CTRL_MAC_ADDR, ..NetConfig::default() };
    let bench = Bench::new(TransportConfig::default(), none);
    let other = Options { address: Some(MacAddress([2; 6])), ..options() };
    assert!(bench.try_attach(other).unwrap_err().to_string().contains("CTRL_MAC_ADDR"));
}

#[test]
fn a_poor_device_is_driven() {
    let config = NetConfig { features: NetFeatures::empty(), ..NetConfig::default() };
    let transport =
        TransportConfig { features: Rings::VERSION_1 | Rings::ACCESS_PLATFORM, ..TransportConfig::default() };
    let bench = Bench::new(transport, config);
    let mut driven = bench.drive(options());
    assert_eq!(driven.device.capabilities().features, Features::empty());
    assert_eq!(driven.device.link(), up(None));
    let address = driven.device.settings().address;
    assert!(address.is_station() && address.0[0] == 2);
    let bytes = frame(PEER, 200, 0);
    assert_eq!(driven.send(&bench, &bytes, TxOffload::default()), [bytes]);
    let bytes = frame(address.0, 300, 1);
    bench.model.send(&bytes);
    assert_eq!(driven.receive(&bench)[0].bytes, bytes);
    bench.assert_clean();
}

#[test]
fn the_link_calls() {
    for interrupts in [InterruptKind::Intx, InterruptKind::MsiX] {
        for msix_vectors in [0, 1, 33] {
            let bench = Bench::new(
                TransportConfig { msix_vectors, ..TransportConfig::default() },
                NetConfig::default(),
            );
            let mut driven = bench.drive(Options { interrupts, ..options() });
            for plugged in [false, true] {
                driven.events.clear();
                bench.model.set_link(plugged);
                bench.host.advance(Duration::from_micros(10));
                let own = driven.device.interrupt().map(|interrupt| interrupt.take().unwrap());
                let pair = &mut driven.pairs[0];
                let of_pair = pair.interrupts()[0].unwrap().take().unwrap();
                pair.interrupted();
                pair.interrupts()[0].unwrap().rearm().unwrap();
                assert!(
                    own.unwrap_or(0) > 0 || (of_pair > 0 && pair.attention()),
                    "{interrupts:?} {msix_vectors}"
                );
                driven.poll(&bench).unwrap();
                let link = if plugged { up(Some(10_000)) } else { Link::Down };
                assert_eq!(driven.events, [NetEvent::LinkChanged(link)]);
            }
            bench.assert_clean();
        }
    }
}

#[test]
fn frames_interrupt_once_they_are_wanted() {
    for transport in all_rings() {
        let bench = Bench::new(transport, NetConfig::default());
        let mut driven = bench.drive_usual();
        for _ in 0..3 {
            while driven.pairs[0].arm(bench.host.now()) {
                assert_eq!(driven.receive(&bench), []);
            }
            let taken = |driven: &mut Driven| driven.pairs[0].interrupts()[0].unwrap().take().unwrap();
            taken(&mut driven);
            bench.model.send(&frame(OWN, 100, 0));
            bench.host.advance(Duration::from_micros(50));
            assert!(taken(&mut driven) > 0);
            assert_eq!(driven.receive(&bench).len(), 1);
        }
        bench.assert_clean();
    }
}

#[test]
fn settings_reach_the_device_and_outlive_a_reset() {
    let bench = Bench::usual();
    let mut driven = bench.drive_usual();
    let unicast = vec![MacAddress([2, 0, 0, 0, 0, 9])];
    let multicast: Vec<_> = (0..5).map(|n| MacAddress([0x33, 0x33, 0, 0, 0, n])).collect();
    let filter = Filter { unicast, multicast, ..Filter::default() };
    let settings = Settings {
        address: MacAddress([2, 0, 0, 0, 0, 7]),
        filter,
        features: Features::TX_CHECKSUM | Features::RX_CHECKSUM,
    };
    driven.device.configure(&settings).unwrap();
    let expected = NetState {
        mac: [2, 0, 0, 0, 0, 7],
        unicast: Some(vec![[2, 0, 0, 0, 0, 9]]),
        multicast: Some((0..5).map(|n| [0x33, 0x33, 0, 0, 0, n]).collect()),
        pairs: 1,
        offloads: NetFeatures::GUEST_CSUM,
        ..NetState::default()
    };
    assert_eq!(bench.model.state(), expected);
    driven.reset(driven.device.shape()).unwrap();
    assert_eq!(bench.model.state(), expected);
    for (to, wanted) in [
        ([2, 0, 0, 0, 0, 7], true),
        ([2, 0, 0, 0, 0, 9], true),
        (OWN, false),
        ([0x33, 0x33, 0, 0, 0, 4], true),
        ([0x33, 0x33, 0, 0, 0, 5], false),
        ([0xff; 6], true),
    ] {
        bench.model.send(&frame(to, 100, 0));
        assert_eq!(driven.receive(&bench).len(), usize::from(wanted), "{to:?}");
    }
    // More than a table: everything to groups.
    let multicast =
        (0..600u16).map(|n| MacAddress([1, 0, 0, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]])).collect();
    let filter = Filter { multicast, ..Filter::default() };
    driven.device.configure(&Settings { filter, ..settings.clone() }).unwrap();
    assert!(bench.model.state().all_multicast && !bench.model.state().promiscuous);
    let group = Settings { address: MacAddress([1; 6]), ..settings.clone() };
    assert_eq!(driven.device.configure(&group), Err(NetError::Invalid));
    let vlan = Settings { features: Features::TX_VLAN, ..settings };
    assert_eq!(driven.device.configure(&vlan), Err(NetError::Unsupported));
    bench.assert_clean();
}

#[test]
fn what_was_not_negotiated_is_not_switched() {
    let bench = Bench::without(NetFeatures::GUEST_CSUM | NetFeatures::GUEST_TSO4 | NetFeatures::GUEST_TSO6);
    let driven = bench.drive_usual();
    assert_eq!(
        driven.device.capabilities().features & (Features::RX_CHECKSUM | Features::RX_LRO),
        Features::empty()
    );
    // The address, two modes and the table.
    assert_eq!(bench.model.counts().commands, 4);
    bench.assert_clean();
}

#[test]
fn without_switches_features_are_negotiated_before_packets_go() {
    let bench = Bench::without(NetFeatures::CTRL_GUEST_OFFLOADS);
    let mut device = bench.try_attach(options()).unwrap();
    let guest = Rings::from_bits_retain(NetFeatures::GUEST_CSUM.bits());
    assert!(bench.model.accepted().contains(guest));
    let none = Settings { features: Features::empty(), ..device.settings().clone() };
    device.configure(&none).unwrap();
    assert!(!bench.model.accepted().intersects(guest));
    let dma = device.dma().clone();
    let mut driven = Driven::new(&bench, device, dma);
    let bytes = frame(OWN, 300, 1);
    bench.model.send(&bytes);
    assert_eq!(driven.receive(&bench)[0].bytes, bytes);
    let all = Settings { features: driven.device.capabilities().features, ..none };
    assert_eq!(driven.device.configure(&all), Err(NetError::Unsupported));
    driven.reset(driven.device.shape()).unwrap();
    assert!(!bench.model.accepted().intersects(guest));
    bench.assert_clean();
}

#[test]
fn rings_and_frames_of_other_lengths_come_by_a_reset() {
    for mergeable in [true, false] {
        let bench = Bench::usual();
        let mut driven = bench.drive(Options { mergeable, ..options() });
        for (mtu, tx_ring, rx_ring) in [(9000, 200, 17), (1500, 64, 64), (576, 16, 256)] {
            driven.reset(Shape { mtu, tx_ring, rx_ring }).unwrap();
            let rounded =
                Shape { mtu, tx_ring: tx_ring.next_power_of_two(), rx_ring: rx_ring.next_power_of_two() };
            assert_eq!(driven.device.shape(), rounded);
            assert_eq!(driven.pairs[0].rx_depth(), rounded.rx_ring);
            let bytes = frame(OWN, usize::from(mtu) + 14, 3);
            bench.model.send(&bytes);
            assert!(driven.receive(&bench)[0].bytes == bytes, "MTU {mtu}");
            assert!(driven.send(&bench, &bytes, TxOffload::default()) == [bytes]);
        }
        for (mtu, tx_ring) in [(9001, 64), (1500, 257), (67, 64)] {
            assert_eq!(driven.reset(Shape { mtu, tx_ring, rx_ring: 64 }), Err(NetError::Invalid));
        }
        bench.assert_clean();
    }
}

#[test]
fn a_command_without_an_answer_leads_to_a_reset() {
    for action in [Action::Drop, Action::NoStatus, Action::Fail(1), Action::Hang] {
        let bench = Bench::usual();
        let mut driven = bench.drive_usual();
        let plan = FaultPlan::new(1).rule(Rule::only(Requests::of_kind(Net::CONTROL), action).times(1));
        bench.model.set_faults(plan);
        let mut settings = driven.device.settings().clone();
        settings.filter.promiscuous = true;
        let start = bench.host.now();
        let lost = matches!(action, Action::Drop | Action::Hang);
        let error = if lost { NetError::TimedOut } else { NetError::Protocol };
        assert_eq!(driven.device.configure(&settings), Err(error), "{action:?}");
        assert!(bench.host.now().since(start) < Duration::from_secs(1));
        assert!(!driven.device.settings().filter.promiscuous, "nothing has changed");
        driven.poll(&bench).unwrap();
        assert_eq!(!driven.events.is_empty(), lost, "{:?}", driven.events);
        driven.reset(driven.device.shape()).unwrap();
        driven.device.configure(&settings).unwrap();
        assert!(bench.model.state().promiscuous);
    }
}

#[test]
fn a_device_that_needs_a_reset_or_is_gone_is_found() {
    let bench = Bench::usual();
    let mut driven = bench.drive_usual();
    bench.model.need_reset();
    driven.poll(&bench).unwrap();
    assert!(matches!(driven.events[..], [NetEvent::ResetNeeded(_)]));
    driven.reset(driven.device.shape()).unwrap();
    driven.poll(&bench).unwrap();
    bench.model.set_removed(true);
    assert_eq!(driven.poll(&bench), Err(NetError::Gone));
    assert_eq!(driven.reset(driven.device.shape()), Err(NetError::Gone));
    assert!(!bench.host.bus_master());
}

#[test]
fn a_device_that_gets_stuck_while_it_is_set_up_is_reset_again() {
    let bench = Bench::usual();
    let mut driven = bench.drive(Options { queues: 2, ..options() });
    // The first command of the reset, and of the next one that of the start.
    for nth in [1, 5] {
        let rule = Rule::only(Requests::of_kind(Net::CONTROL), Action::Drop).nth(nth);
        bench.model.set_faults(FaultPlan::new(1).rule(rule));
        driven.reset(driven.device.shape()).unwrap();
        driven.events.clear();
        driven.poll(&bench).unwrap();
        assert!(matches!(driven.events[..], [NetEvent::ResetNeeded(_)]), "command {nth}");
    }
    driven.reset(driven.device.shape()).unwrap();
    driven.events.clear();
    driven.poll(&bench).unwrap();
    assert_eq!(driven.events, []);
    assert_eq!(bench.model.state().pairs, 2);
    bench.assert_clean();
}

#[test]
fn another_device_after_a_reset_is_not_taken() {
    let bench = Bench::usual();
    let mut driven = bench.drive_usual();
    bench.model.change(|config| config.features -= NetFeatures::HOST_TSO4 | NetFeatures::HOST_ECN);
    assert_eq!(driven.reset(driven.device.shape()), Err(NetError::Gone));
    assert!(!bench.host.bus_master());
}
