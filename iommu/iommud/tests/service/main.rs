//! The daemon's rules, with clients that speak the protocol and a modelled unit.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod firmware;
mod hostile;
mod life;
mod log;
mod support;
