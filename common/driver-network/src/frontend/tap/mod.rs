//! Linux: a TAP interface in front of the device.
//!
//! Whatever the network stack sends through the interface goes to the device, and what that receives comes out of the interface. Packets
//! are read into and written from the device's memory. Checksums, and packets that are to be cut, are left to the device as far as it can.
//! The interface outlives the daemon: one that is killed loses packets, but no connection.
//!
//! The crate tun-rs (2.8) is not used: its ways to move packets with offloads are for packets without Ethernet headers and through memory of
//! its own, and it sets the offloads to what it does itself.

mod interface;
mod port;

pub use interface::{Interface, InterfaceState, offload};
pub use port::TapPort;
