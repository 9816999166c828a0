//! From attaching to the end: chips, addresses, links, interrupts, resets.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod support;

use std::time::Duration;

use common::{
    itr::Throttling,
    phy::{Modes, Wish},
};
use rtl8168_spec::{
    PhyAccess, Step,
    indirect::eri,
    registers::{Config3, Config5, Events, RxConfig, TxConfig},
};
use support::*;

#[test]
fn every_chip_is_set_up_as_its_data_say() {
    for chip in CHIPS {
        // A revision that is this one's and none's before it.
        let found = |xid| Chip::find(TxConfig::new().with_xid(xid));
        let revisions = (0..8).map(|low| chip.xid | low & !chip.mask);
        let xid = revisions.into_iter().find(|&xid| found(xid) == Some(chip)).unwrap();
        let bench = Bench::new(Config::of(Box::leak(Box::new(Chip { xid, ..*chip }))));
        let driven = bench.drive_usual();
        assert_eq!(driven.device.chip(), chip);
        let model = &bench.model;
        // Later steps may change what earlier ones did: what is left is the last word about each bit.
        for (at, step) in chip.steps.iter().enumerate() {
            let later = |other: &&Step| match (step, other) {
                (Step::Ephy { register: one, .. }, Step::Ephy { register: other, .. }) => one == other,
                (Step::Eri { address: one, .. }, Step::Eri { address: other, .. })
                | (Step::Mac { address: one, .. }, Step::Mac { address: other, .. }) => one == other,
                _ => false,
            };
            if chip.steps[at + 1..].iter().any(|other| later(&other)) {
                continue;
            }
            match *step {
                Step::Ephy { register, set, .. } => assert_eq!(model.ephy(register) & set, set, "{step:?}"),
                Step::Eri { address, set, .. } => assert_eq!(model.extended(address) & set, set, "{step:?}"),
                Step::Mac { address, set, .. } => assert_eq!(model.mac(address) & set, set, "{step:?}"),
                Step::Byte { .. } | Step::Dword { .. } => {}
            }
        }
        for (at, step) in chip.phy_steps.iter().enumerate() {
            let same =
                |other: &rtl8168_spec::PhyStep| (other.page, other.register) == (step.page, step.register);
            if (step.page > 0 || chip.phy == PhyAccess::Ocp) && !chip.phy_steps[at + 1..].iter().any(same) {
                assert_eq!(model.phy_page(step.page, step.register) & step.set, step.set, "{step:?}");
            }
        }
        let rcr = RxConfig::from(model.register32(reg::RCR));
        assert_eq!(rcr.into_bits() & !0x3f, chip.rcr.into_bits());
        let tcr = TxConfig::from(model.register32(reg::TCR));
        assert_eq!((tcr.burst(), tcr.ifg(), tcr.auto_fifo()), (7, 3, chip.modern));
        assert_eq!(model.register8(reg::PMCH) & chip.power_up, chip.power_up);
        assert_eq!(model.register8(reg::CR9346), reg::LOCK);
        bench.assert_clean();
    }
}

#[test]
fn chips_without_data_are_named() {
    let unknown: &'static Chip = Box::leak(Box::new(Chip { xid: 0x641, ..CHIPS[0] }));
    let refused = Bench::new(Config::of(unknown)).try_attach(Options::default());
    assert_eq!(refused.unwrap_err().to_string(), "unknown chip XID 641");
}

#[test]
fn the_address_is_the_one_that_was_stored() {
    for name in NAMES {
        let bench = Bench::named(name);
        assert_eq!(bench.drive_usual().device.settings().address, MacAddress(OWN));
        let given = MacAddress([2, 0, 0, 0, 0, 9]);
        let bench = Bench::named(name);
        let mut driven = bench.drive(Options { address: Some(given), ..Options::default() });
        bench.model.send(&frame(given.0, 60, 1));
        assert_eq!(driven.receive(&bench).len(), 1);
        driven.shutdown(WakeOn::empty()).unwrap();
        // The next one finds the old one.
        assert_eq!(bench.try_attach(Options::default()).unwrap().settings().address, MacAddress(OWN));
    }
    let bench = Bench::new(Config { address: [1, 0, 0, 0, 0, 0], ..Config::named("RTL8168C") });
    assert!(matches!(bench.try_attach(Options::default()), Err(Error::Address(_))));
}

