//! Namespaces.

use model_support::Medium;
use nvme_spec::{Deallocation, FormattedLba, IdentifyNamespace, LbaFormat, NamespaceFeatures};
use zerocopy::FromZeros;

use crate::config::NamespaceConfig;

/// Data size (as a power of two) and metadata size of the formats that every namespace lists.
const FORMATS: [(u8, u16); 4] = [(9, 0), (12, 0), (9, 8), (12, 64)];

/// IEEE OUI in the identifiers.
pub(crate) const OUI: [u8; 3] = [0x52, 0x54, 0x00];

#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) config: NamespaceConfig,
    pub(crate) medium: Medium,
}

impl Namespace {
    pub(crate) fn new(config: NamespaceConfig, cache_blocks: usize) -> Self {
        let fill = if config.deallocated == Deallocation::READS_ONES { 0xff } else { 0 };
        let block = data_bytes(config) + usize::from(config.metadata);
        Namespace { config, medium: Medium::new(block, fill, cache_blocks) }
    }

    /// Bytes of data in a block.
    pub(crate) fn data_bytes(&self) -> usize {
        data_bytes(self.config)
    }

    /// Bytes of a block that go through the data pointer.
    pub(crate) fn transfer_bytes(&self) -> usize {
        if self.config.extended { self.block_bytes() } else { self.data_bytes() }
    }

    /// Bytes of a block that go through the metadata pointer.
    pub(crate) fn separate_bytes(&self) -> usize {
        self.block_bytes() - self.transfer_bytes()
    }

    /// Bytes of data and metadata.
    pub(crate) fn block_bytes(&self) -> usize {
        self.data_bytes() + usize::from(self.config.metadata)
    }

    /// Whether a range lies within.
    pub(crate) fn contains(&self, lba: u64, blocks: u64) -> bool {
        lba.checked_add(blocks).is_some_and(|end| end <= self.config.blocks)
    }

    pub(crate) fn resize(&mut self, blocks: u64) {
        self.config.blocks = blocks;
        self.medium.truncate(blocks);
    }

    /// NGUID, big-endian: made of the namespace id.
    pub(crate) fn nguid(nsid: u32) -> [u8; 16] {
        let [a, b, c] = OUI;
        let [p, q, r, s] = nsid.to_be_bytes();
        [0, 0, 0, 0, 0, 0, 0, 1, a, b, c, 0xfe, p, q, r, s]
    }

    /// EUI-64, big-endian.
    pub(crate) fn eui64(nsid: u32) -> [u8; 8] {
        let [a, b, c] = OUI;
        let [p, q, r, s] = nsid.to_be_bytes();
        [a, b, c, 0xfe, p, q, r, s]
    }

    /// Identify Namespace (section 5.15.2.1).
    pub(crate) fn identify(&self, nsid: u32) -> IdentifyNamespace {
        let config = self.config;
        let mut formats = FORMATS.to_vec();
        let current = (config.lba_shift, config.metadata);
        let index = formats.iter().position(|&format| format == current).unwrap_or_else(|| {
            formats.push(current);
            formats.len() - 1
        });
        let mut data = IdentifyNamespace::new_zeroed();
        data.nsze = config.blocks;
        data.ncap = config.blocks;
        data.nuse = self.medium.allocated().min(config.blocks);
        data.nsfeat = NamespaceFeatures::new().with_thin(true).with_unique_ids(true);
        // At most five formats.
        data.nlbaf = u8::try_from(formats.len() - 1).unwrap_or(0);
        data.flbas =
            FormattedLba::new().with_low(u8::try_from(index).unwrap_or(0)).with_extended(config.extended);
        data.mc = 0b11;
        data.dlfeat = Deallocation::new()
            .with_reads(config.deallocated)
            .with_write_zeroes(config.deallocated == Deallocation::READS_ZEROES);
        data.noiob = config.boundary;
        data.nvmcap = [config.blocks.saturating_mul(self.data_bytes() as u64), 0];
        data.nsattr = config.read_only.into();
        data.nguid = Self::nguid(nsid);
        data.eui64 = Self::eui64(nsid);
        for (slot, (lbads, ms)) in data.lbaf.iter_mut().zip(formats) {
            *slot = LbaFormat::new().with_lbads(lbads).with_ms(ms);
        }
        data
    }
}

fn data_bytes(config: NamespaceConfig) -> usize {
    1 << config.lba_shift.clamp(9, 20)
}
