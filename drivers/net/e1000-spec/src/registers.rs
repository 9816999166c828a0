//! Registers in BAR 0, 32 bits each (8254x chapter 13, 82574 chapter 10).

use bitfield_struct::bitfield;

/// Declares offsets with what they are.
macro_rules! offsets {
    ($($name:ident = $offset:literal, $text:literal;)*) => {$(
        #[doc = $text]
        pub const $name: u64 = $offset;
    )*};
}

offsets! {
    CTRL = 0x0000, "Device Control ([`Ctrl`]).";
    STATUS = 0x0008, "Device Status ([`Status`]).";
    EECD = 0x0010, "EEPROM/Flash Control and Data ([`Eecd`]).";
    EERD = 0x0014, "EEPROM Read: start in bit 0, data in the upper half; the rest differs ([`NvmAccess`](crate::NvmAccess)).";
    CTRL_EXT = 0x0018, "Extended Device Control ([`CtrlExt`]).";
    MDIC = 0x0020, "MDI Control ([`Mdic`]).";
    FCAL = 0x0028, "Flow Control Address Low.";
    FCAH = 0x002c, "Flow Control Address High.";
    FCT = 0x0030, "Flow Control Type.";
    VET = 0x0038, "VLAN EtherType.";
    ICR = 0x00c0, "Interrupt Cause Read ([`Causes`]); reading clears.";
    ITR = 0x00c4, "Interrupt Throttling: least time between interrupts in units of 256 ns.";
    ICS = 0x00c8, "Interrupt Cause Set ([`Causes`]).";
    IMS = 0x00d0, "Interrupt Mask Set/Read ([`Causes`]).";
    IMC = 0x00d8, "Interrupt Mask Clear ([`Causes`]).";
    EIAC = 0x00dc, "Interrupt Auto Clear ([`Causes`]; 82574 section 10.2.4.6).";
    IAM = 0x00e0, "Interrupt Acknowledge Auto Mask ([`Causes`]; 82574).";
    IVAR = 0x00e4, "Interrupt Vector Allocation ([`Ivar`]; 82574 section 10.2.4.9).";
    RCTL = 0x0100, "Receive Control ([`Rctl`]).";
    FCTTV = 0x0170, "Flow Control Transmit Timer Value.";
    TCTL = 0x0400, "Transmit Control ([`Tctl`]).";
    TIPG = 0x0410, "Transmit Inter Packet Gap.";
    AIT = 0x0458, "Adaptive Interframe Spacing Throttle.";
    LEDCTL = 0x0e00, "LED Control (82574 section 10.2.2.12).";
    EXTCNF_CTRL = 0x0f00, "Extended Configuration Control (82574 section 10.2.2.8): bit 5 is software's claim of MDIO.";
    PBA = 0x1000, "Packet Buffer Allocation: KiB for receiving in the lower half.";
    FCRTL = 0x2160, "Flow Control Receive Threshold Low.";
    FCRTH = 0x2168, "Flow Control Receive Threshold High.";
    PSRCTL = 0x2170, "Packet Split Receive Control (82574 section 10.2.5.13).";
    RDTR = 0x2820, "Receive Interrupt Packet Delay Timer, in units of 1.024 us.";
    RXDCTL = 0x2828, "Receive Descriptor Control.";
    RADV = 0x282c, "Receive Interrupt Absolute Delay Timer, in units of 1.024 us.";
    TIDV = 0x3820, "Transmit Interrupt Delay Value, in units of 1.024 us.";
    TXDCTL = 0x3828, "Transmit Descriptor Control ([`Txdctl`]).";
    TADV = 0x382c, "Transmit Absolute Interrupt Delay Value, in units of 1.024 us.";
    TARC0 = 0x3840, "Transmit Arbitration Counter of queue 0 (82574).";
    TARC1 = 0x3940, "Transmit Arbitration Counter of queue 1 (82574).";
    RXCSUM = 0x5000, "Receive Checksum Control ([`Rxcsum`]).";
    RFCTL = 0x5008, "Receive Filter Control (82574 section 10.2.5.18): bit 15 for extended descriptors.";
    MTA = 0x5200, "Multicast Table Array: 128 dwords.";
    RA = 0x5400, "Receive Addresses: pairs of RAL and RAH.";
    VFTA = 0x5600, "VLAN Filter Table Array: 128 dwords.";
    WUC = 0x5800, "Wake Up Control ([`Wuc`]).";
    WUFC = 0x5808, "Wake Up Filter Control ([`Wufc`]).";
    WUS = 0x5810, "Wake Up Status.";
    MRQC = 0x5818, "Multiple Receive Queues Command (82574 section 10.2.5.19).";
    MANC = 0x5820, "Management Control (82574 section 10.2.8.4).";
    GCR = 0x5b00, "PCIe Control (82574).";
    SWSM = 0x5b50, "Software Semaphore (82574).";
    FWSM = 0x5b54, "Firmware Semaphore (82574).";
    GCR2 = 0x5b64, "PCIe Control 2 (82574).";
    RETA = 0x5c00, "Redirection Table: 128 bytes, bit 7 is the queue (82574 section 10.2.5.21).";
    RSSRK = 0x5c80, "RSS Random Key: 40 bytes (82574 section 10.2.5.22).";
    TIME_SYNC = 0xb600, "The first register of IEEE 1588 time synchronization (82574 section 10.2.10).";
}

