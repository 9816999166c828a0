//! Packets both ways.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod support;

use std::time::Duration;

use support::*;

const PACKETS: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

fn needs_csum(packet: &Ip) -> NetHeader {
    let sum = packet.checksum();
    NetHeader {
        flags: NetHeaderFlags::new().with_needs_csum(true),
        csum_start: sum.start,
        csum_offset: sum.field - sum.start,
        ..NetHeader::default()
    }
}

fn gso(packet: &Ip, mss: u16) -> NetHeader {
    let gso_type = if packet.v6 { GsoType::TCPV6 } else { GsoType::TCPV4 };
    let hdr_len = u16::try_from(packet.header_len()).unwrap();
    NetHeader { gso_type, gso_size: mss, hdr_len, ..needs_csum(packet) }
}

#[test]
fn frames_go_both_ways_on_every_ring() {
    for transport in all_rings() {
        for mergeable in [true, false] {
            let bench = Bench::new(transport.clone(), NetConfig::default());
            let mut driven = bench.drive(Options { mergeable, ..options() });
            // More than once around.
            for n in 0..90 {
                let bytes = frame(PEER, 60 + 15 * usize::from(n), n);
                assert_eq!(driven.send(&bench, &bytes, TxOffload::default()), [bytes]);
                let bytes = frame(OWN, 60 + 15 * usize::from(n), n);
                bench.model.send(&bytes);
                let came = driven.receive(&bench);
                assert_eq!(came.len(), 1);
                assert_eq!((&came[0].bytes, came[0].fragments), (&bytes, 1));
            }
            assert_eq!((driven.statistic("tx_packets"), driven.statistic("rx_packets")), (90, 90));
            bench.assert_clean();
        }
    }
}

#[test]
fn the_device_puts_checksums_in_and_cuts() {
    let bench = Bench::usual();
    let mut driven = bench.drive_usual();
    for (v6, tcp) in PACKETS {
        let packet = Ip { v6, tcp, ports: (1000, 2000), payload: 333 };
        let offload = TxOffload { checksum: Some(packet.checksum()), ..TxOffload::default() };
        let sent = driven.send(&bench, &packet.partial(PEER), offload);
        assert_eq!(sent, [packet.frame(PEER)], "v6 {v6} tcp {tcp}");
    }
    for v6 in [false, true] {
        let packet = Ip { v6, tcp: true, ports: (80, 9), payload: 60_001 };
        let header_len = u16::try_from(packet.header_len()).unwrap();
        let segmentation = Some(Segmentation { mss: 1400, header_len });
        let offload = TxOffload { checksum: Some(packet.checksum()), segmentation, vlan: None };
        let sent = driven.send(&bench, &packet.partial(PEER), offload);
        assert_eq!(sent.len(), 43);
        let payload: Vec<u8> = sent.iter().flat_map(|frame| frame[packet.header_len()..].to_vec()).collect();
        assert!(payload[..60_001] == packet.frame(PEER)[packet.header_len()..]);
    }
    assert_eq!(bench.model.counts().tx_cut, 2);
    bench.assert_clean();
}

#[test]
fn pieces_are_gathered() {
    for indirect in [true, false] {
        let bench = Bench::usual();
        let mut driven = bench.drive(Options { indirect, ..options() });
        let bytes = frame(PEER, 1514, 3);
        driven.write(&bytes);
        let pieces = [(0, 42), (42, 1), (43, 1000), (1043, 471)];
        let segments: Vec<_> =
            pieces.into_iter().map(|(at, len)| driven.outgoing.segment(at, len).unwrap()).collect();
        assert_eq!(driven.send_segments(&bench, &segments, TxOffload::default()), [bytes]);
        bench.assert_clean();
    }
}

#[test]
fn what_the_device_cannot_send_is_refused() {
    let bench = Bench::without(NetFeatures::HOST_TSO6);
    let mut driven = bench.drive_usual();
    let packet = Ip { v6: true, tcp: true, ports: (1, 2), payload: 3000 };
    let segment = driven.write(&packet.partial(PEER));
    let segments = [segment];
    let segmentation = Some(Segmentation { mss: 1400, header_len: 74 });
    let checksum = Some(packet.checksum());
    let beyond = Some(Checksum { field: 5000, ..packet.checksum() });
    for offload in [
        TxOffload { checksum, segmentation, vlan: None },
        TxOffload { checksum: None, segmentation, vlan: None },
        TxOffload { checksum: beyond, ..TxOffload::default() },
        TxOffload::default(),
    ] {
        let packet = TxPacket { segments: &segments, len: segment.len, offload };
        assert_eq!(driven.pairs[0].submit(0, &packet), Err(SubmitError::Refused), "{offload:?}");
    }
    let segments = [driven.outgoing.segment(0, 100).unwrap()];
    let offload = TxOffload { vlan: Some(1), ..TxOffload::default() };
    let tagged = TxPacket { segments: &segments, len: 100, offload };
    assert_eq!(driven.pairs[0].submit(0, &tagged), Err(SubmitError::Refused));
    let bytes = frame(PEER, 60, 9);
    assert_eq!(driven.send(&bench, &bytes, TxOffload::default()), [bytes]);
    bench.assert_clean();
}

