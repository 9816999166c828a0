//! Registers in memory BAR 2, of 8, 16 and 32 bits (8168B chapter 2).

use bitfield_struct::bitfield;

/// Bytes of registers.
pub const LEN: u64 = 256;
/// The BAR with the registers; BAR 0 has them in I/O space.
pub const BAR: u8 = 2;
/// The BAR of the MSI-X table, on chips that have one.
pub const MSIX_BAR: u8 = 4;

/// Declares offsets with what they are.
macro_rules! offsets {
    ($($name:ident = $offset:literal, $text:literal;)*) => {$(
        #[doc = $text]
        pub const $name: u64 = $offset;
    )*};
}

offsets! {
    IDR0 = 0x00, "ID: the station's address, 6 bytes, written as two dwords.";
    IDR4 = 0x04, "The rest of it.";
    MAR0 = 0x08, "Multicast: the hash table's 64 bits ([`multicast_bit`]), written as two dwords.";
    MAR4 = 0x0c, "The rest of it.";
    DTCCR = 0x10, "Dump Tally Counter Command: the low half of an address, and [`crate::tally`]'s commands.";
    DTCCR_HIGH = 0x14, "The high half of the address.";
    EEE_LED = 0x1b, "8 bits: how the LED shows energy-efficient Ethernet (Linux: E-VL and later).";
    TNPDS = 0x20, "Transmit Normal Priority Descriptors: where the ring is, a multiple of 256, low half.";
    TNPDS_HIGH = 0x24, "The high half.";
    THPDS = 0x28, "Transmit High Priority Descriptors, low half; not used.";
    THPDS_HIGH = 0x2c, "The high half.";
    CR = 0x37, "8 bits: Command ([`Command`]).";
    TPPOLL = 0x38, "8 bits: Transmit Priority Polling ([`NPQ`], [`FSW_INT`]).";
    IMR = 0x3c, "16 bits: Interrupt Mask ([`Events`]).";
    ISR = 0x3e, "16 bits: Interrupt Status ([`Events`]); ones are cleared by writing them.";
    TCR = 0x40, "Transmit Configuration ([`TxConfig`]).";
    RCR = 0x44, "Receive Configuration ([`RxConfig`]).";
    TCTR = 0x48, "Timer Count.";
    MPC = 0x4c, "Missed Packets: 24 bits; writing clears.";
    CR9346 = 0x50, "8 bits: 93C46 Command ([`UNLOCK`], [`LOCK`]).";
    CONFIG0 = 0x51, "8 bits, read only.";
    CONFIG1 = 0x52, "8 bits ([`Config1`]). This and the next four, and IDR, can be written only while they are unlocked.";
    CONFIG2 = 0x53, "8 bits ([`Config2`]).";
    CONFIG3 = 0x54, "8 bits ([`Config3`]).";
    CONFIG4 = 0x55, "8 bits.";
    CONFIG5 = 0x56, "8 bits ([`Config5`]).";
    TIMERINT = 0x58, "Timer Interrupt: at which count, or 0 for never.";
    PHYAR = 0x60, "PHY Access ([`crate::indirect::Access`]).";
    CSIDR = 0x64, "Data of [`CSIAR`].";
    CSIAR = 0x68, "Configuration space beyond 256 bytes ([`crate::indirect::Csiar`]).";
    PHYSTATUS = 0x6c, "8 bits: what the PHY says ([`PhyStatus`]).";
    PMCH = 0x6f, "8 bits: power of the PLL (D and later).";
    ERIDR = 0x70, "Data of [`ERIAR`].";
    ERIAR = 0x74, "Extended registers ([`crate::indirect::Eriar`]; E-VL and later).";
    EPHYAR = 0x80, "PCI Express PHY ([`crate::indirect::Access`]; C and later).";
    OCPDR = 0xb0, "On-chip peripherals of the MAC ([`crate::indirect::Ocp`]; G and later).";
    GPHY_OCP = 0xb8, "Those of the PHY ([`crate::indirect::Ocp`]; G and later).";
    DLLPR = 0xd0, "8 bits: power down ([`PFM_EN`], [`TX_10M_PS_EN`]).";
    DBG = 0xd1, "8 bits: of the 8168C and CP.";
    MCU = 0xd3, "8 bits: state of the buffers and of remote management ([`Mcu`]; E-VL and later).";
    RMS = 0xda, "16 bits: Receive Packet Maximum Size: longer frames are dropped.";
    CPLUS = 0xe0, "16 bits: C+ Command ([`CPlus`]).";
    INT_MITIGATE = 0xe2, "16 bits: interrupt mitigation ([`Mitigation`]).";
    RDSAR = 0xe4, "Receive Descriptor Start Address: a multiple of 256, low half.";
    RDSAR_HIGH = 0xe8, "The high half.";
    MTPS = 0xec, "8 bits: Maximum Transmit Packet Size, in units of 128 bytes; E-VL and later: when to start sending.";
    MISC = 0xf0, "Miscellaneous ([`Misc`]; E and later).";
    MISC_1 = 0xf2, "8 bits, the third byte of [`MISC`].";
}

