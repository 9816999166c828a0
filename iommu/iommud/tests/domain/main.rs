//! Page tables and domains: against an oracle, and with the modelled unit walking what they wrote.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod random;
mod reserved;
mod scale;
mod tables;
