//! Units that do not do what they are told, and machines that sleep.

use std::time::Duration;

use amd_vi_spec::Opcode;
use iommud::unit::{InterruptTarget, UnitError, UnitOptions};
use model_amd_vi::{Action, Commands, Config, FaultPlan, LifecycleFault, Rule, Tables};

use crate::support::{Bench, DEVICE, DOMAIN};

fn only_waits(action: Action) -> Rule {
    Rule::only(Commands(Some(Opcode::COMPLETION_WAIT)), action)
}

/// A device with a page that was just taken away, whose invalidation is under way.
fn unmapping(plan: FaultPlan) -> (Bench, Tables) {
    let mut bench = Bench::new(Config::default());
    let (mut tables, _page) = bench.page_at(0x5000);
    bench.assign(DEVICE, &tables);
    bench.write(DEVICE, 0x5000).unwrap();
    bench.model.set_faults(plan);
    tables.unmap(0x5000).unwrap();
    bench.unit.invalidate(DOMAIN, 0x5000, 4096, false);
    (bench, tables)
}

#[test]
fn a_batch_that_fails_once_is_made_good() {
    let invalidation = |action| Rule::only(Commands(Some(Opcode::INVALIDATE_IOMMU_PAGES)), action);
    for rule in [
        only_waits(Action::DropStore),
        only_waits(Action::CorruptStore(1)),
        only_waits(Action::Hang),
        only_waits(Action::Illegal),
        only_waits(Action::HardwareError),
        invalidation(Action::Hang),
        invalidation(Action::Illegal),
        invalidation(Action::HardwareError),
        invalidation(Action::Delay(Duration::from_secs(10))),
    ] {
        let plan = FaultPlan::new(0).rule(rule.times(1));
        let (mut bench, _tables) = unmapping(plan.clone());
        let before = bench.now();
        bench.unit.sync().unwrap_or_else(|error| panic!("{plan}: {error}"));
        assert!(bench.write(DEVICE, 0x5000).is_err(), "{plan}");
        assert_eq!(bench.unit.statistics().restarts, 1, "{plan}");
        assert!(bench.now().since(before) < UnitOptions::default().timeout * 2, "{plan}");
        bench.unit.sync().unwrap();
        bench.assert_clean();
    }
}

#[test]
fn a_late_batch_is_waited_for() {
    let late = UnitOptions::default().timeout / 2;
    let (mut bench, _tables) = unmapping(FaultPlan::new(0).rule(only_waits(Action::Delay(late)).times(1)));
    bench.unit.sync().unwrap();
    assert_eq!(bench.unit.statistics().restarts, 0);
    assert!(bench.write(DEVICE, 0x5000).is_err());
}

#[test]
fn a_unit_that_stays_broken_has_failed() {
    let stop = FaultPlan::new(0).lifecycle(LifecycleFault::CommandsNeverStop);
    for (plan, waits) in [
        (FaultPlan::new(0).rule(only_waits(Action::DropStore)), 2),
        (FaultPlan::new(0).rule(only_waits(Action::Hang)), 2),
        (stop.rule(only_waits(Action::DropStore)), 2),
        (FaultPlan::new(0).rule(Rule::new(Action::Illegal)), 0),
    ] {
        let (mut bench, _tables) = unmapping(plan.clone());
        let before = bench.now();
        assert!(bench.unit.sync().is_err(), "{plan}");
        let timeout = UnitOptions::default().timeout;
        assert!(bench.now().since(before) < timeout * waits + timeout / 10, "{plan}");
        assert!(!bench.unit.is_working());
        // It is not waited for again.
        let before = bench.now();
        bench.unit.invalidate(DOMAIN, 0x5000, 4096, false);
        assert!(matches!(bench.unit.sync(), Err(UnitError::Failed { .. })), "{plan}");
        assert_eq!(bench.now(), before);
        // Until somebody has mended it.
        bench.model.set_faults(FaultPlan::new(0));
        bench.unit.resume().unwrap();
        assert!(bench.write(DEVICE, 0x5000).is_err(), "{plan}");
        bench.unit.sync().unwrap();
    }
}

#[test]
fn a_ring_that_stays_full_is_made_good() {
    let mut bench =
        Bench::with(Config::default(), UnitOptions { command_entries: 8, ..UnitOptions::default() });
    bench.model.set_faults(FaultPlan::new(0).rule(Rule::new(Action::Hang).times(1)));
    let before = bench.now();
    for n in 0..1000u64 {
        bench.unit.invalidate(DOMAIN, n << 20, 4096, false);
    }
    assert!(bench.now().since(before) < UnitOptions::default().timeout * 2, "waited for once");
    bench.unit.sync().unwrap();
    assert_eq!(bench.unit.statistics().restarts, 1);
    bench.assert_clean();
}

#[test]
fn a_unit_that_is_pulled_out_is_gone() {
    let (mut bench, _tables) = unmapping(FaultPlan::new(0).rule(only_waits(Action::Remove)));
    assert!(bench.unit.sync().unwrap_err().is_gone());
    assert!(matches!(bench.unit.sync(), Err(UnitError::Failed { .. })));
}

#[test]
fn a_unit_has_everything_back_after_a_sleep() {
    let mut bench = Bench::new(Config::default());
    let (tables, page) = bench.page_at(0x5000);
    bench.assign(DEVICE, &tables);
    let target = InterruptTarget { destination: 1, logical: false, vector: 0x40, arbitrated: false };
    let message = bench.unit.map_interrupt(DEVICE, 0, target).unwrap();
    bench.unit.suspend().unwrap();
    assert!(matches!(bench.unit.sync(), Err(UnitError::Suspended)));
    bench.model.power_cycle();
    bench.write(DEVICE, page.addr().get()).unwrap();
    bench.unit.resume().unwrap();
    assert!(bench.write(DEVICE, page.addr().get()).is_err());
    bench.write(DEVICE, 0x5000).unwrap();
    assert_eq!(bench.machine.send(DEVICE, message.address, message.data).unwrap().vector, 0x40);
    bench.unit.sync().unwrap();
    bench.assert_clean();
}
