//! Random requests against random faults of a virtio block device: see [`driver_block::testing::faults`]. A run is
//! replayed by its seed: `RB_FAULT_SEED=… cargo test -p virtio-blkd --test faults`.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use driver_block::{
    DiskId, LocalEngine, QueueOptions,
    testing::{
        Modelled, Started,
        faults::{self, BLOCKS, BUFFER, Faulty, SLOTS},
    },
};
use fastrand::Rng;
use model_virtio::{Action, BlkConfig, FaultPlan, Latency, LifecycleFault, Rule, TransportConfig, Violation};
use redox_driver_sys::model::Host;
use support::{Bench, all_rings};
use virtio_blkd::{BlkController, Options};
use virtio_core::Features;
use virtio_spec::blk::{BlkFeatures, RequestStatus};

/// Faults that a driver can notice. What no driver can, is left out: data that is wrong though the status is fine.
fn random_plan(rng: &mut Rng) -> FaultPlan {
    let seed = rng.u64(..);
    let actions = [
        Action::Drop,
        Action::Hang,
        Action::Delay(Duration::from_millis(rng.u64(1..4000))),
        Action::CorruptId(rng.u32(1..)),
        // Perhaps that of another request in flight: it comes back without a status.
        Action::CorruptId(rng.u32(1..32)),
        Action::BadLength(rng.u32(1..)),
        Action::IndexJump(rng.u16(1..)),
        Action::Fail(RequestStatus::IOERR.0),
        Action::Fail(rng.u8(3..)),
        Action::NoStatus,
        Action::Duplicate,
        Action::Reorder,
        Action::LoseInterrupt,
        Action::SpuriousInterrupt,
        Action::NeedsReset,
        Action::WildRead(rng.u64(..)),
        Action::WildWrite(rng.u64(..)),
    ];
    let mut plan = FaultPlan::new(seed);
    for action in actions {
        if rng.u8(..) < 80 {
            let often = f64::from(rng.u32(1..40)) / 1000.0;
            plan = plan.rule(Rule::new(action).probability(often));
        }
    }
    if rng.u8(..) < 8 {
        let faults = [LifecycleFault::NeverReset, LifecycleFault::RefuseFeatures];
        plan = plan.lifecycle_times(faults[rng.usize(..faults.len())], rng.u32(1..3));
    }
    plan
}

struct Device {
    bench: Bench,
    packed: bool,
}

impl Modelled for Device {
    type Controller = BlkController;

    fn host(&self) -> &Host {
        self.bench.host()
    }

    fn block(&self, disk: DiskId, lba: u64) -> Vec<u8> {
        self.bench.block(disk, lba)
    }

    fn durable_block(&self, disk: DiskId, lba: u64) -> Vec<u8> {
        self.bench.durable_block(disk, lba)
    }

    fn cut_power(&self) {
        self.bench.cut_power();
    }

    fn violations(&self) -> Vec<String> {
        let mut violations = self.bench.model.take_violations();
        if self.packed {
            // A device that writes used descriptors in wrong places destroys what the driver had written there.
            violations.retain(|violation| !matches!(violation, Violation::Ring { .. }));
        }
        violations.iter().map(|violation| format!("{violation:?}")).collect()
    }
}

impl Faulty for Device {
    fn start(rng: &mut Rng) -> Started<Self> {
        let rings = all_rings();
        let transport = TransportConfig {
            queue_size: [8, 32, 64][rng.usize(..3)],
            latency: Latency { jitter: Duration::from_micros(rng.u64(0..300)), ..Latency::default() },
            seed: rng.u64(..),
            ..rings[rng.usize(..rings.len())].clone()
        };
        let mut features = BlkConfig::FEATURES;
        features.set(BlkFeatures::FLUSH, rng.bool());
        features.set(BlkFeatures::SIZE_MAX, rng.bool());
        let config = BlkConfig {
            sectors: BLOCKS,
            features,
            size_max: 2048,
            cache_sectors: rng.usize(1..200),
            seed: rng.u64(..),
            ..BlkConfig::default()
        };
        let bench = Bench::new(transport, config);
        let options = Options {
            queues: rng.u16(1..4),
            queue_depth: rng.u16(1..32),
            polled: rng.bool(),
            in_order: rng.bool(),
            command_timeout: Duration::from_secs(2),
            ..Options::default()
        };
        let timeout = options.command_timeout;
        let controller = bench.attach(options);
        let (dma, clock) = (controller.dma().clone(), controller.clock().clone());
        let packed = controller.features().contains(Features::RING_PACKED);
        let options = QueueOptions::new(u32::try_from(SLOTS).unwrap(), timeout);
        bench.model.set_faults(random_plan(rng));
        Started::new(Device { bench, packed }, controller, &dma, &clock, BUFFER, &options)
    }

    fn mend(&self) {
        self.bench.model.set_faults(FaultPlan::new(0));
    }

    fn resets(&self, engine: &LocalEngine<BlkController>) -> u64 {
        engine.controller().map_or(0, BlkController::resets)
    }
}

#[test]
fn random_faults_lose_nothing() {
    let faults::Totals { runs, resets, serving } = faults::random_faults::<Device>();
    println!("{runs} runs, {resets} resets, {serving} devices still serving at the end");
    // A plan without consequences would prove nothing.
    if runs > 1 {
        assert!(resets > runs / 10 && serving > runs / 3, "{resets} resets, {serving} of {runs} serving");
    }
}
