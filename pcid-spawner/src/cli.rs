//! The command line.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use clap::{Parser, Subcommand};
use common::{args::LogArgs, logger::Logging};
use pcid_config::{Config, DEFAULT_DIRS};
use redox_driver_sys::{fd, pci::PciAddress};

use crate::{
    backoff::Limits,
    plan::Candidate,
    report,
    roots::Roots,
    service::Bounds,
    status::{self, Publisher},
    supervisor::{Options, Supervisor, is_left_behind, log_problems},
};

/// Starts and supervises the daemon of every PCI function that a pcid.d file claims.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Read the pcid.d files of DIR instead of /usr/lib/pcid.d and /etc/pcid.d. Can be given several times.
    #[arg(long, value_name = "DIR", global = true)]
    config: Vec<PathBuf>,

    /// Where programs are that a file names without a directory.
    #[arg(long, value_name = "DIR", default_value = "/usr/lib/drivers", global = true)]
    drivers: PathBuf,

    /// Look at this PCI function only, as in 0000:00:04.0. Can be given several times; each must be claimed and usable.
    #[arg(long, value_name = "ADDRESS", global = true)]
    device: Vec<PciAddress>,

    /// Where the state is kept for `pcid-spawner status`.
    #[arg(long, value_name = "DIR", default_value = "/run/pcid-spawner", global = true)]
    run_dir: PathBuf,

    /// Say what would be done, and change nothing.
    #[arg(long)]
    dry_run: bool,

    /// Exit when every daemon is ready or has failed, and leave them running unsupervised.
    #[arg(long)]
    once: bool,

    /// Leave functions bound to vfio-pci at the end.
    #[arg(long)]
    keep: bool,

    /// How long a daemon may take to become ready before it counts as crashed.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    ready_timeout: Duration,

    /// How long a daemon may take to end after SIGTERM before it is killed.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    stop_timeout: Duration,

    /// The pause before the first restart after a crash; it doubles with every further crash.
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = humantime::parse_duration)]
    restart_delay: Duration,

    /// The longest pause before a restart.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    restart_delay_max: Duration,

    /// A daemon that was ready for this long is forgiven its earlier crashes.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    stable_after: Duration,

    #[command(flatten)]
    log: LogArgs,

    #[arg(long, value_name = "DIR", default_value = "/sys", hide = true, global = true)]
    sysfs: PathBuf,

    #[arg(long, value_name = "DIR", default_value = "/proc", hide = true, global = true)]
    proc: PathBuf,

    #[arg(long, value_name = "DIR", default_value = "/dev", hide = true, global = true)]
    dev: PathBuf,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Command {
    /// List the PCI functions, and which entry of which file claims each.
    List,
    /// Show the daemons of the pcid-spawner that is running.
    Status,
}

/// The program.
pub fn main() -> ExitCode {
    common::exit(run(&Args::parse()))
}

fn run(args: &Args) -> anyhow::Result<()> {
    Logging::new("bus", "pci", "pcid-spawner").level(args.log.log_level).init()?;
    if let Some(Command::Status) = args.command {
        return show_status(args);
    }
    let options = options(args);
    let config = load(args, &options)?;
    let candidates = options.plan(&config, &BTreeMap::new())?;
    if let Some(Command::List) = args.command {
        print(&report::list(&candidates))?;
        return all_files_used(&config);
    }
    let ours = status::left_behind(&args.run_dir);
    asked_for(&args.device, &candidates, &ours)?;
    if args.dry_run {
        print(&report::dry_run(&candidates))?;
        return all_files_used(&config);
    }
    supervise(args, options, candidates, &ours)
}

fn supervise(
    args: &Args,
    options: Options,
    candidates: Vec<Candidate>,
    ours: &[PciAddress],
) -> anyhow::Result<()> {
    let inherited = fd::close_all_on_exec()?;
    if inherited > 0 {
        log::debug!("{inherited} inherited descriptors are kept from the daemons");
    }
    let publisher = Publisher::new(&args.run_dir)?;
    let mut supervisor = Supervisor::new(options, publisher).context("cannot supervise")?;
    supervisor.adopt(candidates, ours);
    let failed = supervisor.run().context("cannot wait")?;
    ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(())
}

fn options(args: &Args) -> Options {
    let dirs =
        if args.config.is_empty() { DEFAULT_DIRS.map(PathBuf::from).into() } else { args.config.clone() };
    let restart =
        Limits { first: args.restart_delay, longest: args.restart_delay_max, stable: args.stable_after };
    Options {
        roots: Roots { sys: args.sysfs.clone(), proc: args.proc.clone(), dev: args.dev.clone() },
        config_dirs: dirs,
        drivers: args.drivers.clone(),
        devices: args.device.clone(),
        bounds: Bounds { ready: args.ready_timeout, stop: args.stop_timeout, restart, once: args.once },
        keep: args.keep,
    }
}

/// Reads the files. One that is wrong is left out, but a directory that was asked for has to be there, and something
/// has to be left.
fn load(args: &Args, options: &Options) -> anyhow::Result<Config> {
    for dir in &args.config {
        ensure!(dir.is_dir(), "{}: no such directory", dir.display());
    }
    let config = Config::load(&options.config_dirs);
    log_problems(&config);
    if config.entries.is_empty() {
        let dirs: Vec<_> = options.config_dirs.iter().map(|dir| dir.display().to_string()).collect();
        bail!("no usable pcid.d entry in {}", dirs.join(", "));
    }
    Ok(config)
}

/// A device that was asked for by its address must be one that can be taken, or nothing is begun.
fn asked_for(devices: &[PciAddress], candidates: &[Candidate], ours: &[PciAddress]) -> anyhow::Result<()> {
    for Candidate { function, claim } in
        candidates.iter().filter(|one| devices.contains(&one.function.address))
    {
        let address = function.address;
        let Some(claim) = claim else { bail!("{address}: no pcid.d entry claims {}", function.id) };
        if let Some(refusal) = &claim.refusal
            && !(ours.contains(&address) && is_left_behind(refusal))
        {
            bail!("{address}: {refusal}");
        }
    }
    Ok(())
}

fn all_files_used(config: &Config) -> anyhow::Result<()> {
    let skipped = config.problems.iter().filter(|problem| problem.skipped).count();
    ensure!(skipped == 0, "{skipped} pcid.d file(s) cannot be used");
    Ok(())
}

fn show_status(args: &Args) -> anyhow::Result<()> {
    let status = status::ask(&args.run_dir)?;
    let mut text = format!("pcid-spawner, process {}\n", status.pid);
    text.push_str("device        program          state         pid starts  last end\n");
    for record in &status.daemons {
        text.push_str(&format!("{record}\n"));
    }
    print(&text)
}

fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever reads has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("standard output"),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
