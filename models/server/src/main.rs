//! A device model as a device of a virtual machine.
#![forbid(unsafe_code)]

mod devices;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use common::{args::LogArgs, logger::Logging};
use model_server::Server;

use devices::Kind;

/// Serves a device model to QEMU over vfio-user.
///
/// The guest's memory must be shared: -object memory-backend-memfd,id=m,size=2G,share=on -machine memory-backend=m, and
/// then -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"PATH"}}'. The server ends with its guest.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Where QEMU finds the device; must not exist yet
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
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
    let (device, complaints) = args.device.build();
    let server = Server::listen(&args.socket, device, complaints)?;
    log::info!("{} at {}", args.device, args.socket.display());
    server.serve()?;
    Ok(())
}