#[test]
fn the_link_calls() {
    let kinds = [
        ("RTL8168C", InterruptKind::MsiX, InterruptKind::Intx),
        ("RTL8168H", InterruptKind::Intx, InterruptKind::Intx),
        ("RTL8168H", InterruptKind::Msi, InterruptKind::Msi),
        ("RTL8168H", InterruptKind::MsiX, InterruptKind::MsiX),
    ];
    for (name, interrupts, granted) in kinds {
        let bench = Bench::named(name);
        let mut driven = bench.drive(Options { interrupts, ..Options::default() });
        assert_eq!(driven.device.interrupt_kind(), granted);
        serve(&mut driven.pairs[0], &bench);
        driven.pairs[0].attention();
        for plugged in [false, true] {
            driven.events.clear();
            bench.plug(plugged.then_some(Partner::SWITCH));
            bench.host.advance(NEGOTIATION);
            assert!(serve(&mut driven.pairs[0], &bench), "{name} {interrupts} {plugged}");
            assert!(driven.pairs[0].attention());
            driven.poll(&bench).unwrap();
            assert_eq!(driven.device.link().is_up(), plugged);
            assert_eq!(driven.events, [NetEvent::LinkChanged(driven.device.link())]);
        }
        // Gone and back between two looks.
        driven.events.clear();
        bench.plug(None);
        bench.plug(Some(Partner::SWITCH));
        bench.host.advance(NEGOTIATION);
        driven.poll(&bench).unwrap();
        assert_eq!(driven.events.len(), 2);
        bench.assert_clean();
    }
}

/// Serves an interrupt as the framework does; whether one came.
fn serve(pair: &mut Pair, bench: &Bench) -> bool {
    let came = pair.interrupts()[0].is_some_and(|interrupt| interrupt.take().unwrap() > 0);
    if came {
        pair.interrupted();
        pair.interrupts()[0].unwrap().rearm().unwrap();
        pair.arm(bench.host.now());
    }
    came
}

#[test]
fn packets_call_with_one_read() {
    for interrupts in [InterruptKind::Intx, InterruptKind::Msi, InterruptKind::MsiX] {
        let bench = Bench::named("RTL8168H");
        let mut driven = bench.drive(Options { interrupts, ..Options::default() });
        serve(&mut driven.pairs[0], &bench);
        for round in 0..50 {
            let before = bench.model.statistics().reads;
            bench.model.send(&frame(OWN, 100, round));
            bench.host.advance(Duration::from_millis(1));
            assert!(serve(&mut driven.pairs[0], &bench), "{interrupts}, round {round}");
            assert_eq!(driven.receive(&bench).len(), 1);
            assert_eq!(bench.model.statistics().reads - before, 1);
            driven.send(&bench, &frame(PEER, 60, 0), TxOffload::default());
            bench.host.advance(Duration::from_millis(1));
            assert!(serve(&mut driven.pairs[0], &bench));
        }
        bench.assert_clean();
    }
}

