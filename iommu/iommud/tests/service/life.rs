//! What belongs to whom, from the first request to the end of a connection.

use amd_vi_spec::DeviceId;
use iommu_protocol::*;
use model_amd_vi::{Action, Config, FaultPlan, Machine, Rule};

use crate::{
    log,
    support::{BOTH, Bench, DEVICE, OTHER, piece},
};

#[test]
fn a_device_reaches_what_its_driver_maps() {
    let mut bench = Bench::new(Config::default());
    let (domain, memory) = (bench.domain(1).unwrap(), bench.import(1).unwrap());
    let shared = bench.last.take().unwrap();
    bench.assign(1, domain, DEVICE).unwrap();
    let pieces = [
        piece(memory, 0, 2, BOTH),
        piece(memory, 4, 1, MapFlags::READ),
        piece(memory, 5, 1, MapFlags::WRITE),
    ];
    let ranges = bench.map(1, domain, &pieces).unwrap();
    assert!(bench.writes(DEVICE, ranges[0].address + 4096));
    let mut bytes = [0; 4];
    shared.copy_out(4096, &mut bytes).unwrap();
    assert_eq!(bytes, *b"data");
    assert!(!bench.writes(DEVICE, ranges[1].address), "read only");
    assert!(bench.writes(DEVICE, ranges[2].address));
    assert!(bench.machine.dma_read(DEVICE, ranges[2].address, &mut bytes).is_err(), "write only");
    assert!(bench.machine.dma_read(DEVICE, ranges[1].address, &mut bytes).is_ok());
    assert!(!bench.writes(OTHER, ranges[0].address), "another device");
    let ask = Translate { domain, reserved: 0, address: ranges[1].address + 5 };
    let reply = bench.ask(1, &Request::Translate(ask)).unwrap();
    let there: Translated = parse_reply(&reply, 7).unwrap().unwrap().body().unwrap();
    assert_eq!(there, Translated { memory, flags: MapFlags::READ, offset: 4 * 4096 + 5 });
    bench.unmap(1, domain, &ranges[..1]).unwrap();
    assert!(!bench.writes(DEVICE, ranges[0].address + 4096), "just unmapped");
    assert_eq!(bench.unmap(1, domain, &ranges[..1]), Err(errno::ENOENT));
    let (lost, events) = bench.events(1);
    assert_eq!(lost, 0);
    let told: Vec<_> =
        events.iter().map(|event| (event.device.function, event.code, event.address, event.flags)).collect();
    assert_eq!(
        told,
        [
            (DEVICE.0, 2, ranges[1].address, EventFlags::WRITE | EventFlags::PRESENT),
            (DEVICE.0, 2, ranges[2].address, EventFlags::PRESENT),
            (DEVICE.0, 2, ranges[0].address + 4096, EventFlags::WRITE),
        ]
    );
    assert_eq!(bench.events(2), (0, vec![]), "not of its devices");
    bench.assert_clean();
}

#[test]
fn everything_ends_with_the_connection() {
    let mut bench = Bench::new(Config::default());
    let (domain, memory) = (bench.domain(1).unwrap(), bench.import(1).unwrap());
    bench.assign(1, domain, DEVICE).unwrap();
    let range = bench.map(1, domain, &[piece(memory, 0, 16, BOTH)]).unwrap()[0];
    assert!(bench.writes(DEVICE, range.address));
    // Held by the mapping, although it was given up.
    bench.ask(1, &Request::Free(MemoryHandle { memory, reserved: 0, len: 0 })).unwrap();
    assert!(bench.writes(DEVICE, range.address));
    bench.service.disconnect(1);
    assert!(!bench.writes(DEVICE, range.address));
    // The device is free for its next driver, whose domain is empty.
    let domain = bench.domain(2).unwrap();
    bench.assign(2, domain, DEVICE).unwrap();
    assert!(!bench.writes(DEVICE, range.address));
    bench.assert_clean();
}

#[test]
fn a_domain_can_be_destroyed_under_its_device() {
    let mut bench = Bench::new(Config::default());
    let (domain, memory) = (bench.domain(1).unwrap(), bench.import(1).unwrap());
    bench.assign(1, domain, DEVICE).unwrap();
    let range = bench.map(1, domain, &[piece(memory, 0, 1, BOTH)]).unwrap()[0];
    bench.ask(1, &Request::DestroyDomain(DomainHandle { domain, reserved: 0 })).unwrap();
    assert!(!bench.writes(DEVICE, range.address));
    assert_eq!(bench.map(1, domain, &[piece(memory, 0, 1, BOTH)]), Err(errno::ENOENT));
    let next = bench.domain(1).unwrap();
    bench.assign(1, next, DEVICE).unwrap();
    bench
        .ask(
            1,
            &Request::Unassign(Unassign { device: Device { segment: 0, function: DEVICE.0 }, reserved: 0 }),
        )
        .unwrap();
    bench.assert_clean();
}

