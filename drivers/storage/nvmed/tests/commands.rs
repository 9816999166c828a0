//! Every I/O command, by every way to describe its data.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use driver_block::{
    BlockError, Command, Completed, Controller, DiskId, HardwareQueue, LbaRange, Operation, SubmitError,
};
use model_nvme::{Action, Commands, Config, FaultPlan, NamespaceConfig, PowerCut, Rule};
use nvme_spec::{NvmOpcode, Status};
use nvmed::Options;
use support::{Bench, Driven, options, pattern};

const BLOCK: usize = 512;

fn range(lba: u64, blocks: u32) -> [LbaRange; 1] {
    [LbaRange { lba, blocks }]
}

fn shapes() -> [(Config, Options); 4] {
    let with_sgl = || Config { sgl: true, ..Config::default() };
    [
        (Config::default(), options()),
        (with_sgl(), options()),
        (with_sgl(), Options { sgl: false, ..options() }),
        (Config { mdts: 0, ..Config::default() }, Options { polled: true, ..options() }),
    ]
}

#[test]
fn transfers_of_every_length_and_offset() {
    for (config, options) in shapes() {
        let bench = Bench::new(config);
        let mut driven = Driven::new(&bench, options);
        let max = driven.controller.disks()[0].limits.max_transfer as usize;
        let data = pattern(max, 7);
        for len in [BLOCK, 4096, 4608, 8192, 8704, 65536, max - BLOCK] {
            for offset in [0, 4, 512, 4092, 4096 - BLOCK] {
                let blocks = u32::try_from(len / BLOCK).unwrap();
                let segment = driven.segment(offset, u32::try_from(len).unwrap());
                driven.buffer.copy_from(offset, &data[..len]).unwrap();
                assert_eq!(driven.write(&bench, 100, blocks, &[segment]), Ok(()), "{len} at {offset}");
                assert_eq!(bench.model.read(1, 100, blocks.into()), &data[..len]);
                driven.buffer.fill(0, driven.buffer.len(), 0xee).unwrap();
                assert_eq!(driven.read(&bench, 100, blocks, &[segment]), Ok(()));
                let mut back = vec![0; driven.buffer.len()];
                driven.buffer.copy_to(0, &mut back).unwrap();
                assert_eq!(back[offset..offset + len], data[..len]);
                assert!(back[..offset].iter().chain(&back[offset + len..]).all(|&byte| byte == 0xee));
            }
        }
        bench.assert_clean();
    }
}

#[test]
fn scattered_segments() {
    for (config, options) in shapes() {
        let sgl = config.sgl && options.sgl;
        let bench = Bench::new(config);
        let mut driven = Driven::new(&bench, options);
        let limits = driven.controller.disks()[0].limits.clone();
        assert_eq!(limits.segment_boundary == 1, sgl);
        // Meeting at page boundaries suits both; in the middle of pages only SGLs.
        let mut lists =
            vec![vec![(4096 - 512, 512), (8192, 8192), (40960, 512)], vec![(4096, 4096), (0, 4096)]];
        if limits.segment_boundary == 1 {
            lists.push(vec![(100, 412), (5000, 1636), (12000, 2048)]);
        }
        for list in lists {
            let segments: Vec<_> = list.iter().map(|&(offset, len)| driven.segment(offset, len)).collect();
            let len = list.iter().map(|&(_, len)| len as usize).sum::<usize>();
            let data = pattern(len, 3);
            bench.model.write(1, 8, &data);
            assert_eq!(driven.read(&bench, 8, u32::try_from(len / BLOCK).unwrap(), &segments), Ok(()));
            let mut back = Vec::new();
            for (offset, len) in list {
                let mut part = vec![0; len as usize];
                driven.buffer.copy_to(offset, &mut part).unwrap();
                back.extend(part);
            }
            assert_eq!(back, data);
        }
        bench.assert_clean();
    }
}

