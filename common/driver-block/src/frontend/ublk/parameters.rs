//! What the kernel is told about a disk.

use super::uapi;
use crate::device::{Disk, WriteCache};

/// Longest discard or write-zeroes that the kernel's block layer can express: a request's length in bytes has 32 bits.
const MAX_RANGE_SECTORS: u32 = u32::MAX >> uapi::SECTOR_SHIFT;

/// Why a disk cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unservable {
    /// Linux takes powers of two from 512 bytes to a page.
    #[error("logical block size of {0} bytes")]
    BlockSize(u32),
    /// There is nothing to serve.
    #[error("a disk of 0 blocks")]
    Empty,
    /// The capacity does not fit into 64 bits of bytes.
    #[error("a disk of {0} blocks")]
    TooLarge(u64),
}

/// The parameters of `disk` for SET_PARAMS, with requests of at most `max_io_bytes`.
pub(super) fn parameters(disk: &Disk, max_io_bytes: u32) -> Result<uapi::Parameters, Unservable> {
    let limits = &disk.limits;
    if !limits.block_size.is_power_of_two() || !(512..=4096).contains(&limits.block_size) {
        return Err(Unservable::BlockSize(limits.block_size));
    }
    let sectors_per_block = limits.block_size >> uapi::SECTOR_SHIFT;
    let sectors =
        disk.blocks.checked_mul(u64::from(sectors_per_block)).ok_or(Unservable::TooLarge(disk.blocks))?;
    if sectors == 0 {
        return Err(Unservable::Empty);
    }
    // The kernel counts bytes in a signed 64-bit integer.
    if sectors > i64::MAX as u64 >> uapi::SECTOR_SHIFT {
        return Err(Unservable::TooLarge(disk.blocks));
    }
    let physical = if limits.physical_block_size.is_power_of_two() {
        limits.physical_block_size.max(limits.block_size)
    } else {
        limits.block_size
    };
    let mut attributes = match limits.write_cache {
        // Without a volatile cache the kernel sends no flush, and it does not look at FUA.
        WriteCache::None => 0,
        WriteCache::Volatile { fua: false } => uapi::ATTR_VOLATILE_CACHE,
        WriteCache::Volatile { fua: true } => uapi::ATTR_VOLATILE_CACHE | uapi::ATTR_FUA,
    };
    if limits.read_only {
        attributes |= uapi::ATTR_READ_ONLY;
    }
    if limits.rotational {
        attributes |= uapi::ATTR_ROTATIONAL;
    }
    let range_sectors = |blocks: u32| {
        align_down(blocks.saturating_mul(sectors_per_block).min(MAX_RANGE_SECTORS), sectors_per_block)
    };
    let writable = !limits.read_only;
    let max_discard_sectors = if writable { range_sectors(limits.max_discard_blocks) } else { 0 };
    let max_write_zeroes_sectors = if writable { range_sectors(limits.max_write_zeroes_blocks) } else { 0 };
    let any_range = max_discard_sectors != 0 || max_write_zeroes_sectors != 0;
    Ok(uapi::Parameters {
        length: u32::try_from(size_of::<uapi::Parameters>()).unwrap_or(u32::MAX),
        types: uapi::PARAM_BASIC | if any_range { uapi::PARAM_DISCARD } else { 0 },
        basic: uapi::BasicParameters {
            attributes,
            logical_block_shift: shift(limits.block_size),
            physical_block_shift: shift(physical),
            // A preference of 2^0 bytes is none: the kernel rounds it down to nothing.
            optimal_io_shift: shift(largest_power(limits.optimal_io_size)),
            minimum_io_shift: shift(physical),
            max_sectors: align_down(max_io_bytes >> uapi::SECTOR_SHIFT, sectors_per_block),
            chunk_sectors: 0,
            sectors,
            virtual_boundary_mask: 0,
        },
        discard: if any_range {
            uapi::DiscardParameters {
                alignment: 0,
                granularity: limits.discard_granularity.max(limits.block_size),
                max_discard_sectors,
                max_write_zeroes_sectors,
                max_segments: u16::from(max_discard_sectors != 0),
                reserved: 0,
            }
        } else {
            uapi::DiscardParameters::default()
        },
        pad: 0,
    })
}

