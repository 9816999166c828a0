//! Sending: descriptors, checksums, cutting, tags, rings that wrap and fill.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod support;

use std::time::Duration;

use support::*;

fn usual(name: &str) -> (Bench, Driven) {
    let bench = Bench::named(name);
    let driven = bench.drive_usual();
    (bench, driven)
}

#[test]
fn frames_go_out_as_they_are() {
    for name in NAMES {
        let (bench, mut driven) = usual(name);
        for len in [60, 61, 64, 512, 1514] {
            let bytes = frame(PEER, len, 7);
            assert_eq!(driven.send(&bench, &bytes, TxOffload::default()), [bytes], "{name}, {len}");
        }
        let short = driven.send(&bench, &frame(PEER, 14, 0), TxOffload::default());
        assert_eq!(short[0].len(), 60, "the device pads");
        bench.assert_clean();
        driven.shutdown(WakeOn::empty()).unwrap();
        assert!(!bench.host.bus_master());
    }
}

#[test]
fn pieces_are_gathered() {
    let (bench, mut driven) = usual("82540EM");
    let bytes = frame(PEER, 1514, 3);
    driven.write(&bytes);
    let pieces = [(0, 42), (42, 1), (43, 1000), (1043, 471)];
    let segments: Vec<_> =
        pieces.into_iter().map(|(at, len)| driven.outgoing.segment(at, len).unwrap()).collect();
    assert_eq!(driven.send_segments(&bench, &segments, TxOffload::default()), [bytes]);
    bench.assert_clean();
}

#[test]
fn the_device_puts_checksums_in() {
    for name in NAMES {
        let (bench, mut driven) = usual(name);
        for (v6, tcp) in [(false, false), (false, true), (true, false), (true, true)] {
            let packet = Ip { v6, tcp, ports: (1000, 2000), payload: 333 };
            let offload = TxOffload { checksum: Some(packet.checksum()), ..TxOffload::default() };
            let sent = driven.send(&bench, &packet.partial(PEER), offload);
            assert_eq!(sent, [packet.frame(PEER)], "{name} v6 {v6} tcp {tcp}");
        }
        bench.assert_clean();
    }
}

#[test]
fn a_context_is_said_once() {
    let (bench, mut driven) = usual("82574L");
    let tcp = Ip { v6: false, tcp: true, ports: (1, 2), payload: 100 };
    let udp = Ip { tcp: false, ..tcp };
    let contexts = |driven: &mut Driven, packet: &Ip, len: usize| {
        let packet = Ip { payload: len, ..*packet };
        let offload = TxOffload { checksum: Some(packet.checksum()), ..TxOffload::default() };
        let before = bench.model.statistics().contexts;
        assert_eq!(driven.send(&bench, &packet.partial(PEER), offload), [packet.frame(PEER)]);
        bench.model.statistics().contexts - before
    };
    assert_eq!(contexts(&mut driven, &tcp, 100), 1);
    assert_eq!(contexts(&mut driven, &tcp, 500), 0);
    // A packet that asks for nothing changes nothing.
    driven.send(&bench, &frame(PEER, 100, 0), TxOffload::default());
    assert_eq!(contexts(&mut driven, &tcp, 1000), 0);
    assert_eq!(contexts(&mut driven, &udp, 100), 1);
    assert_eq!(contexts(&mut driven, &tcp, 100), 1);
    driven.reset(driven.device.shape()).unwrap();
    driven.link_up(&bench);
    assert_eq!(contexts(&mut driven, &tcp, 100), 1, "a reset makes the device forget");
    bench.assert_clean();
}

