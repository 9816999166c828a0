//! Registers in the memory BAR, ABAR (AHCI, chapter 3).

use bitfield_struct::bitfield;

/// BAR with the registers (AHCI, section 2.1.11).
pub const ABAR: u8 = 5;

/// Host Capabilities, 32 bits.
pub const CAP: u64 = 0x00;
/// Global Host Control, 32 bits.
pub const GHC: u64 = 0x04;
/// Interrupt Status, 32 bits: a bit per port, cleared by writing 1.
pub const IS: u64 = 0x08;
/// Ports Implemented, 32 bits: a bit per port.
pub const PI: u64 = 0x0c;
/// Version, 32 bits.
pub const VS: u64 = 0x10;
/// Command Completion Coalescing Control, 32 bits.
pub const CCC_CTL: u64 = 0x14;
/// Command Completion Coalescing Ports, 32 bits: a bit per port.
pub const CCC_PORTS: u64 = 0x18;
/// Host Capabilities Extended, 32 bits.
pub const CAP2: u64 = 0x24;
/// BIOS/OS Handoff Control and Status, 32 bits.
pub const BOHC: u64 = 0x28;
/// Where the registers of the first port begin.
pub const PORTS: u64 = 0x100;
/// Bytes of registers per port.
pub const PORT_BYTES: u64 = 0x80;
/// Most ports of a controller.
pub const MOST_PORTS: u32 = 32;

/// Offset of the registers of port `port`.
pub const fn port(port: u8) -> u64 {
    #[allow(clippy::cast_lossless, reason = "a const function")]
    let port = port as u64;
    PORTS + port * PORT_BYTES
}

/// Command List Base Address, 64 bits, of a port.
pub const PX_CLB: u64 = 0x00;
/// FIS Base Address, 64 bits, of a port.
pub const PX_FB: u64 = 0x08;
/// Interrupt Status of a port.
pub const PX_IS: u64 = 0x10;
/// Interrupt Enable of a port.
pub const PX_IE: u64 = 0x14;
/// Command and Status of a port.
pub const PX_CMD: u64 = 0x18;
/// Task File Data of a port.
pub const PX_TFD: u64 = 0x20;
/// Signature of a port's device.
pub const PX_SIG: u64 = 0x24;
/// Serial ATA Status (SCR0: SStatus) of a port.
pub const PX_SSTS: u64 = 0x28;
/// Serial ATA Control (SCR2: SControl) of a port.
pub const PX_SCTL: u64 = 0x2c;
/// Serial ATA Error (SCR1: SError) of a port; cleared by writing 1.
pub const PX_SERR: u64 = 0x30;
/// Serial ATA Active (SCR3: SActive) of a port: a bit per queued command.
pub const PX_SACT: u64 = 0x34;
/// Command Issue of a port: a bit per slot.
pub const PX_CI: u64 = 0x38;
/// Serial ATA Notification (SCR4: SNotification) of a port.
pub const PX_SNTF: u64 = 0x3c;
/// FIS-based Switching Control of a port.
pub const PX_FBS: u64 = 0x40;
/// Device Sleep of a port.
pub const PX_DEVSLP: u64 = 0x44;

/// Signature of an ATA device (SATA, section 11.3).
pub const SIG_ATA: u32 = 0x0000_0101;
/// Signature of an ATAPI device.
pub const SIG_ATAPI: u32 = 0xeb14_0101;
/// Signature of a port multiplier.
pub const SIG_PMP: u32 = 0x9669_0101;