#[test]
fn segments_that_no_list_can_say_are_refused_before_the_device_sees_them() {
    let bench = Bench::new(Config::default());
    let mut driven = Driven::new(&bench, options());
    let before = bench.model.statistics().io(NvmOpcode::READ);
    for list in [&[(0, 512), (1024, 512)][..], &[(4096, 4096), (8200, 4096)], &[(2, 8192), (12288, 512)], &[]]
    {
        let segments: Vec<_> = list.iter().map(|&(offset, len)| driven.segment(offset, len)).collect();
        assert_eq!(driven.read(&bench, 0, 2, &segments), Err(BlockError::Invalid));
    }
    assert_eq!(bench.model.statistics().io(NvmOpcode::READ), before);
}

#[test]
fn flush_and_fua_reach_the_medium() {
    let bench = Bench::new(Config::default());
    let mut driven = Driven::new(&bench, options());
    let data = pattern(4096, 1);
    driven.buffer.copy_from(0, &data).unwrap();
    let segment = driven.segment(0, 4096);
    assert_eq!(driven.write(&bench, 0, 8, &[segment]), Ok(()));
    assert!(bench.model.dirty_blocks(1) > 0, "the model's cache is volatile");
    assert_eq!(driven.execute(&bench, Operation::Flush, &[], &[], false), Ok(()));
    assert_eq!(bench.model.dirty_blocks(1), 0);
    assert_eq!(driven.execute(&bench, Operation::Write, &range(64, 8), &[segment], true), Ok(()));
    assert_eq!(driven.write(&bench, 128, 8, &[segment]), Ok(()));
    bench.model.power_cut(PowerCut::Lost);
    assert_eq!(bench.model.read(1, 0, 8), data, "flushed");
    assert_eq!(bench.model.read(1, 64, 8), data, "force unit access");
    assert_eq!(bench.model.read(1, 128, 8), [0; 4096], "neither");
}

#[test]
fn discard_and_write_zeroes() {
    let bench = Bench::new(Config::default());
    let mut driven = Driven::new(&bench, options());
    bench.model.write(1, 0, &pattern(64 * BLOCK, 5));
    let before = bench.model.allocated_blocks(1);
    let ranges: Vec<_> = (0..4).map(|n| LbaRange { lba: n * 16, blocks: 8 }).collect();
    assert_eq!(driven.execute(&bench, Operation::Discard, &ranges, &[], false), Ok(()));
    assert_eq!(before - bench.model.allocated_blocks(1), 32);
    assert_eq!(driven.execute(&bench, Operation::WriteZeroes, &range(8, 8), &[], false), Ok(()));
    assert_eq!(bench.model.read(1, 0, 24), vec![0; 24 * BLOCK]);
    assert_ne!(bench.model.read(1, 24, 8), vec![0; 8 * BLOCK]);
    // As many ranges as one command takes, and one more.
    let most = usize::from(driven.controller.disks()[0].limits.max_discard_ranges);
    let ranges: Vec<_> = (0..most as u64 + 1).map(|n| LbaRange { lba: 1000 + 2 * n, blocks: 1 }).collect();
    assert_eq!(driven.execute(&bench, Operation::Discard, &ranges[..most], &[], false), Ok(()));
    let refused = driven.execute(&bench, Operation::Discard, &ranges, &[], false);
    assert_eq!(refused, Err(BlockError::Invalid));
    bench.assert_clean();
}

#[test]
fn blocks_of_4096_bytes() {
    let bench =
        Bench::new(Config { namespaces: vec![NamespaceConfig::new(1 << 14, 12)], ..Config::default() });
    let mut driven = Driven::new(&bench, options());
    let data = pattern(16384, 9);
    driven.buffer.copy_from(512, &data).unwrap();
    let segment = driven.segment(512, 16384);
    assert_eq!(driven.write(&bench, 3, 4, &[segment]), Ok(()));
    assert_eq!(bench.model.read(1, 3, 4), data);
    bench.assert_clean();
}

