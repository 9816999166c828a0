//! What disks are asked to do: every kind of command, on every kind of disk.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use ahci_spec::AtaCommand;
use ahcid::Options;
use driver_block::{BlockError, DiskId, Operation, Request, Segments, WriteCache};
use model_ahci::{Config, DiskConfig, Trim};
use support::{Bench, Driven, one, options, pattern};

fn round_trip(bench: &Bench, driven: &mut Driven) {
    let size = driven.disk().limits.block_size as usize;
    let data = pattern(40 * size, 1);
    driven.write(0, 7, &data).unwrap();
    assert_eq!(driven.read(0, 7, 40).unwrap(), data);
    assert_eq!(bench.model.read(0, 7, 40), data);
}

#[test]
fn a_disk_with_queuing_reads_and_writes() {
    let bench = Bench::new(Config::default());
    let mut driven = bench.drive(options());
    let disk = driven.disk();
    assert_eq!((disk.id, disk.blocks, disk.model.as_str()), (DiskId(0), 1 << 20, "Modelled ATA Disk"));
    assert_eq!(disk.limits.write_cache, WriteCache::Volatile { fua: true });
    round_trip(&bench, &mut driven);
    let statistics = bench.model.statistics();
    assert_eq!(statistics.command(AtaCommand::WRITE_FPDMA_QUEUED), 1);
    assert_eq!(statistics.command(AtaCommand::READ_FPDMA_QUEUED), 1);
    driven.shutdown().unwrap();
    assert!(!bench.model.is_running() && !bench.host.bus_master());
    bench.assert_clean();
}

#[test]
fn without_queuing_it_reads_and_writes_by_dma() {
    for (disk, options, expected) in [
        (DiskConfig::new(1 << 16, "a"), Options { ncq: false, ..options() }, AtaCommand::WRITE_DMA_EXT),
        (
            DiskConfig { queue_depth: 0, ..DiskConfig::new(1 << 16, "b") },
            options(),
            AtaCommand::WRITE_DMA_EXT,
        ),
        (DiskConfig::old(1 << 16, "c"), options(), AtaCommand::WRITE_DMA),
    ] {
        let bench = Bench::new(one(disk));
        let mut driven = bench.drive(options);
        round_trip(&bench, &mut driven);
        assert_eq!(bench.model.statistics().command(expected), 1);
        assert_eq!(bench.model.statistics().command(AtaCommand::WRITE_FPDMA_QUEUED), 0);
        driven.flush(0).unwrap();
        driven.shutdown().unwrap();
        bench.assert_clean();
    }
    let bench = Bench::new(Config { ncq: false, ..Config::default() });
    let mut driven = bench.drive(options());
    round_trip(&bench, &mut driven);
    assert_eq!(bench.model.statistics().command(AtaCommand::READ_DMA_EXT), 1);
    bench.assert_clean();
}

#[test]
fn block_sizes_are_what_the_disk_says() {
    let native = DiskConfig { block_size: 4096, ..DiskConfig::new(1 << 12, "4Kn") };
    let bench = Bench::new(one(native));
    let mut driven = bench.drive(options());
    assert_eq!((driven.disk().limits.block_size, driven.disk().limits.physical_block_size), (4096, 4096));
    round_trip(&bench, &mut driven);
    bench.assert_clean();
    let advanced = DiskConfig { physical_exponent: 3, ..DiskConfig::new(1 << 12, "512e") };
    let bench = Bench::new(one(advanced));
    let mut driven = bench.drive(options());
    assert_eq!((driven.disk().limits.block_size, driven.disk().limits.physical_block_size), (512, 4096));
    round_trip(&bench, &mut driven);
    bench.assert_clean();
}

#[test]
fn addresses_beyond_28_bits_are_reached() {
    let bench = Bench::new(one(DiskConfig::new(1 << 40, "big")));
    let mut driven = bench.drive(options());
    let data = pattern(512, 2);
    driven.write(0, (1 << 40) - 1, &data).unwrap();
    assert_eq!(bench.model.read(0, (1 << 40) - 1, 1), data);
    assert_eq!(driven.read(0, 1 << 40, 1), Err(BlockError::OutOfRange));
    bench.assert_clean();
}