/// Host Capabilities (AHCI, section 3.1.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cap {
    /// NP: ports, less one.
    #[bits(5)]
    pub np: u8,
    /// SXS: external ports.
    pub sxs: bool,
    /// EMS: enclosure management.
    pub ems: bool,
    /// CCCS: command completion coalescing.
    pub cccs: bool,
    /// NCS: command slots per port, less one.
    #[bits(5)]
    pub ncs: u8,
    /// PSC: partial state.
    pub psc: bool,
    /// SSC: slumber state.
    pub ssc: bool,
    /// PMD: PIO with several DRQ blocks.
    pub pmd: bool,
    /// FBSS: FIS-based switching.
    pub fbss: bool,
    /// SPM: port multipliers.
    pub spm: bool,
    /// SAM: no legacy interface.
    pub sam: bool,
    __: bool,
    /// ISS: highest speed of the interface (1: 1.5, 2: 3, 3: 6 Gbit/s).
    #[bits(4)]
    pub iss: u8,
    /// SCLO: command list override.
    pub sclo: bool,
    /// SAL: activity LED.
    pub sal: bool,
    /// SALP: aggressive link power management.
    pub salp: bool,
    /// SSS: staggered spin-up.
    pub sss: bool,
    /// SMPS: mechanical presence switches.
    pub smps: bool,
    /// SSNTF: SNotification.
    pub ssntf: bool,
    /// SNCQ: native command queuing.
    pub sncq: bool,
    /// S64A: 64-bit addresses.
    pub s64a: bool,
}

/// Global Host Control (AHCI, section 3.1.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Ghc {
    /// HR: HBA reset; reads as 1 while it goes on.
    pub hr: bool,
    /// IE: interrupts.
    pub ie: bool,
    /// MRSM: all ports share the first message.
    pub mrsm: bool,
    #[bits(28)]
    __: u32,
    /// AE: AHCI mode.
    pub ae: bool,
}

/// Version (AHCI, section 3.1.5): the numbers are binary coded decimals.
#[bitfield(u32)]
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Vs {
    /// MNR: minor version, as in 0x0301 for 1.3.1.
    pub minor: u16,
    /// MJR: major version.
    pub major: u16,
}

impl std::fmt::Display for Vs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}.{:x}", self.major(), self.minor() >> 8)?;
        if self.minor() & 0xff == 0 { Ok(()) } else { write!(f, ".{:x}", self.minor() & 0xff) }
    }
}

/// Command Completion Coalescing Control (AHCI, section 3.1.6).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CccCtl {
    /// EN: enable.
    pub en: bool,
    #[bits(2)]
    __: u8,
    /// INT: the bit of IS that coalesced completions set.
    #[bits(5)]
    pub int: u8,
    /// CC: completions per interrupt; 0: the timer alone.
    pub cc: u8,
    /// TV: milliseconds after which an interrupt comes all the same; never 0 while enabled.
    pub tv: u16,
}

/// Host Capabilities Extended (AHCI, section 3.1.10).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cap2 {
    /// BOH: BIOS/OS handoff.
    pub boh: bool,
    /// NVMP: NVMHCI present.
    pub nvmp: bool,
    /// APST: automatic partial to slumber transitions.
    pub apst: bool,
    /// SDS: device sleep.
    pub sds: bool,
    /// SADM: aggressive device sleep.
    pub sadm: bool,
    /// DESO: device sleep only from slumber.
    pub deso: bool,
    #[bits(26)]
    __: u32,
}

/// BIOS/OS Handoff Control and Status (AHCI, section 3.1.11).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Bohc {
    /// BOS: the BIOS owns the controller.
    pub bos: bool,
    /// OOS: the OS wants it.
    pub oos: bool,
    /// SOOE: SMI on OS ownership change.
    pub sooe: bool,
    /// OOC: OS ownership change; cleared by writing 1.
    pub ooc: bool,
    /// BB: the BIOS is busy cleaning up.
    pub bb: bool,
    #[bits(27)]
    __: u32,
}

