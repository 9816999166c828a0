//! What the unit tells.

use amd_vi_spec::{Event, registers};
use iommud::unit::{Drained, UnitError, UnitOptions};
use model_amd_vi::{Action, Config, FaultPlan, LifecycleFault, Rule, StuckBits};

use crate::support::{Bench, DEVICE, DOMAIN, OTHER};

fn drain(bench: &mut Bench) -> (Vec<Event>, Drained) {
    let mut events = Vec::new();
    let drained = bench.unit.drain_events(|event| events.push(event)).unwrap();
    (events, drained)
}

#[test]
fn strays_are_told_of_the_right_device() {
    let mut bench = Bench::new(Config::default());
    let (tables, _page) = bench.page_at(0x5000);
    bench.assign(DEVICE, &tables);
    assert!(bench.write(DEVICE, 0x9000).is_err());
    assert!(bench.machine.dma_read(OTHER, 0x5000, &mut [0]).is_err());
    let (events, drained) = drain(&mut bench);
    assert_eq!(drained, Drained { events: 2, ..Drained::default() });
    let [
        Event::IoPageFault { device: DEVICE, domain: DOMAIN, address: 0x9000, flags },
        Event::IoPageFault { device: OTHER, address: 0x5000, flags: other, .. },
    ] = events[..]
    else {
        panic!("{events:?}")
    };
    assert!(flags.write() && !other.write());
    assert_eq!(drain(&mut bench), (vec![], Drained::default()));
    assert_eq!(bench.unit.statistics().events, 2);
}

#[test]
fn the_log_wraps() {
    let mut bench =
        Bench::with(Config::default(), UnitOptions { event_entries: 8, ..UnitOptions::default() });
    for round in 0..50u64 {
        for n in 0..100 {
            assert!(bench.write(DEVICE, (round * 100 + n) << 12).is_err());
        }
        let (events, drained) = drain(&mut bench);
        assert_eq!((events.len(), drained.overflow), (100, false));
        let addresses = events.iter().map(|event| match event {
            Event::IoPageFault { address, .. } => *address,
            other => panic!("{other}"),
        });
        assert!(addresses.eq((0..100).map(|n| (round * 100 + n) << 12)));
    }
    bench.assert_clean();
}

#[test]
fn a_full_log_is_started_anew() {
    let mut bench =
        Bench::with(Config::default(), UnitOptions { event_entries: 8, ..UnitOptions::default() });
    for n in 0..1000 {
        assert!(bench.write(DEVICE, n << 12).is_err());
    }
    let (events, drained) = drain(&mut bench);
    assert_eq!((events.len(), drained.overflow), (255, true));
    assert_eq!(bench.unit.statistics().overflows, 1);
    assert!(bench.write(OTHER, 0x1000).is_err());
    let (events, drained) = drain(&mut bench);
    assert_eq!(drained, Drained { events: 1, ..Drained::default() });
    assert_eq!(events[0].device(), Some(OTHER));
    bench.assert_clean();
}

#[test]
fn events_interrupt_where_that_is_wanted() {
    let mut bench =
        Bench::with(Config::default(), UnitOptions { event_interrupt: true, ..UnitOptions::default() });
    let line = bench.machine.interrupt(0).unwrap();
    for _ in 0..3 {
        assert!(bench.write(DEVICE, 0x1000).is_err());
        assert!(bench.write(DEVICE, 0x1000).is_err());
        assert_eq!(line.take().unwrap(), 1);
        assert_eq!(drain(&mut bench).1.events, 2);
    }
}

#[test]
fn an_entry_that_was_never_written_is_told() {
    let mut bench = Bench::new(Config::default());
    let before = bench.now();
    bench.model.set_faults(FaultPlan::new(0).rule(Rule::new(Action::SpuriousEvent(0, 0)).times(1)));
    bench.unit.sync().unwrap();
    assert!(bench.write(DEVICE, 0x1000).is_err());
    let (events, drained) = drain(&mut bench);
    assert_eq!((events.len(), drained.missing), (1, 1));
    assert!(bench.now().since(before).as_millis() < 1);
}

#[test]
fn a_pointer_that_cannot_be_is_an_error() {
    let mut bench =
        Bench::with(Config::default(), UnitOptions { event_entries: 8, ..UnitOptions::default() });
    let stuck = StuckBits { offset: registers::EVENT_TAIL, ones: 1 << 12, zeroes: 0 };
    bench.model.set_faults(FaultPlan::new(0).stuck(stuck));
    let error = bench.unit.drain_events(|event| panic!("{event}")).unwrap_err();
    assert!(matches!(error, UnitError::Value { value: 0x1000, .. }), "{error}");
}

#[test]
fn a_log_that_cannot_be_started_anew_is_an_error() {
    let mut bench =
        Bench::with(Config::default(), UnitOptions { event_entries: 8, ..UnitOptions::default() });
    for n in 0..300 {
        assert!(bench.write(DEVICE, n << 12).is_err());
    }
    bench.model.set_faults(FaultPlan::new(0).lifecycle_times(LifecycleFault::EventsNeverRun, 1));
    let mut events = 0;
    assert!(bench.unit.drain_events(|_| events += 1).is_err());
    assert_eq!(events, 255, "what there was is not lost");
    bench.model.set_removed(true);
    assert!(bench.unit.drain_events(|_| {}).unwrap_err().is_gone());
}
