//! What can go wrong with the packets of a network device.

use std::{fmt, time::Duration};

/// What goes wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// It is lost, on the wire or before.
    Drop,
    /// Its queue stops before it until the device is reset: the head is stuck.
    Hang,
    /// Its descriptors are never written back.
    NoWriteBack,
    /// A received packet's last length is another one, combined by exclusive or.
    BadLength(u16),
    /// The status and errors of a received packet are other ones, combined by exclusive or.
    BadStatus(u32),
    /// It does not interrupt.
    LoseInterrupt,
    /// An interrupt comes for nothing.
    SpuriousInterrupt,
    /// Bytes of it are garbage: its frame check sequence shows it.
    Garbage,
    /// The link is gone for so long.
    LinkFlap(Duration),
    /// The device is pulled out: registers read as all ones and nothing is ever done again.
    Remove,
    /// The device reads this address, which may not be its own.
    WildRead(u64),
    /// The device writes to this address, which may not be its own.
    WildWrite(u64),
}

/// Packets that a rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packets {
    /// All.
    #[default]
    Any,
    /// Those that are sent.
    Sent,
    /// Those that are received.
    Received,
}

impl Packets {
    /// Whether one that is sent, or else received, is among them.
    pub fn matches(self, sent: bool) -> bool {
        match self {
            Packets::Any => true,
            Packets::Sent => sent,
            Packets::Received => !sent,
        }
    }
}

impl fmt::Display for Packets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Packets::Any => "any packet",
            Packets::Sent => "packets sent",
            Packets::Received => "packets received",
        })
    }
}
