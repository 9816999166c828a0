//! What commands do to the medium, on every kind of ring.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::time::Duration;

use driver_block::{
    BlockError, Command, Completed, Controller, DiskId, HardwareQueue, LbaRange, Operation, SubmitError,
    WriteCache,
};
use model_virtio::{Action, Blk, BlkConfig, FaultPlan, Latency, Requests, Rule, TransportConfig};
use redox_driver_sys::dma::Segment;
use support::{Bench, Driven, all_rings, options, pattern, transport};
use virtio_blkd::Options;
use virtio_core::Features;
use virtio_spec::blk::{BlkFeatures, RequestStatus, RequestType};

fn range(lba: u64, blocks: u32) -> [LbaRange; 1] {
    [LbaRange { lba, blocks }]
}

#[test]
fn data_travel_on_every_kind_of_ring() {
    for config in all_rings() {
        let features = config.features;
        let bench = Bench::new(config, BlkConfig::default());
        let mut driven = Driven::new(&bench, Options { in_order: true, ..options() });
        assert_eq!(driven.controller.features() & features, features - Features::RING_RESET, "{features:?}");
        let data = pattern(64 * 512, 1);
        driven.buffer.copy_from(0, &data).unwrap();
        // More requests than the ring has entries, so that it wraps.
        for round in 0..100u32 {
            let lba = u64::from(round) * 7;
            let segments = [driven.segment(0, 4096), driven.segment(8192, 512)];
            driven.write(&bench, lba, 9, &segments).unwrap();
            assert_eq!(bench.model.read(lba, 8), data[..4096], "{features:?}");
            assert_eq!(bench.model.read(lba + 8, 1), data[8192..8704], "{features:?}");
            driven.buffer.fill(65_536, 4608, 0).unwrap();
            let segments = [driven.segment(65_536, 512), driven.segment(66_048, 4096)];
            driven.read(&bench, lba, 9, &segments).unwrap();
            let mut read = vec![0; 4608];
            driven.buffer.copy_to(65_536, &mut read).unwrap();
            assert_eq!(read[..4096], data[..4096], "{features:?}");
            assert_eq!(read[4096..], data[8192..8704], "{features:?}");
        }
        bench.assert_clean();
        driven.shutdown().unwrap();
        assert!(!bench.host.bus_master());
    }
}

/// Fills a queue, and takes what comes back as it comes.
#[test]
fn many_requests_are_outstanding_and_come_back_in_any_order() {
    for mut config in all_rings() {
        config.latency = Latency { jitter: Duration::from_micros(200), ..Latency::default() };
        let features = config.features;
        let bench = Bench::new(config, BlkConfig::default());
        let mut driven = Driven::new(&bench, Options { in_order: true, queue_depth: 64, ..options() });
        bench.model.write(0, &pattern(512 * 512, 3));
        let mut order = Vec::new();
        for _ in 0..20 {
            let depth = driven.queues[0].depth();
            assert_eq!(depth, 64, "{features:?}");
            for tag in 0..depth {
                let segments = [driven.segment(usize::from(tag) * 512, 512)];
                let ranges = range(tag.into(), 1);
                let command = Command {
                    operation: Operation::Read,
                    disk: DiskId(0),
                    fua: false,
                    ranges: &ranges,
                    segments: &segments,
                };
                driven.queues[0].submit(tag, &command).unwrap();
            }
            let before = bench.model.statistics().notifications;
            driven.queues[0].commit();
            driven.queues[0].commit();
            assert_eq!(bench.model.statistics().notifications, before + 1, "one notification for the batch");
            let mut completed: Vec<Completed> = Vec::new();
            for _ in 0..1000 {
                bench.host.advance(Duration::from_micros(10));
                driven.queues[0].reap(&mut completed).unwrap();
                if completed.len() == usize::from(depth) {
                    break;
                }
            }
            order = completed.iter().map(|completed| completed.tag).collect();
            let mut tags = order.clone();
            tags.sort_unstable();
            assert_eq!(tags, (0..depth).collect::<Vec<_>>(), "{features:?}");
            assert!(completed.iter().all(|completed| completed.result.is_ok()));
            let mut read = vec![0; 64 * 512];
            driven.buffer.copy_to(0, &mut read).unwrap();
            assert_eq!(read, bench.model.read(0, 64), "{features:?}");
        }
        assert_eq!(order.is_sorted(), features.contains(Features::IN_ORDER), "{features:?}");
        bench.assert_clean();
        let counted = bench.model.statistics();
        assert_eq!(counted.batches > 0, features.contains(Features::IN_ORDER), "{features:?}");
        driven.shutdown().unwrap();
    }
}

#[test]
fn flush_makes_writes_durable() {
    let bench = Bench::usual();
    let mut driven = Driven::new(&bench, options());
    assert_eq!(driven.controller.disks()[0].limits.write_cache, WriteCache::Volatile { fua: false });
    driven.buffer.fill(0, 512, 0x5a).unwrap();
    let segments = [driven.segment(0, 512)];
    driven.write(&bench, 7, 1, &segments).unwrap();
    assert_eq!(bench.model.read_durable(7, 1), [0; 512]);
    driven.execute(&bench, Operation::Flush, &[], &[]).unwrap();
    assert_eq!(bench.model.read_durable(7, 1), [0x5a; 512]);
    bench.assert_clean();
}

