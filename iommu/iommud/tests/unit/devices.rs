//! What devices reach.

use amd_vi_spec::{DeviceId, DomainId};
use iommud::unit::{Target, UnitError};
use model_amd_vi::{Config, Tables};

use crate::support::{Bench, DEVICE, DOMAIN, OTHER, domain};

#[test]
fn a_device_reaches_what_it_is_given() {
    let mut bench = Bench::new(Config::default());
    let (tables, page) = bench.page_at(0x5000);
    bench.assign(DEVICE, &tables);
    bench.write(DEVICE, 0x5000).unwrap();
    assert_eq!(page.read::<[u8; 4]>(0).unwrap(), *b"data");
    assert!(bench.write(DEVICE, page.addr().get()).is_err());
    assert!(bench.write(OTHER, 0x5000).is_err());
    bench.unit.set_device(DEVICE, Target::Pass).unwrap();
    bench.unit.sync().unwrap();
    bench.write(DEVICE, page.addr().get()).unwrap();
    bench.unit.set_device(DEVICE, Target::Blocked).unwrap();
    bench.unit.sync().unwrap();
    assert!(bench.write(DEVICE, page.addr().get()).is_err());
    assert!(bench.write(DEVICE, 0x5000).is_err());
    bench.assert_clean();
}

#[test]
fn a_device_is_blocked_while_its_domain_changes() {
    let mut bench = Bench::new(Config::default());
    let (first, _page) = bench.page_at(0x5000);
    bench.assign(DEVICE, &first);
    bench.write(DEVICE, 0x5000).unwrap();
    let (second, _page) = bench.page_at(0x6000);
    let other = Target::Domain { id: DomainId(8), root: second.root(), levels: 4 };
    bench.unit.set_device(DEVICE, other).unwrap();
    assert!(bench.write(DEVICE, 0x5000).is_err(), "even without a sync");
    bench.unit.sync().unwrap();
    bench.write(DEVICE, 0x6000).unwrap();
    assert!(bench.write(DEVICE, 0x5000).is_err());
    bench.assert_clean();
}

#[test]
fn devices_share_a_domain() {
    let mut bench = Bench::new(Config::default());
    let (tables, _page) = bench.page_at(0x5000);
    bench.assign(DEVICE, &tables);
    bench.assign(OTHER, &tables);
    bench.write(DEVICE, 0x5000).unwrap();
    let walks = bench.model.statistics().walks;
    bench.write(OTHER, 0x5000).unwrap();
    assert_eq!(bench.model.statistics().walks, walks, "remembered for the domain");
    bench.unit.set_device(DEVICE, Target::Blocked).unwrap();
    bench.unit.sync().unwrap();
    assert!(bench.write(DEVICE, 0x5000).is_err());
    bench.write(OTHER, 0x5000).unwrap();
    bench.assert_clean();
}

#[test]
fn a_device_behind_a_bridge_has_its_name() {
    let bridge = DeviceId(0x50);
    let aliases = vec![(DeviceId(0x100)..=DeviceId(0x1ff), bridge)];
    let mut bench = Bench::new(Config { aliases, ..Config::default() });
    let (tables, _page) = bench.page_at(0x5000);
    assert_eq!(bench.unit.requester(DeviceId(0x123)).unwrap(), bridge);
    bench.assign(DeviceId(0x123), &tables);
    bench.write(DeviceId(0x123), 0x5000).unwrap();
    bench.write(DeviceId(0x1ff), 0x5000).unwrap();
    bench.assert_clean();
}

#[test]
fn what_cannot_be_is_refused() {
    let mut bench = Bench::new(Config::default());
    let (tables, _page) = bench.page_at(0x5000);
    let far = DeviceId(0x300);
    assert!(matches!(
        bench.unit.set_device(far, Target::Pass),
        Err(UnitError::NotBehind { device }) if device == far
    ));
    for levels in [0, 7, 255] {
        let target = Target::Domain { id: DOMAIN, root: tables.root(), levels };
        let result = bench.unit.set_device(DEVICE, target);
        assert!(matches!(result, Err(UnitError::Levels { most: 6, .. })));
    }
    bench.unit.sync().unwrap();
    assert!(bench.write(DEVICE, 0x5000).is_err());
}

#[test]
fn tables_of_every_depth_can_be_given() {
    let mut bench = Bench::new(Config::default());
    for levels in 1..=6 {
        let mut tables = Tables::new(&bench.memory, levels).unwrap();
        let page = bench.memory.allocate(4096).unwrap();
        tables.map(0x5000, &page).unwrap();
        let id = DomainId(100 + u16::from(levels));
        bench.unit.set_device(DEVICE, Target::Domain { id, root: tables.root(), levels }).unwrap();
        bench.unit.sync().unwrap();
        bench.write(DEVICE, 0x5000).unwrap();
    }
    bench.assert_clean();
}

/// The entry of a device that is blocked is not touched by what it is given before the unit is enabled.
#[test]
fn devices_can_be_given_memory_before_the_unit_is_enabled() {
    let mut bench = Bench::disabled(Config::default(), iommud::unit::UnitOptions::default());
    let (tables, page) = bench.page_at(0x5000);
    bench.unit.set_device(DEVICE, domain(&tables)).unwrap();
    bench.unit.sync().unwrap();
    bench.write(DEVICE, page.addr().get()).unwrap();
    bench.unit.enable().unwrap();
    bench.write(DEVICE, 0x5000).unwrap();
    assert!(bench.write(DEVICE, page.addr().get()).is_err());
    bench.assert_clean();
}
