//! The command line.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::rig::{self, Rig};
use crate::{bench, demo, dev, redox, smoke, workspace};

/// Developer commands of the Red Bear drivers.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show drivers at work in QEMU guests; writes target/demo/report.html
    Demo(demo::Selection),
    /// Boot an interactive guest with a driver's devices, its daemon and a shell
    Qemu {
        /// The driver, as nvmed
        driver: String,
        #[command(flatten)]
        rig: rig::Options,
    },
    /// Run the workspace's tests, with nextest where it is installed
    Test {
        /// Shorten the long property and fault runs (tests see RB_QUICK=1)
        #[arg(long)]
        quick: bool,
    },
    /// Try the daemons on a Redox that you built; writes target/redox/report/report.html
    Redox(Box<redox::Request>),
    /// Type-check and lint every crate for Redox with the stable toolchain
    RedoxCheck {
        #[command(flatten)]
        rig: rig::Options,
    },
    /// Run everything that must hold before a change lands
    Ci {
        #[command(flatten)]
        rig: rig::Options,
    },
    /// Obtain QEMU, the guest kernel and the guest userland, and nothing else
    Fetch {
        #[command(flatten)]
        rig: rig::Options,
    },
    /// Measure the drivers beside their peers
    Bench(Box<bench::Request>),
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
        Command::Demo(options) => demo::run(&options),
        Command::Qemu { driver, rig } => demo::interact(&driver, &rig),
        Command::Test { quick } => {
            let counts = dev::test::run(quick)?;
            println!("{counts}");
            let good = counts.failed == 0 && counts.passed > 0;
            Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Redox(request) => redox::run(&request, &target),
        Command::RedoxCheck { rig } => dev::redox::run(&rig).map(|()| ExitCode::SUCCESS),
        Command::Ci { rig } => dev::ci::run(&rig).map(|()| ExitCode::SUCCESS),
        Command::Fetch { rig } => {
            let rig = Rig::prepare(&rig, &target)?;
            println!("QEMU {}, kernel {}", rig.qemu.version, rig.kernel.version);
            Ok(ExitCode::SUCCESS)
        }
        Command::Bench(request) => bench::run(&request, &target),
        Command::Smoke { rig } => smoke::run(&Rig::prepare(&rig, &target)?),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn is_a_valid_command() {
        super::Cli::command().debug_assert();
    }
}
