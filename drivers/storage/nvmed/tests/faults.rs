//! Random requests against random faults of an NVMe controller: see [`driver_block::testing::faults`]. A run is replayed
//! by its seed: `RB_FAULT_SEED=… cargo test -p nvmed --test faults`.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use driver_block::{
    LocalEngine, QueueOptions,
    testing::{
        Started,
        faults::{self, BLOCKS, BUFFER, Faulty, SLOTS},
    },
};
use fastrand::Rng;
use model_nvme::{
    Action, Commands, Config, FaultPlan, HostMemoryWishes, Latency, LifecycleFault, NamespaceConfig, Rule,
};
use nvme_spec::Status;
use nvmed::{NvmeController, Options};
use support::Bench;

/// Faults that a driver can notice. What no driver can, is left out: data that is wrong though the status is fine, and a
/// completion that names another command which is in flight.
fn random_plan(rng: &mut Rng) -> FaultPlan {
    let seed = rng.u64(..);
    let actions = [
        Action::Drop,
        Action::Hang,
        Action::Delay(Duration::from_millis(rng.u64(1..4000))),
        // The sequence number alone: never that of another command in flight.
        Action::CorruptCid(rng.u16(1..64) << 10),
        Action::CorruptSqid(rng.u16(1..)),
        Action::CorruptSqHead(rng.u16(1..)),
        Action::WrongPhase,
        Action::Fail(Status::of(rng.u8(0..8), rng.u8(1..)), rng.bool()),
        Action::Fail(Status::INTERNAL_ERROR, false),
        Action::Duplicate,
        Action::Reorder,
        Action::LoseInterrupt,
        Action::SpuriousInterrupt,
        Action::Fatal,
        Action::WildRead(rng.u64(..)),
        Action::WildWrite(rng.u64(..)),
    ];
    let mut plan = FaultPlan::new(seed);
    for action in actions {
        if rng.u8(..) < 80 {
            let often = f64::from(rng.u32(1..40)) / 1000.0;
            plan = plan.rule(Rule::only(Commands::any_io(), action).probability(often));
        }
        if rng.u8(..) < 12 {
            // The admin queue as well, now and then: aborts and resets go wrong too.
            plan = plan.rule(Rule::only(Commands::on_queue(0), action).probability(0.02));
        }
    }
    if rng.u8(..) < 8 {
        let faults =
            [LifecycleFault::NeverReady, LifecycleFault::FatalOnEnable, LifecycleFault::NeverDisabled];
        plan = plan.lifecycle_times(faults[rng.usize(..faults.len())], rng.u32(1..3));
    }
    plan
}

impl Faulty for Bench {
    fn start(rng: &mut Rng) -> Started<Self> {
        let config = Config {
            namespaces: vec![NamespaceConfig::new(BLOCKS, 9)],
            sgl: rng.bool(),
            mqes: [7, 31, 63][rng.usize(..3)],
            mdts: rng.u8(0..5),
            write_cache: rng.bool(),
            cache_blocks: rng.usize(1..200),
            host_memory: HostMemoryWishes {
                preferred: if rng.bool() { 32 } else { 0 },
                ..Default::default()
            },
            latency: Latency { jitter: Duration::from_micros(rng.u64(0..300)), ..Latency::default() },
            seed: rng.u64(..),
            ..Config::default()
        };
        let bench = Bench::new(config);
        let options = Options {
            queues: rng.u16(1..4),
            queue_depth: rng.u16(1..32),
            polled: rng.bool(),
            admin_timeout: Duration::from_secs(1),
            command_timeout: Duration::from_secs(2),
            ..Options::default()
        };
        let timeout = options.command_timeout;
        let controller = bench.attach(options);
        let (dma, clock) = (controller.dma().clone(), controller.clock().clone());
        let options = QueueOptions::new(u32::try_from(SLOTS).unwrap(), timeout);
        bench.model.set_faults(random_plan(rng));
        Started::new(bench, controller, &dma, &clock, BUFFER, &options)
    }

    fn mend(&self) {
        self.model.set_faults(FaultPlan::new(0));
    }

    fn resets(&self, engine: &LocalEngine<NvmeController>) -> u64 {
        engine.controller().map_or(0, NvmeController::resets)
    }
}

#[test]
fn random_faults_lose_nothing() {
    let faults::Totals { runs, resets, serving } = faults::random_faults::<Bench>();
    println!("{runs} runs, {resets} resets, {serving} controllers still serving at the end");
    // A plan without consequences would prove nothing.
    if runs > 1 {
        assert!(resets > runs / 10 && serving > runs / 3, "{resets} resets, {serving} of {runs} serving");
    }
}
