//! `cargo xtask redox`: our daemons on a Redox that the user built. See `docs/redox.md`.

mod bench;
mod check;
mod data;
mod image;
pub mod initfs;
mod network;
mod parts;
mod plans;
mod programs;
mod subject;
mod targets;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use self::initfs::{Initfs, Node};
use self::parts::Parts;
use self::subject::Subject;
use crate::rig;

/// What the user asked for.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Request {
    #[command(subcommand)]
    task: Option<Task>,
    /// Drivers to try; all of them when none is named
    #[arg(value_enum, value_name = "DRIVER")]
    drivers: Vec<Subject>,
    /// Boot only the guests with these names
    #[arg(long, value_name = "GUEST")]
    only: Vec<String>,
    /// Try the boots on upstream's driver instead of ours, leaving out what only ours has
    #[arg(long)]
    upstream: bool,
    #[command(flatten)]
    parts: Parts,
    #[command(flatten)]
    rig: rig::Options,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Put our storage drivers into an initfs in place of upstream's; without --out, list what an initfs has
    Initfs(InitfsRequest),
    /// Try our network drivers under Redox's own network stack
    Network(network::Request),
    /// Measure our driver beside upstream's; writes target/bench/DRIVER-redox.json
    Bench(bench::Request),
}

#[derive(Debug, Args)]
struct InitfsRequest {
    /// The initfs with upstream's driver, as a build's usr/lib/boot/initfs
    #[arg(value_name = "FILE")]
    from: PathBuf,
    /// Where the new one goes
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The driver that is put there; can be given again
    #[arg(long = "driver", value_enum, value_name = "DRIVER", default_values_t = [Subject::Nvmed])]
    drivers: Vec<Subject>,
    #[command(flatten)]
    parts: Parts,
    #[command(flatten)]
    rig: rig::Options,
}

/// Does what the user asked for.
///
/// # Errors
/// When something is missing or fails. Failed checks end it with a failure status.
pub fn run(request: &Request, target: &Path) -> Result<ExitCode> {
    match &request.task {
        None => {
            let drivers =
                if request.drivers.is_empty() { subject::ALL.to_vec() } else { request.drivers.clone() };
            let selection =
                check::Selection { drivers, only: request.only.clone(), upstream: request.upstream };
            check::run(&request.parts, &request.rig, &selection, target)
        }
        Some(Task::Initfs(request)) => make_initfs(request, target).map(|()| ExitCode::SUCCESS),
        Some(Task::Network(request)) => network::run(request, target),
        Some(Task::Bench(request)) => bench::run(request, target),
    }
}

fn make_initfs(request: &InitfsRequest, target: &Path) -> Result<()> {
    let mut initfs = image::read_initfs(&request.from)?;
    let Some(out) = &request.out else {
        list(&initfs);
        return Ok(());
    };
    let daemons: Vec<_> = request.drivers.iter().map(|driver| driver.program()).collect();
    for (daemon, program) in
        daemons.iter().zip(programs::obtain(&request.parts, &request.rig, target, &daemons)?)
    {
        println!("{}", image::install(&mut initfs, *daemon, &program, &[])?);
    }
    let bytes = initfs.write()?;
    // What was written is what will be read at boot.
    Initfs::read(&bytes).context("the new initfs cannot be read")?;
    fs::write(out, &bytes).with_context(|| format!("cannot write {}", out.display()))?;
    println!("{}: {} bytes", out.display(), bytes.len());
    Ok(())
}

fn list(initfs: &Initfs) {
    println!("bootstrap program: {} bytes, entry {:#x}", initfs.bootstrap.len(), initfs.entry);
    initfs.walk(&mut |path, node| match node {
        Node::File { data, executable } => {
            let kind = if *executable { 'x' } else { '-' };
            println!("{kind} {:>9} {path}", data.len());
        }
        Node::Directory(_) => println!("d {:>9} {path}", ""),
        Node::Link(to) => println!("l {:>9} {path} -> {}", "", String::from_utf8_lossy(to)),
    });
}
