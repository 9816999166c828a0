//! The command line.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::rig::{self, Rig};
use crate::{smoke, workspace};

/// Developer commands of the Red Bear drivers.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Obtain QEMU, the guest kernel and the guest userland, and nothing else
    Fetch {
        #[command(flatten)]
        rig: rig::Options,
    },
    /// Boot a guest that shows that the rig itself works: IOMMU, NVMe, VFIO, ublk, fio
    Smoke {
        #[command(flatten)]
        rig: rig::Options,
    },
}

/// Runs the command that the user asked for.
///
/// # Errors
/// When it fails; the message is for the user.
pub fn run() -> Result<ExitCode> {
    let cli = Cli::parse();
    let target = workspace::target()?;
    match cli.command {
        Command::Fetch { rig } => {
            let rig = Rig::prepare(&rig, &target)?;
            println!("QEMU {}, kernel {}", rig.qemu.version, rig.kernel.version);
            Ok(ExitCode::SUCCESS)
        }
        Command::Smoke { rig } => smoke::run(&Rig::prepare(&rig, &target)?),
    }
}