#[test]
fn the_throttle_holds_interrupts_up() {
    let count = |throttling| {
        let bench = Bench::named("RTL8168H");
        let mut driven = bench.drive(Options { throttling, ..Options::default() });
        serve(&mut driven.pairs[0], &bench);
        let before = bench.model.statistics().interrupts;
        // 100,000 packets per second for a tenth of a second, four at a time.
        for n in 0..2500u32 {
            (0..4).for_each(|_| bench.model.send(&frame(OWN, 1514, n.to_le_bytes()[0])));
            bench.host.advance(Duration::from_micros(40));
            if driven.pairs[0].interrupts()[0].unwrap().take().unwrap() > 0 {
                driven.pairs[0].interrupted();
                driven.pairs[0].interrupts()[0].unwrap().rearm().unwrap();
                driven.take().unwrap();
                driven.pairs[0].arm(bench.host.now());
            }
        }
        bench.assert_clean();
        bench.model.statistics().interrupts - before
    };
    let off = count(Throttling::Off);
    let adaptive = count(Throttling::Adaptive);
    assert!(off > 2400, "{off}");
    assert!(adaptive * 5 <= off, "{adaptive} of {off}");
}

#[test]
fn the_link_is_as_was_wished_for() {
    for name in ["RTL8168C", "RTL8168H"] {
        let bench = Bench::named(name);
        let driven = bench.drive(Options { link: Wish::Force(Modes::T100_FULL), ..Options::default() });
        let none = FlowControl { receive: false, transmit: false };
        let link = Link::Up { speed: Some(100), duplex: Duplex::Full, flow_control: none };
        assert_eq!(driven.device.link(), link);
        bench.assert_clean();
    }
}

#[test]
fn a_device_that_does_not_come_up_is_given_up() {
    let cases = [
        ("RTL8168C", LifecycleFault::NeverReset),
        ("RTL8168C", LifecycleFault::PhyHangs),
        ("RTL8168H", LifecycleFault::PhyHangs),
        ("RTL8168H", LifecycleFault::IndirectHangs),
    ];
    for (name, fault) in cases {
        let bench = Bench::named(name);
        bench.model.set_faults(FaultPlan::new(1).lifecycle(fault));
        let before = bench.host.now();
        let failed = bench.try_attach(Options::default()).unwrap_err();
        assert_eq!(failed.as_net_error(), NetError::TimedOut, "{name} {fault:?}: {failed}");
        assert!(bench.host.now().since(before) < Duration::from_secs(2));
        assert!(!bench.host.bus_master());
    }
    // What is only not gentle is no reason.
    let bench = Bench::named("RTL8168H");
    let faults =
        FaultPlan::new(1).lifecycle(LifecycleFault::NeverEmpty).lifecycle(LifecycleFault::TallyHangs);
    bench.model.set_faults(faults);
    let mut driven = bench.drive_usual();
    assert_eq!(driven.device.statistics(), Err(NetError::TimedOut));
}

#[test]
fn a_device_that_is_pulled_out_is_gone() {
    for name in ["RTL8168B", "RTL8168H"] {
        let bench = Bench::named(name);
        let mut driven = bench.drive_usual();
        bench.model.set_removed(true);
        driven.pairs[0].interrupted();
        assert_eq!(driven.pairs[0].reap(&mut Vec::new()), Err(NetError::Gone));
        assert_eq!(driven.poll(&bench), Err(NetError::Gone));
        assert_eq!(driven.device.statistics(), Err(NetError::Gone));
        assert_eq!(driven.shutdown(WakeOn::empty()), Err(NetError::Gone));
        assert!(!bench.host.bus_master());
    }
}

#[test]
fn shapes_that_cannot_be_are_refused() {
    let bench = Bench::named("RTL8168C");
    for options in [
        Options { mtu: 67, ..Options::default() },
        Options { mtu: 6123, ..Options::default() },
        Options { tx_ring: 63, ..Options::default() },
        Options { rx_ring: 1025, ..Options::default() },
    ] {
        assert!(matches!(bench.try_attach(options), Err(Error::Shape { .. })));
    }
    // With offloads no large frames, and the other way round.
    let usual = bench.try_attach(Options::default()).unwrap();
    assert_eq!(usual.capabilities().mtu, 68..=1500);
    assert!(usual.capabilities().features.contains(Features::TX_CHECKSUM | Features::TSO6));
    drop(usual);
    let large = bench.try_attach(Options { mtu: 6122, ..Options::default() }).unwrap();
    assert_eq!(large.capabilities().mtu, 68..=6122);
    assert!(!large.capabilities().features.intersects(Features::TX_CHECKSUM | Features::TSO4));
}