/// TPPOLL: the normal queue has something to send. Reads as one while it is being looked at.
pub const NPQ: u8 = 1 << 6;
/// TPPOLL: raise SWInt.
pub const FSW_INT: u8 = 1;
/// CR9346: configuration registers can be written (EEM = 11).
pub const UNLOCK: u8 = 0xc0;
/// CR9346: they cannot.
pub const LOCK: u8 = 0;
/// DLLPR: power management by PFM (Linux: PFM_EN).
pub const PFM_EN: u8 = 1 << 6;
/// DLLPR: saves power at 10 Mb/s (Linux: TX_10M_PS_EN).
pub const TX_10M_PS_EN: u8 = 1 << 7;
/// MTPS of chips before the E-VL: everything may be sent (Linux: TxPacketMax).
pub const MTPS_MAX: u8 = 0x3f;
/// MTPS of the 8168E without jumbo frames.
pub const MTPS_E: u8 = 0x0c;
/// MTPS of later chips (Linux: EarlySize).
pub const MTPS_EARLY: u8 = 0x27;
/// CONFIG4: jumbo frames, on the 8168B and E.
pub const JUMBO_EN_0: u8 = 1 << 0;
/// CONFIG4: jumbo frames, on the 8168C, CP and D.
pub const JUMBO_EN_1: u8 = 1 << 1;

/// CR (8168B section 2.3).
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Command {
    pub buffer_empty: bool,
    _0: bool,
    /// TE: sends.
    pub te: bool,
    /// RE: receives.
    pub re: bool,
    /// RST: reset; reads as one until it is over.
    pub rst: bool,
    #[bits(2)]
    __: u8,
    /// Stop taking what is new (Linux: StopReq).
    pub stop: bool,
}

/// IMR and ISR (8168B sections 2.5 and 2.6).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Events {
    /// ROK: a frame was received.
    pub rok: bool,
    /// RER: a frame was received with an error.
    pub rer: bool,
    /// TOK: a packet was sent.
    pub tok: bool,
    /// TER: a packet could not be sent.
    pub ter: bool,
    /// RDU: no receive descriptor is left.
    pub rdu: bool,
    /// LinkChg.
    pub link: bool,
    /// FOVW: the receive FIFO overflowed.
    pub fovw: bool,
    /// TDU: no transmit descriptor is left.
    pub tdu: bool,
    /// SWInt: see [`FSW_INT`].
    pub swint: bool,
    #[bits(5)]
    __: u8,
    /// TimeOut: of [`TIMERINT`].
    pub timeout: bool,
    /// SERR: an error on the bus.
    pub serr: bool,
}

/// TCR (8168B section 2.7).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct TxConfig {
    #[bits(7)]
    __: u8,
    /// The FIFO's thresholds follow the traffic (Linux: TXCFG_AUTO_FIFO; E-VL and later).
    pub auto_fifo: bool,
    /// MXDMA: longest burst; 7 is without a limit.
    #[bits(3)]
    pub burst: u8,
    /// The transmitter is empty (Linux: TXCFG_EMPTY; E-VL and later).
    pub empty: bool,
    #[bits(5)]
    __: u8,
    /// LBK: loopback.
    #[bits(2)]
    pub loopback: u8,
    pub ifg2: bool,
    #[bits(4)]
    pub hardware_low: u8,
    /// IFG: gap between frames; 3 is the standard's.
    #[bits(2)]
    pub ifg: u8,
    #[bits(5)]
    pub hardware_high: u8,
    _0: bool,
}

impl TxConfig {
    /// Which bits of TCR >> 20 say which chip it is.
    pub const XID: u16 = 0x7cf;

