//! Frames both ways, as a driver without offloads has them.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use support::*;

const CHIPS: [&str; 3] = ["RTL8168B", "RTL8168C", "RTL8168H"];

#[test]
fn frames_go_out_whole_or_in_pieces_and_the_ring_wraps() {
    for chip in CHIPS {
        let mut bench = Bench::new(chip);
        for len in [60, 100, 1514, 61, 62, 63] {
            let frame = frame(PEER, len);
            assert_eq!(bench.send(&frame, 0, TxSecond::new()), std::slice::from_ref(&frame));
            let used = bench.submit(&[&frame[..20], &frame[20..21], &frame[21..]], 0, TxSecond::new());
            assert!(used.into_iter().all(|index| bench.is_done(index)));
            assert_eq!(bench.model.take_sent(), [frame]);
        }
        assert_eq!(bench.model.tally().tx_packets, 12);
        // Short ones are padded, as long as no checksum is wanted.
        let short = frame(PEER, 20);
        let sent = bench.send(&short, 0, TxSecond::new());
        assert_eq!((sent[0].len(), &sent[0][..20]), (60, &short[..]));
        bench.assert_clean();
    }
}

#[test]
fn frames_come_in_as_far_as_the_filter_lets_them() {
    for chip in CHIPS {
        let mut bench = Bench::new(chip);
        let own = frame(OWN, 100);
        let (done, _, bytes) = bench.receive(&own).unwrap();
        assert!(done.fs() && done.ls() && done.pam() && !done.res());
        assert_eq!((bytes.len(), &bytes[..100]), (104, &own[..]));
        let group = [0x33, 0x33, 0, 0, 0, 1];
        assert!(bench.receive(&frame([0xff; 6], 60)).unwrap().0.bar());
        assert!(bench.receive(&frame(PEER, 60)).is_none());
        assert!(bench.receive(&frame(group, 60)).is_none());
        let (byte, bit) = reg::multicast_bit(group);
        let mut table = [0; 8];
        table[byte] = bit;
        bench.write32(reg::MAR0, u32::from_le_bytes(table[..4].try_into().unwrap()));
        bench.write32(reg::MAR4, u32::from_le_bytes(table[4..].try_into().unwrap()));
        let passes = RxConfig::new().with_am(true);
        bench.write32(reg::RCR, passes);
        assert!(bench.receive(&frame(group, 60)).unwrap().0.mar());
        assert!(bench.receive(&frame([0x33, 0x33, 0, 0, 0, 2], 60)).is_none());
        assert!(bench.receive(&own).is_none());
        bench.write32(reg::RCR, passes.with_aap(true));
        assert!(bench.receive(&frame(PEER, 60)).is_some());
        assert_eq!(bench.model.statistics().filtered, 4);
        let tally = bench.model.tally();
        assert_eq!(
            (tally.rx_packets, tally.rx_broadcast, tally.rx_multicast, tally.rx_unicast),
            (4, 1, 1, 2)
        );
        bench.assert_clean();
    }
}

#[test]
fn without_descriptors_frames_wait_and_then_are_missed() {
    let mut bench = Bench::new("RTL8168C");
    bench.write16(reg::ISR, u16::MAX);
    let count = 4 + 48 * 1024 / 1518 + 3;
    for _ in 0..count {
        bench.model.send(&frame(OWN, 1514));
    }
    bench.host.advance(Duration::from_millis(1));
    let events = Events::from(bench.read16(reg::ISR));
    assert!(events.rok() && events.rdu() && events.fovw());
    assert_eq!((bench.read32(reg::MPC), bench.model.tally().rx_missed), (3, 3));
    bench.write32(reg::MPC, 0u32);
    assert_eq!(bench.read32(reg::MPC), 0);
    // Those that wait come as soon as there is room, without a word.
    let mut came = 0;
    while bench.take().is_some() {
        bench.post(came % RING);
        came += 1;
        bench.host.advance(Duration::from_millis(1));
    }
    assert_eq!(came, count - 3);
    bench.assert_clean();
}

#[test]
fn a_frame_that_is_longer_than_a_buffer_takes_several() {
    let mut bench = Bench::new("RTL8168H");
    let long = frame(OWN, 4000);
    bench.model.send(&long);
    bench.host.advance(Duration::from_millis(1));
    let (first, second) = (bench.take().unwrap(), bench.take().unwrap());
    assert!(first.0.fs() && !first.0.ls() && !second.0.fs() && second.0.ls());
    assert_eq!((first.0.length(), second.0.length()), (BUFFER, 4004));
    assert_eq!(first.2, long[..2048]);
    // Longer than RMS: not at all.
    bench.write16(reg::RMS, 1600u16);
    assert!(bench.receive(&long).is_none());
    assert_eq!(bench.model.tally().rx_errors, 1);
    bench.assert_clean();
}

