//! What happens to a disk while it is served.

use std::time::Duration;

use super::{
    Setup, Specimen, Unable,
    bench::{Bench, PATIENCE},
};
use crate::{
    device::Operation,
    error::BlockError,
    request::{Request, Segments},
};

/// Lets time pass until the disk has this size.
fn wait_for_size<S: Specimen>(bench: &mut Bench<S>, blocks: u64) {
    let end = bench.device.host().now().plus(PATIENCE);
    let mut answers = Vec::new();
    while !bench.engine.disks().iter().any(|disk| disk.id == bench.disk && disk.blocks == blocks) {
        assert!(bench.device.host().now() < end, "the size does not follow: {:?}", bench.engine.disks());
        bench.engine.step(&mut answers);
        bench.device.host().advance(Duration::from_millis(1));
    }
    assert_eq!(answers, []);
}

fn last_block<S: Specimen>(
    bench: &mut Bench<S>,
    operation: Operation,
    blocks: u64,
) -> Result<(), BlockError> {
    let size = bench.block_size();
    let segments = Segments::from_slice(&[bench.segment(0, size)]);
    bench.execute(Request::transfer(operation, bench.disk, blocks - 1, 1, segments, 0))
}

pub(super) fn resize<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    let setup = Setup::default();
    let mut bench = Bench::<S>::new(variant, &setup)?;
    let (usual, more, less) = (setup.blocks, 2 * setup.blocks, setup.blocks / 4);
    for blocks in [more, less, usual] {
        bench.device.resize(bench.disk, blocks)?;
        wait_for_size(&mut bench, blocks);
        // Its new end can be used, and no more.
        for operation in [Operation::Write, Operation::Read] {
            assert_eq!(last_block(&mut bench, operation, blocks), Ok(()), "{blocks} blocks");
        }
        let beyond = bench.transfer(Operation::Read, blocks, 1, 0, 1);
        assert_eq!(bench.refusal(beyond), BlockError::OutOfRange, "{blocks} blocks");
    }
    bench.check_behaviour();
    Ok(())
}

pub(super) fn pulled_out<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    let mut bench = Bench::<S>::new(variant, &Setup::default())?;
    let reads: Vec<_> = (0..20).map(|n| bench.transfer(Operation::Read, n * 16, 8, 0, n)).collect();
    for (n, request) in reads.into_iter().enumerate() {
        let queue = u16::try_from(n).unwrap() % bench.queues();
        bench.engine.submit(queue, request).unwrap();
    }
    bench.engine.kick();
    bench.device.pull_out();
    bench.engine.drain(PATIENCE).unwrap();
    let mut answers = Vec::new();
    bench.engine.step(&mut answers);
    assert_eq!(answers.len(), 20, "every request is answered once");
    assert!(answers.iter().any(|answer| answer.completion.result.is_err()));
    // Whoever comes later is answered as well, and at once.
    let late = bench.transfer(Operation::Read, 0, 1, 0, 1);
    let asked = bench.device.host().now();
    assert!(bench.execute(late).is_err());
    assert!(bench.device.host().now().since(asked) < super::TIMEOUT, "an error takes its time");
    Ok(())
}
