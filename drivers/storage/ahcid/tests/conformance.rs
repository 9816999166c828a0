//! What every storage driver must do: see [`driver_block::testing::conformance`].
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use ahcid::Options;
use driver_block::{
    DiskId,
    testing::{
        Started,
        conformance::{self, BUFFER, Setup, Specimen, TIMEOUT, Unable},
    },
};
use model_ahci::{Action, CdConfig, Commands, DeviceConfig, DiskConfig, FaultPlan, Rule};
use support::{Bench, place, with};

/// A kind of disk.
enum Kind {
    /// Commands are queued natively.
    Queued,
    /// One command at a time, of 256 blocks at most.
    Old,
}

impl Kind {
    fn disk(&self, setup: &Setup, serial: &str) -> DiskConfig {
        let disk = match self {
            Kind::Queued => DiskConfig::new(setup.blocks, serial),
            Kind::Old => DiskConfig::old(setup.blocks, serial),
        };
        DiskConfig { block_size: setup.block_size, write_cache: setup.cache, ..disk }
    }
}

impl Specimen for Bench {
    type Variant = Kind;

    fn start(kind: &Kind, setup: &Setup) -> Result<Started<Self>, Unable> {
        // No ATA disk is read-only, but a CD is.
        let device = |number: u16| match setup.read_only {
            true => DeviceConfig::Cd(CdConfig {
                blocks: u32::try_from(setup.blocks).ok(),
                serial: "CD".to_string(),
            }),
            false => DeviceConfig::Disk(kind.disk(setup, &format!("disk {number}"))),
        };
        let bench = Bench::new(with((0..setup.disks).map(|number| Some(device(number))).collect()));
        let controller = bench.attach(Options { command_timeout: TIMEOUT, ..Options::default() });
        let (dma, clock) = (controller.dma().clone(), controller.clock().clone());
        Ok(Started::new(bench, controller, &dma, &clock, BUFFER, &conformance::options(&dma)))
    }

    fn allocated(&self, disk: DiskId) -> u64 {
        self.model.allocated_blocks(place(disk))
    }

    fn spoil(&self, disk: DiskId, lba: u64) {
        self.model.spoil(place(disk), lba);
    }

    fn hang_next(&self, _: u16, disk: DiskId) {
        let rule = Rule::only(Commands::io().on_port(place(disk).port), Action::Hang).times(1);
        self.model.set_faults(FaultPlan::new(0).rule(rule));
    }

    fn resize(&self, disk: DiskId, blocks: u64) -> Result<(), Unable> {
        // An ATA disk has one size for ever: it is another one that comes into its place.
        self.model.plug(place(disk), Some(DeviceConfig::Disk(DiskConfig::new(blocks, "another"))));
        Ok(())
    }
}

#[test]
fn conforms_with_native_command_queuing() {
    conformance::run::<Bench>(&Kind::Queued).assert_passed(&[(
        "what is longer than the largest transfer is split",
        "one command takes more than all of the disk",
    )]);
}

#[test]
fn conforms_without_native_command_queuing() {
    conformance::run::<Bench>(&Kind::Old).assert_passed(&[("discard", "it cannot discard")]);
}
