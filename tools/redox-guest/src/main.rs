//! Checks a disk driver from its clients' side, inside a Redox guest of the rig.

#![forbid(unsafe_code)]

mod checks;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use redox_guest::console::Console;
use redox_guest::disk::DiskScheme;

/// Checks a disk driver from its clients' side, inside a Redox guest of the rig. Results go to the serial console.
#[derive(Debug, Parser)]
#[command(name = "disk-check", version)]
struct Cli {
    #[command(flatten)]
    subject: Subject,
    /// What to check, in this order
    #[arg(value_enum, required = true)]
    checks: Vec<Check>,
}

/// What is checked.
#[derive(Debug, Args)]
pub(crate) struct Subject {
    /// The driver is upstream's: leave out what only ours has
    #[arg(long)]
    upstream: bool,
    /// The driver's program
    #[arg(long, default_value = "nvmed")]
    driver: String,
    /// Scheme of the disk that the root file system is on
    #[arg(long, default_value = "disk.pci-0000-00-04.0-nvme")]
    root: String,
    /// Scheme of the disk that may be written, with two partitions
    #[arg(long, default_value = "disk.pci-0000-00-05.0-nvme")]
    scheme: String,
    /// Number of the disk in either scheme
    #[arg(long, default_value = "1")]
    node: String,
    /// Bytes of that disk
    #[arg(long, default_value_t = 64 << 20)]
    bytes: u64,
    /// Bytes that each of its partitions begins after the one before, or after the disk's beginning
    #[arg(long, default_value_t = 1 << 20)]
    gap: u64,
    /// SHA-256 of the disk's image on the host
    #[arg(long, default_value = "")]
    sha256: String,
    /// Times that the driver is killed
    #[arg(long, default_value_t = 100)]
    kills: usize,
}

impl Subject {
    fn disk(&self) -> DiskScheme {
        DiskScheme { name: self.scheme.clone(), node: self.node.clone() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Check {
    /// The system runs from a disk of the driver
    Boot,
    /// The disk reads as its image is
    Raw,
    /// Write to disk and file system and sync; in the boot after that, verify what is there
    Power,
    /// Two processes at once
    Clients,
    /// Wrong paths, offsets and lengths
    Errors,
    /// Names, sizes and paths
    Nodes,
    /// Discard, write-zeroes and statistics
    Calls,
    /// The driver's processes are killed again and again under a reader and a writer
    Kills,
    /// What 50 restarts leak
    Leaks,
    /// One of the two processes of `clients`
    #[value(hide = true)]
    ClientA,
    /// The other
    #[value(hide = true)]
    ClientB,
    /// A process that `leaks` kills
    #[value(hide = true)]
    Victim,
}

/// Longest time of one check.
const LIMIT: Duration = Duration::from_secs(600);

fn main() -> ExitCode {
    let Cli { subject, checks } = Cli::parse();
    // The processes of `clients` report to their parent.
    if let Some(client) = checks.iter().find_map(|check| match check {
        Check::ClientA => Some(checks::clients::CLIENTS[0]),
        Check::ClientB => Some(checks::clients::CLIENTS[1]),
        _ => None,
    }) {
        return match checks::clients::client(&subject, client) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                println!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    if checks.contains(&Check::Victim) {
        checks::leaks::be_a_victim();
    }
    let console = Console::open(subject.upstream);
    std::thread::scope(|scope| {
        scope.spawn(|| console.watch(LIMIT));
        let mut good = true;
        for check in checks {
            good &= match check {
                Check::Boot => checks::boot::run(&console, &subject),
                Check::Raw => checks::raw::run(&console, &subject),
                Check::Power => checks::power::run(&console, &subject),
                Check::Clients => checks::clients::run(&console, &subject),
                Check::Errors => checks::errors::run(&console, &subject),
                Check::Nodes => checks::nodes::run(&console, &subject),
                Check::Calls => checks::calls::run(&console, &subject),
                Check::Kills => checks::kills::run(&console, &subject),
                Check::Leaks => checks::leaks::run(&console, &subject),
                Check::ClientA | Check::ClientB | Check::Victim => true,
            };
        }
        console.end(i32::from(!good))
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
