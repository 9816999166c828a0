//! Storage controllers without a device: for property tests, fuzzing and measuring what the block layer itself costs.
//!
//! [`MemoryDisk`] keeps its data in memory, moves them by DMA through a model host, loses what was not flushed when its
//! power is cut, and fails as its [`Plan`] says, from a seed. [`NullDisk`] completes everything at once and moves nothing.
//! [`SurvivingDisk`] keeps its data when its driver's process dies. Drivers are tried on models of
//! their devices by [`conformance`] and [`faults`]; [`over_seeds`] runs other tests like the latter.

pub mod conformance;
pub mod faults;
mod machine;
mod memory;
mod modelled;
mod null;
mod random;
mod surviving;

pub use machine::Machine;
pub use memory::{MemoryDisk, MemoryQueue, Observer, Plan};
pub use model_support::over_seeds;
pub use modelled::{Modelled, Started};
pub use null::{NullDisk, NullQueue};
pub use random::Random;
pub use surviving::{SurvivingDisk, SurvivingQueue};

use crate::device::{Disk, DiskId, Limits, WriteCache};

/// A disk as most tests want it: 512-byte blocks, generous limits, every command, a volatile cache with FUA.
pub fn plain_disk(id: u32, blocks: u64) -> Disk {
    let limits = Limits {
        block_size: 512,
        physical_block_size: 512,
        optimal_io_size: 0,
        max_transfer: 1 << 20,
        max_commands: u16::MAX,
        max_segments: 256,
        segment_boundary: 1,
        dma_alignment: 4,
        max_discard_blocks: u32::MAX,
        max_discard_ranges: 256,
        discard_granularity: 512,
        max_write_zeroes_blocks: 0xffff,
        write_cache: WriteCache::Volatile { fua: true },
        read_only: false,
        rotational: false,
    };
    Disk { id: DiskId(id), blocks, limits, model: "memory".into(), serial: format!("{id}") }
}

/// `len` bytes that differ from block to block and from seed to seed.
pub fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(len)
    .collect()
}
