//! Commands that fail or are never answered.

use std::time::Duration;

use super::{
    Setup, Specimen, TIMEOUT, Unable,
    bench::{Bench, PATIENCE},
};
use crate::{
    device::{DiskId, Operation},
    error::BlockError,
    request::Request,
};

pub(super) fn bad_block<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    let mut bench = Bench::<S>::new(variant, &Setup::default())?;
    bench.write(0, 512, 3);
    bench.flush_on(0);
    bench.device.spoil(bench.disk, 85);
    // Neighbours, that travel together, and others on all queues.
    let size = bench.bytes(8);
    let reads: Vec<_> = (0..24u64)
        .map(|n| {
            let queue = if n < 16 { 0 } else { u16::try_from(n).unwrap() % bench.queues() };
            let request = bench.transfer(Operation::Read, n * 8, 8, usize::try_from(n).unwrap() * size, n);
            (queue, request)
        })
        .collect();
    let answers = bench.all(reads);
    for (n, result) in answers {
        assert_eq!(result, if n == 10 { Err(BlockError::Medium) } else { Ok(()) }, "read {n}");
        if result.is_ok() {
            bench.compare(n * 8, 8, usize::try_from(n).unwrap() * size);
        }
    }
    // Written, it can be read again.
    bench.write(85, 1, 4);
    bench.read(80, 8);
    bench.check();
    Ok(())
}

/// Where somebody else's requests go: another queue, or else another disk.
fn somebody_else<S: Specimen>(bench: &Bench<S>) -> Result<(u16, DiskId), Unable> {
    if bench.queues() > 1 {
        return Ok((1, bench.disk));
    }
    let other = bench.engine.disks().iter().find(|disk| disk.id != bench.disk);
    other.map(|disk| (0, disk.id)).ok_or(Unable("it has one queue and one disk"))
}

pub(super) fn hang<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    const VICTIM: u64 = u64::MAX - 1;
    let mut bench = Bench::<S>::new(variant, &Setup { disks: 2, ..Setup::default() })?;
    let (queue, disk) = somebody_else(&bench)?;
    bench.device.hang_next(0, bench.disk);
    let victim = bench.transfer(Operation::Read, 0, 8, 1 << 20, VICTIM);
    bench.engine.submit(0, victim).unwrap();
    bench.engine.kick();
    let began = bench.device.host().now();
    let (mut ended, mut others, mut worst) = (None, 0u64, Duration::ZERO);
    let mut answers = Vec::new();
    while ended.is_none() {
        let request = Request { disk, ..bench.transfer(Operation::Read, others % 1000, 1, 0, others) };
        bench.engine.submit(queue, request).unwrap();
        bench.engine.kick();
        let asked = bench.device.host().now();
        let mut answered = false;
        while !answered {
            bench.device.host().advance(Duration::from_micros(200));
            bench.engine.step(&mut answers);
            for answer in answers.drain(..) {
                assert_eq!(answer.completion.result, Ok(()), "{answer:?}");
                if answer.completion.cookie == VICTIM {
                    ended = Some(bench.device.host().now());
                } else {
                    answered = true;
                }
            }
            assert!(bench.device.host().now().since(asked) < PATIENCE, "nobody is answered");
        }
        worst = worst.max(bench.device.host().now().since(asked));
        others += 1;
    }
    let took = ended.map_or(Duration::ZERO, |ended| ended.since(began));
    assert!(took >= TIMEOUT, "nothing hung: it took {took:?}");
    assert!(worst < TIMEOUT / 10, "one of the {others} others took {worst:?}");
    bench.check_behaviour();
    Ok(())
}
