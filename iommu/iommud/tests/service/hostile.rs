//! Clients that ask for what is not theirs, or for nonsense.

use amd_vi_spec::DeviceId;
use iommu_protocol::*;
use model_amd_vi::Config;

use crate::support::{BOTH, Bench, DEVICE, OTHER, limits, piece};

#[test]
fn devices_are_for_those_who_hold_them() {
    let mut bench = Bench::new(Config::default());
    let (mine, theirs) = (bench.domain(1).unwrap(), bench.domain(2).unwrap());
    bench.assign(1, mine, DEVICE).unwrap();
    assert_eq!(bench.assign(2, theirs, DEVICE), Err(errno::EBUSY));
    assert_eq!(bench.assign(2, theirs, OTHER), Err(errno::EPERM), "without holding it");
    *bench.holds.borrow_mut() = Some(OTHER);
    assert_eq!(bench.assign(2, mine + 100, OTHER), Err(errno::ENOENT));
    bench.assign(2, theirs, OTHER).unwrap();
    let unassign =
        Request::Unassign(Unassign { device: Device { segment: 0, function: DEVICE.0 }, reserved: 0 });
    assert_eq!(bench.ask(2, &unassign), Err(errno::EPERM));
    // The unit itself.
    let unit = bench.service.units()[0].firmware().device;
    assert_eq!(bench.assign(1, mine, unit), Err(errno::EPERM));
    assert_eq!(
        bench.ask(1, &Request::Assign(Assign { domain: mine, device: Device { segment: 9, function: 0 } })),
        Err(errno::ENOENT)
    );
    let request = Request::Assign(Assign { domain: theirs, device: Device { segment: 0, function: 0x30 } });
    let (reply, _) = bench.service.handle(2, &request.encode(1), None).unwrap();
    assert_eq!(parse_reply(&reply, 1).unwrap(), Err(errno::EPERM), "without a descriptor");
    bench.assert_clean();
}

#[test]
fn handles_mean_something_to_their_owner_only() {
    let mut bench = Bench::new(Config::default());
    let (domain, memory) = (bench.domain(1).unwrap(), bench.import(1).unwrap());
    let range = bench.map(1, domain, &[piece(memory, 0, 1, BOTH)]).unwrap()[0];
    assert_eq!(bench.map(2, domain, &[piece(memory, 0, 1, BOTH)]), Err(errno::ENOENT));
    let own = bench.domain(2).unwrap();
    assert_eq!(bench.map(2, own, &[piece(memory + 7, 0, 1, BOTH)]), Err(errno::ENOENT));
    assert_eq!(bench.unmap(2, own, &[range]), Err(errno::ENOENT));
    assert_eq!(bench.unmap(1, domain, &[range, range]), Err(errno::ENOENT), "all or none");
    bench.unmap(1, domain, &[range]).unwrap();
}

#[test]
fn nonsense_changes_nothing() {
    let mut bench = Bench::new(Config::default());
    let (domain, memory) = (bench.domain(1).unwrap(), bench.import(1).unwrap());
    bench.assign(1, domain, DEVICE).unwrap();
    let good = piece(memory, 0, 1, BOTH);
    let fixed =
        |address, pages| MapPiece { address, flags: BOTH | MapFlags::FIXED, ..piece(memory, 0, pages, BOTH) };
    let there = bench.map(1, domain, &[fixed(0x4000_0000, 2)]).unwrap()[0];
    assert_eq!(there.address, 0x4000_0000);
    let wrong = [
        (MapPiece { len: 0, ..good }, errno::EINVAL),
        (MapPiece { len: 4097, ..good }, errno::EINVAL),
        (MapPiece { len: 17 * 4096, ..good }, errno::EINVAL),
        (MapPiece { len: !0xfff, ..good }, errno::EINVAL),
        (MapPiece { offset: !0xfff, ..good }, errno::EINVAL),
        (MapPiece { offset: 1, ..good }, errno::EINVAL),
        (MapPiece { flags: MapFlags::GUARD, ..good }, errno::EINVAL),
        (MapPiece { align: 3, ..good }, errno::EINVAL),
        (MapPiece { align: 1 << 63, ..good }, errno::ENOSPC),
        (MapPiece { address: 0x1000, ..good }, errno::EINVAL),
        (MapPiece { memory: 0, ..good }, errno::ENOENT),
        (fixed(0x4000_1000, 1), errno::EBUSY),
        (fixed(0x3fff_f000, 2), errno::EBUSY),
        (fixed(0x4000_0123, 1), errno::EINVAL),
        (fixed(!0xfff, 2), errno::EINVAL),
        (fixed(1 << 39, 1), errno::EINVAL),
        (fixed(0, 1), errno::EBUSY),
        (fixed(0xfee0_0000, 1), errno::EBUSY),
    ];
    for (piece, error) in wrong {
        assert_eq!(bench.map(1, domain, &[good, piece]), Err(error), "{piece:?}");
    }
    // The good one before each of them is not mapped either: the quota is all but free.
    let rest = vec![good; limits().mappings as usize - 1];
    let rest = bench.map(1, domain, &rest).unwrap();
    assert_eq!(bench.map(1, domain, &[good]), Err(errno::EDQUOT));
    bench.unmap(1, domain, &rest).unwrap();
    assert!(bench.writes(DEVICE, 0x4000_0000) && !bench.writes(DEVICE, 0x4000_2000));
    bench.assert_clean();
}