#[test]
fn all_slots_are_used_and_no_more_than_the_disk_queues() {
    for (depth, slots, expected) in [(32, 32, 32), (8, 32, 8), (32, 4, 4), (1, 32, 1)] {
        let disk = DiskConfig { queue_depth: depth, ..DiskConfig::new(1 << 16, "q") };
        let bench = Bench::new(Config { slots, ..one(disk) });
        let mut driven = bench.drive(options());
        let requests: Vec<_> = (0..100).map(|n| driven.reading(0, n * 16, 8, n)).collect();
        let answers = driven.all(requests);
        assert!(answers.len() == 100 && answers.iter().all(|(_, result)| result.is_ok()));
        assert_eq!(bench.model.statistics().most_outstanding, expected);
        bench.assert_clean();
    }
}

#[test]
fn long_and_scattered_transfers_go_in_one_command() {
    let bench = Bench::new(Config::default());
    let mut driven = bench.drive(options());
    let data = pattern(4 << 20, 3);
    driven.write(0, 0, &data).unwrap();
    assert_eq!(bench.model.statistics().command(AtaCommand::WRITE_FPDMA_QUEUED), 1);
    // 200 pieces of 512 bytes, each at another place, backwards.
    let pieces: Segments = (0..200).rev().map(|n| driven.buffer.segment(n * 8192, 512).unwrap()).collect();
    let read = Request::transfer(Operation::Read, DiskId(0), 0, 200, pieces, 1);
    assert_eq!(driven.all([read]), [(1, Ok(()))]);
    assert_eq!(bench.model.statistics().command(AtaCommand::READ_FPDMA_QUEUED), 1);
    for n in 0..200 {
        let mut piece = [0; 512];
        driven.buffer.copy_to((199 - n) * 8192, &mut piece).unwrap();
        assert_eq!(piece[..], data[n * 512..(n + 1) * 512], "piece {n}");
    }
    bench.assert_clean();
}

#[test]
fn a_flush_reaches_the_medium_and_fua_needs_none() {
    let bench = Bench::new(Config::default());
    let mut driven = bench.drive(options());
    let data = pattern(4096, 4);
    driven.write(0, 100, &data).unwrap();
    assert_eq!(bench.model.dirty_blocks(0), 8);
    driven.flush(0).unwrap();
    assert_eq!(bench.model.read_durable(0, 100, 8), data);
    assert_eq!(bench.model.statistics().command(AtaCommand::FLUSH_CACHE_EXT), 1);
    let segments = driven.segments(0, 4096);
    let write = Request::transfer(Operation::Write, DiskId(0), 200, 8, segments, 5).with_fua();
    assert_eq!(driven.all([write]), [(5, Ok(()))]);
    assert_eq!((bench.model.dirty_blocks(0), bench.model.statistics().fua_writes), (0, 1));
    assert_eq!(bench.model.statistics().command(AtaCommand::FLUSH_CACHE_EXT), 1);
    bench.assert_clean();
    // Without FUA a flush follows; without a cache nothing is needed.
    for (disk, flushes) in [
        (DiskConfig { fua: false, ..DiskConfig::new(1 << 16, "f") }, 1),
        (DiskConfig { write_cache: false, ..DiskConfig::new(1 << 16, "w") }, 0),
    ] {
        let bench = Bench::new(one(disk));
        let mut driven = bench.drive(options());
        let segments = driven.segments(0, 4096);
        let write = Request::transfer(Operation::Write, DiskId(0), 200, 8, segments, 5).with_fua();
        assert_eq!(driven.all([write]), [(5, Ok(()))]);
        assert_eq!(bench.model.dirty_blocks(0), 0);
        assert_eq!(bench.model.statistics().command(AtaCommand::FLUSH_CACHE_EXT), flushes);
        bench.assert_clean();
    }
}

#[test]
fn queued_and_other_commands_never_meet() {
    let bench = Bench::new(Config::default());
    let mut driven = bench.drive(options());
    let mut requests = Vec::new();
    for n in 0..60 {
        requests.push(driven.reading(0, n * 16, 8, n));
        if n % 10 == 0 {
            requests.push(Request::flush(DiskId(0), 100 + n));
            requests.push(Request::range(Operation::Discard, DiskId(0), 5000 + n * 8, 8, 200 + n));
        }
    }
    let answers = driven.all(requests);
    assert!(answers.len() == 72 && answers.iter().all(|(_, result)| result.is_ok()), "{answers:?}");
    bench.assert_clean();
}

