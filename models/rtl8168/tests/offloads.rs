//! What is put into packets and read off them, in both generations.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use model_support::packet::{ip_is_right, parse, transport_is_right};
use support::*;

fn assert_right(frame: &[u8]) {
    let parsed = parse(frame);
    assert_ne!(ip_is_right(frame, &parsed), Some(false));
    assert_eq!(transport_is_right(frame, &parsed), Some(true));
}

#[test]
fn checksums_are_put_in() {
    let mut first = Bench::new("RTL8168B");
    for tcp in [false, true] {
        let work = Work1::new().with_ip(true).with_tcp(tcp).with_udp(!tcp).into_bits();
        assert_right(&first.send(&partial(false, tcp, 100, true).0, work, TxSecond::new())[0]);
    }
    first.assert_clean();
    let mut second = Bench::new("RTL8168C");
    for (v6, tcp) in [(false, false), (false, true), (true, false), (true, true)] {
        let (frame, at) = partial(v6, tcp, 100, true);
        let sums = TxSecond::new().with_v4(!v6).with_v6(v6).with_tcp(tcp).with_udp(!tcp);
        assert_right(&second.send(&frame, 0, sums.with_transport(u16::try_from(at).unwrap()))[0]);
        second.assert_clean();
        // Looked for elsewhere, it is not found.
        let sent = second.send(&frame, 0, sums.with_transport(u16::try_from(at).unwrap() + 4));
        assert_eq!(sent, [frame]);
        assert_eq!(second.model.take_violations().len(), 1);
    }
    assert_eq!(second.model.statistics().checksums, 4);
}

#[test]
fn packets_are_cut() {
    let cases = [("RTL8168B", false), ("RTL8168C", false), ("RTL8168C", true), ("RTL8168H", true)];
    for (chip, v6) in cases {
        let mut bench = Bench::new(chip);
        // With IPv6 the field has the sum without a length; with IPv4 it does not count.
        let (frame, at) = partial(v6, true, 2500, !v6);
        let sent = if chip == "RTL8168B" {
            bench.send(&frame, Work1::cut_at(1000).into_bits(), TxSecond::new())
        } else {
            let work =
                Work2::new().with_cut_v4(!v6).with_cut_v6(v6).with_transport(u8::try_from(at).unwrap());
            bench.send(&frame, work.into_bits(), TxSecond::new().with_mss(1000))
        };
        assert_eq!(sent.len(), 3);
        let payload: Vec<u8> = sent.iter().flat_map(|piece| piece[at + 20..].to_vec()).collect();
        assert_eq!(payload, frame[at + 20..]);
        for (number, piece) in (0u32..).zip(&sent) {
            assert_right(piece);
            let sequence = u32::from_be_bytes(piece[at + 4..at + 8].try_into().unwrap());
            assert_eq!(sequence, 0xffff_f000u32.wrapping_add(1000 * number));
            // FIN and PSH are the last one's.
            assert_eq!(piece[at + 13] & 0b1001 != 0, number == 2);
        }
        assert_eq!(bench.model.statistics().segmented, 1);
        bench.assert_clean();
        // What is not TCP is not cut.
        let (udp, at) = partial(v6, false, 2500, true);
        let work = if chip == "RTL8168B" {
            Work1::cut_at(1000).into_bits()
        } else {
            Work2::new()
                .with_cut_v4(!v6)
                .with_cut_v6(v6)
                .with_transport(u8::try_from(at).unwrap() + 1)
                .into_bits()
        };
        let sent = bench.send(&udp, work, TxSecond::new().with_mss(1000));
        assert!(chip == "RTL8168B" || sent.is_empty());
    }
}

#[test]
fn tags_are_inserted_and_taken_out() {
    let mut bench = Bench::new("RTL8168H");
    let plain = frame(OWN, 100);
    let sent = bench.send(&plain, 0, TxSecond::new().with_vlan(0x2005));
    assert_eq!(sent[0][12..16], [0x81, 0x00, 0x20, 0x05]);
    assert_eq!((&sent[0][..12], &sent[0][16..]), (&plain[..12], &plain[12..]));
    let (_, second, bytes) = bench.receive(&sent[0]).unwrap();
    assert_eq!((second.vlan(), bytes.len()), (None, 108));
    bench.write16(reg::CPLUS, CPlus::new().with_rx_vlan(true));
    let (_, second, bytes) = bench.receive(&sent[0]).unwrap();
    assert_eq!((second.vlan(), &bytes[..100]), (Some(0x2005), &plain[..]));
    bench.assert_clean();
}

#[test]
fn checksums_are_looked_at() {
    for chip in ["RTL8168B", "RTL8168C"] {
        let mut bench = Bench::new(chip);
        for (v6, tcp) in [(false, false), (false, true), (true, true)] {
            let (mut frame, at) = partial(v6, tcp, 100, true);
            let field = at + if tcp { 16 } else { 6 };
            let end = frame.len();
            model_support::packet::put_sum(&mut frame, at..end, field, 0);
            if !v6 {
                model_support::packet::put_sum(&mut frame, 14..34, 24, 0);
            }
            let (done, second, _) = bench.receive(&frame).unwrap();
            let knows = chip == "RTL8168C" || !v6;
            let protocol = if tcp { RxDone::TCP } else { RxDone::UDP };
            assert_eq!(done.protocol(), if knows { protocol } else { 0 });
            assert!(!done.tcp_wrong() && !done.udp_wrong() && !done.ip_wrong());
            assert_eq!((second.v4(), second.v6()), (!v6 && chip == "RTL8168C", v6 && chip == "RTL8168C"));
            frame[end - 1] ^= 1;
            let (done, ..) = bench.receive(&frame).unwrap();
            assert_eq!((done.tcp_wrong(), done.udp_wrong()), (tcp && knows, !tcp && knows));
        }
        bench.write16(reg::CPLUS, CPlus::new());
        assert_eq!(bench.receive(&partial(false, true, 100, true).0).unwrap().0.protocol(), 0);
        bench.assert_clean();
    }
}

#[test]
fn some_chips_pad_what_they_sum_up() {
    let (frame, at) = partial(false, false, 4, true);
    let work = Work1::new().with_ip(true).with_udp(true).into_bits();
    let sent = Bench::new("RTL8168B").send(&frame, work, TxSecond::new());
    assert_eq!(transport_is_right(&sent[0], &parse(&sent[0])), Some(false));
    let sums = TxSecond::new().with_v4(true).with_udp(true).with_transport(u16::try_from(at).unwrap());
    assert_right(&Bench::new("RTL8168C").send(&frame, 0, sums)[0]);
    // This one with whatever there was.
    let sent = Bench::new("RTL8168E-VL").send(&frame, 0, TxSecond::new());
    assert_ne!(sent[0][59], 0);
}
