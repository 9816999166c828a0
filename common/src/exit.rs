//! How a daemon ends.

use std::{env, path::Path, process::ExitCode};

/// Turns the outcome of a program into its exit code: 0, or 1 after one line on standard error that names the program
/// and everything that led to the failure.
///
/// Wrong arguments end a program earlier, with 2, as clap does.
pub fn exit<E: Into<anyhow::Error>>(result: Result<(), E>) -> ExitCode {
    exit_code(result).into()
}

/// As [`exit`], the number itself: for a process that does not return from `main`.
pub fn exit_code<E: Into<anyhow::Error>>(result: Result<(), E>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{}", one_line(&program(), &error.into()));
            1
        }
    }
}

/// The name that this program was started by, without its directory.
pub(crate) fn program() -> String {
    let started_as = env::args_os().next().unwrap_or_default();
    Path::new(&started_as).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn one_line(program: &str, error: &anyhow::Error) -> String {
    let mut line = program.to_owned();
    let mut last = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        let cause = cause.trim().replace('\n', "; ");
        // Wrappers often repeat what they wrap.
        if cause.is_empty() || last.ends_with(&cause) {
            continue;
        }
        line.push_str(": ");
        line.push_str(&cause);
        last = cause;
    }
    line
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn the_whole_chain_stands_on_one_line() {
        let error = anyhow!("No such device\n").context("cannot open\n/dev/vfio/7").context("0000:00:04.0");
        assert_eq!(
            one_line("nvmed", &error),
            "nvmed: 0000:00:04.0: cannot open; /dev/vfio/7: No such device"
        );
    }

    #[test]
    fn nothing_is_said_twice() {
        let error = Err::<(), _>(std::io::Error::from_raw_os_error(2)).context("x").unwrap_err();
        let error = anyhow!("outer: {}", error.root_cause()).context(String::new());
        assert_eq!(one_line("p", &error).matches("No such file").count(), 1);
        #[derive(Debug, thiserror::Error)]
        #[error("reading: {0}")]
        struct Wrapper(#[source] std::io::Error);
        let error = anyhow::Error::from(Wrapper(std::io::Error::other("short")));
        assert_eq!(one_line("p", &error), "p: reading: short");
    }

    #[test]
    fn success_and_failure_differ() {
        assert_eq!(exit(Ok::<(), anyhow::Error>(())), ExitCode::SUCCESS);
        assert_eq!(exit(Err(anyhow!("expected: this line belongs to a test"))), ExitCode::FAILURE);
    }
}
