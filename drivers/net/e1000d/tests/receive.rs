//! Receiving: filters, checksums, tags, long frames, two queues.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod support;

use std::time::Duration;

use e1000_spec::registers::{RSS_KEY, RSSRK, RingRegisters, multicast_hash};
use model_e1000::toeplitz;
use support::*;

fn usual(name: &str) -> (Bench, Driven) {
    let bench = Bench::named(name);
    let driven = bench.drive_usual();
    (bench, driven)
}

fn configure(driven: &mut Driven, change: impl FnOnce(&mut Settings)) {
    let mut settings = driven.device.settings().clone();
    change(&mut settings);
    driven.device.configure(&settings).unwrap();
}

#[test]
fn frames_come_in_as_they_are() {
    for name in NAMES {
        let (bench, mut driven) = usual(name);
        // More than the ring holds, one batch after the other.
        for round in 0..20u8 {
            let frames: Vec<_> = (0..7).map(|n| frame(OWN, 60 + usize::from(n) * 200, n ^ round)).collect();
            let doorbells = bench.model.statistics().rx_doorbells;
            frames.iter().for_each(|frame| bench.model.send(frame));
            let came: Vec<_> = driven.receive(&bench).into_iter().map(|came| came.bytes).collect();
            assert_eq!(came, frames, "{name}");
            let pairs = u64::try_from(driven.pairs.len()).unwrap();
            assert!(bench.model.statistics().rx_doorbells <= doorbells + pairs);
        }
        assert_eq!(driven.statistic("rx_packets"), 140);
        assert_eq!(driven.statistic("rx_packets"), 140, "what was read is not lost, nor counted twice");
        bench.assert_clean();
    }
}

/// A group that falls on another bit of the table than `group`.
const GROUP: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const OTHER_GROUP: [u8; 6] = [0x33, 0x33, 0, 0, 0x10, 2];

#[test]
fn filters_let_through_what_was_asked_for() {
    assert_ne!(multicast_hash(GROUP), multicast_hash(OTHER_GROUP));
    for name in NAMES {
        let (bench, mut driven) = usual(name);
        let stranger = [0x52, 0x54, 0, 1, 2, 3];
        let passes = |driven: &mut Driven, to: [u8; 6]| {
            bench.model.send(&frame(to, 60, 0));
            driven.receive(&bench).len() == 1
        };
        let all = [OWN, [0xff; 6], GROUP, OTHER_GROUP, stranger];
        let which = |driven: &mut Driven| all.map(|to| passes(driven, to));
        assert_eq!(which(&mut driven), [true, true, false, false, false]);
        configure(&mut driven, |settings| settings.filter.multicast = vec![MacAddress(GROUP)]);
        assert_eq!(which(&mut driven), [true, true, true, false, false]);
        configure(&mut driven, |settings| settings.filter.all_multicast = true);
        assert_eq!(which(&mut driven), [true, true, true, true, false]);
        configure(&mut driven, |settings| {
            settings.filter = Filter { promiscuous: true, ..Filter::default() }
        });
        assert_eq!(which(&mut driven), [true; 5]);
        configure(&mut driven, |settings| {
            settings.filter = Filter { unicast: vec![MacAddress(stranger)], ..Filter::default() };
        });
        assert_eq!(which(&mut driven), [true, true, false, false, true]);
        // More addresses than there are registers.
        let many = (0..20).map(|n| MacAddress([2, 0, 0, 0, 0, n])).collect();
        configure(&mut driven, |settings| settings.filter.unicast = many);
        assert!(passes(&mut driven, [2, 0, 0, 0, 0, 19]));
        configure(&mut driven, |settings| {
            settings.filter = Filter::default();
            settings.address = MacAddress(stranger);
        });
        let which = |driven: &mut Driven| all.map(|to| passes(driven, to));
        assert_eq!(which(&mut driven), [false, true, false, false, true]);
        // A reset keeps it.
        driven.reset(driven.device.shape()).unwrap();
        driven.link_up(&bench);
        assert_eq!(which(&mut driven), [false, true, false, false, true]);
        bench.assert_clean();
    }
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let (bench, mut driven) = usual("82540EM");
    let before = driven.device.settings().clone();
    let hashing = Settings { features: before.features | Features::RX_HASH, ..before.clone() };
    assert_eq!(driven.device.configure(&hashing), Err(NetError::Unsupported));
    let group = Settings { address: MacAddress(GROUP), ..before.clone() };
    assert_eq!(driven.device.configure(&group), Err(NetError::Invalid));
    assert_eq!(*driven.device.settings(), before);
    bench.assert_clean();
}

