//! Once the ports are set up, a command allocates nothing: neither when it is submitted nor when it is reaped.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use ahcid::Options;
use allocation_counter::measure;
use driver_block::{Command, Controller, DiskId, HardwareQueue, LbaRange, Operation};
use model_ahci::Config;
use support::{Bench, options};

#[test]
fn commands_allocate_nothing() {
    for (polled, segments) in [(true, 1), (false, 1), (false, 8)] {
        let bench = Bench::new(Config::default());
        let mut controller = bench.attach(Options { polled, ..options() });
        let mut queue = controller.take_queues().remove(0);
        let buffer = controller.dma().allocate(segments * 8192).unwrap();
        // Apart from each other, so that several make a list.
        let list: Vec<_> = (0..segments).map(|at| buffer.segment(at * 8192, 4096).unwrap()).collect();
        let mut completed = Vec::with_capacity(usize::from(queue.depth()));
        // The first time, what is kept grows to its size.
        for (round, operation) in
            [Operation::Read, Operation::Read, Operation::Write, Operation::Flush, Operation::Discard]
                .into_iter()
                .enumerate()
        {
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
            // The model does its work, and allocates for it, when commands are issued and while time passes.
            queue.commit();
            bench.host.advance(Duration::from_millis(10));
            queue.interrupted();
            let taken = measure(|| queue.reap(&mut completed).unwrap());
            assert!(taken.count_total == 0 || round == 0, "reap {operation:?}");
            let found = completed.drain(..).filter(|done| done.result.is_ok()).count();
            assert_eq!(found, 8, "{operation:?}");
        }
        controller.shutdown(vec![queue]).unwrap();
    }
}
