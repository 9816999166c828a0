//! Realtek's gigabit Ethernet controllers on PCI Express: RTL8168B/8111B to RTL8168H/8111H.
//!
//! [`Rtl8168::attach`] takes a PCI function over and yields a [`driver_network::NetDevice`]; the framework does the rest. What chips
//! there are and how they differ is data, in `rtl8168-spec`.

#![forbid(unsafe_code)]

mod adapter;
mod error;
mod filter;
mod indirect;
mod inspect;
mod mdio;
mod offload;
mod options;
mod queue;
mod registers;
mod rx;
mod statistics;
mod tx;
mod wake;

pub use adapter::Rtl8168;
pub use error::{Error, MdioError, Result};
pub use options::{Options, RING};
pub use queue::Pair;
pub use wake::WAKE_ON;
