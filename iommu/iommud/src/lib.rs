//! The IOMMU daemon: AMD-Vi units, and what their clients may reach through them.
#![forbid(unsafe_code)]

pub mod unit;
