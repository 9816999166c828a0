//! Random frames against random faults: see [`driver_network::testing::faults`]. A run is replayed by its seed:
//! `RB_FAULT_SEED=… cargo test -p virtio-netd --test faults`.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod support;

use std::time::Duration;

use driver_network::testing::faults::{Excuses, Faulty, Started, Totals, random_faults};
use model_virtio::Violation;
use support::*;

/// Faults that a driver can notice. What no driver can, is left out: on the receive queue, a buffer that never comes back, another one of
/// the driver's in its place, and a length that could be right. So is a reset without end: it takes longer than a turn may.
fn random_plan(rng: &mut fastrand::Rng, packed: bool, excuses: &mut Excuses) -> FaultPlan {
    let of = |kind, action| Rule::only(Requests::of_kind(kind), action);
    let mut rules = vec![
        of(Net::TRANSMIT, Action::Drop),
        of(Net::TRANSMIT, Action::Hang),
        of(Net::TRANSMIT, Action::CorruptId(rng.u32(1..))),
        of(Net::TRANSMIT, Action::BadLength(rng.u32(1..))),
        of(Net::TRANSMIT, Action::Duplicate),
        of(Net::TRANSMIT, Action::Reorder),
        of(Net::RECEIVE, Action::CorruptId(rng.u32(1..) | 0x8000)),
        of(Net::RECEIVE, Action::BadLength(rng.u32(1 << 16..))),
        of(Net::RECEIVE, Action::Corrupt(10 + rng.usize(..2), 0x80)),
        of(Net::RECEIVE, Action::Corrupt(rng.usize(..2), rng.u8(1..))),
        Rule::new(Action::LoseInterrupt),
        Rule::new(Action::SpuriousInterrupt),
        Rule::new(Action::NeedsReset),
    ];
    if !packed {
        rules.push(of(Net::TRANSMIT, Action::IndexJump(rng.u16(1..))));
        rules.push(of(Net::RECEIVE, Action::Duplicate));
    }
    let mut plan = FaultPlan::new(rng.u64(..));
    for rule in rules {
        if rng.u8(..) < 60 {
            plan = plan.rule(rule.probability(f64::from(rng.u32(1..30)) / 1000.0));
        }
    }
    if rng.u8(..) < 60 {
        let actions = [Action::Drop, Action::Hang, Action::NoStatus, Action::Fail(rng.u8(1..))];
        let action = actions[rng.usize(..4)];
        // A device that refuses what it is told while it is set up is given up.
        excuses.lost = matches!(action, Action::NoStatus | Action::Fail(_));
        plan = plan.rule(of(Net::CONTROL, action).probability(0.02));
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
    if rng.u8(..) < 8 {
        excuses.lost = true;
        plan = plan.lifecycle_times(LifecycleFault::RefuseFeatures, rng.u32(1..3));
    }
    plan
}

struct Device {
    bench: Bench,
    packed: bool,
    excuses: Excuses,
}

impl Faulty for Device {
    type Device = VirtioNet;

    fn start(rng: &mut fastrand::Rng) -> Started<Self> {
        let rings = all_rings();
        let transport = TransportConfig { seed: rng.u64(..), ..rings[rng.usize(..rings.len())].clone() };
        let mut features = NetConfig::FEATURES;
        for feature in [NetFeatures::MQ, NetFeatures::CTRL_GUEST_OFFLOADS, NetFeatures::HOST_TSO6] {
            features.set(feature, rng.bool());
        }
        let bench = Bench::new(transport, NetConfig { features, ..NetConfig::default() });
        let options = Options {
            interrupts: [InterruptKind::Intx, InterruptKind::MsiX][rng.usize(..2)],
            queues: rng.u16(1..=2),
            tx_ring: rng.u16(16..200),
            rx_ring: rng.u16(16..200),
            mtu: [1500, 9000][rng.usize(..2)],
            mergeable: rng.bool(),
            transmit_timeout: Duration::from_secs(1),
            ..Options::default()
        };
        let device = bench.try_attach(options).unwrap();
        let (dma, clock) = (device.dma().clone(), device.clock().clone());
        let packed = device.features().contains(Rings::RING_PACKED);
        let mut excuses = Excuses::default();
        bench.model.set_faults(random_plan(rng, packed, &mut excuses));
        Started { model: Device { bench, packed, excuses }, device, dma, clock }
    }

    fn wire(&self) -> &impl Wire {
        &self.bench
    }

    fn mend(&self) {
        self.bench.model.set_faults(FaultPlan::new(0));
    }

    fn violations(&self) -> Vec<String> {
        let mut violations = self.bench.model.take_violations();
        if self.packed {
            // A device that writes used descriptors in wrong places destroys what the driver had written there.
            violations.retain(|violation| !matches!(violation, Violation::Ring { .. }));
        }
        violations.iter().map(ToString::to_string).collect()
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
