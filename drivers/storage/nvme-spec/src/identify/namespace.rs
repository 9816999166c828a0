//! Identify Namespace (CNS 00h).

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// NSFEAT: features of a namespace (section 5.15.2.1).
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct NamespaceFeatures {
    /// THINP: thin provisioning.
    pub thin: bool,
    /// NSABP: the namespace has its own atomic write sizes.
    pub atomics: bool,
    /// DAE: reading deallocated blocks can be made an error.
    pub deallocated_error: bool,
    /// UIDREUSE: NGUID and EUI64 are never reused.
    pub unique_ids: bool,
    /// OPTPERF: NPWG, NPWA, NPDG, NPDA and NOWS are valid.
    pub optperf: bool,
    #[bits(3)]
    __: u8,
}

/// FLBAS: the LBA format in use (section 5.15.2.1).
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FormattedLba {
    /// Lower four bits of the index in the table of formats.
    #[bits(4)]
    pub low: u8,
    /// Metadata is at the end of each block, not in its own buffer.
    pub extended: bool,
    /// Upper two bits of the index (2.0).
    #[bits(2)]
    pub high: u8,
    #[bits(1)]
    __: u8,
}

impl FormattedLba {
    /// Index in the table of formats.
    pub const fn index(self) -> u8 {
        self.high() << 4 | self.low()
    }
}

/// DLFEAT: what deallocated blocks are like (section 5.15.2.1).
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Deallocation {
    /// What is read from them: one of the `READS_` values.
    #[bits(3)]
    pub reads: u8,
    /// The DEAC bit of Write Zeroes is supported.
    pub write_zeroes: bool,
    /// The guard field is a CRC of what is read.
    pub guard: bool,
    #[bits(3)]
    __: u8,
}

impl Deallocation {
    /// Not told.
    pub const READS_UNKNOWN: u8 = 0;
    /// All bytes are 00h.
    pub const READS_ZEROES: u8 = 1;
    /// All bytes are FFh.
    pub const READS_ONES: u8 = 2;
}

/// LBA format (section 5.15.2.1, figure "Identify – LBA Format Data Structure").
#[bitfield(u32)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct LbaFormat {
    /// MS: bytes of metadata for each block.
    pub ms: u16,
    /// LBADS: bytes of data in each block, as a power of two; at least 9, or 0 for an unused entry.
    pub lbads: u8,
    /// RP: relative performance, less is better.
    #[bits(2)]
    pub rp: u8,
    #[bits(6)]
    __: u8,
}

/// Identify Namespace, 4096 bytes (section 5.15.2.1, figure "Identify – Identify Namespace Data Structure, NVM Command
/// Set Specific"; NVM Command Set 1.0, section 4.1.5.1, for the fields after NOWS and the formats from 16).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IdentifyNamespace {
    /// NSZE: size in logical blocks.
    pub nsze: u64,
    /// NCAP: blocks that may be allocated at a time.
    pub ncap: u64,
    /// NUSE: blocks that are allocated.
    pub nuse: u64,
    /// NSFEAT: features.
    pub nsfeat: NamespaceFeatures,
    /// NLBAF: LBA formats, less one.
    pub nlbaf: u8,
    /// FLBAS: the format in use.
    pub flbas: FormattedLba,
    /// MC: metadata capabilities; bit 0: extended blocks, bit 1: own buffer.
    pub mc: u8,
    /// DPC: protection types that are supported.
    pub dpc: u8,
    /// DPS: protection type in use; bits 2:0 are 0 for none.
    pub dps: u8,
    /// NMIC: bit 0: may be attached to several controllers.
    pub nmic: u8,
    /// RESCAP: reservation capabilities.
    pub rescap: u8,
    /// FPI: format progress.
    pub fpi: u8,
    /// DLFEAT: deallocated blocks.
    pub dlfeat: Deallocation,
    /// NAWUN: blocks written atomically, less one.
    pub nawun: u16,
    /// NAWUPF: blocks written atomically when power fails, less one.
    pub nawupf: u16,
    /// NACWU: blocks of an atomic compare and write, less one.
    pub nacwu: u16,
    /// NABSN: blocks between atomic boundaries, less one; 0: none.
    pub nabsn: u16,
    /// NABO: first block on an atomic boundary.
    pub nabo: u16,
    /// NABSPF: as NABSN when power fails.
    pub nabspf: u16,
    /// NOIOB: blocks between optimal I/O boundaries; 0: none.
    pub noiob: u16,
    /// NVMCAP: capacity in bytes, low half first.
    pub nvmcap: [u64; 2],
    /// NPWG: preferred write granularity in blocks, less one.
    pub npwg: u16,
    /// NPWA: preferred write alignment in blocks, less one.
    pub npwa: u16,
    /// NPDG: preferred deallocate granularity in blocks, less one.
    pub npdg: u16,
    /// NPDA: preferred deallocate alignment in blocks, less one.
    pub npda: u16,
    /// NOWS: optimal write size in blocks, less one.
    pub nows: u16,
    /// MSSRL: most blocks of a source range of Copy (2.0).
    pub mssrl: u16,
    /// MCL: most blocks of a Copy (2.0).
    pub mcl: u32,
    /// MSRC: source ranges of a Copy, less one (2.0).
    pub msrc: u8,
    /// Reserved.
    pub reserved81: [u8; 11],
    /// ANAGRPID: ANA group.
    pub anagrpid: u32,
    /// Reserved.
    pub reserved96: [u8; 3],
    /// NSATTR: bit 0: write protected.
    pub nsattr: u8,
    /// NVMSETID: NVM set.
    pub nvmsetid: u16,
    /// ENDGID: endurance group.
    pub endgid: u16,
    /// NGUID: globally unique identifier, big-endian; zeroes: none.
    pub nguid: [u8; 16],
    /// EUI64: IEEE extended unique identifier, big-endian; zeroes: none.
    pub eui64: [u8; 8],
    /// LBAF0–LBAF63: LBA formats; from 16 on since 2.0.
    pub lbaf: [LbaFormat; 64],
    /// Vendor specific.
    pub vendor: [u8; 3712],
}

const _: () = assert!(size_of::<IdentifyNamespace>() == 4096);
const _: () = assert!(std::mem::offset_of!(IdentifyNamespace, nvmcap) == 48);
const _: () = assert!(std::mem::offset_of!(IdentifyNamespace, anagrpid) == 92);
const _: () = assert!(std::mem::offset_of!(IdentifyNamespace, nguid) == 104);
const _: () = assert!(std::mem::offset_of!(IdentifyNamespace, lbaf) == 128);

impl IdentifyNamespace {
    /// The LBA format in use, if the table has it and its block size is one that the specification allows.
    pub fn format(&self) -> Option<LbaFormat> {
        let format = *self.lbaf.get(usize::from(self.flbas.index()))?;
        (9..32).contains(&format.lbads()).then_some(format)
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn a_format_outside_of_the_specification_is_none() {
        let mut namespace = IdentifyNamespace::new_zeroed();
        assert_eq!(namespace.format(), None);
        namespace.lbaf[17] = LbaFormat::new().with_lbads(12);
        namespace.flbas = FormattedLba::new().with_low(1).with_high(1);
        assert_eq!(namespace.format().map(|format| format.lbads()), Some(12));
        namespace.lbaf[17].set_lbads(200);
        assert_eq!(namespace.format(), None);
    }
}
