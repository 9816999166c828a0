//! What a modelled controller is like.

use std::time::Duration;

use nvme_spec::{PowerFlags, PowerStateDescriptor};
use redox_driver_sys::pci::PciIds;

/// Properties of a controller that do not change while it runs. [`Default`] is a modest consumer drive.
#[derive(Clone, Debug)]
pub struct Config {
    /// Ids in configuration space.
    pub ids: PciIds,
    /// MSI-X vectors; 0: no MSI-X.
    pub msix_vectors: u16,
    /// MSI vectors, a power of two up to 32; 0: no MSI.
    pub msi_vectors: u8,
    /// Whether there is an interrupt pin.
    pub interrupt_pin: bool,
    /// Serial number, at most 20 ASCII characters.
    pub serial: String,
    /// Model number, at most 40 ASCII characters.
    pub model: String,
    /// Firmware revision, at most 8 ASCII characters.
    pub firmware: String,
    /// Major and minor version.
    pub version: (u16, u8),
    /// CAP.MQES: entries of the largest I/O queue, less one.
    pub mqes: u16,
    /// CAP.TO in units of 500 ms.
    pub timeout: u8,
    /// CAP.DSTRD.
    pub doorbell_stride: u8,
    /// CAP.MPSMIN.
    pub mpsmin: u8,
    /// CAP.MPSMAX.
    pub mpsmax: u8,
    /// SQES: least and greatest size of a submission queue entry, as powers of two. The model itself has 6.
    pub sqes: (u8, u8),
    /// CQES, likewise for completion queues. The model itself has 4.
    pub cqes: (u8, u8),
    /// CAP.CSS.
    pub css: u8,
    /// CAP.NSSRS.
    pub subsystem_reset: bool,
    /// Pairs of I/O queues that can exist.
    pub queues: u16,
    /// Commands that may be outstanding on one submission queue before the controller stops fetching.
    pub outstanding: usize,
    /// MDTS: largest transfer in pages of CAP.MPSMIN, as a power of two; 0: no limit.
    pub mdts: u8,
    /// ACL, less one.
    pub abort_limit: u8,
    /// AERL, less one.
    pub event_limit: u8,
    /// Entries of the error log, less one.
    pub error_log: u8,
    /// Whether there is a volatile write cache.
    pub write_cache: bool,
    /// Blocks that the write cache holds before it writes back by itself.
    pub cache_blocks: usize,
    /// Whether SGLs are offered for I/O.
    pub sgl: bool,
    /// Whether Dataset Management is offered.
    pub dataset_management: bool,
    /// Whether Write Zeroes is offered.
    pub write_zeroes: bool,
    /// Whether Compare is offered.
    pub compare: bool,
    /// What host memory the controller asks for.
    pub host_memory: HostMemoryWishes,
    /// Power states, at least one.
    pub power_states: Vec<PowerStateDescriptor>,
    /// Whether autonomous power state transitions are offered.
    pub apst: bool,
    /// WCTEMP and CCTEMP in kelvin.
    pub temperatures: (u16, u16),
    /// Greatest namespace id.
    pub nn: u32,
    /// The namespaces 1, 2, …
    pub namespaces: Vec<NamespaceConfig>,
    /// How long things take.
    pub latency: Latency,
    /// Seed of all that happens by chance: latencies, what survives a power cut.
    pub seed: u64,
}

/// What Identify Controller says of the host memory buffer, in units of 4 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostMemoryWishes {
    /// HMPRE: preferred size; 0: none is asked for.
    pub preferred: u32,
    /// HMMIN: least size.
    pub minimum: u32,
    /// HMMINDS: least size of a descriptor.
    pub descriptor_minimum: u32,
    /// HMMAXD: most descriptors; 0: any number.
    pub descriptors: u16,
}

