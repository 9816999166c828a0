//! A controller model with the driver on it.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test crate uses its part"
)]

use std::time::Duration;

use ahcid::{AhciController, Error, Options};
use driver_block::testing::Modelled;
pub(crate) use driver_block::testing::pattern;
use driver_block::{
    BlockError, Controller, Disk, DiskId, LocalEngine, Operation, QueueOptions, RecoveryPolicy, Request,
    Segments,
};
use model_ahci::{Ahci, Config, DeviceConfig, DiskConfig, FaultPlan, Handle, Place, PowerCut};
use redox_driver_sys::{dma::DmaBuffer, model::Host};

/// Longer than any request takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(400);

/// A machine with the model in it, and the test's hand on both.
pub(crate) struct Bench {
    pub(crate) host: Host,
    pub(crate) model: Handle,
}

impl Bench {
    pub(crate) fn new(config: Config) -> Self {
        let (ahci, model) = Ahci::new(config);
        Bench { host: Host::new(Box::new(ahci)), model }
    }

    pub(crate) fn faulty(config: Config, plan: FaultPlan) -> Self {
        let bench = Bench::new(config);
        bench.model.set_faults(plan);
        bench
    }

    pub(crate) fn try_attach(&self, options: Options) -> Result<AhciController, Error> {
        AhciController::attach(self.host.function(), options)
    }

    pub(crate) fn attach(&self, options: Options) -> AhciController {
        self.try_attach(options).unwrap()
    }

    pub(crate) fn drive(&self, options: Options) -> Driven {
        Driven::new(self.attach(options))
    }

    /// Nothing that the specification forbids was done, and no DMA strayed.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.model.take_violations(), []);
        assert_eq!(self.host.take_faults(), []);
    }
}

impl Modelled for Bench {
    type Controller = AhciController;

    fn host(&self) -> &Host {
        &self.host
    }

    fn block(&self, disk: DiskId, lba: u64) -> Vec<u8> {
        self.model.read(place(disk), lba, 1)
    }

    fn durable_block(&self, disk: DiskId, lba: u64) -> Vec<u8> {
        self.model.read_durable(place(disk), lba, 1)
    }

    fn cut_power(&self) {
        self.model.power_cut(PowerCut::Lost);
    }

    fn violations(&self) -> Vec<String> {
        self.model.take_violations().iter().map(|violation| format!("{violation:?}")).collect()
    }
}

/// Where a disk is: ids are those of ports, and beyond 31 those of what is behind a multiplier, port by port of it.
pub(crate) fn place(disk: DiskId) -> Place {
    let [port, pm_port] =
        [disk.0 % 32, (disk.0 / 32).saturating_sub(1)].map(|number| u8::try_from(number).unwrap());
    Place { port, pm_port }
}

/// A configuration with these devices.
pub(crate) fn with(devices: Vec<Option<DeviceConfig>>) -> Config {
    Config { devices, ..Config::default() }
}

/// A configuration with one disk.
pub(crate) fn one(disk: DiskConfig) -> Config {
    with(vec![Some(DeviceConfig::Disk(disk))])
}

pub(crate) fn options() -> Options {
    Options { command_timeout: Duration::from_secs(5), ..Options::default() }
}

/// The driver under the block layer, in one thread.
pub(crate) struct Driven {
    pub(crate) engine: LocalEngine<AhciController>,
    pub(crate) buffer: DmaBuffer,
}

impl Driven {
    pub(crate) fn new(controller: AhciController) -> Self {
        let buffer = controller.dma().allocate((4 << 20) + 4096).unwrap();
        let clock = controller.clock().clone();
        let queue = QueueOptions::new(256, controller.command_timeout());
        let engine = LocalEngine::new(controller, &clock, &queue, RecoveryPolicy::default()).unwrap();
        Driven { engine, buffer }
    }

    pub(crate) fn disk(&self) -> Disk {
        self.engine.disks()[0].clone()
    }

