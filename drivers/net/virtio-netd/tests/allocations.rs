//! Once a pair is set up, a packet allocates nothing: neither when it is sent nor when it is received.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod support;

use allocation_counter::measure;
use support::*;

#[test]
fn packets_allocate_nothing() {
    for features in [TransportConfig::FEATURES, TransportConfig::FEATURES | Rings::RING_PACKED] {
        let bench =
            Bench::new(TransportConfig { features, ..TransportConfig::default() }, NetConfig::default());
        let mut driven = bench.drive(Options { mtu: 9000, ..options() });
        let tcp = Ip { v6: false, tcp: true, ports: (1, 2), payload: 9000 };
        let segment = driven.write(&tcp.partial(PEER));
        let checksum = Some(tcp.checksum());
        let segmentation = Some(Segmentation { mss: 1460, header_len: 54 });
        let packets = [
            TxPacket {
                segments: &[driven.outgoing.segment(0, 200).unwrap()],
                len: 200,
                offload: TxOffload::default(),
            },
            TxPacket {
                segments: &[segment],
                len: segment.len,
                offload: TxOffload { checksum, segmentation, vlan: None },
            },
        ];
        driven.rounds(&bench, &packets, 700, |step, work| {
            assert_eq!(measure(work).count_total, 0, "{step}");
        });
        bench.assert_clean();
    }
}