#[test]
fn checksums_are_looked_at() {
    for name in NAMES {
        let (bench, mut driven) = usual(name);
        for (v6, tcp) in [(false, false), (false, true), (true, false), (true, true)] {
            let packet = Ip { v6, tcp, ports: (7, 8), payload: 99 };
            let good = packet.frame(OWN);
            let mut bad = good.clone();
            *bad.last_mut().unwrap() ^= 1;
            bench.model.send(&good);
            bench.model.send(&bad);
            let came = driven.receive(&bench);
            assert_eq!(came[0].metadata.checksum, RxChecksum::Good, "{name} v6 {v6} tcp {tcp}");
            assert_eq!(came[1].metadata.checksum, RxChecksum::Unknown);
            assert_eq!(came[1].bytes, bad, "whoever gets it looks itself");
        }
        let mut wrong_header = Ip { v6: false, tcp: true, ports: (7, 8), payload: 99 }.frame(OWN);
        wrong_header[22] ^= 1;
        bench.model.send(&wrong_header);
        bench.model.send(&frame(OWN, 100, 0));
        let came = driven.receive(&bench);
        assert!(came.iter().all(|came| came.metadata.checksum == RxChecksum::Unknown));
        assert_eq!(driven.statistic("rx_csum_offload_good"), 4);
        assert_eq!(driven.statistic("rx_csum_offload_errors"), 5);
        // Not asked for, not done.
        configure(&mut driven, |settings| settings.features -= Features::RX_CHECKSUM);
        bench.model.send(&Ip { v6: false, tcp: true, ports: (7, 8), payload: 99 }.frame(OWN));
        assert_eq!(driven.receive(&bench)[0].metadata.checksum, RxChecksum::Unknown);
        bench.assert_clean();
    }
}

#[test]
fn tags_are_taken_out() {
    for name in NAMES {
        let (bench, mut driven) = usual(name);
        let plain = frame(OWN, 100, 4);
        let tagged = [&plain[..12], &[0x81, 0x00, 0x20, 0x05], &plain[12..]].concat();
        bench.model.send(&tagged);
        bench.model.send(&plain);
        let came = driven.receive(&bench);
        assert_eq!(came[0].bytes, plain);
        assert_eq!(came[0].metadata.vlan, Some(0x2005));
        assert_eq!(came[1].metadata.vlan, None);
        configure(&mut driven, |settings| settings.features -= Features::RX_VLAN | Features::TX_VLAN);
        bench.model.send(&tagged);
        let came = driven.receive(&bench);
        assert_eq!((&came[0].bytes, came[0].metadata.vlan), (&tagged, None));
        bench.assert_clean();
    }
}

#[test]
fn long_frames_take_several_buffers() {
    for name in NAMES {
        let bench = Bench::named(name);
        let mtu = bench.chip.max_mtu();
        let mut driven = bench.drive(Options { mtu, ..Options::default() });
        assert_eq!(driven.pairs[0].rx_buffer_len(), 4096);
        for len in [60, 4096, 4097, 9014, usize::from(mtu) + 14] {
            let bytes = frame(OWN, len, 5);
            bench.model.send(&bytes);
            let came = driven.receive(&bench);
            assert_eq!(came.len(), 1, "{name}, {len} bytes");
            assert_eq!(came[0].fragments, len.div_ceil(4096));
            assert!(came[0].bytes == bytes);
            assert!(driven.send(&bench, &bytes, TxOffload::default()) == [bytes]);
        }
        // And back to short ones.
        let shape = Shape { mtu: 1500, tx_ring: 64, rx_ring: 128 };
        driven.reset(shape).unwrap();
        driven.link_up(&bench);
        assert_eq!((driven.pairs[0].rx_buffer_len(), driven.pairs[0].rx_depth()), (2048, 127));
        bench.model.send(&frame(OWN, 4096, 0));
        bench.model.send(&frame(OWN, 1514, 0));
        assert_eq!(driven.receive(&bench).len(), 1);
        assert_eq!(driven.statistic("rx_long_length_errors"), 1);
        bench.assert_clean();
    }
}

