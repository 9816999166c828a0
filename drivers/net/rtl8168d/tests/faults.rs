//! Random frames against random faults: see [`driver_network::testing::faults`]. A run is replayed by its seed:
//! `RB_FAULT_SEED=… cargo test -p rtl8168d --test faults`.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod support;

use std::{num::NonZeroU32, time::Duration};

use common::itr::Throttling;
use driver_network::testing::faults::{Excuses, Faulty, Started, Totals, random_faults};
use fastrand::Rng;
use support::*;

/// Faults that a driver can notice. What no driver can, is left out: a length that is wrong and could be right, a receiver that is
/// deaf.
fn random_plan(rng: &mut Rng, large: bool, excuses: &mut Excuses) -> FaultPlan {
    let seed = rng.u64(..);
    let only = [Packets::Any, Packets::Sent, Packets::Received];
    let mut plan = FaultPlan::new(seed);
    let actions = [
        Rule::only(only[rng.usize(..3)], Action::Drop),
        Rule::only(Packets::Sent, Action::Hang),
        Rule::only(only[rng.usize(..3)], Action::NoWriteBack),
        // Longer than any buffer, where frames are not large.
        Rule::only(
            Packets::Received,
            if large { Action::Drop } else { Action::BadLength(rng.u16(..) | 0x2000) },
        ),
        Rule::only(Packets::Received, Action::BadStatus(1 << rng.u32(14..30))),
        Rule::only(Packets::Received, Action::BadStatus(rng.u32(..) & !0x3fff)),
        Rule::only(only[rng.usize(..3)], Action::LoseInterrupt),
        Rule::new(Action::SpuriousInterrupt),
        Rule::only(only[rng.usize(..3)], Action::Garbage),
        Rule::new(Action::LinkFlap(Duration::from_millis(rng.u64(1..3000)))),
    ];
    for rule in actions {
        if rng.u8(..) < 80 {
            plan = plan.rule(rule.probability(f64::from(rng.u32(1..40)) / 1000.0));
        }
    }
    if rng.u8(..) < 24 {
        excuses.strays = true;
        let wild = if rng.bool() { Action::WildRead(rng.u64(..)) } else { Action::WildWrite(rng.u64(..)) };
        plan = plan.rule(Rule::new(wild).probability(0.02));
    }
    if rng.u8(..) < 8 {
        excuses.lost = true;
        plan = plan.rule(Rule::new(Action::Remove).probability(0.01));
    }
    if rng.u8(..) < 16 {
        excuses.lost = true;
        let faults = [
            LifecycleFault::NeverReset,
            LifecycleFault::PhyHangs,
            LifecycleFault::IndirectHangs,
            LifecycleFault::TallyHangs,
            LifecycleFault::NeverEmpty,
        ];
        plan = plan.lifecycle_times(faults[rng.usize(..faults.len())], rng.u32(1..3));
    }
    plan
}

struct Device {
    bench: Bench,
    excuses: Excuses,
}

impl Faulty for Device {
    type Device = Rtl8168;

    fn start(rng: &mut Rng) -> Started<Self> {
        let bench = Bench::named(NAMES[rng.usize(..NAMES.len())]);
        let kinds = [InterruptKind::Intx, InterruptKind::Msi, InterruptKind::MsiX];
        let rate = NonZeroU32::new(rng.u32(1000..100_000)).unwrap();
        let options = Options {
            interrupts: kinds[rng.usize(..3)],
            throttling: [Throttling::Off, Throttling::Adaptive, Throttling::Fixed(rate)][rng.usize(..3)],
            tx_ring: rng.u16(64..200),
            rx_ring: rng.u16(64..200),
            mtu: [1500, 4000][rng.usize(..2)],
            transmit_timeout: Duration::from_secs(1),
            ..Options::default()
        };
        let large = options.mtu > 1500;
        let device = bench.try_attach(options).unwrap();
        let (dma, clock) = (device.dma().clone(), device.clock().clone());
        bench.host.advance(NEGOTIATION);
        let mut excuses = Excuses::default();
        bench.model.set_faults(random_plan(rng, large, &mut excuses));
        Started { model: Device { bench, excuses }, device, dma, clock }
    }

    fn wire(&self) -> &impl Wire {
        &self.bench
    }

    fn mend(&self) {
        self.bench.model.set_faults(FaultPlan::new(0));
    }

    fn violations(&self) -> Vec<String> {
        self.bench.model.take_violations().iter().map(ToString::to_string).collect()
    }

    fn excuses(&self) -> Excuses {
        self.excuses
    }
}

#[test]
fn random_faults_are_survived() {
    let Totals { runs, resets, serving, frames } = random_faults::<Device>();
    println!("{runs} runs, {frames} frames, {resets} resets, {serving} devices still serving at the end");
    // A plan without consequences would prove nothing.
    if runs > 1 {
        assert!(resets > runs / 10 && serving > runs / 2, "{resets} resets, {serving} of {runs} serving");
        assert!(frames > runs * 50, "{frames}");
    }
}
