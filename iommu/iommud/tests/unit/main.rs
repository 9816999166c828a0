//! The driver of a unit, on the model of one.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod allocations;
mod devices;
mod enabling;
mod events;
mod faults;
mod interrupts;
mod invalidation;
mod recovery;
mod support;
mod through;