/// A namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceConfig {
    /// Size in logical blocks.
    pub blocks: u64,
    /// Bytes of data in a block, as a power of two.
    pub lba_shift: u8,
    /// Bytes of metadata with each block.
    pub metadata: u16,
    /// Metadata is at the end of each block and not in a buffer of its own.
    pub extended: bool,
    /// Writing is refused.
    pub read_only: bool,
    /// What deallocated blocks read as: a `READS_` value of [`nvme_spec::Deallocation`].
    pub deallocated: u8,
    /// NOIOB: blocks between optimal I/O boundaries; 0: none.
    pub boundary: u16,
}

impl NamespaceConfig {
    /// A plain namespace of `blocks` blocks of `1 << lba_shift` bytes.
    pub const fn new(blocks: u64, lba_shift: u8) -> Self {
        NamespaceConfig {
            blocks,
            lba_shift,
            metadata: 0,
            extended: false,
            read_only: false,
            deallocated: nvme_spec::Deallocation::READS_ZEROES,
            boundary: 0,
        }
    }
}

/// How long things take, in virtual time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// CC.EN to CSTS.RDY.
    pub enable: Duration,
    /// CC.EN cleared to CSTS.RDY cleared.
    pub disable: Duration,
    /// CC.SHN to CSTS.SHST complete.
    pub shutdown: Duration,
    /// An admin command.
    pub admin: Duration,
    /// An I/O command.
    pub io: Duration,
    /// A flush, beside `io`.
    pub flush: Duration,
    /// At most this much more, by chance, for each command: commands overtake each other.
    pub jitter: Duration,
}

impl Default for Latency {
    fn default() -> Self {
        Latency {
            enable: Duration::from_millis(2),
            disable: Duration::from_millis(1),
            shutdown: Duration::from_millis(5),
            admin: Duration::from_micros(20),
            io: Duration::from_micros(10),
            flush: Duration::from_micros(100),
            jitter: Duration::ZERO,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            ids: PciIds {
                vendor: 0x1b36,
                device: 0x0010,
                subsystem_vendor: 0x1af4,
                subsystem: 0x1100,
                class: 0x01,
                subclass: 0x08,
                interface: 0x02,
                revision: 2,
            },
            msix_vectors: 33,
            msi_vectors: 32,
            interrupt_pin: true,
            serial: "RB0001".to_string(),
            model: "Modelled NVMe Controller".to_string(),
            firmware: "1.0".to_string(),
            version: (1, 4),
            mqes: 1023,
            timeout: 20,
            doorbell_stride: 0,
            mpsmin: 0,
            sqes: (6, 6),
            cqes: (4, 4),
            mpsmax: 4,
            css: 1,
            subsystem_reset: true,
            queues: 32,
            outstanding: 1024,
            mdts: 5,
            abort_limit: 3,
            event_limit: 3,
            error_log: 63,
            write_cache: true,
            cache_blocks: 65_536,
            sgl: false,
            dataset_management: true,
            write_zeroes: true,
            compare: true,
            host_memory: HostMemoryWishes::default(),
            power_states: default_power_states(),
            apst: true,
            temperatures: (343, 358),
            nn: 16,
            namespaces: vec![NamespaceConfig::new(1 << 20, 9)],
            latency: Latency::default(),
            seed: 0,
        }
    }
}

/// Two operational states and two in which nothing is processed.
fn default_power_states() -> Vec<PowerStateDescriptor> {
    let state = |mp, mxps, nops, enlat, exlat, rank| PowerStateDescriptor {
        mp,
        flags: PowerFlags::new().with_mxps(mxps).with_nops(nops),
        enlat,
        exlat,
        rrt: rank,
        rrl: rank,
        rwt: rank,
        rwl: rank,
        ..PowerStateDescriptor::default()
    };
    vec![
        state(800, false, false, 0, 0, 0),
        state(400, false, false, 100, 100, 1),
        state(500, true, true, 2000, 3000, 2),
        state(50, true, true, 10_000, 40_000, 3),
    ]
}