/// Interrupt Status of a port, and with the same bits Interrupt Enable (AHCI, sections 3.3.5 and 3.3.6).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct PxIs {
    /// DHRS: a register FIS came.
    pub dhrs: bool,
    /// PSS: a PIO Setup FIS came.
    pub pss: bool,
    /// DSS: a DMA Setup FIS came.
    pub dss: bool,
    /// SDBS: a Set Device Bits FIS with its I bit came.
    pub sdbs: bool,
    /// UFS: an unknown FIS came. Cleared by way of SERR.DIAG.F.
    pub ufs: bool,
    /// DPS: a PRD with its I bit was transferred.
    pub dps: bool,
    /// PCS: the connection changed (COMINIT). Cleared by way of SERR.DIAG.X.
    pub pcs: bool,
    /// DMPS: the mechanical presence switch changed.
    pub dmps: bool,
    #[bits(14)]
    __: u16,
    /// PRCS: PhyRdy changed. Cleared by way of SERR.DIAG.N.
    pub prcs: bool,
    /// IPMS: a FIS from an unexpected port of a port multiplier.
    pub ipms: bool,
    /// OFS: more data than the PRDs have room for.
    pub ofs: bool,
    __: bool,
    /// INFS: an error of the interface, not fatal.
    pub infs: bool,
    /// IFS: a fatal error of the interface.
    pub ifs: bool,
    /// HBDS: an error of the data that the HBA transferred.
    pub hbds: bool,
    /// HBFS: an error of the bus, fatal.
    pub hbfs: bool,
    /// TFES: the device's status has ERR set.
    pub tfes: bool,
    /// CPDS: cold presence detect.
    pub cpds: bool,
}

impl PxIs {
    /// The ordinary ends of commands.
    pub const COMPLETIONS: PxIs =
        PxIs::new().with_dhrs(true).with_pss(true).with_dss(true).with_sdbs(true).with_dps(true);
    /// What stops the command list until the port is recovered (AHCI, section 6.2.2).
    pub const FATAL: PxIs = PxIs::new().with_ifs(true).with_hbds(true).with_hbfs(true).with_tfes(true);
    /// What tells that a device came or went.
    pub const HOTPLUG: PxIs = PxIs::new().with_pcs(true).with_prcs(true);

    /// The bits that both have.
    #[must_use]
    pub const fn and(self, other: PxIs) -> PxIs {
        PxIs::from_bits(self.into_bits() & other.into_bits())
    }
    /// The bits that either has.
    #[must_use]
    pub const fn or(self, other: PxIs) -> PxIs {
        PxIs::from_bits(self.into_bits() | other.into_bits())
    }
    /// Whether no bit is set.
    pub const fn is_empty(self) -> bool {
        self.into_bits() == 0
    }
}

/// Command and Status of a port (AHCI, section 3.3.7).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct PxCmd {
    /// ST: the command list is processed.
    pub st: bool,
    /// SUD: spin-up device.
    pub sud: bool,
    /// POD: power on device.
    pub pod: bool,
    /// CLO: command list override: clears BSY and DRQ; reads as 1 until done.
    pub clo: bool,
    /// FRE: FISes are received into memory.
    pub fre: bool,
    #[bits(3)]
    __: u8,
    /// CCS: the slot that is being processed.
    #[bits(5)]
    pub ccs: u8,
    /// MPSS: mechanical presence switch state.
    pub mpss: bool,
    /// FR: FIS receive is running.
    pub fr: bool,
    /// CR: the command list is running.
    pub cr: bool,
    /// CPS: cold presence state.
    pub cps: bool,
    /// PMA: a port multiplier is attached.
    pub pma: bool,
    /// HPCP: hot plug capable port.
    pub hpcp: bool,
    /// MPSP: there is a mechanical presence switch.
    pub mpsp: bool,
    /// CPD: cold presence detection.
    pub cpd: bool,
    /// ESP: external port.
    pub esp: bool,
    /// FBSCP: FIS-based switching capable port.
    pub fbscp: bool,
    /// APSTE: automatic partial to slumber transitions.
    pub apste: bool,
    /// ATAPI: the device is one, for the activity LED.
    pub atapi: bool,
    /// DLAE: drive the LED on ATAPI commands.
    pub dlae: bool,
    /// ALPE: aggressive link power management.
    pub alpe: bool,
    /// ASP: slumber instead of partial.
    pub asp: bool,
    /// ICC: interface communication control, one of the `ICC_` values.
    #[bits(4)]
    pub icc: u8,
}

impl PxCmd {
    /// ICC: nothing is being asked.
    pub const ICC_IDLE: u8 = 0;
    /// ICC: active.
    pub const ICC_ACTIVE: u8 = 1;
    /// ICC: partial.
    pub const ICC_PARTIAL: u8 = 2;
    /// ICC: slumber.
    pub const ICC_SLUMBER: u8 = 6;
    /// ICC: device sleep.
    pub const ICC_DEVSLEEP: u8 = 8;
}

