//! A behavioural model of Intel's gigabit Ethernet controllers: the 8254x (82540EM, 82545EM, 82544) and the 82574L.
//!
//! Written from Intel's manuals, not from any driver: see `e1000-spec` for which. It is put into a
//! [`redox_driver_sys::model::Host`] for tests in one process. The [`Handle`] stays with the test: it is the other end of the
//! wire, pulls the cable, counts, and installs a [`FaultPlan`].
//!
//! ```
//! use model_e1000::{Config, E1000};
//! use redox_driver_sys::model::Host;
//!
//! let (e1000, handle) = E1000::new(Config::default());
//! let host = Host::new(Box::new(e1000));
//! assert_eq!(host.function().ids().unwrap().class, 0x02);
//! assert!(handle.take_sent().is_empty());
//! ```
#![forbid(unsafe_code)]

mod config;
mod core;
mod device;
mod fault;
mod filter;
mod handle;
mod interrupt;
mod management;
mod receive;
mod registers;
mod ring;
mod rss;
mod statistics;
mod transmit;
mod violation;

pub use config::Config;
pub use device::E1000;
pub use fault::{FaultPlan, LifecycleFault, Rule};
pub use handle::Handle;
pub use model_support::{
    fault::StuckBits,
    network::{Action, Packets},
    packet::internet_sum,
    phy::Partner,
};
pub use rss::toeplitz;
pub use statistics::Statistics;
pub use violation::Violation;