/// Bytes of the registers from [`TIME_SYNC`] on.
pub const TIME_SYNC_BYTES: u64 = 0x50;
/// Dwords of [`MTA`] and of [`VFTA`].
pub const TABLE_DWORDS: usize = 128;
/// Bytes of RETA.
pub const RETA_ENTRIES: usize = 128;
/// Bytes of the RSS key.
pub const RSS_KEY: usize = 40;
/// RFCTL: extended receive descriptors.
pub const RFCTL_EXSTEN: u32 = 1 << 15;
/// MRQC: RSS, by TCP over IPv4, IPv4, TCP over IPv6 and IPv6.
pub const MRQC_RSS: u32 = 1 | 0b11_0011 << 16;
/// Bit 5 of [`EXTCNF_CTRL`].
pub const MDIO_SOFTWARE_OWNERSHIP: u32 = 1 << 5;
/// The unit of [`ITR`] and EITR in nanoseconds.
pub const THROTTLE_UNIT_NANOS: u32 = 256;
/// The unit of the delay timers in nanoseconds.
pub const DELAY_UNIT_NANOS: u32 = 1024;
/// TIPG for copper: 8, 8 and 6 byte times (8254x table 13-77).
pub const TIPG_COPPER: u32 = 8 | 8 << 10 | 6 << 20;
/// FCAH, FCAL and FCT of pause frames (802.3 annex 31B).
pub const PAUSE: (u32, u32, u32) = (0x0100, 0x00c2_8001, 0x8808);

/// EITR of MSI-X vector `vector`, in units of 256 ns (82574 section 10.2.4.8).
pub const fn eitr(vector: u16) -> u64 {
    0xe8 + 4 * widen(vector)
}

#[allow(clippy::cast_lossless, reason = "a const function")]
const fn widen(value: u16) -> u64 {
    value as u64
}

/// The registers of a ring: base (2), length, head, tail. The second queue of an 82574 is 0x100 further on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingRegisters(u64);

impl RingRegisters {
    /// Of receive queue `queue`.
    pub const fn receive(queue: u16) -> Self {
        RingRegisters(0x2800 + 0x100 * widen(queue))
    }

    /// Of transmit queue `queue`.
    pub const fn transmit(queue: u16) -> Self {
        RingRegisters(0x3800 + 0x100 * widen(queue))
    }

    /// RDBAL, TDBAL: where it is, the lower half.
    pub const fn base_low(self) -> u64 {
        self.0
    }

    /// RDBAH, TDBAH: the upper half.
    pub const fn base_high(self) -> u64 {
        self.0 + 0x04
    }

    /// RDLEN, TDLEN: its length in bytes, a multiple of 128.
    pub const fn length(self) -> u64 {
        self.0 + 0x08
    }

