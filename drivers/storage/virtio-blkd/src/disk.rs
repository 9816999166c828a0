//! What a device's configuration (section 5.2.4) means for the block layer.

use driver_block::{Disk, DiskId, Limits, WriteCache};
use virtio_core::Features;
use virtio_spec::blk::{BlkConfig, BlkFeatures, SECTOR};

/// A virtio block device is one disk.
pub(crate) const DISK: DiskId = DiskId(0);
/// Most segments of data in a request: more would not help, and each request has a table for so many.
pub(crate) const MOST_SEGMENTS: u16 = 126;
/// Descriptors of a request beside its data: header and status.
pub(crate) const OVERHEAD: u16 = 2;
/// Longest transfer of a request in bytes.
const MAX_TRANSFER: u32 = 1 << 20;
/// Most ranges of a discard.
pub(crate) const MOST_RANGES: u16 = 16;
/// Physical blocks larger than this are not believed.
const LARGEST_PHYSICAL_BLOCK: u32 = 1 << 24;

/// What of the configuration shapes every request. It must stay as it is while the device is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Sectors of a block, as a power of two.
    pub(crate) sector_shift: u32,
    /// Longest segment in bytes.
    pub(crate) size_max: u32,
    /// Most descriptors of data.
    pub(crate) segments: u16,
}

fn has(features: Features, feature: BlkFeatures) -> bool {
    features.bits() & feature.bits() != 0
}

/// Most segments of data that the device takes in a request.
pub(crate) fn segments(config: &BlkConfig, features: Features) -> u16 {
    // Without SEG_MAX nothing is known of it.
    let offered = if has(features, BlkFeatures::SEG_MAX) { config.seg_max } else { 1 };
    u16::try_from(offered).unwrap_or(u16::MAX).clamp(1, MOST_SEGMENTS)
}

impl Shape {
    /// The shape of requests that have at most `segments` descriptors of data.
    pub(crate) fn new(config: &BlkConfig, features: Features, segments: u16) -> Result<Self, String> {
        let block_size = if has(features, BlkFeatures::BLK_SIZE) { config.blk_size } else { SECTOR };
        if !block_size.is_power_of_two() || !(SECTOR..=4096).contains(&block_size) {
            return Err(format!("blocks of {block_size} bytes are not supported"));
        }
        let size_max = if has(features, BlkFeatures::SIZE_MAX) { config.size_max } else { u32::MAX };
        let shape = Shape { sector_shift: (block_size / SECTOR).ilog2(), size_max, segments };
        if shape.max_transfer() == 0 {
            return Err(format!(
                "{segments} segments of at most {size_max} bytes do not carry a block of {block_size} bytes"
            ));
        }
        Ok(shape)
    }

    pub(crate) fn block_size(self) -> u32 {
        SECTOR << self.sector_shift
    }

    /// Most segments of a transfer. A segment that is longer than the device takes becomes several descriptors: as many as its
    /// length makes, and one more where it does not end evenly. Half of them are kept for that.
    pub(crate) fn max_segments(self) -> u16 {
        if self.size_max >= MAX_TRANSFER { self.segments } else { (self.segments / 2).max(1) }
    }

    /// Longest transfer in bytes whose descriptors fit, however its segments are cut.
    pub(crate) fn max_transfer(self) -> u32 {
        if self.size_max >= MAX_TRANSFER {
            return MAX_TRANSFER;
        }
        let whole = u32::from(self.segments - self.max_segments()).max(1);
        self.size_max.saturating_mul(whole).min(MAX_TRANSFER) & !(self.block_size() - 1)
    }
}

/// Whether completed writes may be in a volatile cache (section 5.2.6.2).
pub(crate) fn write_cache(config: &BlkConfig, features: Features) -> WriteCache {
    let switched_off = has(features, BlkFeatures::CONFIG_WCE) && config.writeback == 0;
    if has(features, BlkFeatures::FLUSH) && !switched_off {
        WriteCache::Volatile { fua: false }
    } else {
        WriteCache::None
    }
}

/// Blocks of a range of `sectors`; a device that names no bound has none.
fn range_blocks(sectors: u32, shape: Shape) -> u32 {
    let sectors = if sectors == 0 { u32::MAX } else { sectors };
    sectors >> shape.sector_shift
}