#[test]
fn a_hung_transmitter_comes_back_with_a_reset() {
    for name in NAMES {
        let bench = Bench::named(name);
        let mut driven = bench.drive_usual();
        bench.model.set_faults(FaultPlan::new(1).rule(Rule::only(Packets::Sent, Action::Hang).times(1)));
        let segment = driven.write(&frame(PEER, 60, 0));
        let packet = TxPacket { segments: &[segment], len: 60, offload: TxOffload::default() };
        driven.pairs[0].submit(1, &packet).unwrap();
        driven.pairs[0].commit();
        bench.host.advance(Duration::from_secs(1));
        let mut done = Vec::new();
        driven.pairs[0].reap(&mut done).unwrap();
        assert!(done.is_empty());
        let shape = Shape { tx_ring: 100, rx_ring: 128, mtu: 576 };
        driven.reset(shape).unwrap();
        driven.link_up(&bench);
        assert_eq!((driven.device.shape(), driven.device.resets()), (shape, 1));
        let bytes = frame(PEER, 500, 1);
        assert_eq!(driven.send(&bench, &bytes, TxOffload::default()), [bytes]);
        bench.model.send(&frame(OWN, 500, 2));
        assert_eq!(driven.receive(&bench).len(), 1);
        bench.assert_clean();
    }
}

#[test]
fn a_receiver_that_passes_descriptors_over_is_found() {
    let bench = Bench::named("RTL8168H");
    let mut driven = bench.drive_usual();
    let skip = Rule::only(Packets::Received, Action::NoWriteBack).times(2);
    bench.model.set_faults(FaultPlan::new(1).rule(skip));
    (0..3).for_each(|n| bench.model.send(&frame(OWN, 60, n)));
    assert_eq!(driven.receive(&bench).len(), 0);
    bench.host.advance(Duration::from_secs(1));
    assert!(driven.pairs[0].arm(bench.host.now()), "it is not to wait");
    assert_eq!(driven.take().unwrap_err(), NetError::Protocol);
    driven.reset(driven.device.shape()).unwrap();
    driven.link_up(&bench);
    bench.model.send(&frame(OWN, 60, 9));
    assert_eq!(driven.receive(&bench).len(), 1);
    bench.assert_clean();
}

#[test]
fn errors_on_the_bus_and_of_the_fifo_ask_for_a_reset() {
    let bench = Bench::new(Config::of(CHIPS.iter().find(|chip| chip.overflow_resets).unwrap()));
    let mut driven = bench.drive_usual();
    serve(&mut driven.pairs[0], &bench);
    driven.poll(&bench).unwrap();
    driven.events.clear();
    // As many as the ring and the FIFO hold, and some.
    (0..200).for_each(|n| bench.model.send(&frame(OWN, 1514, n)));
    bench.host.advance(Duration::from_millis(1));
    assert!(serve(&mut driven.pairs[0], &bench) && driven.pairs[0].attention());
    driven.poll(&bench).unwrap();
    assert!(
        matches!(&driven.events[..], [NetEvent::ResetNeeded(why)] if why.contains("FIFO")),
        "{:?}",
        driven.events
    );
    assert!(driven.statistic("rx_missed") > 0);
    bench.assert_clean();

    let bench = Bench::named("RTL8168H");
    let mut driven = bench.drive_usual();
    serve(&mut driven.pairs[0], &bench);
    driven.poll(&bench).unwrap();
    driven.events.clear();
    // Memory that the device cannot reach.
    let mut segment = driven.write(&frame(PEER, 60, 0));
    segment.addr = redox_driver_sys::dma::DmaAddr::new(0xdead_0000);
    let packet = TxPacket { segments: &[segment], len: 60, offload: TxOffload::default() };
    driven.pairs[0].submit(1, &packet).unwrap();
    driven.pairs[0].commit();
    bench.host.advance(Duration::from_millis(1));
    assert!(serve(&mut driven.pairs[0], &bench) && driven.pairs[0].attention());
    driven.poll(&bench).unwrap();
    assert!(matches!(&driven.events[..], [NetEvent::ResetNeeded(why)] if why.contains("SERR")));
}

