//! Memory that firmware has devices use, whoever drives them.

use amd_vi_spec::{DeviceId, ivrs::IvmdFlags};
use iommu_protocol::*;
use iommud::unit::Unclaimed;
use model_amd_vi::{Config, Machine, MemoryRange};
use redox_driver_sys::dma::DmaBuffer;

use crate::support::{BOTH, Bench, DEVICE, OTHER, piece};

/// Addresses that a new machine gives out first.
const MEMORY: u64 = 0x10_0000;
const PAGE: u64 = 4096;

fn flags(read: bool, write: bool) -> IvmdFlags {
    IvmdFlags::new().with_unity(true).with_ir(read).with_iw(write)
}

fn range(device: DeviceId, flags: IvmdFlags, page: u64, pages: u64) -> MemoryRange {
    MemoryRange { devices: device..=device, flags, start: MEMORY + page * PAGE, length: pages * PAGE }
}

/// A machine, and the 8 pages of memory at [`MEMORY`].
fn machine(config: Config) -> (Machine, DmaBuffer) {
    let machine = Machine::new([config]);
    let memory = machine.memory().allocator().allocate(8 * 4096).unwrap();
    assert_eq!(memory.addr().get(), MEMORY);
    (machine, memory)
}

#[test]
fn a_bridge_that_firmware_does_not_name_reaches_its_devices_memory() {
    let (bridge, behind) = (DeviceId(0x300), DeviceId(0x123));
    let config = Config {
        aliases: vec![(DeviceId(0x100)..=DeviceId(0x1ff), bridge)],
        memory: vec![range(behind, flags(true, true), 0, 1)],
        ..Config::default()
    };
    let (machine, _memory) = machine(config);
    let mut bench = Bench::on(machine).unwrap();
    assert!(bench.writes(behind, MEMORY) && !bench.writes(behind, MEMORY + PAGE));
    assert!(!bench.writes(DEVICE, MEMORY));
    let domain = bench.domain(1).unwrap();
    *bench.holds.borrow_mut() = Some(behind);
    bench.assign(1, domain, behind).unwrap();
    assert!(bench.writes(behind, MEMORY) && !bench.writes(behind, MEMORY + PAGE));
    bench.assert_clean();
}

#[test]
fn memory_of_firmware_is_reached_before_during_and_after_a_claim() {
    for not_present_cached in [false, true] {
        let memory = vec![
            range(DEVICE, flags(true, false), 0, 2),
            // Overlaps both neighbours.
            range(DEVICE, flags(true, true), 1, 2),
            range(DEVICE, flags(false, true), 2, 2),
        ];
        let (machine, _memory) = machine(Config { memory, not_present_cached, ..Config::default() });
        let mut bench = Bench::on(machine).unwrap();
        let check = |bench: &Bench, when: &str| {
            let rights = |page| {
                let address = MEMORY + page * PAGE;
                let reads = bench.machine.dma_read(DEVICE, address, &mut [0]).is_ok();
                (reads, bench.writes(DEVICE, address))
            };
            let expected = [(true, false), (true, true), (true, true), (false, true), (false, false)];
            assert_eq!([0, 1, 2, 3, 4].map(rights), expected, "{when}");
            assert!(!bench.writes(OTHER, MEMORY + PAGE), "another device, {when}");
        };
        check(&bench, "before a claim");
        let (domain, memory) = (bench.domain(1).unwrap(), bench.import(1).unwrap());
        bench.assign(1, domain, DEVICE).unwrap();
        check(&bench, "during a claim");
        let there = MapPiece {
            flags: BOTH | MapFlags::FIXED,
            address: MEMORY + 3 * PAGE,
            ..piece(memory, 0, 1, BOTH)
        };
        assert_eq!(bench.map(1, domain, &[there]), Err(errno::EBUSY), "it is no address for anything else");
        bench.service.disconnect(1);
        check(&bench, "after a claim");
        bench.assert_clean();
    }
}

#[test]
fn a_unit_forgets_that_nothing_was_there() {
    let config = Config {
        memory: vec![range(OTHER, flags(true, true), 1, 1)],
        not_present_cached: true,
        ..Config::default()
    };
    let (machine, _memory) = machine(config);
    let mut bench = Bench::on(machine).unwrap();
    let domain = bench.domain(1).unwrap();
    bench.assign(1, domain, DEVICE).unwrap();
    assert!(!bench.writes(DEVICE, MEMORY + PAGE), "remembered for the domain");
    *bench.holds.borrow_mut() = Some(OTHER);
    bench.assign(1, domain, OTHER).unwrap();
    assert!(bench.writes(OTHER, MEMORY + PAGE));
    bench.assert_clean();
}

#[test]
fn devices_whose_memory_overlaps_can_share_a_domain() {
    let memory = vec![
        range(DEVICE, flags(true, true), 0, 2),
        range(OTHER, flags(true, true), 1, 2),
        range(DeviceId(0x30), flags(true, true), 0, 4),
    ];
    let (machine, _memory) = machine(Config { memory, ..Config::default() });
    let mut bench = Bench::on(machine).unwrap();
    let domain = bench.domain(1).unwrap();
    for device in [DEVICE, OTHER, DeviceId(0x30)] {
        *bench.holds.borrow_mut() = Some(device);
        bench.assign(1, domain, device).unwrap();
    }
    assert!((0..4).all(|page| bench.writes(DEVICE, MEMORY + page * PAGE)));
    assert!(!bench.writes(DEVICE, MEMORY + 4 * PAGE));
    bench.assert_clean();
}

#[test]
fn memory_that_is_in_the_way_is_refused_and_can_be_had_later() {
    let memory = vec![range(DEVICE, flags(true, true), 0, 4)];
    let (machine, _memory) = machine(Config { memory, ..Config::default() });
    let mut bench = Bench::on(machine).unwrap();
    let (domain, memory) = (bench.domain(1).unwrap(), bench.import(1).unwrap());
    let there =
        MapPiece { flags: BOTH | MapFlags::FIXED, address: MEMORY + 2 * PAGE, ..piece(memory, 0, 1, BOTH) };
    let range = bench.map(1, domain, &[there]).unwrap()[0];
    for _ in 0..2 {
        assert_eq!(bench.assign(1, domain, DEVICE), Err(errno::EBUSY));
    }
    bench.unmap(1, domain, &[range]).unwrap();
    bench.assign(1, domain, DEVICE).unwrap();
    assert!((0..4).all(|page| bench.writes(DEVICE, MEMORY + page * PAGE)));
    bench.assert_clean();
}

#[test]
fn unclaimed_devices_may_pass() {
    let memory = vec![range(DEVICE, flags(true, true), 0, 1)];
    let (machine, _memory) = machine(Config { memory, ..Config::default() });
    let mut bench = Bench::with(machine, Unclaimed::Pass).unwrap();
    let reached = |bench: &Bench| [0, 1].map(|page| bench.writes(DEVICE, MEMORY + page * PAGE));
    assert_eq!(reached(&bench), [true, true]);
    let domain = bench.domain(1).unwrap();
    bench.assign(1, domain, DEVICE).unwrap();
    assert_eq!(reached(&bench), [true, false], "what firmware reserves, and nothing else");
    assert!(bench.writes(OTHER, MEMORY + PAGE));
    bench.service.disconnect(1);
    assert_eq!(reached(&bench), [true, true]);
    bench.assert_clean();
}
