//! Random requests against random faults of an AHCI controller: see [`driver_block::testing::faults`]. A run is replayed by
//! its seed: `RB_FAULT_SEED=… cargo test -p ahcid --test faults`.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::{env, time::Duration};

use ahci_spec::AtaError;
use ahcid::{AhciController, LinkPower, Options};
use driver_block::{
    BlockError, LocalEngine, QueueOptions,
    testing::{
        Started,
        faults::{self, BLOCK, BLOCKS, BUFFER, Faulty, SLOTS},
    },
};
use fastrand::Rng;
use model_ahci::{
    Action, CdConfig, Commands, Config, DeviceConfig, DiskConfig, FaultPlan, Latency, LifecycleFault, Rule,
    Trim,
};
use support::Bench;

/// Faults that a driver can notice. What no driver can, is left out: data that is wrong though the status is fine, and
/// completions of commands that are not done.
fn random_plan(rng: &mut Rng) -> FaultPlan {
    let seed = rng.u64(..);
    let actions = [
        Action::Drop,
        Action::Hang,
        Action::Delay(Duration::from_millis(rng.u64(1..4000))),
        Action::Fail(AtaError::from(rng.u8(1..))),
        Action::Fail(AtaError::new().with_icrc(true).with_abrt(true)),
        Action::Fail(AtaError::new().with_unc(true)),
        Action::DeviceFault,
        Action::Duplicate,
        Action::GarbageLog,
        Action::LoseInterrupt,
        Action::SpuriousInterrupt,
        Action::LinkError,
        Action::BusError,
        Action::LinkLoss,
        Action::WildRead(rng.u64(..)),
        Action::WildWrite(rng.u64(..)),
    ];
    let mut plan = FaultPlan::new(seed);
    for action in actions {
        if rng.u8(..) < 70 {
            let often = f64::from(rng.u32(1..40)) / 1000.0;
            plan = plan.rule(Rule::only(Commands::io(), action).probability(often));
        }
        if rng.u8(..) < 12 {
            // The driver's own commands as well, now and then: recovery goes wrong too.
            plan = plan.rule(Rule::new(action).probability(0.02));
        }
    }
    if rng.u8(..) < 20 {
        let faults = [LifecycleFault::NeverStops, LifecycleFault::NoLink, LifecycleFault::NeverReady];
        plan = plan.lifecycle_times(faults[rng.usize(..faults.len())].on_port(0), rng.u32(1..3));
    }
    plan
}

impl Faulty for Bench {
    fn start(rng: &mut Rng) -> Started<Self> {
        let disk = DiskConfig {
            queue_depth: [0, 1, 8, 32][rng.usize(..4)],
            write_cache: rng.bool(),
            cache_blocks: rng.usize(1..200),
            fua: rng.bool(),
            trim: Trim::Zeroes,
            queued_trim: rng.bool(),
            ..DiskConfig::new(BLOCKS, "faulty")
        };
        let multiplied = rng.u8(..) < 50;
        let main = DeviceConfig::Disk(DiskConfig { lba48: disk.queue_depth > 0 || rng.bool(), ..disk });
        let cd = DeviceConfig::Cd(CdConfig { blocks: Some(100), serial: "CD".to_string() });
        let first =
            if multiplied { DeviceConfig::Multiplier(vec![Some(main), None, Some(cd)]) } else { main };
        let config = Config {
            devices: vec![Some(first)],
            slots: [1, 8, 32][rng.usize(..3)],
            fbs: rng.bool(),
            multipliers: multiplied || rng.bool(),
            staggered: rng.bool(),
            latency: Latency {
                jitter: Duration::from_micros(rng.u64(0..300)),
                ready: Duration::from_millis(rng.u64(1..30)),
                ..Latency::default()
            },
            seed: rng.u64(..),
            ..Config::default()
        };
        let bench = Bench::new(config);
        let options = Options {
            queue_depth: rng.u8(1..33),
            ncq: rng.u8(..) < 220,
            polled: rng.bool(),
            link_power: if rng.bool() { LinkPower::MaxPerformance } else { LinkPower::MinPower },
            command_timeout: Duration::from_secs(2),
            ..Options::default()
        };
        let timeout = options.command_timeout;
        let controller = bench.attach(options);
        let (dma, clock) = (controller.dma().clone(), controller.clock().clone());
        let options = QueueOptions {
            zeroes: Some(dma.allocate(16 * BLOCK).unwrap()),
            ..QueueOptions::new(u32::try_from(SLOTS).unwrap(), timeout)
        };
        bench.model.set_faults(random_plan(rng));
        Started::new(bench, controller, &dma, &clock, BUFFER, &options)
    }

    fn mend(&self) {
        self.model.set_faults(FaultPlan::new(0));
    }

    fn resets(&self, _: &LocalEngine<AhciController>) -> u64 {
        self.model.statistics().comresets(0)
    }

    fn may_refuse(error: BlockError) -> bool {
        // A disk whose features could not be read again has lost some.
        matches!(error, BlockError::Gone | BlockError::TimedOut | BlockError::Unsupported)
    }
}

#[test]
fn random_faults_lose_nothing() {
    if env::var_os("RB_FAULT_SEED").is_some() {
        support::logging();
    }
    let faults::Totals { runs, resets, serving } = faults::random_faults::<Bench>();
    println!("{runs} runs, {resets} COMRESETs, {serving} disks still served at the end");
    // A plan without consequences would prove nothing.
    if runs > 1 {
        assert!(resets > runs && serving > runs / 3, "{resets} COMRESETs, {serving} of {runs} serving");
    }
}
