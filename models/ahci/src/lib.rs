//! A behavioural model of an AHCI controller with ATA disks, ATAPI drives and port multipliers.
//!
//! Written from AHCI 1.3.1, SATA 3.3 and ACS-4, not from any driver. It is put into a
//! [`redox_driver_sys::model::Host`] for tests in one process; everything it does to the machine goes through
//! [`redox_driver_sys::model::Bus`]. The [`Handle`] stays with the test: it looks into the media, counts, plugs and
//! unplugs devices, installs a [`FaultPlan`] and cuts the power.
//!
//! ```
//! use model_ahci::{Ahci, Config};
//! use redox_driver_sys::model::Host;
//!
//! let (ahci, handle) = Ahci::new(Config::default());
//! let host = Host::new(Box::new(ahci));
//! assert_eq!(host.function().ids().unwrap().interface, 0x01);
//! assert_eq!(handle.statistics().resets, 0);
//! ```
#![forbid(unsafe_code)]

mod cd;
mod command;
mod config;
mod device;
mod disk;
mod fault;
mod handle;
mod hba;
mod link;
mod pmp;
mod port;
mod registers;
mod statistics;
mod target;
mod transfer;
mod violation;

pub use config::{CdConfig, Config, DeviceConfig, DiskConfig, Latency, Trim};
pub use device::Ahci;
pub use fault::{Action, Commands, FaultPlan, LifecycleFault, Rule, Trouble};
pub use handle::{Handle, Place, PowerCut};
pub use model_support::fault::StuckBits;
pub use statistics::Statistics;
pub use violation::Violation;
