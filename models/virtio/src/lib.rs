//! A behavioural model of virtio devices.
//!
//! Written from Virtual I/O Device (VIRTIO) 1.2, not from any driver. [`Virtio`] is the transport with its rings, and whatever
//! [`DeviceType`] it is given; [`Blk`] is the one for block devices, [`Net`] that for network devices. It is put into a [`redox_driver_sys::model::Host`]; all
//! that it does to the machine goes through [`redox_driver_sys::model::Bus`]. The [`Handle`] stays with the test: it counts,
//! collects what the driver did wrong, installs a [`FaultPlan`], and changes the device.
//!
//! ```
//! use model_virtio::{Blk, BlkConfig, TransportConfig, Virtio};
//! use redox_driver_sys::model::Host;
//!
//! let (device, handle) = Virtio::new(TransportConfig::default(), Blk::new(BlkConfig::default()));
//! let host = Host::new(Box::new(device));
//! assert_eq!(host.function().ids().unwrap().device, 0x1042);
//! assert_eq!(handle.statistics().resets, 0);
//! ```
#![forbid(unsafe_code)]

mod blk;
mod config;
mod core;
mod device;
mod device_type;
mod engine;
mod fault;
mod handle;
mod interrupt;
mod net;
mod registers;
pub mod ring;
mod statistics;
mod violation;

pub use blk::{Blk, BlkConfig, PowerCut};
pub use config::{Latency, TransportConfig};
pub use device::Virtio;
pub use device_type::{DeviceType, Execution};
pub use fault::{Action, FaultPlan, LifecycleFault, Requests, Rule};
pub use handle::Handle;
pub use net::{Net, NetConfig, NetCounts, NetState};
pub use statistics::Statistics;
pub use violation::Violation;
