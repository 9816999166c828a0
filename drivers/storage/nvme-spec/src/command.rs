//! Command dwords 10 to 12 of the commands that have fields there.

use bitfield_struct::bitfield;

/// Command dword 10 of Create I/O Completion Queue and Create I/O Submission Queue (sections 5.3 and 5.4); of the
/// queue deletions (sections 5.5 and 5.6) with no size.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CreateQueueCdw10 {
    /// QID: queue identifier.
    pub qid: u16,
    /// QSIZE: entries, less one.
    pub qsize: u16,
}

/// Command dword 11 of Create I/O Completion Queue (section 5.3).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CreateCqCdw11 {
    /// PC: the queue is physically contiguous.
    pub pc: bool,
    /// IEN: completions interrupt.
    pub ien: bool,
    #[bits(14)]
    __: u16,
    /// IV: interrupt vector.
    pub iv: u16,
}

/// Command dword 11 of Create I/O Submission Queue (section 5.4).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CreateSqCdw11 {
    /// PC: the queue is physically contiguous.
    pub pc: bool,
    /// QPRIO: priority in weighted round robin arbitration.
    #[bits(2)]
    pub qprio: u8,
    #[bits(13)]
    __: u16,
    /// CQID: where completions go.
    pub cqid: u16,
}

/// Command dword 10 of Abort (section 5.1). Bit 0 of the completion's dword 0 is set when nothing was aborted.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct AbortCdw10 {
    /// SQID: submission queue of the command to be aborted.
    pub sqid: u16,
    /// CID: its command identifier.
    pub cid: u16,
}

/// Command dword 10 of Identify (section 5.15).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct IdentifyCdw10 {
    /// CNS: which data structure, a [`crate::Cns`].
    pub cns: u8,
    #[bits(8)]
    __: u8,
    /// CNTID: controller identifier, for the lists of controllers.
    pub cntid: u16,
}

/// Command dword 10 of Get Features and Set Features (sections 5.13 and 5.21).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct FeatureCdw10 {
    /// FID: a [`crate::FeatureId`].
    pub fid: u8,
    /// SEL: which value Get Features wants, a [`crate::FeatureSelect`].
    #[bits(3)]
    pub sel: u8,
    #[bits(20)]
    __: u32,
    /// SV: Set Features makes the value survive resets and power cycles.
    pub sv: bool,
}

/// Command dword 10 of Get Log Page (section 5.14).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct LogCdw10 {
    /// LID: a [`crate::LogPage`].
    pub lid: u8,
    /// LSP: log specific field.
    #[bits(4)]
    pub lsp: u8,
    #[bits(3)]
    __: u8,
    /// RAE: retain asynchronous event; the event stays masked after this read.
    pub rae: bool,
    /// NUMDL: lower half of the number of dwords wanted, less one.
    pub numdl: u16,
}

/// Command dword 11 of Get Log Page (section 5.14).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct LogCdw11 {
    /// NUMDU: upper half of the number of dwords wanted, less one.
    pub numdu: u16,
    /// Log specific identifier.
    pub lsi: u16,
}

/// Command dword 12 of Read, Write and Compare (sections 6.6, 6.9 and 6.15; NVM Command Set 1.0, section 3.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ReadWriteCdw12 {
    /// NLB: logical blocks, less one.
    pub nlb: u16,
    #[bits(4)]
    __: u8,
    /// DTYPE: directive type of a write.
    #[bits(4)]
    pub dtype: u8,
    #[bits(2)]
    __: u8,
    /// PRINFO: protection information action and checks.
    #[bits(4)]
    pub prinfo: u8,
    /// FUA: force unit access; complete only when the medium has it.
    pub fua: bool,
    /// LR: limited retry.
    pub lr: bool,
}

/// Command dword 12 of Write Zeroes (section 6.17).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct WriteZeroesCdw12 {
    /// NLB: logical blocks, less one.
    pub nlb: u16,
    #[bits(9)]
    __: u16,
    /// DEAC: deallocate the blocks if that makes them read as zeroes.
    pub deac: bool,
    /// PRINFO: protection information action and checks.
    #[bits(4)]
    pub prinfo: u8,
    /// FUA: force unit access.
    pub fua: bool,
    /// LR: limited retry.
    pub lr: bool,
}

/// Command dword 10 of Dataset Management (section 6.7).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct DsmCdw10 {
    /// NR: ranges, less one.
    pub nr: u8,
    #[bits(24)]
    __: u32,
}

/// Command dword 11 of Dataset Management (section 6.7).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct DsmCdw11 {
    /// IDR: will be read as a whole.
    pub idr: bool,
    /// IDW: will be written as a whole.
    pub idw: bool,
    /// AD: deallocate.
    pub ad: bool,
    #[bits(29)]
    __: u32,
}
