//! Attaching, interrupts, link, reset, counters, shutting down.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod support;

use std::{num::NonZeroU32, time::Duration};

use common::{
    itr::Throttling,
    phy::{Duplex, FlowControl, Modes, Wish, registers::register},
};
use e1000_spec::registers::{self as reg, Ctrl, Rctl, Wuc, Wufc};
use support::*;

fn link(speed: u32, duplex: Duplex, pause: bool) -> Link {
    Link::Up { speed: Some(speed), duplex, flow_control: FlowControl { receive: pause, transmit: pause } }
}

#[test]
fn attaches_with_and_without_a_cable() {
    for name in NAMES {
        let bench = Bench::named(name);
        bench.plug(None);
        let start = bench.host.now();
        let mut device = bench.try_attach(Options::default()).unwrap();
        assert!(bench.host.now().since(start) < Duration::from_secs(1), "nobody waits for a link");
        assert_eq!(device.settings().address, MacAddress(OWN));
        assert_eq!(device.link(), Link::Down);
        assert_eq!(device.name(), "pci-0000-00-04.0_e1000");
        let queues = device.take_queues(usize::MAX);
        assert_eq!(queues.len(), usize::from(bench.chip.queues));
        device.start().unwrap();
        let mut events = Vec::new();
        device.poll(bench.host.now(), &mut events).unwrap();
        assert_eq!(events, []);
        bench.plug(Some(Partner::SWITCH));
        bench.host.advance(NEGOTIATION);
        device.poll(bench.host.now(), &mut events).unwrap();
        assert_eq!(events, [NetEvent::LinkChanged(link(1000, Duplex::Full, true))], "{name}");
        let ctrl = Ctrl::from(bench.model.register(reg::CTRL));
        assert!(ctrl.rfce() && ctrl.tfce(), "pause frames as agreed");
        device.shutdown(queues, WakeOn::empty()).unwrap();
        assert!(!bench.host.bus_master());
        bench.assert_clean();
    }
}

#[test]
fn the_link_calls() {
    for (name, interrupts) in
        [("82540EM", InterruptKind::Intx), ("82574L", InterruptKind::Msi), ("82574L", InterruptKind::MsiX)]
    {
        let bench = Bench::named(name);
        let mut driven = bench.drive(Options { interrupts, ..Options::default() });
        assert_eq!(driven.device.interrupt_kind(), interrupts);
        calls(&mut driven);
        for plugged in [false, true] {
            driven.events.clear();
            bench.plug(plugged.then_some(Partner::SWITCH));
            bench.host.advance(NEGOTIATION);
            assert!(calls(&mut driven), "{name} {interrupts} {plugged}");
            driven.poll(&bench).unwrap();
            let now = driven.device.link();
            assert_eq!(now.is_up(), plugged);
            assert_eq!(driven.events, [NetEvent::LinkChanged(now)]);
        }
        // Gone and back between two looks.
        driven.events.clear();
        bench.plug(None);
        bench.plug(Some(Partner::SWITCH));
        bench.host.advance(NEGOTIATION);
        assert!(calls(&mut driven));
        driven.poll(&bench).unwrap();
        let up = link(1000, Duplex::Full, true);
        assert_eq!(driven.events, [NetEvent::LinkChanged(Link::Down), NetEvent::LinkChanged(up)]);
        assert!(!calls(&mut driven), "nothing is left");
        bench.assert_clean();
    }
}

/// Serves interrupts as the framework does; whether the device itself calls.
fn calls(driven: &mut Driven) -> bool {
    let mut called = driven.device.interrupt().is_some_and(|interrupt| interrupt.take().unwrap() > 0);
    for pair in &mut driven.pairs {
        serve(pair);
        called |= pair.attention();
    }
    called
}

/// Whether one of the pair's interrupts came; it is served and wanted again.
fn serve(pair: &mut Pair) -> bool {
    let came =
        pair.interrupts().into_iter().flatten().map(|interrupt| interrupt.take().unwrap()).sum::<u64>();
    if came > 0 {
        pair.interrupted();
        for interrupt in pair.interrupts().into_iter().flatten() {
            interrupt.rearm().unwrap();
        }
        pair.arm(redox_driver_sys::time::Time::default());
    }
    came > 0
}

