//! A controller model with the driver on it.
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
use model_nvme::{Config, FaultPlan, Handle, Nvme, PowerCut};
use nvmed::{Error, IoQueue, NvmeController, Options};
use redox_driver_sys::{
    dma::{DmaBuffer, Segment},
    model::Host,
};

/// A machine with the model in it, and the test's hand on both.
pub(crate) struct Bench {
    pub(crate) host: Host,
    pub(crate) model: Handle,
}

impl Bench {
    pub(crate) fn new(config: Config) -> Self {
        let (nvme, model) = Nvme::new(config);
        Bench { host: Host::new(Box::new(nvme)), model }
    }

    pub(crate) fn faulty(config: Config, plan: FaultPlan) -> Self {
        let bench = Bench::new(config);
        bench.model.set_faults(plan);
        bench
    }

    pub(crate) fn try_attach(&self, options: Options) -> Result<NvmeController, Error> {
        NvmeController::attach(self.host.function(), options)
    }

    pub(crate) fn attach(&self, options: Options) -> NvmeController {
        self.try_attach(options).unwrap()
    }

    /// Nothing that the specification forbids was done, and no DMA strayed.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.model.take_violations(), []);
        assert_eq!(self.host.take_faults(), []);
    }
}

impl Modelled for Bench {
    type Controller = NvmeController;

    fn host(&self) -> &Host {
        &self.host
    }

    fn block(&self, disk: DiskId, lba: u64) -> Vec<u8> {
        self.model.read(disk.0, lba, 1)
    }

    fn durable_block(&self, disk: DiskId, lba: u64) -> Vec<u8> {
        self.model.read_durable(disk.0, lba, 1)
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

/// One disk's queue driven by hand.
pub(crate) struct Driven {
    pub(crate) controller: NvmeController,
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
        fua: bool,
    ) -> Result<(), BlockError> {
        let command = Command { operation, disk: DiskId(1), fua, ranges, segments };
        let queue = &mut self.queues[0];
        queue.submit(0, &command).map_err(|error| match error {
            driver_block::SubmitError::Refused(error) => error,
            driver_block::SubmitError::Full => panic!("an empty queue is full"),
        })?;
        queue.commit();
        let mut completed = Vec::new();
        for _ in 0..10_000 {
            queue.reap(&mut completed).unwrap();
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
        self.execute(bench, Operation::Read, &[LbaRange { lba, blocks }], segments, false)
    }

    pub(crate) fn write(
        &mut self,
        bench: &Bench,
        lba: u64,
        blocks: u32,
        segments: &[Segment],
    ) -> Result<(), BlockError> {
        self.execute(bench, Operation::Write, &[LbaRange { lba, blocks }], segments, false)
    }

    pub(crate) fn shutdown(mut self) -> Result<(), BlockError> {
        let queues = std::mem::take(&mut self.queues);
        self.controller.shutdown(queues)
    }
}
