//! Frames both ways, with what the device does to them.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod support;

use std::time::Duration;

use model_rtl8168::internet_sum;
use redox_driver_sys::dma::Segment;
use support::*;

#[test]
fn frames_go_out_as_they_are() {
    for name in NAMES {
        let bench = Bench::named(name);
        let mut driven = bench.drive_usual();
        for len in [60, 61, 128, 1513, 1514] {
            let bytes = frame(PEER, len, 3);
            assert_eq!(driven.send(&bench, &bytes, TxOffload::default()), [bytes], "{name}");
        }
        // Short ones end with zeroes, on chips as well that would send what they had before.
        let short = frame(PEER, 20, 1);
        let mut whole = short.clone();
        whole.resize(60, 0);
        assert_eq!(driven.send(&bench, &short, TxOffload::default()), [whole], "{name}");
        bench.assert_clean();
    }
}

#[test]
fn pieces_are_gathered() {
    let bench = Bench::named("RTL8168C");
    let mut driven = bench.drive_usual();
    let bytes = frame(PEER, 1000, 5);
    let whole = driven.write(&bytes);
    let cut = |from: u32, to: u32| Segment { addr: whole.addr.offset(from.into()), len: to - from };
    for _ in 0..40 {
        let pieces = [cut(0, 14), cut(14, 15), cut(15, 700), cut(700, 1000)];
        assert_eq!(driven.send_segments(&bench, &pieces, TxOffload::default()), std::slice::from_ref(&bytes));
    }
    bench.assert_clean();
}

#[test]
fn one_poll_per_batch_and_the_ring_wraps_and_fills() {
    let bench = Bench::named("RTL8168H");
    let mut driven = bench.drive_usual();
    bench.plug(None);
    bench.host.advance(Duration::from_millis(1));
    let segment = driven.write(&frame(PEER, 60, 0));
    let pair = &mut driven.pairs[0];
    let packet = TxPacket { segments: &[segment], len: 60, offload: TxOffload::default() };
    let before = bench.model.statistics().polls;
    for tag in 0..64 {
        pair.submit(tag, &packet).unwrap();
    }
    assert_eq!(pair.submit(64, &packet), Err(SubmitError::Full));
    pair.commit();
    pair.commit();
    assert_eq!(bench.model.statistics().polls, before + 1);
    bench.plug(Some(Partner::SWITCH));
    bench.host.advance(NEGOTIATION);
    let mut done = Vec::new();
    pair.reap(&mut done).unwrap();
    assert_eq!(done, (0..64).collect::<Vec<_>>());
    // Batches of all sizes, many times around.
    for round in 0..200u16 {
        let batch = round % 40 + 1;
        (0..batch).for_each(|tag| pair.submit(tag, &packet).unwrap());
        pair.commit();
        bench.host.advance(Duration::from_millis(1));
        done.clear();
        pair.reap(&mut done).unwrap();
        assert_eq!(done, (0..batch).collect::<Vec<_>>());
    }
    bench.assert_clean();
}

/// A checksum over a pseudo header and what follows comes out as all ones.
fn is_right(ip: &Ip, frame: &[u8]) -> bool {
    let sum = u32::from(internet_sum(&frame[ip.transport()..ip.header_len() + ip.payload]));
    let pseudo = u32::from(ip.pseudo(ip.header_len() - ip.transport() + ip.payload));
    let sum = sum + pseudo;
    (sum & 0xffff) + (sum >> 16) == 0xffff
}

#[test]
fn the_device_puts_checksums_in() {
    for name in NAMES {
        let bench = Bench::named(name);
        let mut driven = bench.drive_usual();
        let second = driven.device.capabilities().features.contains(Features::TSO6);
        // Short ones, too: some chips pad before they sum up.
        for (v6, tcp, payload) in [
            (false, true, 500),
            (false, false, 500),
            (true, true, 500),
            (true, false, 501),
            (false, false, 3),
        ] {
            let ip = Ip { v6, tcp, ports: (1, 2), payload };
            let offload = TxOffload { checksum: Some(ip.checksum()), ..TxOffload::default() };
            if v6 && !second {
                let segment = driven.write(&ip.partial(PEER));
                let packet = TxPacket { segments: &[segment], len: segment.len, offload };
                assert_eq!(driven.pairs[0].submit(1, &packet), Err(SubmitError::Refused));
                continue;
            }
            let sent = driven.send(&bench, &ip.partial(PEER), offload);
            assert!(sent.len() == 1 && is_right(&ip, &sent[0]), "{name} {ip:?}");
        }
        bench.assert_clean();
    }
}