/// Checks the packets that one was cut into.
fn check_cut(packet: &Ip, mss: usize, sent: &[Vec<u8>]) {
    let header = packet.header_len();
    let (ip, tcp) = (14, packet.transport());
    let whole = packet.frame(PEER);
    assert_eq!(sent.len(), packet.payload.div_ceil(mss));
    // The shortest ones were padded.
    let end = |frame: &[u8]| {
        let at = ip + if packet.v6 { 4 } else { 2 };
        let more = if packet.v6 { 54 } else { 14 };
        more + usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]))
    };
    let sent: Vec<&[u8]> = sent.iter().map(|frame| &frame[..end(frame)]).collect();
    assert!(sent.iter().all(|frame| frame.len() <= header + mss));
    let payload: Vec<u8> = sent.iter().flat_map(|frame| frame[header..].to_vec()).collect();
    assert!(payload == whole[header..], "the payload has changed");
    let mut offset = 0u32;
    for (number, frame) in sent.iter().enumerate() {
        let last = number + 1 == sent.len();
        assert_eq!(frame[..14], whole[..14]);
        let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        if packet.v6 {
            assert_eq!(usize::from(word(ip + 4)), frame.len() - 54);
        } else {
            assert_eq!(usize::from(word(ip + 2)), frame.len() - 14);
            assert_eq!(usize::from(word(ip + 4)), 0x1234 + number);
            assert_eq!(internet_sum(&frame[14..34]), 0xffff);
        }
        let sequence = u32::from_be_bytes(*frame[tcp + 4..].first_chunk().unwrap());
        assert_eq!(sequence, 0xffff_f000u32.wrapping_add(offset));
        assert_eq!(frame[tcp + 13], if last { 0x19 } else { 0x10 });
        let transport_len = frame.len() - tcp;
        let sum = u32::from(packet.pseudo(transport_len)) + u32::from(internet_sum(&frame[tcp..]));
        assert!(sum == 0xffff || sum == 2 * 0xffff, "wrong checksum in {number}");
        offset += u32::try_from(frame.len() - header).unwrap();
    }
}

#[test]
fn the_device_cuts_packets() {
    for name in NAMES {
        let (bench, mut driven) = usual(name);
        for (v6, payload, mss) in [
            (false, 65_000, 1460),
            (false, 1461, 1460),
            (false, 100, 1460),
            (false, 8192, 536),
            (true, 65_000, 1440),
        ] {
            let packet = Ip { v6, tcp: true, ports: (80, 9), payload };
            let segmentation = Segmentation {
                mss: u16::try_from(mss).unwrap(),
                header_len: u16::try_from(packet.header_len()).unwrap(),
            };
            let offload =
                TxOffload { checksum: Some(packet.checksum()), segmentation: Some(segmentation), vlan: None };
            if v6 && !bench.chip.tso6 {
                let segments = [driven.write(&packet.uncut(PEER))];
                let packet = TxPacket { segments: &segments, len: segments[0].len, offload };
                assert_eq!(driven.pairs[0].submit(0, &packet), Err(SubmitError::Refused));
                continue;
            }
            let sent = driven.send(&bench, &packet.uncut(PEER), offload);
            check_cut(&packet, mss, &sent);
        }
        bench.assert_clean();
        assert!(driven.statistic("tx_tcp_seg_good") >= 4);
    }
}

#[test]
fn tags_are_inserted() {
    for name in NAMES {
        let (bench, mut driven) = usual(name);
        let bytes = frame(PEER, 100, 1);
        let sent = driven.send(&bench, &bytes, TxOffload { vlan: Some(0x6123), ..TxOffload::default() });
        let expected = [&bytes[..12], &[0x81, 0x00, 0x61, 0x23], &bytes[12..]].concat();
        assert_eq!(sent, [expected], "{name}");
        // And not where they are not asked for.
        assert_eq!(driven.send(&bench, &bytes, TxOffload::default()), [bytes]);
        bench.assert_clean();
    }
}

