//! A behavioural model of an NVMe controller.
//!
//! Written from NVM Express Base 1.4 and the NVM command set, not from any driver. It is put into a
//! [`redox_driver_sys::model::Host`] for tests in one process; everything it does to the machine goes through
//! [`redox_driver_sys::model::Bus`], so that a server may put it into a virtual machine instead. The [`Handle`] stays
//! with the test: it looks into the medium, counts, changes namespaces, installs a [`FaultPlan`] and cuts the power.
//!
//! ```
//! use model_nvme::{Config, Nvme};
//! use redox_driver_sys::model::Host;
//!
//! let (nvme, handle) = Nvme::new(Config::default());
//! let host = Host::new(Box::new(nvme));
//! let function = host.function();
//! assert_eq!(function.ids().unwrap().class, 0x01);
//! assert_eq!(handle.statistics().resets, 0);
//! ```
#![forbid(unsafe_code)]

mod admin;
mod config;
mod controller;
mod device;
mod engine;
mod event;
mod fault;
mod feature;
mod handle;
mod hmb;
mod identify;
mod interrupt;
mod lifecycle;
mod log;
mod namespace;
mod nvm;
mod power;
mod queue;
mod registers;
mod sgl;
mod statistics;
mod transfer;
mod violation;

pub use config::{Config, HostMemoryWishes, Latency, NamespaceConfig};
pub use device::Nvme;
pub use fault::{Action, Commands, FaultPlan, LifecycleFault, Rule, random_faults};
pub use handle::{Handle, PowerCut};
pub use model_support::fault::StuckBits;
pub use statistics::Statistics;
pub use violation::Violation;