#[test]
fn one_notification_for_a_batch_and_the_ring_fills() {
    let bench = Bench::usual();
    let mut driven = bench.drive_usual();
    let segments = [driven.write(&frame(PEER, 60, 0))];
    let packet = TxPacket { segments: &segments, len: 60, offload: TxOffload::default() };
    for count in [64, 7, 64, 1] {
        let before = bench.model.statistics().notifications;
        let pair = &mut driven.pairs[0];
        for tag in 0..count {
            pair.submit(tag, &packet).unwrap();
        }
        if count == 64 {
            assert_eq!(pair.submit(63, &packet), Err(SubmitError::Full));
        }
        let accesses = bench.host.register_accesses();
        pair.commit();
        pair.commit();
        assert_eq!(bench.model.statistics().notifications, before + 1);
        assert_eq!(bench.host.register_accesses(), accesses + 1);
        bench.host.advance(Duration::from_millis(1));
        let mut done = Vec::new();
        pair.reap(&mut done).unwrap();
        assert_eq!(done, (0..count).collect::<Vec<_>>());
        assert_eq!(bench.host.register_accesses(), accesses + 1, "reaping touches no register");
        assert_eq!(bench.model.take_sent().len(), usize::from(count));
    }
    bench.assert_clean();
}

#[test]
fn large_frames_take_several_buffers() {
    let bench = Bench::usual();
    let mut driven = bench.drive(Options { mtu: 9000, ..options() });
    // Also such that the header is all that the last buffer has no room for, and such that it is exactly full.
    for len in [2036, 2037, 2048 * 3 - 12, 9014] {
        let bytes = frame(OWN, len, 5);
        bench.model.send(&bytes);
        let came = driven.receive(&bench);
        assert!(came[0].bytes == bytes, "{len}");
        assert_eq!(came[0].fragments, (len + 12).div_ceil(2048));
    }
    // Longer than the MTU: of no use, and its buffers come back.
    for _ in 0..40 {
        bench.model.send(&frame(OWN, 9100, 5));
        assert_eq!(driven.receive(&bench), []);
    }
    assert_eq!((driven.statistic("rx_drops"), driven.statistic("rx_merged")), (40, 43));
    bench.assert_clean();
}

#[test]
fn the_device_says_what_it_knows_of_checksums() {
    let bench = Bench::usual();
    let mut driven = bench.drive_usual();
    for (v6, tcp) in PACKETS {
        let packet = Ip { v6, tcp, ports: (5, 6), payload: 700 };
        let mut wrong = packet.frame(OWN);
        *wrong.last_mut().unwrap() ^= 1;
        bench.model.send(&packet.frame(OWN));
        bench.model.send(&wrong);
        bench.model.send_unfinished(needs_csum(&packet), &packet.partial(OWN));
        let came = driven.receive(&bench);
        let sum = packet.checksum();
        let partial = RxChecksum::Partial { start: sum.start, field: sum.field };
        let found: Vec<_> = came.iter().map(|came| came.metadata.checksum).collect();
        assert_eq!(found, [RxChecksum::Good, RxChecksum::Unknown, partial]);
        assert_eq!(came[2].bytes, packet.partial(OWN));
    }
    // Clients that want nothing of it get whole packets.
    let none = Settings { features: Features::empty(), ..driven.device.settings().clone() };
    driven.device.configure(&none).unwrap();
    let packet = Ip { v6: false, tcp: true, ports: (5, 6), payload: 700 };
    bench.model.send_unfinished(needs_csum(&packet), &packet.partial(OWN));
    let came = driven.receive(&bench);
    assert_eq!((&came[0].bytes, came[0].metadata), (&packet.frame(OWN), RxMetadata::default()));
    bench.assert_clean();
}

