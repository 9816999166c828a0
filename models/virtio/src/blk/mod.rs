//! A block device (section 5.2).

mod request;

use std::time::Duration;

use fastrand::Rng;
use model_support::{Medium, generator};
use redox_driver_sys::model::Bus;
use virtio_spec::{
    Features,
    blk::{
        BlkConfig as Configuration, BlkFeatures, DEVICE_TYPE, Lifetime, RequestHeader, RequestType, SECTOR,
    },
    pci::TRANSITIONAL_BLOCK,
};
use zerocopy::IntoBytes;

use crate::{
    device_type::{DeviceType, Execution},
    handle::Handle,
    ring::Request,
};

/// Where the configuration can be written.
const WRITEBACK_AT: usize = std::mem::offset_of!(Configuration, writeback);
/// A sector, in bytes.
const SECTOR_BYTES: usize = SECTOR as usize;

/// What a modelled block device is like. [`Default`] is one that has everything.
#[derive(Clone, Debug)]
pub struct BlkConfig {
    /// Capacity in sectors of 512 bytes.
    pub sectors: u64,
    /// Features of the type that are offered.
    pub features: BlkFeatures,
    /// Block size in bytes.
    pub block_size: u32,
    /// Blocks in a physical block, as a power of two.
    pub physical_block_exp: u8,
    /// Optimal transfer in blocks.
    pub opt_io_size: u32,
    /// Longest segment in bytes.
    pub size_max: u32,
    /// Most segments of a request.
    pub seg_max: u32,
    /// How many queues there are.
    pub queues: u16,
    /// Most sectors of a discard or write-zeroes segment.
    pub most_range_sectors: u32,
    /// Most segments of a discard or write-zeroes.
    pub most_ranges: u32,
    /// The serial number, at most 20 bytes.
    pub serial: String,
    /// How worn it is.
    pub lifetime: Lifetime,
    /// Sectors that the write cache holds before it writes back by itself.
    pub cache_sectors: usize,
    /// How much longer a flush takes.
    pub flush_latency: Duration,
    /// Seed of all that happens by chance: what survives a power cut.
    pub seed: u64,
}

impl BlkConfig {
    /// All features that the model has, less those that make the device lesser: read-only, and a bound on segments' lengths.
    pub const FEATURES: BlkFeatures = BlkFeatures::from_bits_retain(
        BlkFeatures::SEG_MAX.bits()
            | BlkFeatures::BLK_SIZE.bits()
            | BlkFeatures::FLUSH.bits()
            | BlkFeatures::TOPOLOGY.bits()
            | BlkFeatures::CONFIG_WCE.bits()
            | BlkFeatures::MQ.bits()
            | BlkFeatures::DISCARD.bits()
            | BlkFeatures::WRITE_ZEROES.bits()
            | BlkFeatures::LIFETIME.bits()
            | BlkFeatures::SECURE_ERASE.bits(),
    );
}

impl Default for BlkConfig {
    fn default() -> Self {
        BlkConfig {
            sectors: 1 << 20,
            features: BlkConfig::FEATURES,
            block_size: 512,
            physical_block_exp: 3,
            opt_io_size: 0,
            size_max: 4096,
            seg_max: 126,
            queues: 4,
            most_range_sectors: 1 << 22,
            most_ranges: 4,
            serial: "RB-virtio-0001".to_string(),
            lifetime: Lifetime {
                pre_eol_info: 1,
                device_lifetime_est_typ_a: 2,
                device_lifetime_est_typ_b: 3,
            },
            cache_sectors: 65_536,
            flush_latency: Duration::from_micros(100),
            seed: 0,
        }
    }
}

/// What a power cut leaves of the volatile write cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerCut {
    /// Nothing.
    Lost,
    /// Each sector or not, by chance.
    Torn,
}

/// A modelled block device.
#[derive(Debug)]
pub struct Blk {
    config: BlkConfig,
    accepted: BlkFeatures,
    /// Whether the cache is write-back, as the driver set it.
    writeback: bool,
    medium: Medium,
    rng: Rng,
}

impl Blk {
    /// A device whose medium reads as zeroes.
    pub fn new(config: BlkConfig) -> Self {
        Blk {
            accepted: BlkFeatures::empty(),
            writeback: true,
            medium: Medium::new(SECTOR_BYTES, 0, config.cache_sectors),
            rng: generator(config.seed),
            config,
        }
    }

    fn has(&self, feature: BlkFeatures) -> bool {
        self.accepted.contains(feature)
    }

    /// Whether a write is on the medium at once (section 5.2.6.2): without a flush there is nothing else to rely on.
    fn is_write_through(&self) -> bool {
        !self.has(BlkFeatures::FLUSH) || (self.has(BlkFeatures::CONFIG_WCE) && !self.writeback)
    }
}

impl DeviceType for Blk {
    const TYPE: u16 = DEVICE_TYPE;
    const CLASS: (u8, u8) = (0x01, 0x00);
    const TRANSITIONAL: u16 = TRANSITIONAL_BLOCK;

    fn features(&self) -> u64 {
        self.config.features.bits()
    }

