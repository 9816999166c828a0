//! Operations that name blocks and move no data.

use super::{Setup, Specimen, Unable, bench::Bench};
use crate::{device::Operation, request::Request};

pub(super) fn discard<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    let mut bench = Bench::<S>::new(variant, &Setup::default())?;
    let limits = bench.disk().limits;
    if limits.max_discard_blocks == 0 {
        let request = Request::range(Operation::Discard, bench.disk, 0, 8, 0);
        assert_eq!(bench.refusal(request), crate::BlockError::Unsupported);
        return Err(Unable("it cannot discard"));
    }
    let granule = u64::from(limits.discard_granularity / limits.block_size).max(1);
    bench.write(0, 4096, 1);
    bench.flush_on(0);
    let before = bench.device.allocated(bench.disk);
    // One, several that are no neighbours and so are ranges of a command, and a long one.
    let ranges = [(8, 1), (24, 2), (40, 1), (56, 3), (1000, 100)];
    let ranges = ranges.map(|(at, len)| (at * granule, len * granule));
    let requests: Vec<_> = (0..)
        .zip(ranges)
        .map(|(cookie, (lba, blocks))| {
            (0, Request::range(Operation::Discard, bench.disk, lba, blocks, cookie))
        })
        .collect();
    assert!(bench.all(requests).values().all(Result::is_ok));
    let gone: u64 = ranges.iter().map(|(_, blocks)| blocks).sum();
    assert_eq!(before - bench.device.allocated(bench.disk), gone, "blocks are freed");
    for (lba, blocks) in ranges {
        // What they read as is the device's to choose, but it is the same through the driver.
        let data: Vec<u8> = (lba..lba + blocks).flat_map(|lba| bench.device.block(bench.disk, lba)).collect();
        bench.now_holds(lba, &data);
    }
    bench.read(0, 4096);
    bench.write(8 * granule, granule, 2);
    bench.read(0, 100 * granule);
    bench.check();
    Ok(())
}

fn write_zeroes<S: Specimen>(bench: &mut Bench<S>, fua: bool) {
    for (lba, blocks) in [(0, 1), (5, 1), (10, 9), (100, 1000), (2001, 2000)] {
        let request = Request::range(Operation::WriteZeroes, bench.disk, lba, blocks, 0);
        let request = if fua { request.with_fua() } else { request };
        assert_eq!(bench.execute(request), Ok(()), "{blocks} blocks of zeroes at {lba}");
        let zeroes = vec![0; bench.bytes(blocks)];
        bench.now_holds(lba, &zeroes);
        assert!(!fua || bench.is_durable(lba, blocks), "zeroes with FUA are not on the medium");
    }
    bench.read(0, 4096);
}

pub(super) fn zeroes<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    let mut bench = Bench::<S>::new(variant, &Setup::default())?;
    bench.write(0, 4096, 1);
    write_zeroes(&mut bench, false);
    bench.check();
    Ok(())
}

pub(super) fn durable_zeroes<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    let mut bench = Bench::<S>::new(variant, &Setup::default())?;
    bench.write(0, 4096, 1);
    bench.flush_on(0);
    write_zeroes(&mut bench, true);
    bench.device.cut_power();
    bench.check();
    Ok(())
}
