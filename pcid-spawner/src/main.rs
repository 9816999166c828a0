//! Starts and supervises the daemon of every PCI function that a pcid.d file claims, on Linux.

#![forbid(unsafe_code)]

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    pcid_spawner::cli::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("pcid-spawner: this one is for Linux; Redox's is part of its base system");
    ExitCode::FAILURE
}