#[test]
fn the_write_cache_can_be_switched() {
    for (on, cache) in [(true, WriteCache::Volatile { fua: false }), (false, WriteCache::None)] {
        let bench = Bench::usual();
        let mut driven = Driven::new(&bench, Options { write_cache: Some(on), ..options() });
        assert_eq!(driven.controller.disks()[0].limits.write_cache, cache);
        assert_eq!(bench.model.is_write_back(), on);
        let segments = [driven.segment(0, 512)];
        driven.buffer.fill(0, 512, 0x5a).unwrap();
        driven.write(&bench, 7, 1, &segments).unwrap();
        assert_eq!(bench.model.read_durable(7, 1) == [0x5a; 512], !on);
        // And stays so over a reset.
        let queues = std::mem::take(&mut driven.queues);
        driven.queues = driven.controller.reset(queues).unwrap();
        assert_eq!(bench.model.is_write_back(), on);
        bench.assert_clean();
    }
}

#[test]
fn discard_and_write_zeroes_take_ranges() {
    let bench =
        Bench::new(TransportConfig::default(), BlkConfig { block_size: 4096, ..BlkConfig::default() });
    bench.model.write(0, &pattern(512 * 800, 2));
    let mut driven = Driven::new(&bench, options());
    let limits = driven.controller.disks()[0].limits.clone();
    assert_eq!((limits.block_size, limits.max_discard_ranges, limits.max_discard_blocks), (4096, 4, 1 << 19));
    assert_eq!(limits.discard_granularity, 4096);
    let ranges = [LbaRange { lba: 1, blocks: 2 }, LbaRange { lba: 10, blocks: 1 }];
    driven.execute(&bench, Operation::Discard, &ranges, &[]).unwrap();
    assert_eq!(bench.model.allocated_sectors(), 800 - 24);
    assert_eq!(bench.model.read(8, 16), vec![0; 8192]);
    assert_ne!(bench.model.read(24, 1), [0; 512]);
    driven.execute(&bench, Operation::WriteZeroes, &range(20, 4), &[]).unwrap();
    assert_eq!(bench.model.read(160, 32), vec![0; 16_384]);
    bench.assert_clean();
}

#[test]
fn errors_are_what_the_device_says() {
    let plan = FaultPlan::new(1)
        .rule(Rule::only(Requests::of_kind(RequestType::IN.0), Action::Fail(RequestStatus::IOERR.0)).nth(1))
        .rule(Rule::only(Requests::of_kind(RequestType::DISCARD.0), Action::Fail(RequestStatus::UNSUPP.0)))
        .rule(Rule::only(Requests::of_kind(RequestType::FLUSH.0), Action::Fail(77)));
    let bench = Bench::faulty(plan);
    let mut driven = Driven::new(&bench, options());
    let segments = [driven.segment(0, 512)];
    let error = driven.read(&bench, 1, 1, &segments).unwrap_err();
    assert_eq!((error, error.errno()), (BlockError::Medium, 5));
    driven.read(&bench, 1, 1, &segments).unwrap();
    assert_eq!(driven.execute(&bench, Operation::Discard, &range(1, 1), &[]), Err(BlockError::Unsupported));
    assert_eq!(
        driven.execute(&bench, Operation::Flush, &[], &[]),
        Err(BlockError::Protocol),
        "a status that is none"
    );
    assert_eq!(
        driven.controller.inspect().lines().filter(|line| line.ends_with("protocol errors   1")).count(),
        1
    );
    bench.assert_clean();
}

/// Each of these is a lie about the ring, and is noticed: the queue takes nothing more until it was reset.
#[test]
fn a_device_that_lies_is_not_believed() {
    let lies = [
        Action::CorruptId(0x4000_0000),
        Action::CorruptId(0x7f),
        Action::BadLength(1),
        Action::BadLength(u32::MAX),
        Action::Duplicate,
        Action::NoStatus,
        Action::IndexJump(5),
    ];
    for config in all_rings() {
        for lie in lies {
            let packed = config.features.contains(Features::RING_PACKED);
            let features = config.features;
            let lost = matches!((lie, packed), (Action::IndexJump(_), true));
            if lost || (packed && lie == Action::CorruptId(0x4000_0000)) {
                // A packed ring has neither an index nor the upper half of an id; jumping ahead is a lost completion.
                continue;
            }
            let bench = Bench::new(config.clone(), BlkConfig::default());
            let mut driven = Driven::new(&bench, Options { in_order: true, ..options() });
            bench.model.set_faults(FaultPlan::new(1).rule(Rule::new(lie).nth(1)));
            let segments = [driven.segment(0, 512)];
            let first = driven.read(&bench, 1, 1, &segments);
            let what = format!("{lie:?} on {features:?}: {first:?}");
            if lie == Action::Duplicate {
                // The first of the two is true.
                let mut completed = Vec::new();
                let second = driven.queues[0].reap(&mut completed);
                assert_eq!((first, second), (Err(BlockError::Protocol), Err(BlockError::Protocol)), "{what}");
            } else {
                assert_eq!(first, Err(BlockError::Protocol), "{what}");
            }
            let queues = std::mem::take(&mut driven.queues);
            driven.queues = driven.controller.reset(queues).unwrap();
            driven.read(&bench, 1, 1, &segments).expect("works again after the reset");
            bench.assert_clean();
        }
    }
}