/// Whether a device made with `old` can go on serving a disk that would be made with `new` today: everything but the
/// size has to be the same for those who hold it, and the size may only have grown.
pub(super) fn can_go_on(old: &uapi::Parameters, new: &uapi::Parameters) -> bool {
    same_but_size(old, new) && old.basic.sectors <= new.basic.sectors
}

/// Whether a device made with `old` shows the disk that `new` describes, but for its size.
pub(super) fn same_but_size(old: &uapi::Parameters, new: &uapi::Parameters) -> bool {
    let written = uapi::ATTR_VOLATILE_CACHE | uapi::ATTR_READ_ONLY;
    old.basic.logical_block_shift == new.basic.logical_block_shift
        && old.basic.attributes & written == new.basic.attributes & written
}

fn align_down(value: u32, to: u32) -> u32 {
    value - value % to.max(1)
}

/// The largest power of two that divides `bytes`; 1 for none.
fn largest_power(bytes: u32) -> u32 {
    if bytes == 0 { 1 } else { 1 << bytes.trailing_zeros() }
}

fn shift(power: u32) -> u8 {
    u8::try_from(power.trailing_zeros()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{DiskId, Limits};

    fn disk() -> Disk {
        Disk {
            id: DiskId(1),
            blocks: 2048,
            limits: Limits {
                block_size: 512,
                physical_block_size: 4096,
                optimal_io_size: 0,
                max_transfer: 1 << 20,
                max_commands: u16::MAX,
                max_segments: 127,
                segment_boundary: 4096,
                dma_alignment: 4,
                max_discard_blocks: 1 << 16,
                max_discard_ranges: 256,
                discard_granularity: 4096,
                max_write_zeroes_blocks: 1 << 15,
                write_cache: WriteCache::Volatile { fua: true },
                read_only: false,
                rotational: false,
            },
            model: String::new(),
            serial: String::new(),
        }
    }

    #[test]
    fn a_disk_with_everything() {
        let set = parameters(&disk(), 128 << 10).unwrap();
        assert_eq!(set.length, 64);
        assert_eq!(set.types, uapi::PARAM_BASIC | uapi::PARAM_DISCARD);
        assert_eq!(set.basic.attributes, uapi::ATTR_VOLATILE_CACHE | uapi::ATTR_FUA);
        assert_eq!((set.basic.logical_block_shift, set.basic.physical_block_shift), (9, 12));
        assert_eq!((set.basic.optimal_io_shift, set.basic.minimum_io_shift), (0, 12));
        assert_eq!(set.basic.max_sectors, 256);
        assert_eq!(set.basic.sectors, 2048);
        assert_eq!(set.discard.granularity, 4096);
        assert_eq!(set.discard.max_discard_sectors, 1 << 16);
        assert_eq!(set.discard.max_write_zeroes_sectors, 1 << 15);
        assert_eq!(set.discard.max_segments, 1);
    }

    #[test]
    fn large_blocks_are_counted_in_sectors() {
        let mut disk = disk();
        disk.limits.block_size = 4096;
        let set = parameters(&disk, 128 << 10).unwrap();
        assert_eq!(set.basic.logical_block_shift, 12);
        assert_eq!(set.basic.sectors, 2048 * 8);
        assert_eq!(set.discard.max_discard_sectors, 1 << 19);
    }

    #[test]
    fn nothing_is_advertised_that_the_disk_cannot_do() {
        let mut disk = disk();
        disk.limits.write_cache = WriteCache::None;
        disk.limits.max_discard_blocks = 0;
        disk.limits.max_write_zeroes_blocks = 0;
        let set = parameters(&disk, 128 << 10).unwrap();
        assert_eq!(set.types, uapi::PARAM_BASIC);
        assert_eq!(set.basic.attributes, 0);
        assert_eq!(set.discard, uapi::DiscardParameters::default());

        // Write-zeroes alone: no discard segment, but a granularity, which the kernel insists on.
        disk.limits.max_write_zeroes_blocks = 8;
        let set = parameters(&disk, 128 << 10).unwrap();
        assert_eq!((set.discard.max_discard_sectors, set.discard.max_segments), (0, 0));
        assert_eq!((set.discard.max_write_zeroes_sectors, set.discard.granularity), (8, 4096));
    }

    #[test]
    fn force_unit_access_is_the_disk_s_own() {
        let mut disk = disk();
        disk.limits.write_cache = WriteCache::Volatile { fua: false };
        let set = parameters(&disk, 128 << 10).unwrap();
        assert_eq!(set.basic.attributes, uapi::ATTR_VOLATILE_CACHE);
    }

    #[test]
    fn a_read_only_disk_takes_nothing_that_writes() {
        let mut disk = disk();
        disk.limits.read_only = true;
        disk.limits.rotational = true;
        let set = parameters(&disk, 128 << 10).unwrap();
        let wanted = uapi::ATTR_READ_ONLY | uapi::ATTR_ROTATIONAL;
        assert_eq!(set.basic.attributes & wanted, wanted);
        assert_eq!(set.types, uapi::PARAM_BASIC);
    }

    #[test]
    fn ranges_end_where_the_kernel_s_requests_end() {
        let mut disk = disk();
        disk.limits.block_size = 4096;
        disk.limits.max_discard_blocks = u32::MAX;
        let set = parameters(&disk, 128 << 10).unwrap();
        assert_eq!(set.discard.max_discard_sectors, (u32::MAX >> 9) - 7);
    }

    #[test]
    fn what_linux_cannot_have_is_refused_by_name() {
        let mut odd = disk();
        odd.limits.block_size = 520;
        assert_eq!(parameters(&odd, 4096), Err(Unservable::BlockSize(520)));
        odd.limits.block_size = 8192;
        assert_eq!(parameters(&odd, 8192), Err(Unservable::BlockSize(8192)));
        let mut empty = disk();
        empty.blocks = 0;
        assert_eq!(parameters(&empty, 4096), Err(Unservable::Empty));
        let mut huge = disk();
        huge.blocks = 1 << 55;
        assert_eq!(parameters(&huge, 4096), Err(Unservable::TooLarge(1 << 55)));
        huge.limits.block_size = 4096;
        huge.blocks = u64::MAX;
        assert_eq!(parameters(&huge, 4096), Err(Unservable::TooLarge(u64::MAX)));
    }

    #[test]
    fn odd_preferences_become_powers_of_two() {
        let mut odd = disk();
        odd.limits.optimal_io_size = 96 << 10;
        odd.limits.physical_block_size = 0;
        let set = parameters(&odd, 128 << 10).unwrap();
        assert_eq!(set.basic.optimal_io_shift, 15);
        assert_eq!(set.basic.physical_block_shift, 9);
    }

    #[test]
    fn a_device_goes_on_only_over_the_same_disk() {
        let old = parameters(&disk(), 128 << 10).unwrap();
        assert!(same_but_size(&old, &parameters(&disk(), 64 << 10).unwrap()));
        let mut other = disk();
        other.blocks += 1;
        assert!(can_go_on(&old, &parameters(&other, 64 << 10).unwrap()));
        other.blocks = 1;
        assert!(!can_go_on(&old, &parameters(&other, 128 << 10).unwrap()));
        assert!(same_but_size(&old, &parameters(&other, 128 << 10).unwrap()));
        let mut other = disk();
        other.limits.block_size = 4096;
        assert!(!can_go_on(&old, &parameters(&other, 128 << 10).unwrap()));
        assert!(!same_but_size(&old, &parameters(&other, 128 << 10).unwrap()));
        let mut other = disk();
        other.limits.read_only = true;
        assert!(!can_go_on(&old, &parameters(&other, 128 << 10).unwrap()));
    }
}
