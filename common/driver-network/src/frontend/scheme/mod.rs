//! Redox: the scheme `network.pci-…` in front of a device.
//!
//! | node | read | write |
//! |---|---|---|
//! | `""` | the next frame, without its check sequence; waits for one unless the client does not want to | a frame |
//! | `mac` | the six bytes of the address | six bytes: a new address |
//! | `mtu` | payload bytes of a frame, as text | a new number, as text: the device is reset for it |
//! | `link` | `down`, or `up` with speed, duplex and flow control | |
//! | `stats` | a counter in each line, by the names of Linux's `ethtool -S` where it has one | |
//! | `offload` | a feature in each line, with `on` or `off` | |
//!
//! The first two are as upstream has them. Only root may open any, 4,096 at a time. A frame that does not fit into the buffer of a read
//! stays, and the read fails with `EMSGSIZE`; so does a write that is longer than a frame can be. One that is shorter than an Ethernet
//! header is `EINVAL`. A client that waits for events is told when a frame has come, and when there is room again after there was none
//! for a write or when it began to wait.

mod node;
mod port;
mod server;
#[cfg(all(test, feature = "testing"))]
mod tests;

pub use port::SchemePort;
pub use server::{NetworkScheme, ROOT};
