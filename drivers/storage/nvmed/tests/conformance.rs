//! What every storage driver must do: see [`driver_block::testing::conformance`].
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use driver_block::{
    DiskId,
    testing::{
        Started,
        conformance::{self, BUFFER, Setup, Specimen, TIMEOUT, Unable},
    },
};
use model_nvme::{Action, Commands, Config, FaultPlan, NamespaceConfig, Rule};
use nvmed::Options;
use support::Bench;

/// How data are described to the device.
enum Pointers {
    Prp,
    Sgl,
}

impl Specimen for Bench {
    type Variant = Pointers;

    fn start(variant: &Pointers, setup: &Setup) -> Result<Started<Self>, Unable> {
        let shift = u8::try_from(setup.block_size.trailing_zeros()).unwrap();
        let namespace =
            NamespaceConfig { read_only: setup.read_only, ..NamespaceConfig::new(setup.blocks, shift) };
        let bench = Bench::new(Config {
            namespaces: vec![namespace; setup.disks.into()],
            write_cache: setup.cache,
            sgl: matches!(variant, Pointers::Sgl),
            ..Config::default()
        });
        let controller = bench.attach(Options {
            queues: setup.queues,
            queue_depth: 32,
            command_timeout: TIMEOUT,
            ..Options::default()
        });
        let (dma, clock) = (controller.dma().clone(), controller.clock().clone());
        Ok(Started::new(bench, controller, &dma, &clock, BUFFER, &conformance::options(&dma)))
    }

    fn allocated(&self, disk: DiskId) -> u64 {
        self.model.allocated_blocks(disk.0)
    }

    fn spoil(&self, disk: DiskId, lba: u64) {
        self.model.spoil(disk.0, lba);
    }

    fn hang_next(&self, queue: u16, _: DiskId) {
        let rule = Rule::only(Commands::on_queue(queue + 1), Action::Hang).times(1);
        self.model.set_faults(FaultPlan::new(0).rule(rule));
    }

    fn resize(&self, disk: DiskId, blocks: u64) -> Result<(), Unable> {
        self.model.resize(disk.0, blocks);
        Ok(())
    }
}

#[test]
fn conforms_with_physical_region_pages() {
    conformance::run::<Bench>(&Pointers::Prp).assert_passed(&[]);
}

#[test]
fn conforms_with_scatter_gather_lists() {
    conformance::run::<Bench>(&Pointers::Sgl).assert_passed(&[]);
}