/// Task File Data of a port (AHCI, section 3.3.8).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct PxTfd {
    /// STS: the device's status, an [`crate::AtaStatus`].
    pub status: u8,
    /// ERR: the device's error, an [`crate::AtaError`].
    pub error: u8,
    __: u16,
}

/// Serial ATA Status (AHCI, section 3.3.10).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct PxSsts {
    /// DET: device detection, one of the `DET_` values.
    #[bits(4)]
    pub det: u8,
    /// SPD: negotiated speed (1: 1.5, 2: 3, 3: 6 Gbit/s).
    #[bits(4)]
    pub spd: u8,
    /// IPM: power state of the interface, one of the `IPM_` values.
    #[bits(4)]
    pub ipm: u8,
    #[bits(20)]
    __: u32,
}

impl PxSsts {
    /// DET: nothing there.
    pub const DET_NONE: u8 = 0;
    /// DET: a device, but no communication.
    pub const DET_PRESENT: u8 = 1;
    /// DET: a device and communication.
    pub const DET_ESTABLISHED: u8 = 3;
    /// DET: the interface is disabled.
    pub const DET_OFFLINE: u8 = 4;
    /// IPM: no device.
    pub const IPM_NONE: u8 = 0;
    /// IPM: active.
    pub const IPM_ACTIVE: u8 = 1;
    /// IPM: partial.
    pub const IPM_PARTIAL: u8 = 2;
    /// IPM: slumber.
    pub const IPM_SLUMBER: u8 = 6;
    /// IPM: device sleep.
    pub const IPM_DEVSLEEP: u8 = 8;

    /// Whether a device is there, awake or in a power state of the interface.
    pub const fn is_connected(self) -> bool {
        self.det() == Self::DET_ESTABLISHED
            || (self.det() == Self::DET_PRESENT && self.ipm() > Self::IPM_ACTIVE)
    }
}

/// Serial ATA Control (AHCI, section 3.3.11).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct PxSctl {
    /// DET: 1 sends COMRESET until it is 0 again, 4 disables the interface.
    #[bits(4)]
    pub det: u8,
    /// SPD: highest speed to negotiate; 0: no limit.
    #[bits(4)]
    pub spd: u8,
    /// IPM: transitions that are forbidden (bit 0: partial, bit 1: slumber, bit 2: device sleep).
    #[bits(4)]
    pub ipm: u8,
    #[bits(20)]
    __: u32,
}

impl PxSctl {
    /// DET: COMRESET.
    pub const DET_RESET: u8 = 1;
    /// IPM: no transition is allowed.
    pub const IPM_NONE: u8 = 7;
}

/// Serial ATA Error (AHCI, section 3.3.12).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct PxSerr {
    /// ERR.I: recovered data integrity error.
    pub err_i: bool,
    /// ERR.M: recovered communications error.
    pub err_m: bool,
    #[bits(6)]
    __: u8,
    /// ERR.T: transient data integrity error.
    pub err_t: bool,
    /// ERR.C: persistent communication or data integrity error.
    pub err_c: bool,
    /// ERR.P: protocol error.
    pub err_p: bool,
    /// ERR.E: internal error.
    pub err_e: bool,
    #[bits(4)]
    __: u8,
    /// DIAG.N: PhyRdy changed.
    pub diag_n: bool,
    /// DIAG.I: internal error of the Phy.
    pub diag_i: bool,
    /// DIAG.W: Comm Wake.
    pub diag_w: bool,
    /// DIAG.B: 10b to 8b decode error.
    pub diag_b: bool,
    /// DIAG.D: disparity error.
    pub diag_d: bool,
    /// DIAG.C: CRC error.
    pub diag_c: bool,
    /// DIAG.H: handshake error.
    pub diag_h: bool,
    /// DIAG.S: link sequence error.
    pub diag_s: bool,
    /// DIAG.T: transport state transition error.
    pub diag_t: bool,
    /// DIAG.F: unknown FIS.
    pub diag_f: bool,
    /// DIAG.X: exchanged: COMINIT came.
    pub diag_x: bool,
    #[bits(5)]
    __: u8,
}

