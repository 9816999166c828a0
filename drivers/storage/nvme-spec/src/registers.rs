//! Controller registers (section 3.1) at the start of BAR 0.

use bitfield_struct::bitfield;

/// Controller Capabilities, 64 bits, read only.
pub const CAP: u64 = 0x00;
/// Version, 32 bits, read only.
pub const VS: u64 = 0x08;
/// Interrupt Mask Set, 32 bits: a written 1 masks the vector. Not for MSI-X.
pub const INTMS: u64 = 0x0c;
/// Interrupt Mask Clear, 32 bits: a written 1 unmasks the vector. Not for MSI-X.
pub const INTMC: u64 = 0x10;
/// Controller Configuration, 32 bits.
pub const CC: u64 = 0x14;
/// Controller Status, 32 bits.
pub const CSTS: u64 = 0x1c;
/// NVM Subsystem Reset, 32 bits.
pub const NSSR: u64 = 0x20;
/// Admin Queue Attributes, 32 bits.
pub const AQA: u64 = 0x24;
/// Admin Submission Queue Base Address, 64 bits.
pub const ASQ: u64 = 0x28;
/// Admin Completion Queue Base Address, 64 bits.
pub const ACQ: u64 = 0x30;
/// Controller Memory Buffer Location, 32 bits.
pub const CMBLOC: u64 = 0x38;
/// Controller Memory Buffer Size, 32 bits.
pub const CMBSZ: u64 = 0x3c;
/// The first doorbell.
pub const DOORBELLS: u64 = 0x1000;

/// What is written to [`NSSR`] to reset the subsystem: "NVMe" (section 3.1.7).
pub const NSSR_RESET: u32 = 0x4e56_4d65;

/// Offset of the tail doorbell of submission queue `queue`; `stride` is CAP.DSTRD.
pub const fn sq_tail_doorbell(queue: u16, stride: u8) -> u64 {
    doorbell(queue, false, stride)
}

/// Offset of the head doorbell of completion queue `queue`; `stride` is CAP.DSTRD.
pub const fn cq_head_doorbell(queue: u16, stride: u8) -> u64 {
    doorbell(queue, true, stride)
}

#[allow(clippy::cast_lossless, reason = "a const function")]
const fn doorbell(queue: u16, completion: bool, stride: u8) -> u64 {
    // DSTRD is a 4-bit field.
    DOORBELLS + ((2 * queue as u64 + completion as u64) << (2 + (stride & 0xf)))
}

/// Controller Capabilities (section 3.1.1).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Cap {
    /// MQES: largest I/O queue, in entries less one.
    pub mqes: u16,
    /// CQR: queues must be physically contiguous.
    pub cqr: bool,
    /// AMS: arbitration mechanisms beside round robin (bit 0: weighted, bit 1: vendor specific).
    #[bits(2)]
    pub ams: u8,
    #[bits(5)]
    __: u8,
    /// TO: longest time for CSTS.RDY to follow CC.EN, in units of 500 ms.
    pub to: u8,
    /// DSTRD: doorbells are 4 << DSTRD bytes apart.
    #[bits(4)]
    pub dstrd: u8,
    /// NSSRS: NVM subsystem reset is supported.
    pub nssrs: bool,
    /// CSS: command sets (bit 0: NVM, bit 6: I/O command sets of 2.0, bit 7: admin only).
    #[bits(8)]
    pub css: u8,
    /// BPS: boot partitions are supported.
    pub bps: bool,
    #[bits(2)]
    __: u8,
    /// MPSMIN: smallest memory page, 2 ^ (12 + MPSMIN) bytes.
    #[bits(4)]
    pub mpsmin: u8,
    /// MPSMAX: largest memory page, 2 ^ (12 + MPSMAX) bytes.
    #[bits(4)]
    pub mpsmax: u8,
    /// PMRS: persistent memory region is supported.
    pub pmrs: bool,
    /// CMBS: controller memory buffer is supported.
    pub cmbs: bool,
    /// NSSS: NVM subsystem shutdown is supported (2.0).
    pub nsss: bool,
    /// CRMS: controller ready modes (2.0).
    #[bits(2)]
    pub crms: u8,
    #[bits(3)]
    __: u8,
}

/// Version (section 3.1.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Vs {
    /// TER: tertiary version.
    pub tertiary: u8,
    /// MNR: minor version.
    pub minor: u8,
    /// MJR: major version.
    pub major: u16,
}

impl Vs {
    /// Version `major.minor.0`.
    pub const fn version(major: u16, minor: u8) -> Self {
        Vs::new().with_major(major).with_minor(minor)
    }
}

impl std::fmt::Display for Vs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major(), self.minor(), self.tertiary())
    }
}