/// The disk that the device is.
pub(crate) fn disk(
    config: &BlkConfig,
    features: Features,
    shape: Shape,
    serial: &str,
) -> Result<Disk, String> {
    let block_size = shape.block_size();
    let blocks = config.capacity >> shape.sector_shift;
    if blocks == 0 {
        return Err(format!("it has {} sectors, which make 0 blocks of {block_size} bytes", config.capacity));
    }
    if blocks > u64::MAX / u64::from(block_size) {
        return Err(format!("a capacity of {} sectors is not possible", config.capacity));
    }
    let topology = has(features, BlkFeatures::TOPOLOGY);
    let physical = block_size
        .checked_shl(config.physical_block_exp.into())
        .filter(|&physical| topology && (block_size..=LARGEST_PHYSICAL_BLOCK).contains(&physical));
    let optimal = if topology { config.opt_io_size.checked_mul(block_size).unwrap_or(0) } else { 0 };
    let discard = has(features, BlkFeatures::DISCARD);
    let zeroes = has(features, BlkFeatures::WRITE_ZEROES);
    let ranges = u16::try_from(config.max_discard_seg).unwrap_or(u16::MAX).clamp(1, MOST_RANGES);
    let alignment = config.discard_sector_alignment.saturating_mul(SECTOR);
    Ok(Disk {
        id: DISK,
        blocks,
        limits: Limits {
            block_size,
            physical_block_size: physical.unwrap_or(block_size),
            optimal_io_size: optimal,
            max_transfer: shape.max_transfer(),
            max_segments: shape.max_segments(),
            segment_boundary: 1,
            dma_alignment: 1,
            max_discard_blocks: if discard { range_blocks(config.max_discard_sectors, shape) } else { 0 },
            max_discard_ranges: ranges,
            discard_granularity: if discard { alignment.max(block_size) } else { 0 },
            max_write_zeroes_blocks: if zeroes {
                range_blocks(config.max_write_zeroes_sectors, shape)
            } else {
                0
            },
            write_cache: write_cache(config, features),
            read_only: has(features, BlkFeatures::RO),
            max_commands: u16::MAX,
            rotational: false,
        },
        model: "virtio block device".to_string(),
        serial: serial.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(features: BlkFeatures) -> Features {
        Features::from_bits_retain(features.bits())
    }

    fn config() -> BlkConfig {
        BlkConfig { capacity: 1000, size_max: 1000, seg_max: 10, blk_size: 4096, ..BlkConfig::default() }
    }

    #[test]
    fn fields_without_their_feature_mean_nothing() {
        let none = Features::empty();
        assert_eq!(segments(&config(), none), 1);
        let shape = Shape::new(&config(), none, 1).unwrap();
        assert_eq!((shape.block_size(), shape.max_transfer(), shape.max_segments()), (512, 1 << 20, 1));
        let disk = disk(&config(), none, shape, "").unwrap();
        assert_eq!(disk.blocks, 1000);
        assert_eq!(disk.limits.write_cache, WriteCache::None);
        assert_eq!((disk.limits.max_discard_blocks, disk.limits.max_write_zeroes_blocks), (0, 0));
    }

    #[test]
    fn short_segments_shorten_transfers() {
        let some = features(BlkFeatures::SIZE_MAX | BlkFeatures::SEG_MAX);
        assert_eq!(segments(&config(), some), 10);
        let shape = Shape::new(&config(), some, 10).unwrap();
        // Five segments, of which each may end in a part of 1000 bytes: 5 * 1000 bytes in whole ones.
        assert_eq!((shape.max_segments(), shape.max_transfer()), (5, 4608));
        let shape = Shape::new(&config(), some, 1).unwrap();
        assert_eq!((shape.max_segments(), shape.max_transfer()), (1, 512));
        let some = some | features(BlkFeatures::BLK_SIZE);
        let error = Shape::new(&config(), some, 1).unwrap_err();
        assert_eq!(error, "1 segments of at most 1000 bytes do not carry a block of 4096 bytes");
    }

    #[test]
    fn impossible_values_are_refused() {
        let some = features(BlkFeatures::BLK_SIZE);
        for blk_size in [0, 1, 511, 513, 8192, u32::MAX] {
            assert!(Shape::new(&BlkConfig { blk_size, ..config() }, some, 1).is_err(), "{blk_size}");
        }
        let shape = Shape::new(&config(), some, 1).unwrap();
        for capacity in [0, 7, u64::MAX] {
            assert!(disk(&BlkConfig { capacity, ..config() }, some, shape, "").is_err(), "{capacity}");
        }
    }

    #[test]
    fn the_cache_is_what_can_be_flushed_and_is_not_switched_off() {
        let off = BlkConfig { writeback: 0, ..config() };
        let flush = features(BlkFeatures::FLUSH);
        assert_eq!(write_cache(&off, flush), WriteCache::Volatile { fua: false });
        assert_eq!(write_cache(&off, flush | features(BlkFeatures::CONFIG_WCE)), WriteCache::None);
        let on = BlkConfig { writeback: 1, ..config() };
        let both = flush | features(BlkFeatures::CONFIG_WCE);
        assert_eq!(write_cache(&on, both), WriteCache::Volatile { fua: false });
        assert_eq!(write_cache(&on, Features::empty()), WriteCache::None);
    }
}