#[test]
fn long_segments_are_cut_for_devices_with_short_ones() {
    let features = BlkConfig::FEATURES | BlkFeatures::SIZE_MAX;
    let config = BlkConfig { features, size_max: 1024, seg_max: 32, ..BlkConfig::default() };
    for without in [Features::empty(), Features::INDIRECT_DESC] {
        let bench = Bench::new(transport(Features::empty(), without), config.clone());
        let mut driven = Driven::new(&bench, options());
        let limits = driven.controller.disks()[0].limits.clone();
        assert_eq!((limits.max_transfer, limits.max_segments), (16 << 10, 16));
        let data = pattern(16 << 10, 4);
        driven.buffer.copy_from(0, &data).unwrap();
        // As badly cut as the limits allow: parts of 1025 bytes become two descriptors.
        let mut segments = Vec::new();
        let mut at = 0;
        for _ in 0..15 {
            segments.push(driven.segment(at, 1025));
            at += 1025;
        }
        segments.push(driven.segment(at, (16 << 10) - u32::try_from(at).unwrap()));
        driven.write(&bench, 3, 32, &segments).unwrap();
        assert_eq!(bench.model.read(3, 32), data);
        bench.assert_clean();
    }
}

#[test]
fn a_queue_that_is_full_says_so() {
    let bench = Bench::new(
        TransportConfig { queue_size: 8, ..transport(Features::empty(), Features::INDIRECT_DESC) },
        BlkConfig::default(),
    );
    let mut driven = Driven::new(&bench, options());
    // Eight descriptors hold two requests of three.
    assert_eq!(driven.queues[0].depth(), 2);
    let segments: Vec<Segment> = (0..6).map(|index| driven.segment(index * 4096, 512)).collect();
    let ranges = range(0, 6);
    let command = Command {
        operation: Operation::Read,
        disk: DiskId(0),
        fua: false,
        ranges: &ranges,
        segments: &segments,
    };
    driven.queues[0].submit(0, &command).unwrap();
    assert_eq!(driven.queues[0].submit(1, &command), Err(SubmitError::Full));
    driven.queues[0].commit();
    bench.host.advance(Duration::from_millis(1));
    let mut completed = Vec::new();
    driven.queues[0].reap(&mut completed).unwrap();
    assert_eq!(completed, [Completed { tag: 0, result: Ok(()) }]);
    driven.queues[0].submit(1, &command).unwrap();
    let limits = driven.controller.disks()[0].limits.clone();
    assert_eq!(limits.max_segments, 6);
    bench.assert_clean();
}

#[test]
fn malformed_commands_are_refused_before_the_device_sees_them() {
    let bench = Bench::usual();
    let mut driven = Driven::new(&bench, options());
    let segment = [driven.segment(0, 512)];
    let mut refused = |operation, ranges: &[LbaRange], segments: &[Segment], tag| {
        let command = Command { operation, disk: DiskId(0), fua: false, ranges, segments };
        driven.queues[0].submit(tag, &command) == Err(SubmitError::Refused(BlockError::Invalid))
    };
    assert!(refused(Operation::Read, &[], &segment, 0));
    assert!(refused(Operation::Discard, &[], &[], 0));
    assert!(refused(Operation::Discard, &[LbaRange { lba: 0, blocks: 1 }; 17], &[], 0));
    assert!(refused(Operation::Flush, &[], &[], 32), "a tag beyond the depth");
    assert!(refused(Operation::Read, &range(0, 1), &[Segment { len: 0, ..segment[0] }], 0));
    assert!(refused(Operation::Read, &range(0, 1), &vec![segment[0]; 200], 0));
    let fetched = bench.model.statistics().fetched;
    driven.queues[0].commit();
    bench.host.advance(Duration::from_millis(1));
    assert_eq!(bench.model.statistics().fetched, fetched);
    bench.assert_clean();
}

#[test]
fn the_model_is_judged_too() {
    // A test that cannot fail proves nothing: the model notices what a driver must not do.
    let (device, model) =
        model_virtio::Virtio::new(TransportConfig::default(), Blk::new(BlkConfig::default()));
    let host = redox_driver_sys::model::Host::new(Box::new(device));
    let function = host.function();
    let bar = function.map_bar(4).unwrap();
    let status = bar.register::<u8, redox_driver_sys::mmio::ReadWrite>(0x14).unwrap();
    status.write(4);
    assert_eq!(model.take_violations().len(), 1, "DRIVER_OK without anything before");
}
