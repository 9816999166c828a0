//! Once a queue is set up, a command allocates nothing: neither when it is submitted nor when it is reaped.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use allocation_counter::measure;
use driver_block::{Command, DiskId, HardwareQueue, LbaRange, Operation};
use model_virtio::BlkConfig;
use support::{Bench, Driven, all_rings, options};
use virtio_blkd::Options;

#[test]
fn commands_allocate_nothing() {
    let rings = all_rings().into_iter().flat_map(|ring| [(ring.clone(), true, 1), (ring, false, 8)]);
    for (transport, polled, segments) in rings {
        let bench = Bench::new(transport, BlkConfig::default());
        let mut driven = Driven::new(&bench, Options { polled, queue_depth: 100, ..options() });
        // Apart from each other, so that several make a list.
        let list: Vec<_> = (0..segments).map(|at| driven.segment(at * 8192, 4096)).collect();
        let queue = &mut driven.queues[0];
        let mut completed = Vec::with_capacity(usize::from(queue.depth()));
        for operation in [Operation::Read, Operation::Write, Operation::Flush, Operation::Discard] {
            let transfer = matches!(operation, Operation::Read | Operation::Write);
            let blocks = 8 * u32::try_from(list.len()).unwrap();
            let command = Command {
                operation,
                disk: DiskId(0),
                fua: false,
                ranges: if operation == Operation::Flush { &[] } else { &[LbaRange { lba: 64, blocks }] },
                segments: if transfer { &list } else { &[] },
            };
            for tag in 0..8 {
                let taken = measure(|| queue.submit(tag, &command).unwrap());
                assert_eq!(taken.count_total, 0, "submit {operation:?}");
            }
            // The model does its work, and allocates for it, when it is notified and while time passes.
            queue.commit();
            let mut found = 0;
            for _ in 0..1000 {
                bench.host.advance(Duration::from_micros(100));
                let taken = measure(|| queue.reap(&mut completed).unwrap());
                assert_eq!(taken.count_total, 0, "reap {operation:?}");
                found += completed.drain(..).filter(|done| done.result.is_ok()).count();
                if found == 8 {
                    break;
                }
            }
            assert_eq!(found, 8, "{operation:?}");
        }
        driven.shutdown().unwrap();
    }
}
