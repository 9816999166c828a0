//! Statistics registers: they stick at their end and are cleared when they are read (8254x section 13.7, 82574 section 10.2.6).

/// The first one.
pub const FIRST: u64 = 0x4000;
/// Behind the last one.
pub const END: u64 = 0x4128;

/// One counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Its offset. One of 64 bits has its upper half behind it, which is read last and clears both.
    pub offset: u64,
    /// What Linux's `ethtool -S` calls it.
    pub name: &'static str,
    /// Whether it has 64 bits.
    pub wide: bool,
}

const fn narrow(offset: u64, name: &'static str) -> Counter {
    Counter { offset, name, wide: false }
}

const fn wide(offset: u64, name: &'static str) -> Counter {
    Counter { offset, name, wide: true }
}

/// CRC Error Count.
pub const CRCERRS: u64 = 0x4000;
/// Alignment Error Count.
pub const ALGNERRC: u64 = 0x4004;
/// RX Error Count.
pub const RXERRC: u64 = 0x400c;
/// Missed Packets Count: the FIFO was full.
pub const MPC: u64 = 0x4010;
/// XON Received Count.
pub const XONRXC: u64 = 0x4048;
/// XON Transmitted Count.
pub const XONTXC: u64 = 0x404c;
/// XOFF Received Count.
pub const XOFFRXC: u64 = 0x4050;
/// XOFF Transmitted Count.
pub const XOFFTXC: u64 = 0x4054;
/// Good Packets Received Count.
pub const GPRC: u64 = 0x4074;
/// Broadcast Packets Received Count.
pub const BPRC: u64 = 0x4078;
/// Multicast Packets Received Count.
pub const MPRC: u64 = 0x407c;
/// Good Packets Transmitted Count.
pub const GPTC: u64 = 0x4080;
/// Good Octets Received Count, with the frame check sequence.
pub const GORC: u64 = 0x4088;
/// Good Octets Transmitted Count, with the frame check sequence.
pub const GOTC: u64 = 0x4090;
/// Receive No Buffers Count.
pub const RNBC: u64 = 0x40a0;
/// Receive Undersize Count.
pub const RUC: u64 = 0x40a4;
/// Receive Oversize Count.
pub const ROC: u64 = 0x40ac;
/// Total Packets Received.
pub const TPR: u64 = 0x40d0;
/// Total Packets Transmitted.
pub const TPT: u64 = 0x40d4;
/// Multicast Packets Transmitted Count.
pub const MPTC: u64 = 0x40f0;
/// Broadcast Packets Transmitted Count.
pub const BPTC: u64 = 0x40f4;
/// TCP Segmentation Context Transmitted Count.
pub const TSCTC: u64 = 0x40f8;
/// TCP Segmentation Context Transmit Fail Count.
pub const TSCTFC: u64 = 0x40fc;

/// All that are shown, in the order in which they are shown.
pub const COUNTERS: &[Counter] = &[
    narrow(GPRC, "rx_packets"),
    narrow(GPTC, "tx_packets"),
    wide(GORC, "rx_bytes"),
    wide(GOTC, "tx_bytes"),
    narrow(BPRC, "rx_broadcast"),
    narrow(BPTC, "tx_broadcast"),
    narrow(MPRC, "rx_multicast"),
    narrow(MPTC, "tx_multicast"),
    narrow(CRCERRS, "rx_crc_errors"),
    narrow(ALGNERRC, "rx_align_errors"),
    narrow(RXERRC, "rx_symbol_errors"),
    narrow(MPC, "rx_missed_errors"),
    narrow(RNBC, "rx_no_buffer_count"),
    narrow(RUC, "rx_short_length_errors"),
    narrow(ROC, "rx_long_length_errors"),
    narrow(0x4018, "tx_aborted_errors"),
    narrow(0x4020, "tx_abort_late_coll"),
    narrow(0x4014, "tx_single_coll_ok"),
    narrow(0x401c, "tx_multi_coll_ok"),
    narrow(0x4028, "collisions"),
    narrow(0x4030, "tx_deferred_ok"),
    narrow(0x4034, "tx_carrier_errors"),
    narrow(XONRXC, "rx_flow_control_xon"),
    narrow(XOFFRXC, "rx_flow_control_xoff"),
    narrow(XONTXC, "tx_flow_control_xon"),
    narrow(XOFFTXC, "tx_flow_control_xoff"),
    narrow(TSCTC, "tx_tcp_seg_good"),
    narrow(TSCTFC, "tx_tcp_seg_failed"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_told_apart() {
        for (at, counter) in COUNTERS.iter().enumerate() {
            assert!((FIRST..END).contains(&counter.offset) && counter.offset.is_multiple_of(4));
            let twice = |other: &Counter| other.offset == counter.offset || other.name == counter.name;
            assert!(!COUNTERS[at + 1..].iter().any(twice), "{counter:?}");
        }
    }
}