    /// Which chip it is: read only, as Linux prints it ("XID 541").
    pub const fn xid(self) -> u16 {
        // 12 bits.
        #[allow(clippy::cast_possible_truncation, reason = "12 bits")]
        {
            (self.into_bits() >> 20) as u16 & Self::XID
        }
    }

    /// The same with another chip.
    #[must_use]
    pub const fn with_xid(self, xid: u16) -> Self {
        let mask = (Self::XID as u32) << 20;
        TxConfig::from_bits(self.into_bits() & !mask | (xid as u32) << 20 & mask)
    }
}

/// RCR (8168B section 2.8).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct RxConfig {
    /// AAP: all stations' frames.
    pub aap: bool,
    /// APM: those to the own address.
    pub apm: bool,
    /// AM: those to groups that the table lets through.
    pub am: bool,
    /// AB: broadcast.
    pub ab: bool,
    /// AR: runts.
    pub ar: bool,
    /// AER: those with errors.
    pub aer: bool,
    #[bits(2)]
    __: u8,
    /// MXDMA: longest burst; 7 is without a limit.
    #[bits(3)]
    pub burst: u8,
    /// Starts with whole frames only (Linux: RX_EARLY_OFF; G and later).
    pub early_off: bool,
    _0: bool,
    /// RXFTH of the 8168B, 7: a whole frame. Later chips have other bits here.
    #[bits(3)]
    pub threshold: u8,
    #[bits(16)]
    __: u16,
}

impl RxConfig {
    /// RXFTH as later chips have it: Linux's RX_MULTI_EN, to fetch several descriptors.
    pub const MULTI: u8 = 1 << 1;
    /// RXFTH as later chips have it: Linux's RX128_INT_EN.
    pub const INT_128: u8 = 1 << 2;

    /// Whether nothing can pass.
    pub const fn is_closed(self) -> bool {
        self.into_bits() & 0x3f == 0
    }
}

/// CONFIG1.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Config1 {
    /// PMEn.
    pub pm_enable: bool,
    pub vpd: bool,
    pub iomap: bool,
    pub memmap: bool,
    /// Slows down when it sleeps.
    pub speed_down: bool,
    _0: bool,
    #[bits(2)]
    pub leds: u8,
}

/// CONFIG2.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Config2 {
    #[bits(5)]
    __: u8,
    /// Signals PME (Linux: PME_SIGNAL; E-VL and later).
    pub pme_signal: bool,
    _0: bool,
    /// Asks for the clock (Linux: ClkReqEn).
    pub clkreq: bool,
}

/// CONFIG3.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Config3 {
    pub beacon: bool,
    /// Ready for L2 and L3 (Linux: Rdy_to_L23).
    pub ready_for_l23: bool,
    /// Jumbo frames (Linux: Jumbo_En0; C to E).
    pub jumbo: bool,
    _0: bool,
    /// LinkUp: a change of the link wakes the machine up.
    pub wake_link: bool,
    /// Magic: a magic packet does. E-VL and later have that elsewhere: [`Chip::wake_by_eri`](crate::Chip::wake_by_eri).
    pub wake_magic: bool,
    #[bits(2)]
    __: u8,
}

/// CONFIG5.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Config5 {
    /// ASPM (Linux: ASPM_en).
    pub aspm: bool,
    /// LanWake: the machine is woken up at all.
    pub lan_wake: bool,
    _0: bool,
    /// Linux: Spi_en.
    pub spi: bool,
    /// UWF: a frame to the own address wakes the machine up.
    pub wake_unicast: bool,
    /// MWF: one to a group.
    pub wake_multicast: bool,
    /// BWF: one to everybody.
    pub wake_broadcast: bool,
    _1: bool,
}

/// PHYSTATUS (8168B section 2.19).
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct PhyStatus {
    pub full_duplex: bool,
    /// LinkSts.
    pub link: bool,
    pub speed_10: bool,
    pub speed_100: bool,
    /// 1000 Mb/s, full duplex.
    pub speed_1000: bool,
    /// RxFlow: pause frames are obeyed.
    pub rx_flow: bool,
    /// TxFlow: and sent.
    pub tx_flow: bool,
    _0: bool,
}

/// MCU (Linux).
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Mcu {
    _0: bool,
    /// The lists of descriptors are ready (LINK_LIST_RDY).
    pub list_ready: bool,
    #[bits(2)]
    __: u8,
    pub rx_empty: bool,
    pub tx_empty: bool,
    _1: bool,
    /// Remote management has the device (NOW_IS_OOB).
    pub out_of_band: bool,
}