#[test]
fn packets_put_together_come_as_one() {
    let bench = Bench::usual();
    let mut driven = bench.drive_usual();
    for v6 in [false, true] {
        let packet = Ip { v6, tcp: true, ports: (5, 6), payload: 60_000 };
        bench.model.send_unfinished(gso(&packet, 1400), &packet.partial(OWN));
        let came = driven.receive(&bench);
        assert!(came[0].bytes == packet.partial(OWN));
        assert_eq!(came[0].metadata.coalesced, Some(Coalesced { ip: packet.version(), mss: 1400 }));
    }
    // A client that does not want that gets them as they would be on a wire.
    let settings = Settings {
        features: driven.device.capabilities().features - Features::RX_LRO,
        ..driven.device.settings().clone()
    };
    driven.device.configure(&settings).unwrap();
    let packet = Ip { v6: false, tcp: true, ports: (5, 6), payload: 60_000 };
    bench.model.send_unfinished(gso(&packet, 1400), &packet.partial(OWN));
    let came = driven.receive(&bench);
    assert_eq!(came.len(), 43);
    assert!(came.iter().all(|came| came.metadata.checksum == RxChecksum::Good));
    bench.assert_clean();
}

#[test]
fn flows_are_spread_over_pairs() {
    let bench = Bench::usual();
    let mut driven = bench.drive(Options { queues: 2, ..options() });
    for port in 0..8 {
        bench.model.send(&Ip { v6: false, tcp: true, ports: (port, 80), payload: 10 }.frame(OWN));
    }
    let came = driven.receive(&bench);
    let of = |pair| came.iter().filter(|came| came.pair == pair).count();
    assert_eq!((of(0), of(1)), (4, 4));
    bench.assert_clean();
}

/// Sends frames while a fault strikes the receive queue, and says how it was taken.
fn lie(action: Action, mtu: u16, len: usize) -> Result<usize, NetError> {
    let bench = Bench::usual();
    let mut driven = bench.drive(Options { mtu, ..options() });
    let only = Requests::of_kind(Net::RECEIVE);
    bench.model.set_faults(FaultPlan::new(3).rule(Rule::only(only, action).nth(1)));
    // Another one is behind it: there are more buffers than are its own.
    bench.model.send(&frame(OWN, len, 0));
    bench.model.send(&frame(OWN, 60, 0));
    let answer = driven.try_receive(&bench).map(|came| came.len());
    if answer.is_err() {
        assert_eq!(driven.statistic("protocol_errors"), 1);
        driven.reset(driven.device.shape()).unwrap();
    }
    let bytes = frame(OWN, len, 1);
    bench.model.send(&bytes);
    assert!(driven.receive(&bench)[0].bytes == bytes, "it goes on");
    answer
}

#[test]
fn lies_about_buffers_lead_to_a_reset() {
    let broken = Err(NetError::Protocol);
    assert_eq!(lie(Action::BadLength(4000), 1500, 100), broken, "more than the buffer holds");
    assert_eq!(lie(Action::CorruptId(0x4000), 1500, 100), broken, "a buffer that there is not");
    assert_eq!(lie(Action::Duplicate, 1500, 100), broken, "a buffer twice");
    assert_eq!(lie(Action::Corrupt(10, 1), 1500, 100), broken, "no buffers");
    assert_eq!(lie(Action::Corrupt(10, 3), 1500, 100), broken, "two, of which one is not full");
    assert_eq!(lie(Action::Corrupt(11, 0x80), 9000, 9000), broken, "more than there are");
    assert_eq!(lie(Action::Corrupt(10, 0x0c), 9000, 9000), broken, "9 of 5 buffers");
}

#[test]
fn headers_that_make_no_sense_cost_the_packet_only() {
    // NEEDS_CSUM at 0, which is in the frame: taken at its word. Then a kind of cutting that there is not, and a start far outside.
    assert_eq!(lie(Action::Corrupt(0, 1), 1500, 100), Ok(2));
    assert_eq!(lie(Action::Corrupt(1, 0x40), 1500, 100), Ok(1));
    assert_eq!(lie(Action::Corrupt(1, 1), 1500, 100), Ok(1), "put together from pieces of 0 bytes");
    let bench = Bench::usual();
    let mut driven = bench.drive_usual();
    let packet = Ip { v6: false, tcp: true, ports: (5, 6), payload: 100 };
    for (csum_start, csum_offset) in [(60_000, 60_000), (150, 3)] {
        let far = NetHeader { csum_start, csum_offset, ..needs_csum(&packet) };
        bench.model.send_unfinished(far, &packet.partial(OWN));
        assert_eq!(driven.receive(&bench), []);
    }
    assert_eq!(driven.statistic("rx_drops"), 2);
}
