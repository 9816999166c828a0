//! The IOMMU daemon: AMD-Vi units, and what their clients may reach through them.
//!
//! [`unit`](mod@unit) drives one unit. [`table`] and [`iova`] are what a [`domain`] is made of. [`service`] decides who may what, for
//! clients that speak the protocol of `docs/iommu-protocol.md`.
#![forbid(unsafe_code)]

pub mod domain;
mod error;
pub mod iova;
#[cfg(target_os = "linux")]
pub mod linux;
pub mod service;
pub mod table;
pub mod unit;

pub use error::{Error, Result};