impl PxSerr {
    /// Whether the link itself had errors.
    pub const fn is_link_error(self) -> bool {
        self.err_t() || self.err_c() || self.diag_b() || self.diag_d() || self.diag_c() || self.diag_h()
    }
}

/// FIS-based Switching Control (AHCI, section 3.3.16).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct PxFbs {
    /// EN: enable; only while ST is 0.
    pub en: bool,
    /// DEC: device error clear; reads as 1 until done.
    pub dec: bool,
    /// SDE: the error concerns one device only.
    pub sde: bool,
    #[bits(5)]
    __: u8,
    /// DEV: the port of the multiplier that the next command issue is for.
    #[bits(4)]
    pub dev: u8,
    /// ADO: devices that are best used at the same time.
    #[bits(4)]
    pub ado: u8,
    /// DWE: the device with the error.
    #[bits(4)]
    pub dwe: u8,
    #[bits(12)]
    __: u16,
}

/// Device Sleep (AHCI, section 3.3.17).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct PxDevslp {
    /// ADSE: aggressive device sleep.
    pub adse: bool,
    /// DSP: device sleep is present.
    pub dsp: bool,
    /// DETO: device sleep exit timeout in milliseconds.
    pub deto: u8,
    /// MDAT: least time of DEVSLP in milliseconds.
    #[bits(5)]
    pub mdat: u8,
    /// DITO: idle time before device sleep in milliseconds, times DM + 1.
    #[bits(10)]
    pub dito: u16,
    /// DM: multiplier of DITO, less one.
    #[bits(4)]
    pub dm: u8,
    #[bits(3)]
    __: u8,
}

redox_driver_sys::register_values!(
    Cap: u32, Ghc: u32, Vs: u32, CccCtl: u32, Cap2: u32, Bohc: u32, PxIs: u32, PxCmd: u32, PxTfd: u32,
    PxSsts: u32, PxSctl: u32, PxSerr: u32, PxFbs: u32, PxDevslp: u32,
);

#[cfg(test)]
mod tests {
    use super::*;

    /// What QEMU's ICH9 says of itself.
    #[test]
    fn capabilities_are_where_the_specification_puts_them() {
        let cap = Cap::from(0xc014_1f05);
        assert_eq!((cap.np(), cap.ncs(), cap.iss()), (5, 31, 1));
        assert!(cap.sncq() && cap.s64a() && cap.sam() && !cap.fbss() && !cap.sss() && !cap.salp());
        assert_eq!(Vs::from(0x0001_0301).to_string(), "1.3.1");
        assert_eq!(Vs::from(0x0001_0000).to_string(), "1.0");
    }

    #[test]
    fn ports_are_where_the_specification_puts_them() {
        assert_eq!((port(0), port(31)), (0x100, 0x1080));
        assert_eq!(u32::from(PxCmd::new().with_st(true).with_fre(true).with_cr(true).with_fr(true)), 0xc011);
        assert_eq!(u32::from(PxCmd::new().with_icc(PxCmd::ICC_ACTIVE).with_alpe(true)), 0x1400_0000);
        assert_eq!(u32::from(PxIs::FATAL), 0x7800_0000);
        assert_eq!(u32::from(PxIs::HOTPLUG), 0x0040_0040);
        assert_eq!(u32::from(PxSerr::new().with_diag_x(true).with_diag_n(true)), 0x0401_0000);
        assert_eq!(u32::from(PxFbs::new().with_dev(3).with_en(true).with_dwe(5)), 0x0005_0301);
        assert_eq!(u32::from(PxDevslp::new().with_dm(15).with_dsp(true)), 0x1e00_0002);
        assert_eq!(u32::from(CccCtl::new().with_tv(1).with_cc(2).with_int(31).with_en(true)), 0x0001_02f9);
    }

    #[test]
    fn a_sleeping_link_is_connected() {
        assert!(PxSsts::new().with_det(3).with_ipm(1).is_connected());
        assert!(PxSsts::new().with_det(1).with_ipm(PxSsts::IPM_SLUMBER).is_connected());
        assert!(!PxSsts::new().with_det(1).with_ipm(0).is_connected());
        assert!(!PxSsts::new().is_connected());
    }
}