    pub(crate) fn disk_ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self.engine.disks().iter().map(|disk| disk.id.0).collect();
        ids.sort_unstable();
        ids
    }

    pub(crate) fn segments(&self, offset: usize, len: usize) -> Segments {
        Segments::from_slice(&[self.buffer.segment(offset, u32::try_from(len).unwrap()).unwrap()])
    }

    pub(crate) fn write(&mut self, disk: u32, lba: u64, data: &[u8]) -> Result<(), BlockError> {
        self.buffer.copy_from(0, data).unwrap();
        let size = self.block_size(disk);
        let blocks = (data.len() / size) as u64;
        let segments = self.segments(0, data.len());
        self.engine.write(DiskId(disk), lba, blocks, segments, PATIENCE)
    }

    pub(crate) fn read(&mut self, disk: u32, lba: u64, blocks: u64) -> Result<Vec<u8>, BlockError> {
        let len = usize::try_from(blocks).unwrap() * self.block_size(disk);
        self.buffer.fill(0, len, 0xa5).unwrap();
        let segments = self.segments(0, len);
        self.engine.read(DiskId(disk), lba, blocks, segments, PATIENCE)?;
        let mut data = vec![0; len];
        self.buffer.copy_to(0, &mut data).unwrap();
        Ok(data)
    }

    pub(crate) fn flush(&mut self, disk: u32) -> Result<(), BlockError> {
        self.engine.flush(DiskId(disk), PATIENCE)
    }

    pub(crate) fn discard(&mut self, disk: u32, lba: u64, blocks: u64) -> Result<(), BlockError> {
        self.engine.execute(Request::range(Operation::Discard, DiskId(disk), lba, blocks, 0), PATIENCE)
    }

    fn block_size(&self, disk: u32) -> usize {
        let found = self.engine.disks().iter().find(|other| other.id.0 == disk);
        found.map_or(512, |disk| disk.limits.block_size as usize)
    }

    /// Submits requests at once, lets them be carried out, and returns their answers by cookie.
    pub(crate) fn all(
        &mut self,
        requests: impl IntoIterator<Item = Request>,
    ) -> Vec<(u64, Result<(), BlockError>)> {
        for request in requests {
            self.engine.submit(0, request).unwrap();
        }
        self.engine.drain(PATIENCE).unwrap();
        let mut answers = Vec::new();
        self.engine.step(&mut answers);
        let mut answers: Vec<_> =
            answers.iter().map(|answer| (answer.completion.cookie, answer.completion.result)).collect();
        answers.sort_unstable_by_key(|(cookie, _)| *cookie);
        answers
    }

    /// A read of `blocks` 512-byte blocks into the part of the buffer that `cookie` names.
    pub(crate) fn reading(&self, disk: u32, lba: u64, blocks: u64, cookie: u64) -> Request {
        let len = usize::try_from(blocks).unwrap() * 512;
        let segments = self.segments(usize::try_from(cookie).unwrap() * 8192, len);
        Request::transfer(Operation::Read, DiskId(disk), lba, blocks, segments, cookie)
    }

    /// Lets time pass and the controller be looked at.
    pub(crate) fn pass(&mut self, bench: &Bench, time: Duration) {
        let end = bench.host.now().plus(time);
        let mut answers = Vec::new();
        while bench.host.now() < end {
            bench.host.advance(Duration::from_millis(1));
            self.engine.step(&mut answers);
        }
        assert!(answers.is_empty(), "{answers:?}");
    }

    pub(crate) fn resets(&self) -> u64 {
        self.engine.controller().map_or(0, AhciController::resets)
    }

    pub(crate) fn shutdown(mut self) -> Result<(), BlockError> {
        self.engine.shutdown(PATIENCE)
    }
}

struct Stderr;
impl log::Log for Stderr {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        eprintln!("{} {}", record.level(), record.args());
    }
    fn flush(&self) {}
}
pub(crate) fn logging() {
    let _ = log::set_logger(&Stderr);
    log::set_max_level(log::LevelFilter::Debug);
}
