//! What a modelled controller and its devices are like.

use std::time::Duration;

use redox_driver_sys::pci::PciIds;

/// Properties of a controller. [`Default`] is an ICH9 as many machines have it, with one disk on the first of six ports.
#[derive(Clone, Debug)]
pub struct Config {
    /// Ids in configuration space.
    pub ids: PciIds,
    /// MSI vectors, a power of two up to 32; 0: no MSI.
    pub msi_vectors: u8,
    /// Whether there is an interrupt pin.
    pub interrupt_pin: bool,
    /// PI: a bit per port.
    pub ports: u32,
    /// Command slots per port, 1 to 32.
    pub slots: u8,
    /// CAP.SNCQ.
    pub ncq: bool,
    /// CAP.S64A.
    pub s64a: bool,
    /// CAP.SCLO.
    pub clo: bool,
    /// CAP.SSS.
    pub staggered: bool,
    /// CAP.SALP, PSC and SSC.
    pub link_power: bool,
    /// CAP2.SDS and SADM.
    pub device_sleep: bool,
    /// CAP.SPM.
    pub multipliers: bool,
    /// CAP.FBSS and PxCMD.FBSCP.
    pub fbs: bool,
    /// CAP.CCCS.
    pub coalescing: bool,
    /// CAP.ISS: highest speed, 1 to 3.
    pub speed: u8,
    /// Whether a BIOS owns the controller (CAP2.BOH, BOHC.BOS).
    pub bios: bool,
    /// What is plugged into each port.
    pub devices: Vec<Option<DeviceConfig>>,
    /// How long things take.
    pub latency: Latency,
    /// Seed of all that happens by chance: latencies, what survives a power cut.
    pub seed: u64,
}

/// What can be plugged into a port.
#[derive(Clone, Debug)]
pub enum DeviceConfig {
    /// An ATA disk.
    Disk(DiskConfig),
    /// An ATAPI CD or DVD drive.
    Cd(CdConfig),
    /// A port multiplier, with what is plugged into its ports.
    Multiplier(Vec<Option<DeviceConfig>>),
}

/// What a disk promises about trimmed blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trim {
    /// There is no TRIM.
    None,
    /// Nothing.
    Plain,
    /// DRAT: they read the same every time, which is all ones.
    Deterministic,
    /// DRAT and RZAT: they read as zeroes.
    Zeroes,
}

/// An ATA disk.
#[derive(Clone, Debug)]
pub struct DiskConfig {
    /// Size in logical blocks.
    pub blocks: u64,
    /// Bytes of a logical block: 512 or 4096.
    pub block_size: u32,
    /// Logical blocks per physical one, as a power of two.
    pub physical_exponent: u8,
    /// Whether the 48-bit address feature set is there.
    pub lba48: bool,
    /// Queue depth of NCQ; 0: no NCQ.
    pub queue_depth: u8,
    /// Whether there is a volatile write cache.
    pub write_cache: bool,
    /// Blocks that it holds before it writes back by itself.
    pub cache_blocks: usize,
    /// Whether WRITE DMA FUA EXT is there.
    pub fua: bool,
    /// TRIM.
    pub trim: Trim,
    /// Whether TRIM can be sent queued.
    pub queued_trim: bool,
    /// Most 512-byte blocks of ranges (word 105).
    pub trim_blocks: u16,
    /// Whether the medium turns.
    pub rotational: bool,
    /// Whether interface power states are there: host initiated, device initiated, device sleep.
    pub link_power: bool,
    /// Highest speed, 1 to 3.
    pub speed: u8,
    /// Above this speed every transfer has a CRC error.
    pub stable_speed: u8,
    /// Model number, at most 40 ASCII characters.
    pub model: String,
    /// Serial number, at most 20 ASCII characters.
    pub serial: String,
}

impl DiskConfig {
    /// An ordinary SSD of `blocks` blocks of 512 bytes, called `serial`.
    pub fn new(blocks: u64, serial: &str) -> Self {
        DiskConfig {
            blocks,
            block_size: 512,
            physical_exponent: 0,
            lba48: true,
            queue_depth: 32,
            write_cache: true,
            cache_blocks: 65_536,
            fua: true,
            trim: Trim::Zeroes,
            queued_trim: false,
            trim_blocks: 8,
            rotational: false,
            link_power: true,
            speed: 3,
            stable_speed: 3,
            model: "Modelled ATA Disk".to_string(),
            serial: serial.to_string(),
        }
    }

    /// A disk from before NCQ and 48-bit addresses.
    pub fn old(blocks: u64, serial: &str) -> Self {
        DiskConfig {
            lba48: false,
            queue_depth: 0,
            fua: false,
            trim: Trim::None,
            rotational: true,
            link_power: false,
            speed: 1,
            ..DiskConfig::new(blocks, serial)
        }
    }
}

/// An ATAPI drive.
#[derive(Clone, Debug)]
pub struct CdConfig {
    /// The medium's blocks of 2048 bytes; `None`: the tray is empty.
    pub blocks: Option<u32>,
    /// Serial number, at most 20 ASCII characters.
    pub serial: String,
}

/// How long things take, in virtual time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// GHC.HR to its being cleared.
    pub reset: Duration,
    /// PxCMD.ST or FRE cleared to CR or FR cleared.
    pub stop: Duration,
    /// End of COMRESET to communication.
    pub link: Duration,
    /// Communication to the device's signature.
    pub ready: Duration,
    /// BOHC.OOS to BOS being cleared.
    pub bios: Duration,
    /// A command.
    pub command: Duration,
    /// A flush, beside `command`.
    pub flush: Duration,
    /// At most this much more, by chance, for each command: queued commands overtake each other.
    pub jitter: Duration,
}

impl Default for Latency {
    fn default() -> Self {
        Latency {
            reset: Duration::from_millis(2),
            stop: Duration::from_micros(50),
            link: Duration::from_millis(5),
            ready: Duration::from_millis(20),
            bios: Duration::from_millis(10),
            command: Duration::from_micros(20),
            flush: Duration::from_micros(200),
            jitter: Duration::ZERO,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            ids: PciIds {
                vendor: 0x8086,
                device: 0x2922,
                subsystem_vendor: 0x1af4,
                subsystem: 0x1100,
                class: 0x01,
                subclass: 0x06,
                interface: 0x01,
                revision: 2,
            },
            msi_vectors: 1,
            interrupt_pin: true,
            ports: 0x3f,
            slots: 32,
            ncq: true,
            s64a: true,
            clo: true,
            staggered: false,
            link_power: true,
            device_sleep: false,
            multipliers: true,
            fbs: false,
            coalescing: true,
            speed: 3,
            bios: false,
            devices: vec![Some(DeviceConfig::Disk(DiskConfig::new(1 << 20, "RB0001")))],
            latency: Latency::default(),
            seed: 0,
        }
    }
}