#[test]
fn large_frames_pass_once_they_are_switched_on() {
    for (chip, config3, config4, mtps, longest) in [
        ("RTL8168B", 0, 1, 0x3f, 4096 - 4),
        ("RTL8168C", 4, 2, 0x3f, 6144 - 4),
        ("RTL8168E", 4, 1, 0x3f, 9216 - 4),
        ("RTL8168H", 0, 0, 0x27, 9216 - 4),
    ] {
        let mut bench = Bench::new(chip);
        bench.write8(reg::MTPS, mtps);
        let usual = chip == "RTL8168H";
        let large = frame(PEER, longest);
        bench.send(&large, 0, TxSecond::new());
        let refused = [Violation::FrameLength(longest)];
        assert_eq!(bench.model.take_violations(), if usual { &[][..] } else { &refused[..] }, "{chip}");
        bench.write8(reg::CR9346, reg::UNLOCK);
        bench.write8(reg::CONFIG3, config3);
        bench.write8(reg::CONFIG4, config4);
        bench.write8(reg::CR9346, reg::LOCK);
        assert_eq!(bench.send(&large, 0, TxSecond::new()), [large], "{chip}");
        bench.send(&frame(PEER, longest + 1), 0, TxSecond::new());
        assert_eq!(bench.model.take_violations(), [Violation::FrameLength(longest + 1)], "{chip}");
    }
}

#[test]
fn what_makes_no_sense_stops_the_transmitter() {
    let mut bench = Bench::new("RTL8168C");
    let frame = frame(PEER, 60);
    let used = bench.submit(&[&frame, &[]], 0, TxSecond::new());
    assert!(!bench.is_done(used[0]));
    assert_eq!(bench.model.take_violations(), [Violation::Descriptor("nothing to send")]);
    assert!(Events::from(bench.read16(reg::ISR)).serr());
    // Until it is reset.
    bench.submit(&[&frame], 0, TxSecond::new());
    assert!(bench.model.take_sent().is_empty());
    bench.write8(reg::CR, Command::new().with_rst(true));
    assert!(Command::from(bench.read8(reg::CR)).rst());
    bench.host.advance(Duration::from_millis(1));
    bench.start();
    assert_eq!(bench.send(&frame, 0, TxSecond::new()), [frame]);
    bench.assert_clean();
}

#[test]
fn without_a_link_packets_wait() {
    let mut bench = Bench::new("RTL8168H");
    let frame = frame(PEER, 60);
    bench.model.set_partner(None, Duration::from_secs(2));
    bench.host.advance(Duration::from_millis(1));
    bench.model.send(&frame);
    let used = bench.submit(&[&frame], 0, TxSecond::new());
    assert!(!bench.is_done(used[0]));
    bench.model.set_partner(Some(Partner::SWITCH), Duration::from_secs(3));
    bench.host.advance(Duration::from_secs(4));
    assert!(bench.is_done(used[0]));
    assert!(bench.take().is_none());
    bench.assert_clean();
}

#[test]
fn what_is_planned_goes_wrong() {
    let mut bench = Bench::new("RTL8168H");
    let good = frame(OWN, 100);
    let received = |action| FaultPlan::new(1).rule(Rule::only(Packets::Received, action).times(1));
    bench.model.set_faults(received(Action::BadLength(0x3f)));
    assert_eq!(bench.receive(&good).unwrap().0.length(), 104 ^ 0x3f);
    bench.model.set_faults(received(Action::Garbage));
    assert!(bench.receive(&good).is_none());
    bench.model.set_faults(received(Action::Drop));
    assert!(bench.receive(&good).is_none());
    assert!(bench.receive(&good).is_some());
    bench.model.set_faults(FaultPlan::new(1).rule(Rule::only(Packets::Sent, Action::Hang).nth(2)));
    assert_eq!(bench.send(&good, 0, TxSecond::new()).len(), 1);
    let used = bench.submit(&[&good], 0, TxSecond::new());
    assert!(!bench.is_done(used[0]));
    bench.model.set_faults(received(Action::WildWrite(0xdead_0000)));
    bench.receive(&good);
    assert_eq!(bench.host.take_faults().len(), 1);
}