#[test]
fn the_device_cuts_packets() {
    for name in NAMES {
        let bench = Bench::named(name);
        let mut driven = bench.drive_usual();
        let capabilities = driven.device.capabilities().clone();
        for v6 in [false, true] {
            if v6 && !capabilities.features.contains(Features::TSO6) {
                continue;
            }
            let ip = Ip { v6, tcp: true, ports: (1, 2), payload: 30_000 };
            let segmentation =
                Segmentation { mss: 1400, header_len: u16::try_from(ip.header_len()).unwrap() };
            let offload =
                TxOffload { checksum: Some(ip.checksum()), segmentation: Some(segmentation), vlan: Some(7) };
            let sent = driven.send(&bench, &ip.uncut(PEER), offload);
            assert_eq!(sent.len(), 30_000usize.div_ceil(1400), "{name}");
            let mut payload: Vec<u8> = Vec::new();
            for piece in &sent {
                assert_eq!(piece[12..16], [0x81, 0, 0, 7]);
                let mut plain = piece.clone();
                plain.drain(12..16);
                let part = Ip { payload: plain.len() - ip.header_len(), ..ip };
                assert!(is_right(&part, &plain));
                payload.extend(&plain[ip.header_len()..]);
            }
            assert!(payload == ip.frame(PEER)[ip.header_len()..]);
        }
        assert_eq!(bench.model.statistics().segmented, if name == "RTL8168B" { 1 } else { 2 });
        bench.assert_clean();
    }
}

#[test]
fn what_the_device_cannot_send_is_refused() {
    let bench = Bench::named("RTL8168C");
    let mut driven = bench.drive_usual();
    let ip = Ip { v6: false, tcp: true, ports: (1, 2), payload: 1000 };
    let checksum = Some(ip.checksum());
    let mss =
        |mss| TxOffload { checksum, segmentation: Some(Segmentation { mss, header_len: 54 }), vlan: None };
    let far = driver_network::Checksum { start: 0x400, field: 0x410, ..ip.checksum() };
    let other = driver_network::Checksum { field: 40, ..ip.checksum() };
    let sum = |checksum| TxOffload { checksum: Some(checksum), ..TxOffload::default() };
    for (len, offload) in [
        (1519, TxOffload::default()),
        (1515, TxOffload { vlan: Some(1), ..TxOffload::default() }),
        (1054, mss(0)),
        (1054, mss(2048)),
        (54, mss(1000)),
        (
            1054,
            TxOffload {
                segmentation: Some(Segmentation { mss: 500, header_len: 54 }),
                ..TxOffload::default()
            },
        ),
        (1500, sum(far)),
        (1054, sum(other)),
    ] {
        let segment = driven.outgoing.segment(0, len).unwrap();
        let packet = TxPacket { segments: &[segment], len, offload };
        assert_eq!(driven.pairs[0].submit(0, &packet), Err(SubmitError::Refused), "{len} {offload:?}");
    }
    bench.assert_clean();
}

#[test]
fn tags_go_in_and_come_out() {
    for name in NAMES {
        let bench = Bench::named(name);
        let mut driven = bench.drive_usual();
        let plain = frame(OWN, 100, 1);
        let tagged =
            &driven.send(&bench, &plain, TxOffload { vlan: Some(0x6005), ..TxOffload::default() })[0];
        assert_eq!(tagged[12..16], [0x81, 0, 0x60, 5]);
        bench.model.send(tagged);
        let came = driven.receive(&bench);
        assert_eq!((came[0].metadata.vlan, &came[0].bytes), (Some(0x6005), &plain));
        let mut settings = driven.device.settings().clone();
        settings.features -= Features::RX_VLAN;
        driven.device.configure(&settings).unwrap();
        bench.model.send(tagged);
        let came = driven.receive(&bench);
        assert_eq!((came[0].metadata.vlan, &came[0].bytes), (None, tagged));
        // A client's own tag comes on top of the MTU.
        let mut longest = frame(OWN, 1514, 2);
        longest.splice(12..12, [0x81, 0, 0, 5]);
        assert_eq!(driven.send(&bench, &longest, TxOffload::default()), std::slice::from_ref(&longest));
        bench.model.send(&longest);
        assert_eq!(driven.receive(&bench)[0].bytes, longest, "{name}");
        bench.assert_clean();
    }
}

#[test]
fn checksums_are_looked_at() {
    for name in NAMES {
        let bench = Bench::named(name);
        let mut driven = bench.drive_usual();
        for (v6, tcp) in [(false, true), (false, false), (true, true)] {
            let mut bytes = Ip { v6, tcp, ports: (1, 2), payload: 100 }.frame(OWN);
            bench.model.send(&bytes);
            let first = name == "RTL8168B" && v6;
            let good = if first { RxChecksum::Unknown } else { RxChecksum::Good };
            assert_eq!(driven.receive(&bench)[0].metadata.checksum, good, "{name}");
            *bytes.last_mut().unwrap() ^= 1;
            bench.model.send(&bytes);
            assert_eq!(driven.receive(&bench)[0].metadata.checksum, RxChecksum::Unknown, "{name}");
        }
        let looked = if name == "RTL8168B" { 2 } else { 3 };
        assert_eq!(driven.statistic("rx_csum_offload_good"), looked);
        assert_eq!(driven.statistic("rx_csum_offload_errors"), looked);
        bench.assert_clean();
    }
}

