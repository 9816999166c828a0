//! What a unit is like.

use std::{ops::RangeInclusive, time::Duration};

use amd_vi_spec::{
    DeviceId, ExtendedFeatures, ExtendedFeatures2,
    ivrs::{BlockType, IvmdFlags},
};

/// A unit: its features, and what firmware says of it.
#[derive(Clone, Debug)]
pub struct Config {
    /// Extended features. What the model does not have must not be set; see the README.
    pub features: ExtendedFeatures,
    /// More of them.
    pub features2: ExtendedFeatures2,
    /// Whether translations that were not there are remembered, too (NpCache).
    pub not_present_cached: bool,
    /// Translations that are remembered.
    pub iotlb_entries: usize,
    /// How long a command takes. 0: it is done when the tail pointer is written.
    pub command_time: Duration,
    /// The PCI function that it is.
    pub device: DeviceId,
    /// Physical address of its registers.
    pub base: u64,
    /// The PCI segment of its devices.
    pub segment: u16,
    /// Types of the blocks that firmware writes for it.
    pub blocks: Vec<BlockType>,
    /// Devices behind it.
    pub devices: RangeInclusive<DeviceId>,
    /// Of these, ranges whose requests carry another name.
    pub aliases: Vec<(RangeInclusive<DeviceId>, DeviceId)>,
    /// I/O APICs: their ids and the name under which they send interrupts.
    pub ioapics: Vec<(u8, DeviceId)>,
    /// Memory that firmware gives devices.
    pub memory: Vec<MemoryRange>,
}

/// Memory that firmware gives devices (IVMD).
#[derive(Clone, Debug)]
pub struct MemoryRange {
    /// Which devices.
    pub devices: RangeInclusive<DeviceId>,
    /// What they may.
    pub flags: IvmdFlags,
    /// Physical address.
    pub start: u64,
    /// Length in bytes.
    pub length: u64,
}

impl Default for Config {
    /// A unit like that of a large server: six levels, segments, x2APIC; bus 0 from 00:00.3 on is behind it, and bus 1.
    fn default() -> Self {
        let features = ExtendedFeatures::new()
            .with_xt_sup(true)
            .with_ia_sup(true)
            .with_ga_sup(true)
            .with_he_sup(true)
            .with_hats(2)
            .with_dev_tbl_seg_sup(3);
        Config {
            features,
            features2: ExtendedFeatures2::new(),
            not_present_cached: false,
            iotlb_entries: 1024,
            command_time: Duration::ZERO,
            device: DeviceId(2),
            base: 0xfed8_0000,
            segment: 0,
            blocks: vec![BlockType::IVHD_10, BlockType::IVHD_11],
            devices: DeviceId(3)..=DeviceId(0x1ff),
            aliases: Vec::new(),
            ioapics: vec![(0, DeviceId(0xa0))],
            memory: Vec::new(),
        }
    }
}