#[test]
fn quotas_hold() {
    let mut bench = Bench::new(Config::default());
    for _ in 0..limits().domains {
        bench.domain(1).unwrap();
    }
    assert_eq!(bench.domain(1), Err(errno::EDQUOT));
    bench.domain(2).unwrap();
    let first = bench.import(1).unwrap();
    bench.import(1).unwrap();
    assert_eq!(bench.import(1), Err(errno::EACCES), "48 pages and two for tables, of 42");
    let allocate = |len| Request::Allocate(Allocate { len });
    assert_eq!(bench.ask(1, &allocate(9 * 4096)), Err(errno::EDQUOT));
    assert_eq!(bench.ask(1, &allocate(0)), Err(errno::EINVAL));
    bench.ask(1, &allocate(8 * 4096)).unwrap();
    assert_eq!(bench.import(1), Err(errno::EDQUOT));
    bench.ask(1, &Request::Free(MemoryHandle { memory: first, reserved: 0, len: 0 })).unwrap();
    bench.import(1).unwrap();
    let interrupt =
        MapInterrupt { device: Device { segment: 0, function: DEVICE.0 }, ..MapInterrupt::default() };
    assert_eq!(bench.ask(1, &Request::MapInterrupt(interrupt)), Err(errno::EOPNOTSUPP));
}

#[test]
fn a_flood_of_events_is_bounded_and_counted() {
    let mut bench = Bench::new(Config::default());
    let domain = bench.domain(1).unwrap();
    bench.assign(1, domain, DEVICE).unwrap();
    for round in 0..3u64 {
        for n in 0..200u64 {
            assert!(!bench.writes(DEVICE, (round * 200 + n) << 12));
        }
        bench.service.take_events();
    }
    let (lost, events) = bench.events(1);
    assert_eq!((lost, events.len()), (600 - 256, 256));
    // The unit's own log has 512.
    for n in 0..2000u64 {
        assert!(!bench.writes(DEVICE, n << 12));
    }
    let (lost, events) = bench.events(1);
    assert!(lost > 0 && events.len() == 256, "{lost}");
    assert!(!bench.writes(DEVICE, 0x7000));
    assert_eq!(bench.events(1).1.len(), 1, "the log works again");
}

#[test]
fn any_bytes_get_an_answer_or_end_the_connection() {
    let mut bench = Bench::new(Config::default());
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..20_000 {
        let len = rng.usize(0..100);
        let mut bytes: Vec<u8> =
            (0..len).map(|_| if rng.bool() { rng.u8(..) } else { rng.u8(..4) }).collect();
        if len >= 16 && rng.u8(..8) > 0 {
            bytes[..4].copy_from_slice(&u32::try_from(len).unwrap().to_le_bytes());
            bytes[4..8].copy_from_slice(&[rng.u8(..16), 0, 2, 0]);
            bytes[12..16].fill(0);
        }
        let reply = bench.service.handle(1, &bytes, None);
        assert_eq!(reply.is_none(), len < 16);
    }
    assert!(!bench.writes(DEVICE, 0x10_0000));
    assert!(!bench.writes(DeviceId(0x30), 0x10_0000));
    bench.assert_clean();
}
