//! What every driver daemon stands on, whatever it drives and wherever it runs: its arguments ([`args`]), its log
//! ([`logger`]), its life from readiness to termination ([`daemon`]) and the privileges it gives up ([`privileges`]). And what
//! several drivers know about hardware: how often a network device may interrupt ([`itr`]), and the PHY behind it ([`phy`]).
//!
//! A daemon's `main` in outline:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use clap::Parser;
//! use common::{args::DaemonArgs, daemon::{Readiness, Termination}, logger::Logging, privileges::Policy};
//!
//! #[derive(Parser)]
//! struct Args {
//!     #[command(flatten)]
//!     daemon: DaemonArgs,
//! }
//!
//! fn main() -> ExitCode {
//!     common::exit(run(&Args::parse().daemon))
//! }
//!
//! fn run(args: &DaemonArgs) -> anyhow::Result<()> {
//!     Logging::new("disk", "pci", "disk.pci-0000-00-04.0-nvme").level(args.log.log_level).init()?;
//!     let mut termination = Termination::install()?;
//!     let readiness = Readiness::from_env()?;
//!     // attach, reset, negotiate, register …
//!     readiness.notify()?;
//!     Policy::new().restrict();
//!     while !termination.requested() {
//!         // serve
//! #       break;
//!     }
//!     // drain, flush, quiesce
//!     Ok(())
//! }
//! ```

#![forbid(unsafe_code)]

pub mod args;
pub mod daemon;
mod exit;
#[cfg(target_os = "linux")]
pub mod inspect;
pub mod itr;
pub mod logger;
pub mod phy;
pub mod privileges;
pub mod signals;

pub use exit::{exit, exit_code};
pub use logger::{file_level, output_level, setup_logging};
pub use redox_driver_sys;
