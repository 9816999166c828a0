//! Tally counters, which the device writes into memory on demand (8168B section 2.2).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// DTCCR: write the counters to the address; reads as one until that is done.
pub const DUMP: u32 = 1 << 3;
/// DTCCR: set them to zero (8168C and later); reads as one until that is done.
pub const RESET: u32 = 1;
/// Where the counters may be written: a multiple of this, which is also their length.
pub const ALIGN: usize = 64;

/// The counters as they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Tally {
    /// Packets that were sent.
    pub tx_packets: u64,
    /// Frames that were received.
    pub rx_packets: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Frames that were damaged.
    pub rx_errors: u32,
    /// Frames that there was no room for.
    pub rx_missed: u16,
    /// Frames that were no whole number of bytes.
    pub align_errors: u16,
    /// Packets that were sent after one collision.
    pub tx_one_collision: u32,
    /// Packets that were sent after several.
    pub tx_multi_collision: u32,
    /// Frames to the own address.
    pub rx_unicast: u64,
    /// Frames to everybody.
    pub rx_broadcast: u64,
    /// Frames to groups.
    pub rx_multicast: u32,
    /// Packets that were given up.
    pub tx_aborted: u16,
    /// Packets whose memory came too late.
    pub tx_underrun: u16,
}

const _: () = assert!(size_of::<Tally>() == ALIGN);

impl Tally {
    /// What was counted since an earlier look: each counter starts anew after its end.
    #[must_use]
    pub const fn since(&self, earlier: &Tally) -> Tally {
        Tally {
            tx_packets: self.tx_packets.wrapping_sub(earlier.tx_packets),
            rx_packets: self.rx_packets.wrapping_sub(earlier.rx_packets),
            tx_errors: self.tx_errors.wrapping_sub(earlier.tx_errors),
            rx_errors: self.rx_errors.wrapping_sub(earlier.rx_errors),
            rx_missed: self.rx_missed.wrapping_sub(earlier.rx_missed),
            align_errors: self.align_errors.wrapping_sub(earlier.align_errors),
            tx_one_collision: self.tx_one_collision.wrapping_sub(earlier.tx_one_collision),
            tx_multi_collision: self.tx_multi_collision.wrapping_sub(earlier.tx_multi_collision),
            rx_unicast: self.rx_unicast.wrapping_sub(earlier.rx_unicast),
            rx_broadcast: self.rx_broadcast.wrapping_sub(earlier.rx_broadcast),
            rx_multicast: self.rx_multicast.wrapping_sub(earlier.rx_multicast),
            tx_aborted: self.tx_aborted.wrapping_sub(earlier.tx_aborted),
            tx_underrun: self.tx_underrun.wrapping_sub(earlier.tx_underrun),
        }
    }

    /// All of them with the names that Linux's `ethtool -S` has, in its order.
    pub fn named(&self) -> [(&'static str, u64); 13] {
        [
            ("tx_packets", self.tx_packets),
            ("rx_packets", self.rx_packets),
            ("tx_errors", self.tx_errors),
            ("rx_errors", self.rx_errors.into()),
            ("rx_missed", self.rx_missed.into()),
            ("align_errors", self.align_errors.into()),
            ("tx_single_collisions", self.tx_one_collision.into()),
            ("tx_multi_collisions", self.tx_multi_collision.into()),
            ("unicast", self.rx_unicast),
            ("broadcast", self.rx_broadcast),
            ("multicast", self.rx_multicast.into()),
            ("tx_aborted", self.tx_aborted.into()),
            ("tx_underrun", self.tx_underrun.into()),
        ]
    }
}
