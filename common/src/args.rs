//! Arguments that all daemons share, for `#[command(flatten)]`.

use log::LevelFilter;
use redox_driver_sys::{irq::InterruptKind, pci::PciAddress};

/// Which device, and how much to say about it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DaemonArgs {
    /// The PCI function to drive, as in 0000:00:04.0.
    ///
    /// On Redox pcid-spawner hands the function over and this is not needed.
    #[arg(long, value_name = "ADDRESS")]
    pub device: Option<PciAddress>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented by its type; a comment would end up in --help")]
    pub log: LogArgs,
}

/// How much to log.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LogArgs {
    /// Log what is at least this important: off, error, warn, info, debug or trace.
    ///
    /// Stronger than RUST_LOG and the DRIVER_…_LOG_LEVEL variables.
    #[arg(long, value_name = "LEVEL", ignore_case = true)]
    pub log_level: Option<LevelFilter>,
}

/// The best kind of interrupt to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs, reason = "documented by InterruptKind; comments would end up in --help")]
pub enum Interrupts {
    Msix,
    Msi,
    Intx,
}

impl From<Interrupts> for InterruptKind {
    fn from(interrupts: Interrupts) -> Self {
        match interrupts {
            Interrupts::Msix => InterruptKind::MsiX,
            Interrupts::Msi => InterruptKind::Msi,
            Interrupts::Intx => InterruptKind::Intx,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Nvmed {
        #[command(flatten)]
        daemon: DaemonArgs,
    }

    fn parse(args: &[&str]) -> Result<DaemonArgs, clap::Error> {
        Nvmed::try_parse_from([&["nvmed"], args].concat()).map(|parsed| parsed.daemon)
    }

    #[test]
    fn reads_a_device_and_a_level() {
        let args = parse(&["--device", "0000:00:04.0", "--log-level", "DEBUG"]).unwrap();
        assert_eq!(args.device.map(|device| device.to_string()).as_deref(), Some("0000:00:04.0"));
        assert_eq!(args.log.log_level, Some(LevelFilter::Debug));
        let args = parse(&[]).unwrap();
        assert!(args.device.is_none() && args.log.log_level.is_none());
    }

    #[test]
    fn names_what_it_cannot_read() {
        for (argument, value) in [("--device", "00:20.0"), ("--log-level", "loud")] {
            let error = parse(&[argument, value]).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let text = error.to_string();
            assert!(text.contains(argument) && text.contains(value), "{text}");
        }
    }

    #[test]
    fn is_a_valid_command() {
        Nvmed::command().debug_assert();
    }
}