/// Controller Configuration (section 3.1.5).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cc {
    /// EN: enable.
    pub en: bool,
    #[bits(3)]
    __: u8,
    /// CSS: selected command set (0: NVM, 6: all I/O command sets, 7: admin only).
    #[bits(3)]
    pub css: u8,
    /// MPS: memory page size, 2 ^ (12 + MPS) bytes.
    #[bits(4)]
    pub mps: u8,
    /// AMS: arbitration mechanism (0: round robin, 1: weighted round robin).
    #[bits(3)]
    pub ams: u8,
    /// SHN: shutdown notification, one of the `SHN_` values.
    #[bits(2)]
    pub shn: u8,
    /// IOSQES: size of an I/O submission queue entry, as a power of two (6).
    #[bits(4)]
    pub iosqes: u8,
    /// IOCQES: size of an I/O completion queue entry, as a power of two (4).
    #[bits(4)]
    pub iocqes: u8,
    /// CRIME: controller ready independent of media (2.0).
    pub crime: bool,
    #[bits(7)]
    __: u8,
}

impl Cc {
    /// SHN: nothing.
    pub const SHN_NONE: u8 = 0;
    /// SHN: normal shutdown.
    pub const SHN_NORMAL: u8 = 1;
    /// SHN: abrupt shutdown.
    pub const SHN_ABRUPT: u8 = 2;
}

/// Controller Status (section 3.1.6).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Csts {
    /// RDY: ready for commands.
    pub rdy: bool,
    /// CFS: controller fatal status.
    pub cfs: bool,
    /// SHST: shutdown status, one of the `SHST_` values.
    #[bits(2)]
    pub shst: u8,
    /// NSSRO: an NVM subsystem reset occurred; cleared by writing 1.
    pub nssro: bool,
    /// PP: command processing is paused.
    pub pp: bool,
    /// ST: the shutdown that SHST tells of is one of the subsystem (2.0).
    pub st: bool,
    #[bits(25)]
    __: u32,
}

impl Csts {
    /// SHST: no shutdown was requested.
    pub const SHST_NORMAL: u8 = 0;
    /// SHST: shutdown is going on.
    pub const SHST_OCCURRING: u8 = 1;
    /// SHST: shutdown is complete; power may go.
    pub const SHST_COMPLETE: u8 = 2;
}

/// Admin Queue Attributes (section 3.1.8).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Aqa {
    /// ASQS: entries of the admin submission queue, less one.
    #[bits(12)]
    pub asqs: u16,
    #[bits(4)]
    __: u8,
    /// ACQS: entries of the admin completion queue, less one.
    #[bits(12)]
    pub acqs: u16,
    #[bits(4)]
    __: u8,
}

redox_driver_sys::register_values!(Cap: u64, Vs: u32, Cc: u32, Csts: u32, Aqa: u32);

#[cfg(test)]
mod tests {
    use super::*;

    /// What QEMU's controller says of itself.
    #[test]
    fn capabilities_are_where_the_specification_puts_them() {
        let cap = Cap::from(0x0040_1820_0f01_07ff);
        assert_eq!((cap.mqes(), cap.cqr(), cap.to(), cap.dstrd()), (2047, true, 15, 0));
        assert_eq!((cap.css(), cap.mpsmin(), cap.mpsmax()), (0b1100_0001, 0, 4));
        assert!(!cap.nssrs() && !cap.bps() && !cap.cmbs() && !cap.pmrs());
    }

    /// What Linux writes to enable a controller, and to shut it down.
    #[test]
    fn configuration_is_where_the_specification_puts_it() {
        let cc = Cc::new().with_en(true).with_iosqes(6).with_iocqes(4);
        assert_eq!(u32::from(cc), 0x0046_0001);
        assert_eq!(u32::from(cc.with_shn(Cc::SHN_NORMAL)), 0x0046_4001);
        assert_eq!(u32::from(Csts::new().with_shst(Csts::SHST_COMPLETE).with_rdy(true)), 0b1001);
        assert_eq!(u32::from(Aqa::new().with_asqs(31).with_acqs(63)), 0x003f_001f);
        assert_eq!(Vs::from(0x0001_0400), Vs::version(1, 4));
        assert_eq!(Vs::from(0x0001_0301).to_string(), "1.3.1");
    }

    #[test]
    fn doorbells_are_spread_by_the_stride() {
        assert_eq!(sq_tail_doorbell(0, 0), 0x1000);
        assert_eq!(cq_head_doorbell(0, 0), 0x1004);
        assert_eq!(sq_tail_doorbell(3, 0), 0x1018);
        assert_eq!(cq_head_doorbell(3, 2), 0x1000 + 7 * 16);
        assert_eq!(cq_head_doorbell(u16::MAX, 15), 0x1000 + (131_071 << 17));
    }
}
