//! Devices without hardware, and a network stack to put on devices, for tests.

// Tests stop at the first thing that is not as it must be.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, reason = "see above")]

mod driven;
mod end;
pub mod faults;
pub mod frames;
mod mail;
mod numbered;
mod stack;
mod wire;

pub use driven::{Came, Driven, NEGOTIATION, Wire};
pub use end::{WireEnd, engine, stations};
pub use mail::MailPort;
pub use stack::{EchoServer, Nic, Served, Station, ping, tcp_echo};
pub use wire::{Handle, Trouble, WireDevice, WireQueue, wire};
