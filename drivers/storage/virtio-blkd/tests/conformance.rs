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
use model_virtio::{Action, BlkConfig, FaultPlan, Requests, Rule, TransportConfig};
use support::{Bench, transport};
use virtio_blkd::Options;
use virtio_core::Features;
use virtio_spec::blk::BlkFeatures;

impl Specimen for Bench {
    type Variant = TransportConfig;

    fn start(transport: &TransportConfig, setup: &Setup) -> Result<Started<Self>, Unable> {
        let mut features = BlkConfig::FEATURES;
        features.set(BlkFeatures::FLUSH, setup.cache);
        features.set(BlkFeatures::RO, setup.read_only);
        let config = BlkConfig {
            sectors: setup.blocks * u64::from(setup.block_size / 512),
            block_size: setup.block_size,
            physical_block_exp: 0,
            features,
            ..BlkConfig::default()
        };
        let bench = Bench::new(transport.clone(), config);
        let controller = bench.attach(Options {
            queues: setup.queues,
            queue_depth: 32,
            command_timeout: TIMEOUT,
            ..Options::default()
        });
        let (dma, clock) = (controller.dma().clone(), controller.clock().clone());
        Ok(Started::new(bench, controller, &dma, &clock, BUFFER, &conformance::options(&dma)))
    }

    fn allocated(&self, _: DiskId) -> u64 {
        self.model.allocated_sectors() / self.model.sectors_of_a_block()
    }

    fn spoil(&self, _: DiskId, lba: u64) {
        self.model.spoil(lba * self.model.sectors_of_a_block());
    }

    fn hang_next(&self, queue: u16, _: DiskId) {
        let rule = Rule::only(Requests::on_queue(queue), Action::Hang).times(1);
        self.model.set_faults(FaultPlan::new(0).rule(rule));
    }

    fn resize(&self, _: DiskId, blocks: u64) -> Result<(), Unable> {
        self.model.resize(blocks * self.model.sectors_of_a_block());
        Ok(())
    }
}

/// A virtio block device is one disk.
const SKIPPED: [(&str, &str); 1] = [("a busy disk leaves another its turn", "it has one disk")];

#[test]
fn conforms_on_split_rings() {
    conformance::run::<Bench>(&TransportConfig::default()).assert_passed(&SKIPPED);
}

#[test]
fn conforms_on_packed_rings() {
    let packed = transport(Features::RING_PACKED, Features::empty());
    conformance::run::<Bench>(&packed).assert_passed(&SKIPPED);
}

#[test]
fn conforms_without_indirect_descriptors_and_event_indexes() {
    let plain = transport(Features::empty(), Features::INDIRECT_DESC | Features::EVENT_IDX);
    conformance::run::<Bench>(&plain).assert_passed(&SKIPPED);
}
