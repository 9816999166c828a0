//! How it ends.

use std::time::Duration;

use super::{
    Setup, Specimen, Unable,
    bench::{Bench, PATIENCE},
};
use crate::{device::Operation, error::BlockError};

/// Submits writes of the whole memory without waiting for any.
fn start_writing<S: Specimen>(bench: &mut Bench<S>) -> u64 {
    let (blocks, count) = (32, 40);
    for n in 0..count {
        let at = usize::try_from(n).unwrap() * bench.bytes(blocks);
        let data = bench.pattern(blocks, n);
        bench.buffer.copy_from(at, &data).unwrap();
        let request = bench.transfer(Operation::Write, n * 40, blocks, at, n);
        let queue = u16::try_from(n).unwrap() % bench.queues();
        bench.engine.submit(queue, request).unwrap();
        bench.now_holds(n * 40, &data);
    }
    bench.engine.kick();
    count
}

pub(super) fn shutdown<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    let mut bench = Bench::<S>::new(variant, &Setup::default())?;
    let count = start_writing(&mut bench);
    assert!(!bench.engine.is_idle());
    bench.engine.shutdown(PATIENCE).unwrap();
    assert!(bench.device.is_quiet(), "the device may still do DMA");
    let mut answers = Vec::new();
    bench.engine.step(&mut answers);
    assert_eq!(answers.len() as u64, count, "every request is answered once");
    assert!(answers.iter().all(|answer| answer.completion.result.is_ok()), "{answers:?}");
    bench.device.cut_power();
    bench.check();
    let late = bench.transfer(Operation::Read, 0, 1, 0, 1);
    assert_eq!(bench.refusal(late), BlockError::Gone);
    Ok(())
}

pub(super) fn dropped<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    let mut bench = Bench::<S>::new(variant, &Setup::default())?;
    start_writing(&mut bench);
    let Bench { device, engine, buffer, .. } = bench;
    drop(engine);
    assert!(device.is_quiet(), "the device may still do DMA");
    drop(buffer);
    device.host().advance(Duration::from_secs(1));
    assert_eq!(device.host().take_faults(), [], "DMA after the end");
    assert_eq!(device.violations(), [""; 0]);
    Ok(())
}