    /// RDH, TDH: the next descriptor that the device takes.
    pub const fn head(self) -> u64 {
        self.0 + 0x10
    }

    /// RDT, TDT: where the device stops.
    pub const fn tail(self) -> u64 {
        self.0 + 0x18
    }

    /// RXDCTL, TXDCTL.
    pub const fn control(self) -> u64 {
        self.0 + 0x28
    }
}

/// RAL of receive address `index`.
pub const fn ral(index: u16) -> u64 {
    RA + 8 * widen(index)
}

/// RAH of receive address `index`: the upper two bytes, and bit 31 if it counts.
pub const fn rah(index: u16) -> u64 {
    RA + 8 * widen(index) + 4
}

/// RAH: the address counts.
pub const RAH_AV: u32 = 1 << 31;

/// An address as RAL and RAH have it, without [`RAH_AV`].
pub const fn receive_address(address: [u8; 6]) -> (u32, u32) {
    let [a, b, c, d, e, f] = address;
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, 0, 0]))
}

/// Which bit of the multicast table an address falls on, for RCTL.MO = 0: bits 47:36 (8254x section 13.5.1).
pub const fn multicast_hash(address: [u8; 6]) -> u16 {
    #[allow(clippy::cast_lossless, reason = "a const function")]
    let hash = (address[4] >> 4) as u16 | (address[5] as u16) << 4;
    hash & 0xfff
}

/// Device Control (8254x section 13.4.1, 82574 section 10.2.2.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Ctrl {
    /// FD: full duplex.
    pub fd: bool,
    _0: bool,
    /// GIO Master Disable: no more requests (82574).
    pub master_disable: bool,
    /// LRST: link reset (8254x).
    pub lrst: bool,
    _1: bool,
    /// ASDE: speed is detected by listening.
    pub asde: bool,
    /// SLU: set link up.
    pub slu: bool,
    /// ILOS: invert loss of signal.
    pub ilos: bool,
    /// SPEED, if forced: 0, 1, 2 for 10, 100, 1000 Mb/s.
    #[bits(2)]
    pub speed: u8,
    _2: bool,
    /// FRCSPD: the speed is forced.
    pub frcspd: bool,
    /// FRCDPLX: the duplex mode is forced.
    pub frcdplx: bool,
    #[bits(13)]
    __: u16,
    /// RST: resets the device. Clears itself.
    pub rst: bool,
    /// RFCE: pause frames are obeyed.
    pub rfce: bool,
    /// TFCE: pause frames are sent.
    pub tfce: bool,
    _3: bool,
    /// VME: VLAN tags are stripped, and inserted where descriptors say.
    pub vme: bool,
    /// PHY_RST: holds the PHY in reset.
    pub phy_rst: bool,
}

/// Device Status (8254x section 13.4.2, 82574 section 10.2.2.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Status {
    /// FD: full duplex.
    pub fd: bool,
    /// LU: link up.
    pub lu: bool,
    #[bits(2)]
    __: u8,
    /// TXOFF: a pause frame stopped transmission.
    pub txoff: bool,
    _0: bool,
    /// SPEED: 0, 1, 2 for 10, 100, 1000 Mb/s.
    #[bits(2)]
    pub speed: u8,
    #[bits(11)]
    __: u16,
    /// GIO Master Enable: requests may be outstanding (82574).
    pub master_enable: bool,
    #[bits(12)]
    __: u16,
}

/// EEPROM Control (8254x section 13.4.3).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Eecd {
    /// SK: clock.
    pub sk: bool,
    /// CS: chip select.
    pub cs: bool,
    /// DI: data to the EEPROM.
    pub di: bool,
    /// DO: data from it.
    pub data_out: bool,
    #[bits(2)]
    pub flash_write: u8,
    /// REQ: the EEPROM is wanted.
    pub req: bool,
    /// GNT: it may be accessed.
    pub gnt: bool,
    /// PRES: there is one.
    pub pres: bool,
    /// AUTO_RD: it was read after reset (82574).
    pub auto_rd: bool,
    #[bits(22)]
    __: u32,
}