#[test]
fn what_is_to_wake_the_machine_is_left_behind() {
    for name in NAMES {
        let bench = Bench::named(name);
        let driven = bench.drive_usual();
        assert_eq!(driven.device.capabilities().wake_on, WakeOn::all() - WakeOn::ARP);
        driven.shutdown(WakeOn::MAGIC | WakeOn::PHY | WakeOn::UNICAST).unwrap();
        let config3 = Config3::from(bench.model.register8(reg::CONFIG3));
        let config5 = Config5::from(bench.model.register8(reg::CONFIG5));
        let by_eri = bench.model.extended(eri::FILTER) & eri::WAKE_MAGIC != 0;
        assert_eq!(
            (config3.wake_magic(), by_eri),
            (!bench.chip.wake_by_eri, bench.chip.wake_by_eri),
            "{name}"
        );
        assert!(config3.wake_link() && config5.lan_wake() && config5.wake_unicast());
        assert!(!config5.wake_broadcast() && !config5.wake_multicast());
        assert!(RxConfig::from(bench.model.register32(reg::RCR)).apm());
        assert!(!bench.host.bus_master());
        bench.assert_clean();
        // And taken back.
        let driven = bench.drive_usual();
        driven.shutdown(WakeOn::empty()).unwrap();
        assert!(!Config5::from(bench.model.register8(reg::CONFIG5)).lan_wake());
        assert!(!Config3::from(bench.model.register8(reg::CONFIG3)).wake_magic());
        assert_eq!(bench.model.extended(eri::FILTER) & eri::WAKE_MAGIC, 0);
    }
}

#[test]
fn counters_are_those_since_it_was_attached() {
    for name in NAMES {
        let bench = Bench::named(name);
        let mut driven = bench.drive_usual();
        driven.send(&bench, &frame(PEER, 60, 0), TxOffload::default());
        bench.model.send(&frame([0xff; 6], 60, 0));
        bench.model.send(&frame(OWN, 60, 0));
        driven.receive(&bench);
        assert_eq!((driven.statistic("tx_packets"), driven.statistic("rx_packets")), (1, 2), "{name}");
        assert_eq!((driven.statistic("broadcast"), driven.statistic("unicast")), (1, 1));
        driven.shutdown(WakeOn::empty()).unwrap();
        let mut driven = bench.drive_usual();
        assert_eq!(driven.statistic("tx_packets"), 0, "{name}");
        driven.reset(driven.device.shape()).unwrap();
        driven.link_up(&bench);
        driven.send(&bench, &frame(PEER, 60, 0), TxOffload::default());
        assert_eq!((driven.statistic("tx_packets"), driven.statistic("resets")), (1, 1), "{name}");
        bench.assert_clean();
    }
}

#[test]
fn others_devices_are_left_alone() {
    let (device, _) = model_rtl8168::Rtl8168::new(Config::default());
    drop(device);
    let wire = Host::new(Box::new(redox_driver_sys::model::Inert::default()));
    assert!(matches!(Rtl8168::attach(wire.function(), Options::default()), Err(Error::Unknown { .. })));
}

#[test]
fn inspect_tells() {
    let bench = Bench::named("RTL8168H");
    let text = bench.drive_usual().device.inspect();
    for part in ["RTL8168H, XID 541", "Realtek's own (001cc800)", "MSI-X", "largest MTU: 1500", "resets: 0"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!Events::from(bench.model.interrupt_mask()).swint());
}