#[test]
fn two_queues_share_the_flows() {
    let (bench, mut driven) = usual("82574L");
    assert_eq!(driven.pairs.len(), 2);
    let mut key = [0; RSS_KEY];
    for (at, bytes) in (RSSRK..).step_by(4).zip(key.chunks_exact_mut(4)) {
        bytes.copy_from_slice(&bench.model.register(at).to_le_bytes());
    }
    let mut counts = [0, 0];
    for port in 1000..1064 {
        let packet = Ip { v6: port % 2 == 0, tcp: port % 3 != 0, ports: (port, 80), payload: 10 };
        let bytes = packet.frame(OWN);
        bench.model.send(&bytes);
        bench.model.send(&bytes);
        let came = driven.receive(&bench);
        let at = if packet.v6 { 22..54 } else { 26..34 };
        let mut input = bytes[at].to_vec();
        if packet.tcp {
            input.extend(&bytes[packet.transport()..packet.transport() + 4]);
        }
        let hash = toeplitz(&key, &input);
        assert_eq!(came[0].metadata.hash, Some(hash));
        assert_eq!(came.len(), 2);
        assert_eq!(came[0].pair, came[1].pair, "a flow stays in its queue");
        assert_eq!(came[0].pair, usize::try_from(hash % 2).unwrap());
        counts[came[0].pair] += 1;
    }
    assert!(counts.iter().all(|&count| count > 10), "{counts:?}");
    // What has no hash comes in the first one.
    bench.model.send(&frame(OWN, 60, 0));
    let came = driven.receive(&bench);
    assert_eq!((came[0].pair, came[0].metadata.hash), (0, None));
    bench.assert_clean();
}

#[test]
fn without_room_frames_wait_and_the_partner_is_asked_to_pause() {
    for name in NAMES {
        let (bench, mut driven) = usual(name);
        // 63 buffers in each ring; the rest waits in the device, or is lost.
        for n in 0..200 {
            bench.model.send(&frame(OWN, 1514, n));
        }
        bench.host.advance(Duration::from_micros(100));
        let statistics = bench.model.statistics();
        assert_eq!(statistics.received, 63);
        assert!(statistics.missed > 0 && statistics.pauses == 1, "{statistics:?}");
        let mut came = 0;
        while let batch @ 1.. = driven.receive(&bench).len() {
            came += batch;
        }
        assert_eq!(came as u64, 200 - statistics.missed);
        assert_eq!(bench.model.statistics().pauses, 2, "XON");
        assert_eq!(driven.statistic("rx_missed_errors"), statistics.missed);
        assert_eq!(driven.statistic("tx_flow_control_xoff"), 1);
        bench.assert_clean();
    }
}

#[test]
fn a_frame_that_runs_out_of_descriptors_goes_on_in_new_ones() {
    let bench = Bench::named("82540EM");
    assert_eq!(bench.chip.max_mtu(), 16_106);
    let mut driven = bench.drive(Options { mtu: 16_106, rx_ring: 64, ..Options::default() });
    // 15 frames of four buffers leave three of 63.
    let frames: Vec<_> = (0..17).map(|n| frame(OWN, 16_000, n)).collect();
    for bytes in &frames {
        bench.model.send(bytes);
        bench.host.advance(Duration::from_micros(100));
    }
    assert_eq!(bench.model.statistics().received, 15);
    assert_eq!(bench.model.register(RingRegisters::receive(0).head()), 63, "the next one has begun");
    let came = driven.take().unwrap();
    assert!(came.iter().map(|came| &came.bytes).eq(&frames[..15]));
    let came = driven.receive(&bench);
    assert!(came.iter().map(|came| &came.bytes).eq(&frames[15..]));
    bench.assert_clean();
}

#[test]
fn damaged_frames_are_dropped() {
    let (bench, mut driven) = usual("82540EM");
    let one = |action| FaultPlan::new(1).rule(Rule::new(action).times(1));
    bench.model.set_faults(one(Action::Garbage));
    bench.model.send(&frame(OWN, 100, 0));
    bench.model.send(&frame(OWN, 100, 1));
    assert_eq!(driven.receive(&bench).len(), 1);
    assert_eq!(driven.statistic("rx_crc_errors"), 1);
    // One that the device passes on nevertheless: RXE and CE, 28 and 24 bits up.
    bench.model.set_faults(one(Action::BadStatus(0x81 << 24)));
    bench.model.send(&frame(OWN, 100, 2));
    assert_eq!(driven.receive(&bench), []);
    assert_eq!(driven.statistic("rx_dropped"), 1);
    bench.model.send(&frame(OWN, 100, 3));
    assert_eq!(driven.receive(&bench).len(), 1);
    bench.assert_clean();
}

#[test]
fn lengths_that_cannot_be_end_in_a_reset() {
    for name in NAMES {
        let (bench, mut driven) = usual(name);
        bench.model.set_faults(FaultPlan::new(1).rule(Rule::new(Action::BadLength(0xf000)).times(1)));
        bench.model.send(&frame(OWN, 100, 0));
        assert_eq!(driven.try_receive(&bench), Err(NetError::Protocol));
        driven.reset(driven.device.shape()).unwrap();
        driven.link_up(&bench);
        let bytes = frame(OWN, 100, 1);
        bench.model.send(&bytes);
        assert_eq!(driven.receive(&bench)[0].bytes, bytes);
        bench.assert_clean();
    }
}