#[test]
fn inspect_tells_of_everything() {
    let mut bench = Bench::new(Config::default());
    let (domain, memory) = (bench.domain(1).unwrap(), bench.import(1).unwrap());
    bench.assign(1, domain, DEVICE).unwrap();
    bench.map(1, domain, &[piece(memory, 0, 1, BOTH)]).unwrap();
    assert!(!bench.writes(DEVICE, 0x5000));
    bench.events(1);
    let reply = bench.ask(1, &Request::Inspect).unwrap();
    let (inspected, text) = parse_reply(&reply, 7).unwrap().unwrap().body_and_bytes::<Inspected>().unwrap();
    let text = std::str::from_utf8(text).unwrap();
    assert_eq!(inspected.len as usize, text.len());
    for part in [
        "unit 0:",
        "\nrequests: 6\n",
        "1 mappings",
        "devices: 00:04.0",
        "IO_PAGE_FAULT: 00:04.0",
        "write at 0x5000",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert_eq!(bench.ask(2, &Request::Inspect), Err(errno::EPERM));
}

/// A machine whose second unit has the devices from [`FAR`] on behind it.
fn two_units() -> Machine {
    let second = Config {
        device: DeviceId(0x4002),
        base: 0xfed9_0000,
        devices: DeviceId(0x4003)..=DeviceId(0x7fff),
        ioapics: vec![],
        ..Config::default()
    };
    Machine::new([Config::default(), second])
}

const FAR: DeviceId = DeviceId(0x4100);

#[test]
fn a_unit_that_fails_keeps_nothing_of_another() {
    // In one domain, and in one for each device.
    for shared in [true, false] {
        let mut bench = Bench::on(two_units()).unwrap();
        let near = bench.domain(1).unwrap();
        let far = if shared { near } else { bench.domain(1).unwrap() };
        let memory = bench.import(1).unwrap();
        let mut reached = Vec::new();
        for (domain, device) in [(near, DEVICE), (far, FAR)] {
            *bench.holds.borrow_mut() = Some(device);
            bench.assign(1, domain, device).unwrap();
            let range = bench.map(1, domain, &[piece(memory, 0, 1, BOTH)]).unwrap()[0];
            assert!(bench.writes(device, range.address));
            reached.push(range.address);
        }
        // The first unit carries out nothing any more, started anew or not.
        let plan = FaultPlan::new(0).rule(Rule::new(Action::Hang));
        bench.machine.handle(0).unwrap().set_faults(plan);
        let before = bench.machine.host(0).unwrap().mapped_bytes();
        bench.service.disconnect(1);
        assert!(!bench.service.units()[0].is_working() && bench.service.units()[1].is_working());
        assert!(!bench.writes(FAR, reached[1]), "what the healthy unit has is out of reach");
        let after = bench.machine.host(0).unwrap().mapped_bytes();
        let tables = 3 * 4096;
        assert_eq!(before - after, if shared { 0 } else { tables }, "what might be reached is kept, no more");
        // Its device is free for the next, the other is not.
        let next = bench.domain(2).unwrap();
        bench.assign(2, next, FAR).unwrap();
        *bench.holds.borrow_mut() = Some(DEVICE);
        assert!(bench.assign(2, next, DEVICE).is_err());
    }
}

#[test]
fn more_units_than_can_be_told_apart_are_an_error() {
    let unit = |n: u16| Config {
        device: DeviceId(n << 8),
        base: 0xfe00_0000 + (u64::from(n) << 16),
        devices: DeviceId(n << 8 | 1)..=DeviceId(n << 8 | 0xff),
        ioapics: vec![],
        ..Config::default()
    };
    assert!(Bench::on(Machine::new((0..64).map(unit))).is_ok());
    let machine = Machine::new((0..65).map(unit));
    assert!(Bench::on(machine.clone()).is_err());
    let enabled = |n| machine.handle(n).unwrap().control().iommu_en();
    assert!(!(0..65).any(enabled), "none is taken over");
}

#[test]
fn tables_count_as_memory_of_their_client() {
    let mut bench = Bench::new(Config::default());
    let domain = bench.domain(1).unwrap();
    bench.assign(1, domain, DEVICE).unwrap();
    let memory = [(); 2].map(|()| bench.import(1).unwrap())[0];
    // 33 pages of 42 are in use, and each mapping so far from the others takes two for tables.
    let far =
        |n: u64| MapPiece { flags: BOTH | MapFlags::FIXED, address: n << 30, ..piece(memory, 0, 1, BOTH) };
    let four = bench.map(1, domain, &[far(1), far(2), far(4), far(5)]).unwrap();
    for _ in 0..2 {
        assert_eq!(bench.map(1, domain, &[far(6)]), Err(errno::EDQUOT));
        assert!(!bench.writes(DEVICE, 6 << 30), "undone");
    }
    assert_eq!(bench.domain(1).map(drop), Ok(()), "one page is left");
    assert_eq!(bench.import(1), Err(errno::EDQUOT));
    bench.unmap(1, domain, &four[..1]).unwrap();
    bench.map(1, domain, &[far(6)]).unwrap();
    assert!(bench.writes(DEVICE, 6 << 30) && !bench.writes(DEVICE, 1 << 30));
    bench.assert_clean();
}

#[test]
fn a_unit_that_is_gone_is_logged_once() {
    let mut bench = Bench::new(Config::default());
    let unit = bench.machine.handle(0).unwrap();
    log::start();
    for _ in 0..2 {
        unit.set_removed(true);
        (0..20).for_each(|_| bench.service.take_events());
        unit.set_removed(false);
        bench.service.take_events();
    }
    let lines = log::take();
    assert_eq!(lines.len(), 4, "{lines:?}");
    for (line, part) in lines.iter().zip(["cannot be read", "read again"].iter().cycle()) {
        assert!(line.contains(part), "{line}");
    }
}