#[test]
fn filters_let_through_what_was_asked_for() {
    for chip in CHIPS {
        let bench = Bench::new(Config::of(chip));
        let mut driven = bench.drive_usual();
        let (group, other) = ([0x33, 0x33, 0, 0, 0, 1], [0x01, 0, 0x5e, 0, 0, 1]);
        let passes = |driven: &mut Driven, filter: Filter| {
            let settings = Settings { filter, ..driven.device.settings().clone() };
            driven.device.configure(&settings).unwrap();
            let all = [OWN, [0xff; 6], PEER, group, other];
            all.map(|to| {
                bench.model.send(&frame(to, 60, 0));
                driven.receive(&bench).len() == 1
            })
        };
        let usual = Filter::default();
        assert_eq!(passes(&mut driven, usual.clone()), [true, true, false, false, false]);
        let one = Filter { multicast: vec![MacAddress(group)], ..Filter::default() };
        // Where the table does not work, all groups pass.
        assert_eq!(passes(&mut driven, one), [true, true, false, true, chip.no_table]);
        let groups = Filter { all_multicast: true, ..Filter::default() };
        assert_eq!(passes(&mut driven, groups), [true, true, false, true, true]);
        let second = Filter { unicast: vec![MacAddress(PEER)], ..Filter::default() };
        assert!(passes(&mut driven, second)[2]);
        assert_eq!(passes(&mut driven, Filter { promiscuous: true, ..Filter::default() }), [true; 5]);
        assert_eq!(passes(&mut driven, usual), [true, true, false, false, false]);
        let group = Settings { address: MacAddress(group), ..driven.device.settings().clone() };
        assert_eq!(driven.device.configure(&group), Err(NetError::Invalid));
        bench.assert_clean();
    }
}

#[test]
fn large_frames_go_through_where_the_chip_has_them() {
    for name in NAMES {
        let bench = Bench::named(name);
        let mtu = bench.chip.max_mtu;
        let mut driven = bench.drive(Options { mtu, tx_ring: 64, rx_ring: 64, ..Options::default() });
        let bytes = frame(PEER, usize::from(mtu) + 14, 1);
        assert_eq!(driven.send(&bench, &bytes, TxOffload::default()), [bytes], "{name}");
        let bytes = frame(OWN, usize::from(mtu) + 14, 2);
        bench.model.send(&bytes);
        let came = driven.receive(&bench);
        assert_eq!((came.len(), came[0].fragments), (1, 1), "{name}");
        assert!(came[0].bytes == bytes);
        // And back.
        let shape = Shape { mtu: 1500, ..driven.device.shape() };
        driven.reset(shape).unwrap();
        driven.link_up(&bench);
        bench.model.send(&bytes);
        assert!(driven.receive(&bench).is_empty());
        let bytes = frame(PEER, 1514, 3);
        assert_eq!(driven.send(&bench, &bytes, TxOffload::default()), [bytes], "{name}");
        bench.assert_clean();
    }
}

#[test]
fn damaged_frames_are_dropped_and_lies_end_in_a_reset() {
    let bench = Bench::named("RTL8168C");
    let mut driven = bench.drive_usual();
    let once = |action| FaultPlan::new(1).rule(Rule::only(Packets::Received, action).times(1));
    // RES, no FS, no LS.
    for bits in [1 << 21, 1 << 29, 1 << 28] {
        bench.model.set_faults(once(Action::BadStatus(bits)));
        bench.model.send(&frame(OWN, 60, 0));
        assert!(driven.receive(&bench).is_empty());
    }
    bench.model.set_faults(once(Action::BadLength(64)));
    bench.model.send(&frame(OWN, 60, 0));
    assert!(driven.receive(&bench).is_empty(), "nothing but a frame check sequence");
    assert_eq!(driven.statistic("rx_dropped"), 4);
    bench.model.set_faults(once(Action::BadLength(0x3000)));
    bench.model.send(&frame(OWN, 60, 0));
    assert_eq!(driven.try_receive(&bench), Err(NetError::Protocol));
    driven.reset(driven.device.shape()).unwrap();
    driven.link_up(&bench);
    bench.model.send(&frame(OWN, 60, 0));
    assert_eq!(driven.receive(&bench).len(), 1);
    bench.assert_clean();
}

#[test]
fn without_buffers_frames_wait() {
    let bench = Bench::named("RTL8168H");
    let mut driven = bench.drive_usual();
    (0..70).for_each(|n| bench.model.send(&frame(OWN, 200, n)));
    bench.host.advance(Duration::from_millis(1));
    let mut came = driven.take().unwrap();
    assert_eq!(came.len(), 64);
    came.extend(driven.receive(&bench));
    let seeds: Vec<u8> = came.iter().map(|packet| packet.bytes[14] ^ 14).collect();
    assert_eq!(seeds, (0..70).collect::<Vec<_>>());
    assert_eq!(driven.statistic("rx_missed"), 0);
    bench.assert_clean();
}