/// Extended Device Control (82574 section 10.2.2.5).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CtrlExt {
    #[bits(13)]
    __: u16,
    /// EE_RST: the EEPROM is read anew. Clears itself.
    pub ee_rst: bool,
    #[bits(10)]
    __: u16,
    /// EIAME: a message clears those mask bits of its causes that IAM has.
    pub eiame: bool,
    #[bits(2)]
    __: u8,
    /// IAME: reading ICR masks what IAM has.
    pub iame: bool,
    /// DRV_LOAD: a driver is there, for management firmware.
    pub drv_load: bool,
    #[bits(2)]
    __: u8,
    /// PBA_CLR: the pending bits of MSI-X follow the causes.
    pub pba_clr: bool,
}

/// MDI Control (8254x section 13.4.8).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Mdic {
    /// What is written, or was read.
    pub data: u16,
    /// REGADD: which register.
    #[bits(5)]
    pub register: u8,
    /// PHYADD: which PHY.
    #[bits(5)]
    pub phy: u8,
    /// OP: [`Self::WRITE`] or [`Self::READ`].
    #[bits(2)]
    pub op: u8,
    /// R: done.
    pub ready: bool,
    /// I: interrupt when done.
    pub interrupt: bool,
    /// E: it did not work.
    pub error: bool,
    _0: bool,
}

impl Mdic {
    /// OP: write.
    pub const WRITE: u8 = 1;
    /// OP: read.
    pub const READ: u8 = 2;
}

/// Interrupt causes, of ICR, ICS, IMS, IMC, EIAC and IAM (8254x section 13.4.17, 82574 section 10.2.4.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Causes {
    /// TXDW: a transmit descriptor was written back.
    pub txdw: bool,
    /// TXQE: a transmit ring is empty.
    pub txqe: bool,
    /// LSC: the link changed.
    pub lsc: bool,
    /// RXSEQ: receive sequence error.
    pub rxseq: bool,
    /// RXDMT0: few receive descriptors are left.
    pub rxdmt0: bool,
    _0: bool,
    /// RXO: packets were lost.
    pub rxo: bool,
    /// RXT0: packets were received, and the timer has run out.
    pub rxt0: bool,
    _1: bool,
    /// MDAC: an access to the PHY is complete.
    pub mdac: bool,
    #[bits(5)]
    __: u8,
    /// TXD_LOW: few transmit descriptors are left to the device.
    pub txd_low: bool,
    #[bits(4)]
    __: u8,
    /// RxQ0: as RXT0 (82574).
    pub rxq0: bool,
    /// RxQ1: the second queue's (82574).
    pub rxq1: bool,
    /// TxQ0: as TXDW (82574).
    pub txq0: bool,
    /// TxQ1: the second queue's (82574).
    pub txq1: bool,
    /// Other: LSC, RXO, MDAC and the like (82574).
    pub other: bool,
    #[bits(6)]
    __: u8,
    /// INT_ASSERTED: this is why the device interrupts (82574).
    pub asserted: bool,
}

/// Interrupt Vector Allocation (82574 section 10.2.4.9): vector in the lower three bits of each, the fourth says that it counts.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Ivar {
    /// Receive queue 0.
    #[bits(4)]
    pub rxq0: u8,
    /// Receive queue 1.
    #[bits(4)]
    pub rxq1: u8,
    /// Transmit queue 0.
    #[bits(4)]
    pub txq0: u8,
    /// Transmit queue 1.
    #[bits(4)]
    pub txq1: u8,
    /// All other causes.
    #[bits(4)]
    pub other: u8,
    #[bits(11)]
    __: u16,
    /// An interrupt at every write-back of a transmit descriptor.
    pub on_all_write_backs: bool,
}

impl Ivar {
    /// The bit of a field by which it counts.
    pub const VALID: u8 = 8;
}