#[test]
fn packets_call_and_what_they_call_with_is_as_cheap_as_can_be() {
    for (name, interrupts, reads) in [
        ("82540EM", InterruptKind::Intx, 1),
        ("82544", InterruptKind::Intx, 1),
        ("82574L", InterruptKind::Intx, 1),
        ("82574L", InterruptKind::Msi, 1),
        ("82574L", InterruptKind::MsiX, 0),
    ] {
        let bench = Bench::named(name);
        let mut driven = bench.drive(Options { interrupts, ..Options::default() });
        calls(&mut driven);
        bench.host.advance(Duration::from_millis(1));
        for round in 0..50 {
            let before = bench.model.statistics().reads;
            bench.model.send(&frame(OWN, 100, round));
            bench.host.advance(Duration::from_millis(1));
            let at = usize::from(round % 2 == 9);
            assert!(serve(&mut driven.pairs[at]), "{name} {interrupts}, round {round}");
            assert_eq!(driven.receive(&bench).len(), 1);
            assert_eq!(bench.model.statistics().reads - before, reads);
            // And when a packet was sent, of which the interrupt may wait.
            driven.send(&bench, &frame(PEER, 60, 0), TxOffload::default());
            bench.host.advance(Duration::from_millis(1));
            assert!(serve(&mut driven.pairs[0]));
        }
        bench.assert_clean();
    }
}

#[test]
fn nothing_interrupts_before_it_is_wanted() {
    for interrupts in [InterruptKind::Intx, InterruptKind::MsiX] {
        let bench = Bench::named("82574L");
        let mut driven = bench.drive(Options { interrupts, ..Options::default() });
        calls(&mut driven);
        bench.model.send(&frame(OWN, 60, 0));
        bench.host.advance(Duration::from_millis(1));
        let pair = &mut driven.pairs[0];
        let before = bench.model.statistics().interrupts;
        pair.interrupts()[0].unwrap().take().unwrap();
        pair.interrupted();
        pair.interrupts()[0].unwrap().rearm().unwrap();
        for n in 0..20 {
            bench.model.send(&frame(OWN, 60, n));
            bench.host.advance(Duration::from_millis(1));
        }
        assert_eq!(bench.model.statistics().interrupts, before);
        // What came meanwhile is not forgotten.
        driven.pairs[0].arm(bench.host.now());
        bench.host.advance(Duration::from_millis(1));
        assert!(serve(&mut driven.pairs[0]));
        bench.assert_clean();
    }
}