#[test]
fn errors_of_the_device_are_translated() {
    for (status, dnr, expected) in [
        (Status::UNRECOVERED_READ_ERROR, false, BlockError::Medium),
        (Status::LBA_OUT_OF_RANGE, false, BlockError::OutOfRange),
        (Status::CAPACITY_EXCEEDED, false, BlockError::NoSpace),
        (Status::NAMESPACE_WRITE_PROTECTED, false, BlockError::ReadOnly),
        (Status::INVALID_OPCODE, false, BlockError::Unsupported),
        (Status::INTERNAL_ERROR, false, BlockError::Transient),
        (Status::INTERNAL_ERROR, true, BlockError::Medium),
        (Status::ABORT_REQUESTED, false, BlockError::Aborted),
    ] {
        let plan = FaultPlan::new(0).rule(Rule::only(Commands::any_io(), Action::Fail(status, dnr)));
        let bench = Bench::faulty(Config::default(), plan);
        let mut driven = Driven::new(&bench, options());
        let segment = driven.segment(0, 4096);
        assert_eq!(driven.read(&bench, 0, 8, &[segment]), Err(expected), "{status}");
    }
    // Beyond the end, by the device's own judgement.
    let bench = Bench::new(Config::default());
    let mut driven = Driven::new(&bench, options());
    let segment = driven.segment(0, 4096);
    assert_eq!(driven.read(&bench, (1 << 20) - 4, 8, &[segment]), Err(BlockError::OutOfRange));
}

#[test]
fn every_tag_can_be_in_flight_and_completes_once() {
    for polled in [false, true] {
        let bench = Bench::new(Config { mqes: 15, ..Config::default() });
        let mut driven = Driven::new(&bench, Options { polled, queue_depth: 1000, ..options() });
        let segment = driven.segment(0, 4096);
        let queue = &mut driven.queues[0];
        let depth = queue.depth();
        let command = Command {
            operation: Operation::Read,
            disk: DiskId(1),
            fua: false,
            ranges: &range(0, 8),
            segments: &[segment],
        };
        let mut seen = vec![0; usize::from(depth)];
        for round in 1..=100 {
            for tag in 0..depth {
                queue.submit(tag, &command).unwrap();
                let again = queue.submit(tag, &command);
                assert_eq!(again, Err(SubmitError::Refused(BlockError::Invalid)), "the tag is in flight");
            }
            queue.commit();
            let mut completed = Vec::new();
            while completed.len() < usize::from(depth) {
                bench.host.advance(std::time::Duration::from_micros(10));
                queue.reap(&mut completed).unwrap();
            }
            for Completed { tag, result } in completed {
                assert_eq!(result, Ok(()));
                seen[usize::from(tag)] += 1;
            }
            assert!(seen.iter().all(|&count| count == round));
        }
        bench.assert_clean();
    }
}

#[test]
fn stale_duplicate_and_invented_completions_are_only_counted() {
    for action in
        [Action::Duplicate, Action::CorruptCid(0x8000), Action::CorruptSqid(0x10), Action::CorruptCid(0x3ff)]
    {
        let plan = FaultPlan::new(0).rule(Rule::only(Commands::any_io(), action).nth(1));
        let bench = Bench::faulty(Config::default(), plan);
        let mut driven = Driven::new(&bench, options());
        let segment = driven.segment(0, 4096);
        let ranges = range(0, 8);
        let command = Command {
            operation: Operation::Read,
            disk: DiskId(1),
            fua: false,
            ranges: &ranges,
            segments: &[segment],
        };
        let queue = &mut driven.queues[0];
        let mut completed = Vec::new();
        for tag in [5, 6] {
            queue.submit(tag, &command).unwrap();
            queue.commit();
            bench.host.advance(std::time::Duration::from_millis(1));
            queue.reap(&mut completed).unwrap();
        }
        let tags: Vec<_> = completed.iter().map(|completed| completed.tag).collect();
        let expected: &[u16] = if action == Action::Duplicate { &[5, 6] } else { &[6] };
        assert_eq!(tags, expected, "{action:?}");
        let stale = &driven.controller.counters().stale_completions;
        assert_eq!(stale.load(std::sync::atomic::Ordering::Relaxed), 1, "{action:?}");
    }
}
