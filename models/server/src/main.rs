//! A device model as a device of a virtual machine.
#![forbid(unsafe_code)]

mod cable;
mod devices;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use common::{args::LogArgs, logger::Logging};

use devices::Kind;

/// Serves a device model to QEMU over vfio-user.
///
/// The guest's memory must be shared: -object memory-backend-memfd,id=m,size=2G,share=on -machine memory-backend=m, and
/// then -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"PATH"}}'. The server ends with its guest.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Where QEMU finds the device, or each of them; must not exist yet
    #[arg(long = "socket", value_name = "PATH", required = true)]
    sockets: Vec<PathBuf>,
    /// The device
    #[command(subcommand)]
    device: Kind,
    #[command(flatten)]
    log: LogArgs,
}

fn main() -> ExitCode {
    common::exit(run(&Args::parse()))
}

fn run(args: &Args) -> anyhow::Result<()> {
    Logging::new("model", "pci", "model").level(args.log.log_level).init()?;
    let servers = args.device.listen(&args.sockets)?;
    log::info!("{}", args.device);
    std::thread::scope(|scope| {
        let serving: Vec<_> = servers.iter().map(|server| scope.spawn(|| server.serve())).collect();
        for served in serving {
            served.join().map_err(|_| anyhow::anyhow!("a model panicked"))??;
        }
        Ok(())
    })
}