#[test]
fn the_throttle_holds_interrupts_up() {
    for (name, interrupts) in [("82540EM", InterruptKind::Intx), ("82574L", InterruptKind::MsiX)] {
        let count = |throttling| {
            let bench = Bench::named(name);
            let mut driven = bench.drive(Options { interrupts, throttling, ..Options::default() });
            calls(&mut driven);
            let before = bench.model.statistics().interrupts;
            // 100,000 packets per second for a tenth of a second, four at a time.
            for n in 0..2500u32 {
                (0..4).for_each(|_| bench.model.send(&frame(OWN, 1514, n.to_le_bytes()[0])));
                bench.host.advance(Duration::from_micros(40));
                let came = driven.pairs[0]
                    .interrupts()
                    .into_iter()
                    .flatten()
                    .map(|i| i.take().unwrap())
                    .sum::<u64>();
                if came > 0 {
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
        let fixed = count(Throttling::Fixed(NonZeroU32::new(5000).unwrap()));
        let adaptive = count(Throttling::Adaptive);
        assert!(off > 2400, "{name}: {off}");
        assert!((300..=510).contains(&fixed), "{name}: {fixed}");
        assert!(adaptive * 5 <= off, "{name}: {adaptive} of {off}");
    }
}

#[test]
fn a_look_at_the_link_takes_no_interrupt_from_the_queues() {
    let bench = Bench::named("82574L");
    let throttling = Throttling::Fixed(NonZeroU32::new(100).unwrap());
    let mut driven =
        bench.drive(Options { interrupts: InterruptKind::MsiX, throttling, ..Options::default() });
    calls(&mut driven);
    for n in 0..2 {
        bench.host.advance(Duration::from_millis(20));
        bench.model.send(&frame(OWN, 60, n));
        bench.host.advance(Duration::from_millis(1));
        assert!(serve(&mut driven.pairs[0]));
        assert_eq!(driven.receive(&bench).len(), 1);
    }
    // The throttle holds this one up, and the link goes meanwhile.
    bench.model.send(&frame(OWN, 60, 2));
    bench.host.advance(Duration::from_millis(1));
    assert!(!serve(&mut driven.pairs[0]));
    bench.plug(None);
    bench.host.advance(Duration::from_millis(1));
    assert!(driven.device.interrupt().is_some_and(|interrupt| interrupt.take().unwrap() > 0));
    driven.poll(&bench).unwrap();
    bench.host.advance(Duration::from_millis(10));
    assert!(serve(&mut driven.pairs[0]), "the packet's interrupt is lost");
    bench.assert_clean();
}

#[test]
fn fewer_vectors_or_none_will_do() {
    let bench = Bench::named("82574L");
    bench.host.refuse_interrupts(InterruptKind::MsiX);
    assert_eq!(bench.try_attach(Options::default()).unwrap().interrupt_kind(), InterruptKind::Msi);
    bench.host.refuse_interrupts(InterruptKind::Msi);
    let device = bench.try_attach(Options::default()).unwrap();
    assert_eq!((device.interrupt_kind(), device.capabilities().queues), (InterruptKind::Intx, 1));
    assert!(!device.capabilities().features.contains(Features::RX_HASH));
    let one = Bench::named("82574L").try_attach(Options { queues: 1, ..Options::default() }).unwrap();
    assert_eq!((one.interrupt_kind(), one.capabilities().queues), (InterruptKind::MsiX, 1));
}

#[test]
fn the_link_is_as_was_wished_for() {
    let half = Wish::Force(Modes::T100_HALF);
    let slow = Wish::Negotiate { modes: Modes::T10_FULL, flow_control: FlowControl::default() };
    let wishes = [(half, link(100, Duplex::Half, false)), (slow, link(10, Duplex::Full, false))];
    for name in NAMES {
        for (wish, expected) in wishes {
            let bench = Bench::named(name);
            let mut driven = bench.drive(Options { link: wish, ..Options::default() });
            assert_eq!(driven.device.link(), expected, "{name}");
            // A reset keeps it.
            driven.reset(driven.device.shape()).unwrap();
            driven.link_up(&bench);
            assert_eq!(driven.device.link(), expected);
            bench.assert_clean();
        }
    }
}

#[test]
fn what_is_wrong_with_the_eeprom_is_told() {
    for name in NAMES {
        let bench = Bench::named(name);
        bench.model.set_faults(FaultPlan::new(0).lifecycle(LifecycleFault::NvmChecksum));
        let error = bench.try_attach(Options::default()).unwrap_err();
        assert!(matches!(error, Error::NvmChecksum { .. }), "{error}");
        let given = MacAddress([2, 0, 0, 0, 0, 9]);
        let device = bench.try_attach(Options { address: Some(given), ..Options::default() }).unwrap();
        assert_eq!(device.settings().address, given);
    }
    let bench = Bench::new(Config { address: [0; 6], ..Config::default() });
    assert!(matches!(bench.try_attach(Options::default()), Err(Error::Address(_))));
    let bench = Bench::named("82540EM");
    bench.model.set_faults(FaultPlan::new(0).lifecycle(LifecycleFault::NvmHangs));
    let error = bench.try_attach(Options::default()).unwrap_err();
    assert!(matches!(error, Error::Machine { step: "read the EEPROM", .. }), "{error}");
    assert_eq!(error.as_net_error(), NetError::TimedOut);
}

#[test]
fn a_device_that_does_not_come_up_is_given_up() {
    for (fault, told) in [
        (LifecycleFault::NeverReset, NetError::TimedOut),
        (LifecycleFault::MdioHangs, NetError::TimedOut),
        (LifecycleFault::MdioError, NetError::Protocol),
    ] {
        let bench = Bench::named("82574L");
        bench.model.set_faults(FaultPlan::new(0).lifecycle(fault));
        let start = bench.host.now();
        let error = bench.try_attach(Options::default()).unwrap_err();
        assert_eq!(error.as_net_error(), told, "{fault:?}: {error}");
        assert!(bench.host.now().since(start) < Duration::from_secs(1));
        assert!(!bench.host.bus_master());
        // Later, when it is running.
        bench.model.set_faults(FaultPlan::new(0));
        let bench = Bench::named("82574L");
        let mut driven = bench.drive_usual();
        bench.model.set_faults(FaultPlan::new(0).lifecycle(fault));
        assert_eq!(driven.reset(driven.device.shape()), Err(told), "{fault:?}");
        assert!(!bench.host.bus_master());
    }
    // The bus does not come to rest: it is reset all the same.
    let bench = Bench::named("82574L");
    bench.model.set_faults(FaultPlan::new(0).lifecycle(LifecycleFault::NeverQuiet));
    bench.drive_usual().shutdown(WakeOn::empty()).unwrap();
}

#[test]
fn a_device_that_is_pulled_out_is_gone() {
    for (name, interrupts) in [("82540EM", InterruptKind::Intx), ("82574L", InterruptKind::MsiX)] {
        let bench = Bench::named(name);
        let mut driven = bench.drive(Options { interrupts, ..Options::default() });
        bench.host.set_connected(false);
        assert_eq!(driven.poll(&bench), Err(NetError::Gone));
        assert!(driven.device.statistics().is_err());
        if interrupts == InterruptKind::Intx {
            driven.pairs[0].interrupted();
            assert_eq!(driven.try_receive(&bench), Err(NetError::Gone));
        }
        assert_eq!(driven.reset(driven.device.shape()), Err(NetError::Gone));
        let bench = Bench::named(name);
        bench.host.set_connected(false);
        assert_eq!(bench.try_attach(Options::default()).unwrap_err().as_net_error(), NetError::Gone);
    }
}

#[test]
fn others_devices_are_left_alone() {
    let chip = Box::leak(Box::new(Chip { ids: &[0x1234], ..CHIPS[0] }));
    let bench = Bench::new(Config { chip, ..Config::named("82540EM") });
    let error = bench.try_attach(Options::default()).unwrap_err();
    assert_eq!(error.to_string(), "8086:1234 is no controller that this driver knows");
}

#[test]
fn shapes_that_cannot_be_are_refused() {
    let bench = Bench::named("82574L");
    for (mtu, tx_ring, rx_ring) in [(67, 64, 64), (9213, 64, 64), (1500, 63, 64), (1500, 64, 4097)] {
        let options = Options { mtu, tx_ring, rx_ring, ..Options::default() };
        assert!(matches!(bench.try_attach(options), Err(Error::Shape { .. })));
    }
    let mut driven = bench.drive_usual();
    let pairs = std::mem::take(&mut driven.pairs);
    let shape = Shape { mtu: 9213, tx_ring: 64, rx_ring: 64 };
    assert_eq!(driven.device.reset(pairs, shape).unwrap_err(), NetError::Invalid);
    bench.assert_clean();
}

#[test]
fn rings_take_every_size() {
    let bench = Bench::named("82540EM");
    let mut driven = bench.drive_usual();
    for (asked, is) in [(64, 64), (65, 72), (1000, 1000), (4096, 4096)] {
        driven.reset(Shape { mtu: 1500, tx_ring: asked, rx_ring: asked }).unwrap();
        driven.link_up(&bench);
        assert_eq!((driven.device.shape().tx_ring, driven.pairs[0].rx_depth()), (is, is - 1));
        let bytes = frame(PEER, 60, 0);
        assert_eq!(driven.send(&bench, &bytes, TxOffload::default()), [bytes]);
        bench.model.send(&frame(OWN, 60, 0));
        assert_eq!(driven.receive(&bench).len(), 1);
    }
    assert_eq!(driven.device.resets(), 4);
    bench.assert_clean();
}

#[test]
fn a_hung_transmitter_comes_back_with_a_reset() {
    for name in NAMES {
        let bench = Bench::named(name);
        let mut driven = bench.drive_usual();
        bench.model.set_faults(FaultPlan::new(1).rule(Rule::only(Packets::Sent, Action::Hang).times(1)));
        let segment = driven.write(&frame(PEER, 60, 0));
        let packet = TxPacket { segments: &[segment], len: 60, offload: TxOffload::default() };
        driven.pairs[0].submit(3, &packet).unwrap();
        driven.pairs[0].commit();
        bench.host.advance(Duration::from_secs(10));
        let mut done = Vec::new();
        driven.pairs[0].reap(&mut done).unwrap();
        assert_eq!(done, []);
        driven.reset(driven.device.shape()).unwrap();
        driven.link_up(&bench);
        driven.pairs[0].reap(&mut done).unwrap();
        assert_eq!(done, [], "what was in flight is not reported");
        let bytes = frame(PEER, 60, 1);
        assert_eq!(driven.send(&bench, &bytes, TxOffload::default()), [bytes]);
        bench.assert_clean();
    }
}

#[test]
fn a_receiver_that_passes_descriptors_over_is_found() {
    let bench = Bench::named("82540EM");
    let mut driven = bench.drive_usual();
    driven.events.clear();
    bench
        .model
        .set_faults(FaultPlan::new(1).rule(Rule::only(Packets::Received, Action::NoWriteBack).times(1)));
    for n in 0..5 {
        bench.model.send(&frame(OWN, 60, n));
    }
    assert_eq!(driven.receive(&bench), []);
    driven.poll(&bench).unwrap();
    assert_eq!(driven.events, [], "it may only just have come");
    bench.host.advance(Duration::from_secs(2));
    driven.poll(&bench).unwrap();
    assert!(matches!(driven.events[..], [NetEvent::ResetNeeded(_)]), "{:?}", driven.events);
    driven.reset(driven.device.shape()).unwrap();
    driven.link_up(&bench);
    bench.model.send(&frame(OWN, 60, 0));
    assert_eq!(driven.receive(&bench).len(), 1);
}

#[test]
fn a_receiver_that_moves_is_left_alone() {
    let bench = Bench::named("82540EM");
    let mut driven = bench.drive_usual();
    driven.events.clear();
    // A frame has come and was not taken yet, at both looks; in between the ring goes round once.
    bench.model.send(&frame(OWN, 60, 0));
    bench.host.advance(Duration::from_millis(1));
    driven.poll(&bench).unwrap();
    for n in 0..64 {
        bench.model.send(&frame(OWN, 60, n));
        assert_eq!(driven.take().unwrap().len(), 1);
        bench.host.advance(Duration::from_millis(1));
    }
    bench.host.advance(Duration::from_secs(2));
    driven.poll(&bench).unwrap();
    assert_eq!(driven.events, []);
    assert_eq!(driven.take().unwrap().len(), 1);
    bench.assert_clean();
}

#[test]
fn what_is_to_wake_the_machine_is_left_behind() {
    for name in NAMES {
        let bench = Bench::named(name);
        bench.drive_usual().shutdown(WakeOn::MAGIC | WakeOn::PHY).unwrap();
        let filters = Wufc::from(bench.model.register(reg::WUFC));
        assert_eq!(filters, Wufc::new().with_mag(true).with_lnkc(true), "{name}");
        assert!(Wuc::from(bench.model.register(reg::WUC)).pme_en());
        assert!(Ctrl::from(bench.model.register(reg::CTRL)).slu());
        assert!(!bench.host.bus_master());
        // Attached again, it is as usual.
        let driven = bench.drive_usual();
        assert!(!Wuc::from(bench.model.register(reg::WUC)).pme_en());
        driven.shutdown(WakeOn::empty()).unwrap();
        assert_eq!(bench.model.register(reg::WUFC), 0);
        bench.assert_clean();
    }
}

#[test]
fn each_reason_to_wake_up_is_its_own() {
    for (wake_on, filters) in [
        (WakeOn::PHY, Wufc::new().with_lnkc(true)),
        (WakeOn::UNICAST, Wufc::new().with_ex(true)),
        (WakeOn::MULTICAST, Wufc::new().with_mc(true)),
        (WakeOn::BROADCAST, Wufc::new().with_bc(true)),
        (WakeOn::ARP, Wufc::new().with_arp(true)),
        (WakeOn::MAGIC, Wufc::new().with_mag(true)),
    ] {
        let bench = Bench::named("82574L");
        bench.drive_usual().shutdown(wake_on).unwrap();
        assert_eq!(Wufc::from(bench.model.register(reg::WUFC)), filters);
        let rctl = Rctl::from(bench.model.register(reg::RCTL));
        assert_eq!(rctl.mpe(), wake_on == WakeOn::MULTICAST, "groups come as far as the wake-up filter");
        assert!(!rctl.en());
    }
}

#[test]
fn without_flow_control_there_are_no_pause_frames() {
    for name in NAMES {
        let bench = Bench::named(name);
        let wish = Wish::Negotiate { modes: Modes::all(), flow_control: FlowControl::default() };
        let driven = bench.drive(Options { link: wish, ..Options::default() });
        assert_eq!(driven.device.link(), link(1000, Duplex::Full, false));
        let ctrl = Ctrl::from(bench.model.register(reg::CTRL));
        assert!(!ctrl.rfce() && !ctrl.tfce(), "{name}");
        let now = Duration::from_nanos(bench.host.now().as_nanos());
        assert_eq!(bench.model.phy_register(register::ADVERTISEMENT, now) & 0x0c00, 0);
    }
}

#[test]
fn inspect_tells() {
    let bench = Bench::named("82574L");
    let report = bench.drive_usual().device.inspect();
    for part in ["82574L", "Marvell", "MSI-X", "queues: 2", "MTU: 9212"] {
        assert!(report.contains(part), "{part} is missing in\n{report}");
    }
}

#[test]
fn the_phy_is_set_up_after_a_reset() {
    let bench = Bench::named("82540EM");
    let mut driven = bench.drive_usual();
    driven.reset(driven.device.shape()).unwrap();
    let now = Duration::from_nanos(bench.host.now().as_nanos());
    // Pause frames are advertised both ways.
    assert_eq!(bench.model.phy_register(register::ADVERTISEMENT, now) & 0x0c00, 0x0400);
    assert_eq!(driven.device.link(), Link::Down, "it has to come about again");
}