#[test]
fn trim_forgets_blocks() {
    for queued_trim in [false, true] {
        let disk = DiskConfig { queued_trim, ..DiskConfig::new(1 << 20, "t") };
        let bench = Bench::new(one(disk));
        let mut driven = bench.drive(options());
        driven.write(0, 0, &pattern(1 << 20, 5)).unwrap();
        assert_eq!(bench.model.allocated_blocks(0), 2048);
        driven.discard(0, 16, 1000).unwrap();
        assert_eq!(bench.model.allocated_blocks(0), 1048);
        // Longer than one range.
        driven.discard(0, 0, 1 << 20).unwrap();
        assert_eq!(bench.model.allocated_blocks(0), 0);
        let statistics = bench.model.statistics();
        let (plain, queued) = (
            statistics.command(AtaCommand::DATA_SET_MANAGEMENT),
            statistics.command(AtaCommand::SEND_FPDMA_QUEUED),
        );
        assert_eq!((plain, queued), if queued_trim { (0, 2) } else { (2, 0) });
        bench.assert_clean();
    }
    let bench = Bench::new(one(DiskConfig { trim: Trim::None, ..DiskConfig::new(1 << 16, "n") }));
    let mut driven = bench.drive(options());
    assert_eq!(driven.discard(0, 0, 8), Err(BlockError::Unsupported));
    bench.assert_clean();
}

#[test]
fn what_trimmed_blocks_read_as_is_told_truthfully() {
    for (trim, expected) in [
        (Trim::None, "no trim"),
        (Trim::Plain, "may read as anything"),
        (Trim::Deterministic, "read the same every time (DRAT)"),
        (Trim::Zeroes, "read as zeroes (RZAT)"),
    ] {
        let bench = Bench::new(one(DiskConfig { trim, ..DiskConfig::new(1 << 16, "t") }));
        let mut controller = bench.attach(options());
        let report = driver_block::Controller::inspect(&mut controller);
        assert!(report.contains(&format!("trimmed blocks    {expected}\n")), "{report}");
    }
}

#[test]
fn a_report_tells_identity_and_health() {
    let bench = Bench::new(Config::default());
    let mut controller = bench.attach(options());
    let report = driver_block::Controller::inspect(&mut controller);
    for line in [
        "  version           1.3.1\n",
        "  interrupts        MSI\n",
        "port 0\n  state             serving\n  link              generation 3, active\n",
        "  model             Modelled ATA Disk\n",
        "  serial            RB0001\n",
        "  health            no threshold is exceeded\n",
        "raw 1234: power-on hours\n",
        "port 5\n  state             empty\n",
    ] {
        assert!(report.contains(line), "{line:?} is missing:\n{report}");
    }
    assert_eq!(bench.model.statistics().command(AtaCommand::SMART), 2);
    bench.assert_clean();
}

#[test]
fn an_interrupt_costs_few_register_accesses() {
    let bench = Bench::new(Config::default());
    let mut driven = bench.drive(options());
    let segments = driven.segments(0, 4096);
    let read = |cookie| Request::transfer(Operation::Read, DiskId(0), 8, 8, segments.clone(), cookie);
    driven.engine.submit(0, read(1)).unwrap();
    let before = bench.host.register_accesses();
    driven.engine.kick();
    assert_eq!(bench.host.register_accesses() - before, 2, "SACT and CI");
    bench.host.advance(std::time::Duration::from_millis(1));
    let before = bench.host.register_accesses();
    let mut answers = Vec::new();
    driven.engine.step(&mut answers);
    assert_eq!(answers.len(), 1);
    assert_eq!(bench.host.register_accesses() - before, 3, "PxIS, SACT and IS");
    // A batch costs no more.
    for n in 0..16 {
        let request = driven.reading(0, n * 16, 8, n);
        driven.engine.submit(0, request).unwrap();
    }
    let before = bench.host.register_accesses();
    driven.engine.kick();
    bench.host.advance(std::time::Duration::from_millis(1));
    answers.clear();
    driven.engine.step(&mut answers);
    assert_eq!((answers.len(), bench.host.register_accesses() - before), (16, 5));
    bench.assert_clean();
}

#[test]
fn a_narrow_controller_is_given_low_memory() {
    let bench = Bench::new(Config { s64a: false, ..Config::default() });
    let mut driven = bench.drive(options());
    assert_eq!(driven.engine.controller().unwrap().dma().mask(), 0xffff_ffff);
    round_trip(&bench, &mut driven);
    bench.assert_clean();
}
