//! Runs a command between a begin and an end mark, so that `tools/tcg-count` counts what happens meanwhile.
#![forbid(unsafe_code)]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::Context;
use clap::Parser;
use redox_driver_sys::mark;

/// Runs COMMAND between the begin and the end mark of a window; without COMMAND the window is empty, which
/// measures the marks themselves.
///
/// fio's `exec_prerun=rb-mark --begin N` and `exec_postrun=rb-mark --end N` leave its start out of the window.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Only open the window.
    #[arg(long, conflicts_with_all = ["end", "command"])]
    begin: bool,
    /// Only close the window.
    #[arg(long, conflicts_with = "command")]
    end: bool,
    /// Label of the window.
    #[arg(value_parser = clap::value_parser!(u8).range(..128))]
    label: u8,
    /// The command with its arguments.
    #[arg(last = true)]
    command: Vec<String>,
}

fn main() -> anyhow::Result<ExitCode> {
    let Args { begin, end, label, command } = Args::parse();
    let Some((program, arguments)) = command.split_first() else {
        if !end {
            mark::begin(label);
        }
        if !begin {
            mark::end(label);
        }
        return Ok(ExitCode::SUCCESS);
    };
    let mut command = Command::new(program);
    command.args(arguments);
    mark::begin(label);
    let status = command.status();
    mark::end(label);
    Ok(exit_code(status.with_context(|| format!("cannot run {program}"))?))
}

/// The command's own exit code, or as a shell says it: 128 and the signal's number.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128_i32.saturating_add(status.signal().unwrap_or(0)));
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_commands() {
        // Wait statuses: the code in bits 15:8, or the signal in bits 6:0.
        assert_eq!(exit_code(ExitStatus::from_raw(7 << 8)), ExitCode::from(7));
        assert_eq!(exit_code(ExitStatus::from_raw(9)), ExitCode::from(137));
    }

    #[test]
    fn labels_are_seven_bits_wide() {
        assert!(Args::try_parse_from(["rb-mark", "127"]).is_ok());
        assert!(Args::try_parse_from(["rb-mark", "128"]).is_err());
        let args = Args::try_parse_from(["rb-mark", "1", "--", "true", "-x"]).unwrap();
        assert_eq!(args.command, ["true", "-x"]);
        assert!(Args::try_parse_from(["rb-mark", "--begin", "1"]).is_ok());
        assert!(Args::try_parse_from(["rb-mark", "--begin", "--end", "1"]).is_err());
        assert!(Args::try_parse_from(["rb-mark", "--end", "1", "--", "true"]).is_err());
    }
}
