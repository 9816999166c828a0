//! Requests that are not carried out.

use super::{Setup, Specimen, Unable, bench::Bench};
use crate::{
    device::{DiskId, Operation},
    error::BlockError,
    request::{Request, Segments},
};

pub(super) fn read_only<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    let mut bench = Bench::<S>::new(variant, &Setup { read_only: true, ..Setup::default() })?;
    assert!(bench.disk().limits.read_only);
    bench.read(0, 16);
    let last = bench.disk().blocks - 1;
    bench.read(last, 1);
    let write = bench.transfer(Operation::Write, 0, 1, 0, 1);
    assert_eq!(bench.refusal(write), BlockError::ReadOnly);
    for operation in [Operation::WriteZeroes, Operation::Discard] {
        let request = Request::range(operation, bench.disk, 0, 8, 1);
        let error = bench.refusal(request);
        assert!(matches!(error, BlockError::ReadOnly | BlockError::Unsupported), "{operation:?}: {error}");
    }
    bench.flush_on(0);
    bench.check();
    Ok(())
}

pub(super) fn malformed<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    let mut bench = Bench::<S>::new(variant, &Setup::default())?;
    let (id, end, size) = (bench.disk, bench.disk().blocks, bench.block_size());
    let segments = |bytes: usize| Segments::from_slice(&[bench.segment(0, bytes)]);
    let transfer =
        |operation, lba, blocks, bytes| Request::transfer(operation, id, lba, blocks, segments(bytes), 1);
    let mut refused = Vec::new();
    for operation in [Operation::Read, Operation::Write] {
        for (lba, blocks) in [(end, 1), (end - 1, 2), (u64::MAX, 1), (u64::MAX - 1, 2), (end + 7, 1)] {
            let bytes = usize::try_from(blocks).unwrap() * size;
            refused.push((transfer(operation, lba, blocks, bytes), BlockError::OutOfRange));
        }
        // Too little memory, too much, none, and no blocks.
        refused.push((transfer(operation, 0, 2, size), BlockError::Invalid));
        refused.push((transfer(operation, 0, 1, 2 * size), BlockError::Invalid));
        refused.push((Request::transfer(operation, id, 0, 1, Segments::new(), 1), BlockError::Invalid));
        refused.push((Request::transfer(operation, id, 0, 0, Segments::new(), 1), BlockError::Invalid));
        let unknown = Request { disk: DiskId(0x7777), ..transfer(operation, 0, 1, size) };
        refused.push((unknown, BlockError::Gone));
    }
    for (lba, blocks) in [(end, 1), (0, end + 1), (u64::MAX, u64::MAX)] {
        let zeroes = Request::range(Operation::WriteZeroes, id, lba, blocks, 1);
        refused.push((zeroes, BlockError::OutOfRange));
    }
    let before = bench.engine.statistics().total();
    for (request, wanted) in refused {
        let error = bench.refusal(request.clone());
        assert_eq!(error, wanted, "{request:?}");
    }
    bench.engine.kick();
    assert!(bench.engine.is_idle());
    assert_eq!(bench.engine.statistics().total(), before);
    bench.read(end - 1, 1);
    bench.check();
    Ok(())
}
