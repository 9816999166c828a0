//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use common::args::LogArgs;
use iommud::{service::Limits, table::PageSizes, unit};

/// Owns the IOMMUs of a machine: what a device reaches is what its driver mapped.
///
/// On Linux the kernel must leave them alone (amd_iommu=off). Needs root, a mounted hugetlbfs and a few huge pages of 2 MiB.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Task>,

    /// Where drivers connect.
    #[arg(long, value_name = "PATH", global = true, env = iommu_protocol::SOCKET_VARIABLE, default_value = iommu_protocol::SOCKET)]
    pub(crate) socket: PathBuf,

    /// What devices may that nobody has claimed.
    #[arg(long, value_enum, default_value_t = Unclaimed::Block)]
    pub(crate) unclaimed: Unclaimed,

    /// The hugetlbfs that tables are in.
    #[arg(long, value_name = "DIR", default_value = "/dev/hugepages")]
    pub(crate) huge_pages: PathBuf,

    /// Sizes of pages that the unit understands.
    #[arg(long, value_enum, default_value_t = Sizes::All)]
    pub(crate) page_sizes: Sizes,

    /// Most mappings of a client.
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().mappings)]
    most_mappings: u32,

    /// Most memory of a client, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = Limits::default().bytes >> 20, value_parser = clap::value_parser!(u64).range(1..=1 << 24))]
    most_memory: u64,

    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Print units, clients, domains, devices and the last events of the running daemon.
    Inspect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unclaimed {
    /// They reach nothing but what firmware reserves for them.
    Block,
    /// They reach all memory.
    Pass,
}

impl From<Unclaimed> for unit::Unclaimed {
    fn from(unclaimed: Unclaimed) -> Self {
        match unclaimed {
            Unclaimed::Block => unit::Unclaimed::Block,
            Unclaimed::Pass => unit::Unclaimed::Pass,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sizes {
    /// All from 4 KiB to 1 GiB.
    All,
    /// 4 KiB, 2 MiB and 1 GiB.
    Default,
    /// 4 KiB.
    Small,
}

impl From<Sizes> for PageSizes {
    fn from(sizes: Sizes) -> Self {
        match sizes {
            Sizes::All => PageSizes::ALL,
            Sizes::Default => PageSizes::DEFAULT,
            Sizes::Small => PageSizes::SMALL,
        }
    }
}

impl Cli {
    pub(crate) fn limits(&self) -> Limits {
        Limits { mappings: self.most_mappings, bytes: self.most_memory << 20, ..Limits::default() }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