/// Receive Control (8254x section 13.4.22, 82574 section 10.2.5.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Rctl {
    _0: bool,
    /// EN: receives.
    pub en: bool,
    /// SBP: stores bad packets.
    pub sbp: bool,
    /// UPE: all stations' frames.
    pub upe: bool,
    /// MPE: all groups' frames.
    pub mpe: bool,
    /// LPE: frames longer than 1522 bytes.
    pub lpe: bool,
    #[bits(2)]
    pub lbm: u8,
    /// RDMTS: few descriptors are 1/2, 1/4, 1/8 of the ring.
    #[bits(2)]
    pub rdmts: u8,
    #[bits(2)]
    pub dtyp: u8,
    /// MO: which bits of an address index the multicast table.
    #[bits(2)]
    pub mo: u8,
    _1: bool,
    /// BAM: broadcast frames.
    pub bam: bool,
    /// BSIZE: 2048, 1024, 512, 256 bytes; with BSEX 16 times as much.
    #[bits(2)]
    pub bsize: u8,
    /// VFE: the VLAN filter is on.
    pub vfe: bool,
    /// CFIEN: frames with CFI as the next bit says.
    pub cfien: bool,
    /// CFI.
    pub cfi: bool,
    _2: bool,
    /// DPF: no pause frames (8254x).
    pub dpf: bool,
    /// PMCF: pass MAC control frames.
    pub pmcf: bool,
    _3: bool,
    /// BSEX: buffers are 16 times as long.
    pub bsex: bool,
    /// SECRC: the frame check sequence is stripped.
    pub secrc: bool,
    #[bits(5)]
    __: u8,
}

impl Rctl {
    /// The length in bytes of each buffer; `None` for the combination that is reserved.
    pub const fn buffer_len(self) -> Option<u32> {
        match (self.bsex(), self.bsize()) {
            (false, size) => Some(2048 >> size),
            (true, 0) => None,
            (true, size) => Some(32_768 >> size),
        }
    }

    /// With buffers of `len` bytes: 2048, 4096, 8192 or 16384.
    #[must_use]
    pub const fn with_buffer_len(self, len: u32) -> Self {
        match len {
            4096 => self.with_bsex(true).with_bsize(3),
            8192 => self.with_bsex(true).with_bsize(2),
            16_384 => self.with_bsex(true).with_bsize(1),
            _ => self.with_bsex(false).with_bsize(0),
        }
    }
}

/// Transmit Control (8254x section 13.4.33, 82574 section 10.2.6.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Tctl {
    _0: bool,
    /// EN: transmits.
    pub en: bool,
    _1: bool,
    /// PSP: pads short packets.
    pub psp: bool,
    /// CT: tries before a packet is given up (half duplex).
    pub ct: u8,
    /// COLD: collision distance.
    #[bits(10)]
    pub cold: u16,
    _2: bool,
    _3: bool,
    /// RTLC: late collisions are tried again.
    pub rtlc: bool,
    #[bits(3)]
    __: u8,
    /// MULR: several requests at once (82574).
    pub mulr: bool,
    #[bits(3)]
    __: u8,
}

/// Transmit Descriptor Control (8254x section 13.4.41, 82574 section 10.2.6.8).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Txdctl {
    /// PTHRESH: fetches when it has fewer.
    #[bits(6)]
    pub pthresh: u8,
    #[bits(2)]
    __: u8,
    /// HTHRESH: fetches when there are more in memory.
    #[bits(6)]
    pub hthresh: u8,
    #[bits(2)]
    __: u8,
    /// WTHRESH: writes back so many at once; 0 and 1: each.
    #[bits(6)]
    pub wthresh: u8,
    /// To be set in an 82574.
    pub count_desc: bool,
    _0: bool,
    /// GRAN: thresholds are descriptors, not cache lines.
    pub gran: bool,
    /// LWTHRESH.
    #[bits(7)]
    pub lwthresh: u8,
}

/// Receive Checksum Control (8254x section 13.4.47).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Rxcsum {
    /// PCSS: where the packet checksum starts.
    pub pcss: u8,
    /// IPOFL: IPv4 header checksums are looked at.
    pub ipofl: bool,
    /// TUOFL: TCP and UDP checksums are looked at.
    pub tuofl: bool,
    #[bits(3)]
    __: u8,
    /// PCSD: the RSS hash takes the place of the packet checksum (82574).
    pub pcsd: bool,
    #[bits(18)]
    __: u32,
}

