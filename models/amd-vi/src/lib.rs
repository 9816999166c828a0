//! A behavioural model of AMD's IOMMU.
//!
//! Written from the AMD I/O Virtualization Technology (IOMMU) Specification (48882), not from any driver. Registers,
//! commands, tables and logs are as the specification has them; tables are walked in the machine's memory, and what was
//! looked up once is remembered until a command makes the IOMMU forget it: a driver that omits an invalidation is found
//! out. A [`Machine`] has memory, one or more units, the IVRS that its firmware would write, and devices behind the units:
//! other models, whose DMA and interrupts pass through, or single accesses by [`Machine::dma_read`] and
//! [`Machine::dma_write`]. The [`Handle`] of a unit counts, notes what the driver must not do, and takes a [`FaultPlan`].
//!
//! ```
//! use amd_vi_spec::DeviceId;
//! use model_amd_vi::{Config, Machine};
//!
//! let machine = Machine::new([Config::default()]);
//! let memory = machine.memory().allocator().allocate(4096).unwrap();
//! // Nobody has enabled the IOMMU: everything passes.
//! let device = DeviceId::new(0, 4, 0);
//! machine.dma_write(device, memory.addr().get(), b"hello").unwrap();
//! assert_eq!(memory.read::<[u8; 5]>(0).unwrap(), *b"hello");
//! assert!(amd_vi_spec::ivrs::Ivrs::parse(&machine.ivrs()).is_ok());
//! ```
#![forbid(unsafe_code)]

mod cache;
mod command;
mod config;
mod core;
mod device;
mod device_table;
mod event;
mod fault;
mod firmware;
mod handle;
mod interrupt;
mod machine;
mod registers;
mod statistics;
mod tables;
mod translate;
mod violation;
mod walk;

pub use config::{Config, MemoryRange};
pub use device::AmdVi;
pub use fault::{Action, Commands, FaultPlan, LifecycleFault, Rule};
pub use handle::Handle;
pub use interrupt::Delivered;
pub use machine::Machine;
pub use model_support::fault::StuckBits;
pub use statistics::Statistics;
pub use tables::Tables;
pub use violation::Violation;
pub use walk::{Page, Table, WalkFault, walk};
