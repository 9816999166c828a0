//! Random maps and unmaps against random faults of the unit, by seeds: see [`over_seeds`].

use std::time::Duration;

use amd_vi_spec::Opcode;
use driver_block::testing::over_seeds;
use fastrand::Rng;
use iommud::unit::UnitOptions;
use model_amd_vi::{Action, Commands, Config, FaultPlan, LifecycleFault, Rule};
use model_support::generator;

use crate::support::{Bench, DEVICE, DOMAIN, domain};

const STEPS: usize = 60;
const PAGES: usize = 24;

/// Faults that a driver can notice. A store that is right though the commands before it were not carried out is none.
fn random_plan(rng: &mut Rng) -> FaultPlan {
    let actions = [
        Action::Delay(Duration::from_micros(rng.u64(1..2_000_000))),
        Action::DropStore,
        Action::CorruptStore(rng.u64(1..)),
        Action::Hang,
        Action::Illegal,
        Action::HardwareError,
        Action::SpuriousEvent(rng.u64(..), rng.u64(..)),
        Action::Overflow,
    ];
    let mut plan = FaultPlan::new(rng.u64(..));
    for action in actions {
        if rng.u8(..) < 100 {
            let rule = match rng.bool() {
                true => Rule::new(action),
                false => Rule::only(Commands(Some(Opcode::COMPLETION_WAIT)), action),
            };
            plan = plan.rule(rule.probability(f64::from(rng.u32(1..80)) / 1000.0));
        }
    }
    if rng.u8(..) < 30 {
        plan = plan.rule(Rule::new(Action::Remove).probability(0.001));
    }
    if rng.u8(..) < 60 {
        let faults = [
            LifecycleFault::CommandsNeverRun,
            LifecycleFault::CommandsNeverStop,
            LifecycleFault::EventsNeverRun,
            LifecycleFault::EventsNeverStop,
        ];
        plan = plan.lifecycle_times(faults[rng.usize(..faults.len())], rng.u32(1..3));
    }
    plan
}

/// In two neighbourhoods, far from each other.
fn address_of(page: usize) -> u64 {
    let page = page as u64;
    (page % 12) << 12 | (page / 12) << 39
}

/// One run; whether the unit still worked at the end, and how often it was started anew.
fn run(seed: u64) -> (bool, u64) {
    let mut rng = generator(seed);
    let rng = &mut rng;
    let config = Config {
        command_time: Duration::from_nanos(rng.u64(0..2000)),
        not_present_cached: rng.bool(),
        iotlb_entries: rng.usize(1..64),
        ..Config::default()
    };
    let options = UnitOptions { command_entries: 8, event_entries: 8, ..UnitOptions::default() };
    let mut bench = Bench::with(config, options);
    let (mut tables, page) = bench.page_at(0);
    tables.unmap(0).unwrap();
    bench.unit.set_device(DEVICE, domain(&tables)).unwrap();
    bench.unit.sync().unwrap();
    let mut mapped = [false; PAGES];
    bench.model.set_faults(random_plan(rng));
    for step in 0..STEPS {
        let before = bench.now();
        for _ in 0..rng.usize(1..12) {
            let page_at = rng.usize(..PAGES);
            let address = address_of(page_at);
            if mapped[page_at] {
                tables.unmap(address).unwrap();
            } else {
                tables.map(address, &page).unwrap();
            }
            mapped[page_at] = !mapped[page_at];
            bench.unit.invalidate(DOMAIN, address, 4096, rng.bool());
            let _ = bench.write(DEVICE, address_of(rng.usize(..PAGES)));
        }
        let synced = bench.unit.sync();
        let lost = bench.unit.drain_events(|_| {}).is_err();
        let timeout = options.timeout;
        assert!(bench.now().since(before) < timeout * 12, "seed {seed:#x}, step {step}: hung");
        match synced {
            Ok(()) => {
                for (page_at, &is) in mapped.iter().enumerate() {
                    let address = address_of(page_at);
                    let reached = bench.write(DEVICE, address).is_ok();
                    assert!(
                        !reached || is,
                        "seed {seed:#x}, step {step}: {address:#x} is reached after the unmap"
                    );
                    assert!(reached || !is, "seed {seed:#x}, step {step}: {address:#x} is not reached");
                }
            }
            Err(_) => assert!(!bench.unit.is_working(), "seed {seed:#x}, step {step}"),
        }
        if !bench.unit.is_working() || lost {
            // Somebody mends it, and not always for good.
            if rng.bool() {
                bench.model.set_removed(false);
                let _ = bench.unit.resume();
            }
        }
    }
    bench.model.set_faults(FaultPlan::new(0));
    bench.model.set_removed(false);
    let working = bench.unit.is_working();
    bench.unit.resume().unwrap_or_else(|error| panic!("seed {seed:#x}: {error}"));
    bench.assert_clean();
    (working, bench.unit.statistics().restarts)
}

#[test]
fn nothing_is_reached_after_its_unmap() {
    let outcomes = over_seeds(500, run);
    let runs = outcomes.len() as u64;
    let (working, restarts) =
        outcomes.iter().fold((0, 0), |sum, one| (sum.0 + u64::from(one.0), sum.1 + one.1));
    println!("{runs} runs, {restarts} restarts, {working} units still working at the end");
    // Plans without consequences would prove nothing.
    if runs > 1 {
        assert!(restarts > runs && working > runs / 3, "{restarts} restarts, {working} of {runs} working");
    }
}
