//! Entries of submission and completion queues.

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::status::Status;

/// Command Dword 0 (section 4.2, figure "Command Dword 0").
#[bitfield(u32)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Cdw0 {
    /// OPC: opcode.
    pub opcode: u8,
    /// FUSE: part of a fused operation (0: no).
    #[bits(2)]
    pub fuse: u8,
    #[bits(4)]
    __: u8,
    /// PSDT: how `dptr` is meant, one of the `PSDT_` values.
    #[bits(2)]
    pub psdt: u8,
    /// CID: command identifier, unique among the commands outstanding on a submission queue.
    pub cid: u16,
}

impl Cdw0 {
    /// PSDT: PRP entries.
    pub const PSDT_PRP: u8 = 0;
    /// PSDT: SGL, with `mptr` the address of contiguous metadata.
    pub const PSDT_SGL: u8 = 1;
    /// PSDT: SGL, with `mptr` the address of an SGL segment.
    pub const PSDT_SGL_METADATA: u8 = 2;
}

/// Submission queue entry, 64 bytes (section 4.2, figure "Common Command Format").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SubmissionEntry {
    /// Opcode, data pointer type and command identifier.
    pub cdw0: Cdw0,
    /// NSID: namespace.
    pub nsid: u32,
    /// Command dword 2.
    pub cdw2: u32,
    /// Command dword 3.
    pub cdw3: u32,
    /// MPTR: metadata pointer.
    pub mptr: u64,
    /// DPTR: PRP entries 1 and 2, or an [`crate::SglDescriptor`].
    pub dptr: [u64; 2],
    /// Command dword 10.
    pub cdw10: u32,
    /// Command dword 11.
    pub cdw11: u32,
    /// Command dword 12.
    pub cdw12: u32,
    /// Command dword 13.
    pub cdw13: u32,
    /// Command dword 14.
    pub cdw14: u32,
    /// Command dword 15.
    pub cdw15: u32,
}

const _: () = assert!(size_of::<SubmissionEntry>() == 64);

impl SubmissionEntry {
    /// Starting LBA of a read, write, compare or write zeroes (command dwords 10 and 11).
    pub const fn starting_lba(&self) -> u64 {
        #[allow(clippy::cast_lossless, reason = "a const function")]
        let lba = self.cdw10 as u64 | (self.cdw11 as u64) << 32;
        lba
    }

    /// Sets the starting LBA.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "splits the number")]
    pub const fn with_starting_lba(mut self, lba: u64) -> Self {
        self.cdw10 = lba as u32;
        self.cdw11 = (lba >> 32) as u32;
        self
    }
}

/// Upper half of completion dword 3: phase tag and status (section 4.6.1).
#[bitfield(u16)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CompletionStatus {
    /// P: phase tag, inverted on each pass through the queue.
    pub phase: bool,
    /// SC: status code.
    pub sc: u8,
    /// SCT: status code type.
    #[bits(3)]
    pub sct: u8,
    /// CRD: which command retry delay of Identify Controller applies.
    #[bits(2)]
    pub crd: u8,
    /// M: more is in the error information log.
    pub more: bool,
    /// DNR: do not retry.
    pub dnr: bool,
}

impl CompletionStatus {
    /// Type and code together.
    pub const fn status(self) -> Status {
        Status::of(self.sct(), self.sc())
    }

    /// Sets type and code.
    #[must_use]
    pub const fn with_status(self, status: Status) -> Self {
        self.with_sct(status.code_type().0).with_sc(status.code())
    }
}

/// Completion queue entry, 16 bytes (section 4.6, figure "Completion Queue Entry: DW 0–3").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CompletionEntry {
    /// Command specific result.
    pub dw0: u32,
    /// Command specific result, or reserved.
    pub dw1: u32,
    /// SQHD: how far the controller has fetched from the submission queue.
    pub sqhd: u16,
    /// SQID: submission queue of the command.
    pub sqid: u16,
    /// CID: identifier of the command.
    pub cid: u16,
    /// Phase tag and status.
    pub status: CompletionStatus,
}

const _: () = assert!(size_of::<CompletionEntry>() == 16);

impl CompletionEntry {
    /// Byte of the dword by which the controller publishes an entry: command identifier, phase and status.
    pub const PUBLISHED_AT: usize = 12;
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;

    #[test]
    fn a_command_lies_in_memory_as_specified() {
        let entry = SubmissionEntry {
            cdw0: Cdw0::new().with_opcode(0x02).with_psdt(Cdw0::PSDT_SGL).with_cid(0xabcd),
            nsid: 1,
            ..Default::default()
        }
        .with_starting_lba(0x1_2345_6789);
        let bytes = entry.as_bytes();
        assert_eq!(bytes[..8], [0x02, 0x40, 0xcd, 0xab, 1, 0, 0, 0]);
        assert_eq!(bytes[40..48], [0x89, 0x67, 0x45, 0x23, 1, 0, 0, 0]);
        assert_eq!(entry.starting_lba(), 0x1_2345_6789);
    }

    #[test]
    fn a_completion_lies_in_memory_as_specified() {
        let status =
            CompletionStatus::new().with_phase(true).with_status(Status::INVALID_QUEUE_SIZE).with_dnr(true);
        let entry = CompletionEntry { sqhd: 2, sqid: 3, cid: 4, status, ..Default::default() };
        assert_eq!(entry.as_bytes()[8..], [2, 0, 3, 0, 4, 0, 0x05, 0x82]);
        assert_eq!(entry.status.status(), Status::INVALID_QUEUE_SIZE);
    }
}
