//! Intel's gigabit Ethernet controllers: 82540EM, 82544, 82545EM on PCI and PCI-X, 82574L on PCI Express.
//!
//! [`E1000::attach`] takes a PCI function over and yields a [`driver_network::NetDevice`]; the framework does the rest. Section
//! numbers are those of the manuals that `e1000-spec` names.

#![forbid(unsafe_code)]

mod adapter;
mod error;
mod filter;
mod inspect;
mod mdio;
mod nvm;
mod offload;
mod options;
mod queue;
mod registers;
mod rx;
mod statistics;
mod tx;
mod wake;

pub use adapter::E1000;
pub use error::{Error, Result};
pub use options::{Options, RING};
pub use queue::Pair;
pub use wake::WAKE_ON;
