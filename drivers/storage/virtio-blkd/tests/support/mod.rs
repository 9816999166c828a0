//! A device model with the driver on it.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test crate uses its part"
)]

use std::time::Duration;

use driver_block::testing::Modelled;
pub(crate) use driver_block::testing::pattern;
use driver_block::{BlockError, Command, Completed, Controller, DiskId, HardwareQueue, LbaRange, Operation};
use model_virtio::{Blk, BlkConfig, FaultPlan, Handle, PowerCut, TransportConfig, Virtio};
use redox_driver_sys::{
    dma::{DmaBuffer, Segment},
    model::Host,
};
use virtio_blkd::{BlkController, Error, IoQueue, Options};
use virtio_core::Features;

/// A machine with the model in it, and the test's hand on both.
pub(crate) struct Bench {
    pub(crate) host: Host,
    pub(crate) model: Handle<Blk>,
}

impl Bench {
    pub(crate) fn new(transport: TransportConfig, config: BlkConfig) -> Self {
        let (device, model) = Virtio::new(transport, Blk::new(config));
        Bench { host: Host::new(Box::new(device)), model }
    }

    pub(crate) fn usual() -> Self {
        Bench::new(TransportConfig::default(), BlkConfig::default())
    }

    pub(crate) fn faulty(plan: FaultPlan) -> Self {
        let bench = Bench::usual();
        bench.model.set_faults(plan);
        bench
    }

    pub(crate) fn try_attach(&self, options: Options) -> Result<BlkController, Error> {
        BlkController::attach(self.host.function(), options)
    }

    pub(crate) fn attach(&self, options: Options) -> BlkController {
        self.try_attach(options).unwrap()
    }

    /// Nothing that the specification forbids was done, and no DMA strayed.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.model.take_violations(), []);
        assert_eq!(self.host.take_faults(), []);
    }
}

impl Modelled for Bench {
    type Controller = BlkController;

    fn host(&self) -> &Host {
        &self.host
    }

    fn block(&self, _: DiskId, lba: u64) -> Vec<u8> {
        let sectors = self.model.sectors_of_a_block();
        self.model.read(lba * sectors, sectors)
    }

    fn durable_block(&self, _: DiskId, lba: u64) -> Vec<u8> {
        let sectors = self.model.sectors_of_a_block();
        self.model.read_durable(lba * sectors, sectors)
    }

    fn cut_power(&self) {
        self.model.power_cut(PowerCut::Lost);
    }

    fn violations(&self) -> Vec<String> {
        self.model.take_violations().iter().map(|violation| format!("{violation:?}")).collect()
    }
}

pub(crate) fn options() -> Options {
    Options { queues: 2, queue_depth: 32, ..Options::default() }
}

/// A transport that offers these features beside the usual ones, less others.
pub(crate) fn transport(more: Features, less: Features) -> TransportConfig {
    TransportConfig { features: (TransportConfig::FEATURES | more) - less, ..TransportConfig::default() }
}

/// Every combination of ring, indirect descriptors, event indexes, order and notification data.
pub(crate) fn all_rings() -> Vec<TransportConfig> {
    let bits = [
        Features::RING_PACKED,
        Features::INDIRECT_DESC,
        Features::EVENT_IDX,
        Features::IN_ORDER,
        Features::NOTIFICATION_DATA,
    ];
    let all = bits.into_iter().collect::<Features>();
    let chosen = |which: u32| {
        let chosen = bits.iter().enumerate().filter(move |(bit, _)| which & 1 << bit != 0);
        chosen.map(|(_, feature)| *feature).collect::<Features>()
    };
    let features = (0..1 << bits.len()).map(|which| (TransportConfig::FEATURES - all) | chosen(which));
    features.map(|features| TransportConfig { features, ..TransportConfig::default() }).collect()
}

/// One disk's queues driven by hand.
pub(crate) struct Driven {
    pub(crate) controller: BlkController,
    pub(crate) queues: Vec<IoQueue>,
    pub(crate) buffer: DmaBuffer,
}

impl Driven {
    pub(crate) fn new(bench: &Bench, options: Options) -> Self {
        let mut controller = bench.attach(options);
        let queues = controller.take_queues();
        let buffer = controller.dma().allocate((1 << 20) + 4096).unwrap();
        Driven { controller, queues, buffer }
    }

    pub(crate) fn segment(&self, offset: usize, len: u32) -> Segment {
        self.buffer.segment(offset, len).unwrap()
    }

    /// Submits one command and lets virtual time pass until it has completed, at most a second.
    pub(crate) fn execute(
        &mut self,
        bench: &Bench,
        operation: Operation,
        ranges: &[LbaRange],
        segments: &[Segment],
    ) -> Result<(), BlockError> {
        let command = Command { operation, disk: DiskId(0), fua: false, ranges, segments };
        let queue = &mut self.queues[0];
        queue.submit(0, &command).map_err(|error| match error {
            driver_block::SubmitError::Refused(error) => error,
            driver_block::SubmitError::Full => panic!("an empty queue is full"),
        })?;
        queue.commit();
        let mut completed = Vec::new();
        for _ in 0..10_000 {
            queue.reap(&mut completed)?;
            if let [Completed { tag: 0, result }] = completed[..] {
                return result;
            }
            bench.host.advance(Duration::from_micros(100));
        }
        panic!("no completion: {completed:?}");
    }

    pub(crate) fn read(
        &mut self,
        bench: &Bench,
        lba: u64,
        blocks: u32,
        segments: &[Segment],
    ) -> Result<(), BlockError> {
        self.execute(bench, Operation::Read, &[LbaRange { lba, blocks }], segments)
    }

    pub(crate) fn write(
        &mut self,
        bench: &Bench,
        lba: u64,
        blocks: u32,
        segments: &[Segment],
    ) -> Result<(), BlockError> {
        self.execute(bench, Operation::Write, &[LbaRange { lba, blocks }], segments)
    }

    pub(crate) fn shutdown(mut self) -> Result<(), BlockError> {
        let queues = std::mem::take(&mut self.queues);
        self.controller.shutdown(queues)
    }
}
