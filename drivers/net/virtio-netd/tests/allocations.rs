//! Once a pair is set up, a packet allocates nothing: neither when it is sent nor when it is received.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod support;

use std::time::Duration;

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
        let (host, model) = (&bench.host, &bench.model);
        let pair = &mut driven.pairs[0];
        let mut done = Vec::with_capacity(64);
        let mut received = Received::with_capacity(64);
        for round in 0..40 {
            for tag in 0..8 {
                let packet = &packets[usize::from(tag) % 2];
                assert_eq!(measure(|| pair.submit(tag, packet).unwrap()).count_total, 0, "submit");
            }
            // The model does its work, and allocates for it, when it is told and while time passes.
            pair.commit();
            (0..8).for_each(|n| model.send(&frame(OWN, 60 + 700 * n, round)));
            host.advance(Duration::from_millis(1));
            let taken = measure(|| {
                pair.reap(&mut done).unwrap();
                pair.receive(64, &mut received).unwrap();
            });
            assert_eq!(taken.count_total, 0, "reap and receive");
            assert_eq!((done.len(), received.len()), (8, 8));
            done.clear();
            let buffer = &driven.buffers[0];
            let taken = measure(|| {
                for tag in received.tags() {
                    pair.post(tag, buffer.segment(usize::from(tag) * 2048, 2048).unwrap());
                }
                received.clear();
            });
            assert_eq!(taken.count_total, 0, "post");
            pair.commit();
        }
        bench.assert_clean();
    }
}