#[test]
fn one_doorbell_per_batch_and_the_ring_wraps_and_fills() {
    let (bench, mut driven) = usual("82545EM");
    let depth = driven.pairs[0].tx_depth();
    let segment = driven.write(&frame(PEER, 60, 0));
    let mut sent = 0;
    for round in 0..20 {
        let before = bench.model.statistics();
        let pair = &mut driven.pairs[0];
        let count = if round % 2 == 0 { depth } else { 7 };
        for tag in 0..count {
            let packet = TxPacket { segments: &[segment], len: 60, offload: TxOffload::default() };
            pair.submit(tag, &packet).unwrap();
        }
        pair.commit();
        pair.commit();
        let accesses = bench.host.register_accesses();
        bench.host.advance(Duration::from_millis(1));
        let mut done = Vec::new();
        pair.reap(&mut done).unwrap();
        assert_eq!(bench.host.register_accesses(), accesses, "reaping touches no register");
        assert_eq!(done, (0..count).collect::<Vec<_>>());
        assert_eq!(bench.model.statistics().tx_doorbells, before.tx_doorbells + 1);
        sent += usize::from(count);
    }
    assert_eq!(bench.model.take_sent().len(), sent);
    // More packets than fit: 63 descriptors.
    let pair = &mut driven.pairs[0];
    for tag in 0..63 {
        let packet = TxPacket { segments: &[segment], len: 60, offload: TxOffload::default() };
        pair.submit(tag, &packet).unwrap();
    }
    let packet = TxPacket { segments: &[segment], len: 60, offload: TxOffload::default() };
    assert_eq!(pair.submit(63, &packet), Err(SubmitError::Full));
    bench.assert_clean();
}

#[test]
fn what_the_device_cannot_send_is_refused() {
    let (bench, mut driven) = usual("82574L");
    let segment = driven.outgoing.segment(0, 9231).unwrap();
    let long = TxPacket { segments: &[segment], len: 9231, offload: TxOffload::default() };
    assert_eq!(driven.pairs[0].submit(0, &long), Err(SubmitError::Refused));
    let packet = Ip { v6: false, tcp: true, ports: (1, 2), payload: 100 };
    let segment = driven.write(&packet.partial(PEER));
    let far = Checksum { start: 300, field: 316, ..packet.checksum() };
    let offload = TxOffload { checksum: Some(far), ..TxOffload::default() };
    let far = TxPacket { segments: &[segment], len: segment.len, offload };
    assert_eq!(driven.pairs[0].submit(0, &far), Err(SubmitError::Refused));
    let offload =
        TxOffload { segmentation: Some(Segmentation { mss: 1460, header_len: 54 }), ..TxOffload::default() };
    let unsummed = TxPacket { segments: &[segment], len: segment.len, offload };
    assert_eq!(driven.pairs[0].submit(0, &unsummed), Err(SubmitError::Refused));
    // Nothing of it reached the ring.
    let bytes = frame(PEER, 60, 9);
    assert_eq!(driven.send(&bench, &bytes, TxOffload::default()), [bytes]);
    bench.assert_clean();
}

#[test]
fn a_pause_frame_stops_it_for_a_while() {
    let (bench, mut driven) = usual("82540EM");
    let mut pause = [[0x01, 0x80, 0xc2, 0, 0, 1], PEER].concat();
    pause.extend([0x88, 0x08, 0, 1, 0xff, 0xff]);
    pause.resize(60, 0);
    bench.model.send(&pause);
    bench.host.advance(Duration::from_micros(10));
    let segment = driven.write(&frame(PEER, 60, 0));
    let packet = TxPacket { segments: &[segment], len: 60, offload: TxOffload::default() };
    driven.pairs[0].submit(0, &packet).unwrap();
    driven.pairs[0].commit();
    // 65,535 times 512 ns.
    bench.host.advance(Duration::from_millis(30));
    assert!(bench.model.take_sent().is_empty());
    bench.host.advance(Duration::from_millis(10));
    assert_eq!(bench.model.take_sent().len(), 1);
    assert_eq!(driven.statistic("rx_flow_control_xoff"), 1);
    bench.assert_clean();
}
