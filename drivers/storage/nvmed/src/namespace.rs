//! Namespaces as disks.

use driver_block::{Disk, DiskId, Limits, WriteCache};
use nvme_spec::{IdentifyController, IdentifyNamespace, ascii};

use crate::{data::DataPointer, io::MAX_DISCARD_RANGES};

/// Bit 0 of NSATTR: write protected (section 8.19).
const NSATTR_WRITE_PROTECTED: u8 = 1 << 0;
/// NLB is a 16-bit number, less one.
const MAX_BLOCKS: u32 = 1 << 16;

/// Why a namespace cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamespaceError {
    /// Nothing to serve.
    #[error("namespace {nsid} has 0 blocks")]
    Empty {
        /// Namespace id.
        nsid: u32,
    },
    /// FLBAS points outside the table of formats.
    #[error("namespace {nsid} is formatted with LBA format {format}, which does not exist")]
    NoFormat {
        /// Namespace id.
        nsid: u32,
        /// Index of the format.
        format: u8,
    },
    /// Blocks carry metadata.
    #[error(
        "namespace {nsid} has LBA format {format} with {bytes} bytes of metadata per block, which is not supported"
    )]
    Metadata {
        /// Namespace id.
        nsid: u32,
        /// Index of the format.
        format: u8,
        /// Bytes per block.
        bytes: u16,
    },
    /// Blocks are neither 512 nor 4096 bytes long, nor anything between.
    #[error(
        "namespace {nsid} has LBA format {format} with blocks of 2^{shift} bytes, which is not supported"
    )]
    BlockSize {
        /// Namespace id.
        nsid: u32,
        /// Index of the format.
        format: u8,
        /// LBADS.
        shift: u8,
    },
}

/// What all namespaces of a controller have in common.
#[derive(Clone, Copy)]
pub(crate) struct Common<'a> {
    pub(crate) controller: &'a IdentifyController,
    pub(crate) pointer: DataPointer,
    /// CAP.MPSMIN as a shift: the unit of MDTS.
    pub(crate) min_page_shift: u32,
}

impl Common<'_> {
    /// Most bytes of one transfer: MDTS (section 5.15.2.2), bounded by what a list can say.
    fn max_transfer(self) -> u64 {
        let lists = self.pointer.max_transfer();
        match self.controller.mdts {
            0 => lists,
            mdts => 1u64.checked_shl(self.min_page_shift + u32::from(mdts)).unwrap_or(u64::MAX).min(lists),
        }
    }

    /// The disk that namespace `nsid` is.
    pub(crate) fn disk(self, nsid: u32, namespace: &IdentifyNamespace) -> Result<Disk, NamespaceError> {
        let index = namespace.flbas.index();
        let format = namespace.format().ok_or(NamespaceError::NoFormat { nsid, format: index })?;
        if format.ms() != 0 {
            return Err(NamespaceError::Metadata { nsid, format: index, bytes: format.ms() });
        }
        if !(9..=12).contains(&format.lbads()) {
            return Err(NamespaceError::BlockSize { nsid, format: index, shift: format.lbads() });
        }
        if namespace.nsze == 0 {
            return Err(NamespaceError::Empty { nsid });
        }
        let block_size = 1u32 << format.lbads();
        let max_transfer = u32::try_from(self.max_transfer()).unwrap_or(1 << 31).min(MAX_BLOCKS * block_size);
        let oncs = self.controller.oncs;
        // Without the optional limits, write zeroes is bounded like a transfer of the same length.
        let max_write_zeroes_blocks =
            if !oncs.write_zeroes() { 0 } else { (max_transfer / block_size).min(MAX_BLOCKS) };
        let hints = namespace.nsfeat.optperf();
        let blocks = |less_one: u16| (u32::from(less_one) + 1).saturating_mul(block_size);
        let preferred = |less_one: u16| if hints { blocks(less_one) } else { block_size };
        let power_of_two = |bytes: u32| if bytes.is_power_of_two() { bytes } else { block_size };
        let limits = Limits {
            block_size,
            physical_block_size: power_of_two(preferred(namespace.npwg)),
            optimal_io_size: if hints { blocks(namespace.nows) } else { 0 },
            max_transfer,
            max_commands: u16::MAX,
            max_segments: self.pointer.max_segments(),
            segment_boundary: self.pointer.segment_boundary(),
            dma_alignment: 4,
            max_discard_blocks: if oncs.dataset_management() { u32::MAX } else { 0 },
            max_discard_ranges: MAX_DISCARD_RANGES,
            discard_granularity: preferred(namespace.npdg),
            max_write_zeroes_blocks,
            write_cache: if self.controller.vwc.present() {
                // Force unit access is mandatory for reads and writes.
                WriteCache::Volatile { fua: true }
            } else {
                WriteCache::None
            },
            read_only: namespace.nsattr & NSATTR_WRITE_PROTECTED != 0,
            rotational: false,
        };
        Ok(Disk {
            id: DiskId(nsid),
            blocks: namespace.nsze,
            limits,
            model: ascii(&self.controller.mn),
            serial: ascii(&self.controller.sn),
        })
    }
}
