//! What a power cut leaves.

use super::{Setup, Specimen, Unable, bench::Bench};
use crate::device::{Operation, WriteCache};

/// A disk with a cache that does keep things: without it, the checks would prove nothing.
fn cached<S: Specimen>(variant: &S::Variant) -> Result<Bench<S>, Unable> {
    let mut bench = Bench::<S>::new(variant, &Setup::default())?;
    assert_ne!(bench.disk().limits.write_cache, WriteCache::None);
    bench.write(4000, 4, 99);
    assert!(!bench.is_durable(4000, 4), "the cache keeps nothing");
    Ok(bench)
}

pub(super) fn flush<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    let mut bench = cached::<S>(variant)?;
    for seed in 0..8 {
        let lba = seed * 64;
        let queue = u16::try_from(seed).unwrap() % bench.queues();
        let data = bench.pattern(40, seed);
        bench.buffer.copy_from(0, &data).unwrap();
        let write = bench.transfer(Operation::Write, lba, 40, 0, 1);
        assert_eq!(bench.all([(queue, write)])[&1], Ok(()));
        bench.now_holds(lba, &data);
        // On another queue than what was written, where there is one.
        bench.flush_on((queue + 1) % bench.queues());
        assert!(bench.is_durable(0, lba + 40), "a flush was answered, and block {lba} is not on the medium");
    }
    bench.device.cut_power();
    bench.check();
    Ok(())
}

pub(super) fn fua<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    let mut bench = cached::<S>(variant)?;
    for (seed, blocks) in [(0, 1), (1, 8), (2, 300)] {
        let lba = seed * 500;
        let data = bench.pattern(blocks, seed);
        bench.buffer.copy_from(0, &data).unwrap();
        let write = bench.transfer(Operation::Write, lba, blocks, 0, 0).with_fua();
        assert_eq!(bench.execute(write), Ok(()));
        bench.now_holds(lba, &data);
        assert!(bench.is_durable(lba, blocks), "a write with FUA was answered, and is not on the medium");
    }
    bench.check();
    Ok(())
}

pub(super) fn write_through<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    let mut bench = Bench::<S>::new(variant, &Setup { cache: false, ..Setup::default() })?;
    assert_eq!(bench.disk().limits.write_cache, WriteCache::None);
    bench.write(10, 100, 1);
    assert!(bench.is_durable(10, 100));
    bench.flush_on(0);
    let flushes = bench.engine.statistics().of(Operation::Flush).commands;
    assert_eq!(flushes, 0, "there is nothing to flush");
    bench.check();
    Ok(())
}