/// CPLUS (8168B section 2.23).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct CPlus {
    /// The unit of [`Mitigation`]'s times.
    #[bits(2)]
    pub time_unit: u8,
    #[bits(3)]
    __: u8,
    /// RxChkSum: looks at checksums.
    pub rx_checksum: bool,
    /// RxVLAN: takes 802.1Q tags out.
    pub rx_vlan: bool,
    #[bits(6)]
    __: u8,
    /// Linux: Normal_mode.
    pub normal_mode: bool,
    #[bits(2)]
    __: u8,
}

/// INT_MITIGATE (Linux: IntrMitigate). Nothing waits in a direction whose two fields are 0.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Mitigation {
    /// Received frames, in units of 4, that do not wait.
    #[bits(4)]
    pub rx_frames: u8,
    /// How long received frames wait, in units of [`CPlus::time_unit`].
    #[bits(4)]
    pub rx_time: u8,
    /// As for received ones.
    #[bits(4)]
    pub tx_frames: u8,
    /// As for received ones.
    #[bits(4)]
    pub tx_time: u8,
}

impl Mitigation {
    /// Frames in a unit.
    pub const FRAMES: u32 = 4;

    /// Nanoseconds of a unit of time (Linux): by CPLUS.time_unit and megabits per second.
    pub const fn unit_nanos(time_unit: u8, speed: u32) -> u32 {
        let base = match speed {
            1000 => 5_000,
            100 => 2_560,
            _ => 40_960,
        };
        match time_unit & 3 {
            0 => base,
            1 => 8 * base,
            2 => 16 * base,
            _ => 32 * base,
        }
    }
}

/// MISC (Linux).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Misc {
    #[bits(19)]
    __: u32,
    /// Nothing comes in (RXDV_GATED_EN).
    pub rx_gated: bool,
    #[bits(2)]
    __: u8,
    /// PWM_EN.
    pub pwm: bool,
    #[bits(6)]
    __: u8,
    /// Resets pointers of the transmit FIFO (TXPLA_RST).
    pub tx_reset: bool,
    #[bits(2)]
    __: u8,
}

/// The bit of MAR for a group: its byte, from MAR0 on, and which bit. It is the upper 6 bits of the address's CRC, and chips on PCI
/// Express have the bytes in the other order than their ancestors.
pub const fn multicast_bit(address: [u8; 6]) -> (usize, u8) {
    let mut crc = u32::MAX;
    let mut at = 0;
    while at < 6 {
        let mut bits = address[at];
        let mut left = 8;
        while left > 0 {
            let carry = (crc >> 31 ^ bits as u32 & 1) != 0;
            crc = crc << 1 ^ if carry { 0x04c1_1db7 } else { 0 };
            bits >>= 1;
            left -= 1;
        }
        at += 1;
    }
    let bit = crc >> 26;
    (7 - (bit as usize >> 3), 1 << (bit & 7))
}

redox_driver_sys::register_values!(
    Command: u8, Events: u16, TxConfig: u32, RxConfig: u32, Config1: u8, Config2: u8, Config3: u8, Config5: u8, PhyStatus: u8, Mcu: u8,
    CPlus: u16, Mitigation: u16, Misc: u32,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_is_told_by_bits_around_the_gap() {
        let tcr = TxConfig::new().with_ifg(3).with_burst(7).with_xid(0x541);
        assert_eq!(tcr.into_bits(), 0x5710_0700);
        assert_eq!(tcr.xid(), 0x541);
    }

    #[test]
    fn groups_have_bits_in_bytes_of_the_other_order() {
        // Their CRCs are 0x7fa3_2d9b and 0xf99b_aaba: bits 31 and 62.
        assert_eq!(multicast_bit([0x01, 0x00, 0x5e, 0, 0, 1]), (7 - 31 / 8, 1 << (31 % 8)));
        assert_eq!(multicast_bit([0x33, 0x33, 0, 0, 0, 1]), (7 - 62 / 8, 1 << (62 % 8)));
    }

    #[test]
    fn mitigation_has_received_frames_below() {
        let both = Mitigation::new().with_rx_frames(1).with_rx_time(2).with_tx_frames(3).with_tx_time(4);
        assert_eq!(both.into_bits(), 0x4321);
        assert_eq!(Mitigation::unit_nanos(1, 1000), 40_000);
    }
}
