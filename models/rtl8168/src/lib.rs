//! A behavioural model of Realtek's gigabit Ethernet controllers on PCI Express, RTL8168B to RTL8168H.
//!
//! Written from the data sheet and what is known of later chips (see `rtl8168-spec`), not from a driver of this project. It is put into a
//! [`redox_driver_sys::model::Host`] for tests in one process. The [`Handle`] stays with the test: it is the other end of the
//! wire, pulls the cable, counts, and installs a [`FaultPlan`].
//!
//! ```
//! use model_rtl8168::{Config, Rtl8168};
//! use redox_driver_sys::model::Host;
//!
//! let (rtl8168, handle) = Rtl8168::new(Config::default());
//! let host = Host::new(Box::new(rtl8168));
//! assert_eq!(host.function().ids().unwrap().vendor, 0x10ec);
//! assert!(handle.take_sent().is_empty());
//! ```
#![forbid(unsafe_code)]

mod config;
mod core;
mod device;
mod fault;
mod handle;
mod indirect;
mod interrupt;
mod receive;
mod registers;
mod ring;
mod statistics;
mod tally;
mod transmit;
mod violation;

pub use config::Config;
pub use device::Rtl8168;
pub use fault::{FaultPlan, LifecycleFault, Rule};
pub use handle::Handle;
pub use model_support::{
    fault::StuckBits,
    network::{Action, Packets},
    packet::internet_sum,
    phy::Partner,
};
pub use statistics::Statistics;
pub use violation::Violation;
