//! The control queue (section 5.1.6.5). A command is read by the device: [`Command`], then its data; a byte of [`Ack`] is written.

use redox_driver_sys::{codes, display_code};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Class and command, 2 bytes (`virtio_net_ctrl`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Command {
    /// What it is about.
    pub class: u8,
    /// What is to be done.
    pub command: u8,
}

impl Command {
    /// VIRTIO_NET_CTRL_RX_PROMISC: a byte, whether all frames are received.
    pub const RX_PROMISC: Command = Command::new(0, 0);
    /// VIRTIO_NET_CTRL_RX_ALLMULTI: a byte, whether all frames to groups are received.
    pub const RX_ALLMULTI: Command = Command::new(0, 1);
    /// VIRTIO_NET_CTRL_MAC_TABLE_SET: addresses of stations, then of groups, each with their number in 32 bits before them.
    pub const MAC_TABLE_SET: Command = Command::new(1, 0);
    /// VIRTIO_NET_CTRL_MAC_ADDR_SET: 6 bytes, the address.
    pub const MAC_ADDR_SET: Command = Command::new(1, 1);
    /// VIRTIO_NET_CTRL_VLAN_ADD: 16 bits, a VLAN that is received.
    pub const VLAN_ADD: Command = Command::new(2, 0);
    /// VIRTIO_NET_CTRL_VLAN_DEL: 16 bits, a VLAN that no longer is.
    pub const VLAN_DEL: Command = Command::new(2, 1);
    /// VIRTIO_NET_CTRL_ANNOUNCE_ACK: the driver has announced itself.
    pub const ANNOUNCE_ACK: Command = Command::new(3, 0);
    /// VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET: 16 bits, how many pairs of queues are used.
    pub const MQ_VQ_PAIRS_SET: Command = Command::new(4, 0);
    /// VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET: 64 bits, which of GUEST_CSUM, GUEST_TSO4, … the driver takes from now on.
    pub const GUEST_OFFLOADS_SET: Command = Command::new(5, 0);

    const fn new(class: u8, command: u8) -> Self {
        Command { class, command }
    }
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Command::RX_PROMISC => f.write_str("VIRTIO_NET_CTRL_RX_PROMISC"),
            Command::RX_ALLMULTI => f.write_str("VIRTIO_NET_CTRL_RX_ALLMULTI"),
            Command::MAC_TABLE_SET => f.write_str("VIRTIO_NET_CTRL_MAC_TABLE_SET"),
            Command::MAC_ADDR_SET => f.write_str("VIRTIO_NET_CTRL_MAC_ADDR_SET"),
            Command::VLAN_ADD => f.write_str("VIRTIO_NET_CTRL_VLAN_ADD"),
            Command::VLAN_DEL => f.write_str("VIRTIO_NET_CTRL_VLAN_DEL"),
            Command::ANNOUNCE_ACK => f.write_str("VIRTIO_NET_CTRL_ANNOUNCE_ACK"),
            Command::MQ_VQ_PAIRS_SET => f.write_str("VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET"),
            Command::GUEST_OFFLOADS_SET => f.write_str("VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET"),
            Command { class, command } => write!(f, "command {command} of class {class}"),
        }
    }
}

codes! {
    /// How a command ended.
    pub struct Ack: u8 {
        /// It was done.
        OK = 0, "VIRTIO_NET_OK";
        /// It was not.
        ERR = 1, "VIRTIO_NET_ERR";
    }
}

display_code!(Ack);
