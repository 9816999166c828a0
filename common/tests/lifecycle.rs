//! A daemon's life as its supervisor sees it. Each case runs in a process of its own: this program again.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    env,
    io::Read,
    os::fd::{AsRawFd, OwnedFd},
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use common::{
    daemon::{INIT_NOTIFY, Readiness, Termination},
    logger::Logging,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::FdFlags,
    process::{Pid, Signal, kill_process},
};

const CASE: &str = "RB_LIFECYCLE_CASE";

/// The daemons of the tests below.
#[test]
fn in_a_child() {
    let Ok(case) = env::var(CASE) else { return };
    match case.as_str() {
        "ready" => {
            let readiness = Readiness::from_env().unwrap();
            assert!(readiness.is_awaited());
            readiness.notify().unwrap();
        }
        "never ready" => drop(Readiness::from_env().unwrap()),
        "by hand" => {
            let readiness = Readiness::from_env().unwrap();
            assert!(!readiness.is_awaited());
            readiness.notify().unwrap();
        }
        "misled" => {
            let error = anyhow::Error::from(Readiness::from_env().unwrap_err());
            assert_eq!(common::exit(Err(error)), ExitCode::FAILURE);
        }
        "terminate" => {
            let mut termination = Termination::install().unwrap();
            let readiness = Readiness::from_env().unwrap();
            assert!(!termination.requested());
            readiness.notify().unwrap();
            let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
            assert_eq!(poll(&mut [PollFd::new(&termination, PollFlags::IN)], Some(&limit)), Ok(1));
            // Once told, it stays told.
            assert!(termination.requested() && termination.requested());
            println!("drained");
        }
        "log" => {
            Logging::new("disk", "pci", "disk.test").init().unwrap();
            log::debug!("not important");
            log::info!("two\nlines");
            assert!(Logging::new("disk", "pci", "again").init().is_err());
        }
        other => panic!("no such case: {other}"),
    }
}

fn command(case: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "in_a_child", "--nocapture"]).env(CASE, case);
    for variable in ["RUST_LOG", "DRIVER_LOG_LEVEL", INIT_NOTIFY] {
        command.env_remove(variable);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts the daemon with a pipe for its readiness, and gives the end to listen at.
fn supervised(case: &str) -> (Child, std::io::PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    let writer = OwnedFd::from(writer);
    rustix::io::fcntl_setfd(&writer, FdFlags::empty()).unwrap();
    let child = command(case).env(INIT_NOTIFY, writer.as_raw_fd().to_string()).spawn().unwrap();
    (child, reader)
}

fn finish(child: Child) -> (bool, String, String) {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn readiness_is_one_zero_byte() {
    let (child, mut pipe) = supervised("ready");
    let (success, _, stderr) = finish(child);
    assert!(success, "{stderr}");
    let mut said = Vec::new();
    pipe.read_to_end(&mut said).unwrap();
    assert_eq!(said, [0]);
}

#[test]
fn a_broken_promise_closes_the_pipe() {
    let (child, mut pipe) = supervised("never ready");
    assert!(finish(child).0);
    let mut said = Vec::new();
    pipe.read_to_end(&mut said).unwrap();
    assert!(said.is_empty());
}

#[test]
fn a_daemon_started_by_hand_tells_nobody() {
    assert!(finish(command("by hand").spawn().unwrap()).0);
}

#[test]
fn a_wrong_descriptor_is_one_line() {
    let (_, _, stderr) = finish(command("misled").env(INIT_NOTIFY, "77").spawn().unwrap());
    let line = stderr.lines().find(|line| line.contains("readiness")).expect("reported");
    assert!(line.contains(": cannot tell the supervisor about readiness: INIT_NOTIFY=77: "), "{line}");
}

#[test]
fn both_signals_end_a_daemon_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let (child, mut pipe) = supervised("terminate");
        let mut ready = [1];
        pipe.read_exact(&mut ready).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        kill_process(Pid::from_child(&child), signal).unwrap();
        let (success, stdout, stderr) = finish(child);
        assert!(success && stdout.contains("drained"), "{stdout}{stderr}");
    }
}

#[test]
fn the_log_goes_to_standard_error_by_the_environment() {
    let (success, _, stderr) = finish(command("log").spawn().unwrap());
    assert!(success, "{stderr}");
    let lines: Vec<_> = stderr.lines().filter(|line| line.contains("disk.test@")).collect();
    assert_eq!(lines.len(), 1, "{stderr}");
    assert!(lines[0].ends_with(" INFO] two\\nlines"), "{stderr}");
    let (_, _, stderr) = finish(command("log").env("DRIVER_LOG_LEVEL", "debug").spawn().unwrap());
    assert!(stderr.contains(" DEBUG] not important"), "{stderr}");
    let (_, _, stderr) = finish(command("log").env("RUST_LOG", "off").spawn().unwrap());
    assert!(!stderr.contains("disk.test@"), "{stderr}");
}