/// Wake Up Control (8254x section 13.4.55).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Wuc {
    /// APME: advanced power management.
    pub apme: bool,
    /// PME_En.
    pub pme_en: bool,
    /// PME_Status; writing 1 clears.
    pub pme_status: bool,
    /// APMPME: PME also by APM.
    pub apmpme: bool,
    #[bits(28)]
    __: u32,
}

/// Wake Up Filter Control (8254x section 13.4.56).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Wufc {
    /// LNKC: the link changes.
    pub lnkc: bool,
    /// MAG: a magic packet.
    pub mag: bool,
    /// EX: a frame to the own address.
    pub ex: bool,
    /// MC: a frame to a group.
    pub mc: bool,
    /// BC: a frame to everybody.
    pub bc: bool,
    /// ARP: a request for the own address.
    pub arp: bool,
    #[bits(26)]
    __: u32,
}

redox_driver_sys::register_values!(
    Ctrl: u32, Status: u32, Eecd: u32, CtrlExt: u32, Mdic: u32, Causes: u32, Ivar: u32, Rctl: u32, Tctl: u32, Txdctl: u32,
    Rxcsum: u32, Wuc: u32, Wufc: u32,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_manuals_have_them() {
        assert_eq!(Ctrl::new().with_rst(true).into_bits(), 1 << 26);
        assert_eq!(Ctrl::new().with_vme(true).into_bits(), 1 << 30);
        assert_eq!(Ctrl::new().with_tfce(true).into_bits(), 1 << 28);
        assert_eq!(Status::new().with_master_enable(true).into_bits(), 1 << 19);
        assert_eq!(Eecd::new().with_auto_rd(true).into_bits(), 1 << 9);
        assert_eq!(CtrlExt::new().with_eiame(true).into_bits(), 1 << 24);
        assert_eq!(CtrlExt::new().with_drv_load(true).into_bits(), 1 << 28);
        assert_eq!(CtrlExt::new().with_pba_clr(true).into_bits(), 1 << 31);
        assert_eq!(Mdic::new().with_ready(true).into_bits(), 1 << 28);
        assert_eq!(Causes::new().with_rxt0(true).into_bits(), 1 << 7);
        assert_eq!(Causes::new().with_txd_low(true).into_bits(), 1 << 15);
        assert_eq!(Causes::new().with_other(true).into_bits(), 1 << 24);
        assert_eq!(Ivar::new().with_other(8).into_bits(), 1 << 19);
        assert_eq!(Rctl::new().with_bam(true).into_bits(), 1 << 15);
        assert_eq!(Rctl::new().with_bsex(true).into_bits(), 1 << 25);
        assert_eq!(Rctl::new().with_secrc(true).into_bits(), 1 << 26);
        assert_eq!(Tctl::new().with_cold(1).into_bits(), 1 << 12);
        assert_eq!(Tctl::new().with_mulr(true).into_bits(), 1 << 28);
        assert_eq!(Txdctl::new().with_gran(true).into_bits(), 1 << 24);
        assert_eq!(Txdctl::new().with_count_desc(true).into_bits(), 1 << 22);
        assert_eq!(Rxcsum::new().with_pcsd(true).into_bits(), 1 << 13);
    }

    #[test]
    fn buffer_lengths() {
        for len in [2048, 4096, 8192, 16_384] {
            assert_eq!(Rctl::new().with_buffer_len(len).buffer_len(), Some(len));
        }
        assert_eq!(Rctl::new().with_bsex(true).buffer_len(), None);
    }

    #[test]
    fn the_manuals_example_of_the_multicast_hash() {
        // 8254x section 13.5.1: 12:34:56:78:9a:bc, with MO = 0, is bit 0xbc9.
        assert_eq!(multicast_hash([0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc]), 0xbc9);
    }
}
