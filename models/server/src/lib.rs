//! Device models as devices of a virtual machine.
//!
//! A [`Server`] speaks vfio-user with QEMU's `vfio-user-pci`: the guest finds the model as a PCI function, and its own driver,
//! which knows nothing of this project, judges whether the model behaves as its specification says.
#![forbid(unsafe_code)]

mod function;
mod interrupts;
mod memory;
mod regions;
mod server;

pub use server::{Observer, ServeError, Server, Waker};