    fn queues(&self) -> u16 {
        if self.config.features.contains(BlkFeatures::MQ) { self.config.queues } else { 1 }
    }

    fn configuration(&self) -> Vec<u8> {
        let config = &self.config;
        let configuration = Configuration {
            capacity: config.sectors,
            size_max: config.size_max,
            seg_max: config.seg_max,
            blk_size: config.block_size,
            physical_block_exp: config.physical_block_exp,
            min_io_size: 1,
            opt_io_size: config.opt_io_size,
            writeback: self.writeback.into(),
            num_queues: config.queues,
            max_discard_sectors: config.most_range_sectors,
            max_discard_seg: config.most_ranges,
            discard_sector_alignment: config.block_size / SECTOR,
            max_write_zeroes_sectors: config.most_range_sectors,
            max_write_zeroes_seg: config.most_ranges,
            write_zeroes_may_unmap: 1,
            max_secure_erase_sectors: config.most_range_sectors,
            max_secure_erase_seg: config.most_ranges,
            secure_erase_sector_alignment: config.block_size / SECTOR,
            ..Configuration::default()
        };
        configuration.as_bytes().to_vec()
    }

    fn write_configuration(&mut self, offset: usize, bytes: &[u8]) -> bool {
        match bytes {
            [value] if offset == WRITEBACK_AT && self.has(BlkFeatures::CONFIG_WCE) => {
                self.writeback = *value != 0;
                true
            }
            _ => false,
        }
    }

    fn negotiated(&mut self, features: Features) {
        self.accepted = BlkFeatures::from_bits_retain(features.bits());
    }

    fn reset(&mut self) {
        self.accepted = BlkFeatures::empty();
        self.writeback = true;
    }

    fn kind(&self, bus: &mut dyn Bus, _: u16, request: &Request) -> u32 {
        let mut header = [0; size_of::<RequestHeader>()];
        if !request.read(bus, 0, &mut header) {
            return u32::MAX;
        }
        let header: RequestHeader = zerocopy::transmute!(header);
        header.kind.0
    }

    fn extra_latency(&self, kind: u32) -> Duration {
        if kind == RequestType::FLUSH.0 { self.config.flush_latency } else { Duration::ZERO }
    }

    fn execute(&mut self, execution: Execution<'_>) -> u32 {
        self.serve(execution)
    }
}

impl Handle<Blk> {
    /// Data of sectors as the driver would read them.
    pub fn read(&self, sector: u64, sectors: u64) -> Vec<u8> {
        self.read_with(sector, sectors, Medium::read)
    }

    /// As [`read`](Self::read), of what would be left after a power cut.
    pub fn read_durable(&self, sector: u64, sectors: u64) -> Vec<u8> {
        self.read_with(sector, sectors, Medium::read_durable)
    }

    fn read_with(&self, sector: u64, sectors: u64, read: impl Fn(&Medium, u64, &mut [u8])) -> Vec<u8> {
        self.device(|blk| {
            let mut data = Vec::new();
            let mut block = [0; SECTOR_BYTES];
            for sector in sector..sector.saturating_add(sectors) {
                read(&blk.medium, sector, &mut block);
                data.extend(block);
            }
            data
        })
    }

    /// Sectors in a block.
    pub fn sectors_of_a_block(&self) -> u64 {
        self.device(|blk| (blk.config.block_size / SECTOR).into())
    }

    /// Puts whole sectors onto the medium.
    pub fn write(&self, sector: u64, data: &[u8]) {
        self.device(|blk| {
            for (sector, block) in (sector..).zip(data.chunks_exact(SECTOR_BYTES)) {
                blk.medium.write(sector, block, true);
            }
        });
    }

    /// From now on a sector cannot be read, until it is written.
    pub fn spoil(&self, sector: u64) {
        self.device(|blk| blk.medium.spoil(sector));
    }

    /// Sectors that a power cut would lose.
    pub fn dirty_sectors(&self) -> usize {
        self.device(|blk| blk.medium.dirty())
    }

    /// Sectors that are allocated.
    pub fn allocated_sectors(&self) -> u64 {
        self.device(|blk| blk.medium.allocated())
    }

    /// Whether the cache is write-back.
    pub fn is_write_back(&self) -> bool {
        self.device(|blk| !blk.is_write_through())
    }

    /// Gives the device another size, in sectors, and tells the driver; what is beyond its end is gone.
    pub fn resize(&self, sectors: u64) {
        self.reconfigure(|blk| {
            blk.medium.truncate(sectors);
            blk.config.sectors = sectors;
        });
    }

    /// Changes what the device is like, and tells the driver.
    pub fn change(&self, change: impl FnOnce(&mut BlkConfig)) {
        self.reconfigure(|blk| change(&mut blk.config));
    }

    /// Takes the power away and gives it back: what was not flushed is lost, and the device is as after a reset.
    pub fn power_cut(&self, cut: PowerCut) {
        self.device(|blk| blk.medium.cut((cut == PowerCut::Torn).then_some(&mut blk.rng)));
        self.forget();
    }
}
