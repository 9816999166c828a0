//! Once a pair is set up, a packet allocates nothing: neither when it is sent nor when it is received.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod support;

use allocation_counter::measure;
use support::*;

#[test]
fn packets_allocate_nothing() {
    for name in NAMES {
        let bench = Bench::named(name);
        let mut driven = bench.drive_usual();
        let tcp = Ip { v6: false, tcp: true, ports: (1, 2), payload: 9000 };
        let segment = driven.write(&tcp.uncut(PEER));
        let checksum = Some(tcp.checksum());
        let segmentation = Some(Segmentation { mss: 1460, header_len: 54 });
        let plain = driven.outgoing.segment(0, 200).unwrap();
        let large = TxOffload { checksum, segmentation, vlan: Some(5) };
        let packets = [
            TxPacket { segments: &[plain], len: 200, offload: TxOffload::default() },
            TxPacket {
                segments: &[plain],
                len: 200,
                offload: TxOffload { checksum, ..TxOffload::default() },
            },
            TxPacket { segments: &[segment], len: segment.len, offload: large },
        ];
        driven.rounds(&bench, &packets, 20, |step, work| {
            assert_eq!(measure(work).count_total, 0, "{name}: {step}");
        });
    }
}
