//! `cargo xtask ci`: everything that must hold before a change lands.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::test::Counts;
use super::{redox, test};
use crate::process::{find_program, output};
use crate::rig;
use crate::workspace;

/// How a step went.
enum Verdict {
    Passed(String),
    Skipped(String),
    Failed(String),
}

/// Runs all steps, also after a failed one, and prints a line for each.
///
/// # Errors
/// When any step failed; the message names them.
pub fn run(options: &rig::Options) -> Result<()> {
    let mut lines = Vec::new();
    let mut failed = Vec::new();
    let mut counts = Counts::default();
    let mut step = |name: &'static str, action: &mut dyn FnMut() -> Result<Verdict>| {
        println!("── {name}");
        let started = Instant::now();
        let verdict = action().unwrap_or_else(|error| Verdict::Failed(format!("{error:#}")));
        let (sign, detail) = match verdict {
            Verdict::Passed(detail) => ("ok     ", detail),
            Verdict::Skipped(detail) => ("skipped", detail),
            Verdict::Failed(detail) => {
                failed.push(name);
                ("FAILED ", detail)
            }
        };
        lines.push(line(sign, name, started.elapsed(), &detail));
    };

    step("format", &mut || cargo(&["fmt", "--all", "--check"], &[]));
    step("clippy", &mut || cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[]));
    step("documentation", &mut || {
        cargo(&["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])
    });
    step("tcg-count", &mut plugin);
    step("redox-check", &mut || {
        redox::run(options)?;
        Ok(Verdict::Passed(redox::TARGET.to_owned()))
    });
    step("address sanitizer", &mut sanitizer);
    step("loom", &mut interleavings);
    step("test", &mut || {
        counts = test::run(false)?;
        let text = counts.to_string();
        Ok(if counts.failed == 0 && counts.passed > 0 {
            Verdict::Passed(text)
        } else {
            Verdict::Failed(text)
        })
    });

    println!("── summary");
    for line in lines {
        println!("{line}");
    }
    println!("{counts}");
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn line(sign: &str, name: &str, took: Duration, detail: &str) -> String {
    format!("{sign} {name:<18} {:>7.1} s  {detail}", took.as_secs_f64())
}

fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Verdict> {
    let mut command = workspace::cargo()?;
    command.args(arguments).envs(environment.iter().copied());
    let status = command.status().context("cannot start cargo")?;
    Ok(if status.success() { Verdict::Passed(String::new()) } else { Verdict::Failed(format!("{status}")) })
}

/// What threads and devices share, in every order up to a bound.
fn interleavings() -> Result<Verdict> {
    let target = workspace::target()?.join("loom").display().to_string();
    let packages = ["-p", "driver-block", "-p", "virtio-core"];
    let tests = ["--release", "--lib", "--target-dir", &target, "interleavings"];
    cargo(&[&["test"][..], &packages, &tests].concat(), &[("RUSTFLAGS", "--cfg loom")])
}

/// The QEMU plugin, which is no member of the workspace.
fn plugin() -> Result<Verdict> {
    let target = workspace::target()?.join("tcg-count").display().to_string();
    let manifest = ["--manifest-path", "tools/tcg-count/Cargo.toml"];
    let elsewhere = ["--target-dir", &target];
    for arguments in [
        [&["fmt"], &manifest[..], &["--check"]].concat(),
        [&["clippy"], &manifest[..], &elsewhere, &["--all-targets", "--", "-D", "warnings"]].concat(),
        [&["test"], &manifest[..], &elsewhere].concat(),
    ] {
        let verdict = cargo(&arguments, &[])?;
        if !matches!(verdict, Verdict::Passed(_)) {
            return Ok(verdict);
        }
    }
    Ok(Verdict::Passed(String::new()))
}

/// The boundary crate, which alone has `unsafe`, under AddressSanitizer. Sanitizers are a nightly
/// feature of the compiler; without such a toolchain the step is skipped.
fn sanitizer() -> Result<Verdict> {
    if find_program("rustup").is_none() {
        return Ok(Verdict::Skipped("no rustup on this machine".to_owned()));
    }
    let toolchains = output(Command::new("rustup").args(["toolchain", "list"]))?;
    let Some(nightly) = toolchains
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .find(|name| name.starts_with("nightly"))
    else {
        return Ok(Verdict::Skipped("no nightly toolchain on this machine".to_owned()));
    };
    let target = "x86_64-unknown-linux-gnu";
    let mut command = Command::new("rustup");
    command
        .current_dir(workspace::root()?)
        .args(["run", nightly, "cargo", "test", "-p", "redox-driver-sys", "--all-features"])
        .args(["--lib", "--tests", "--target", target, "--target-dir"])
        .arg(workspace::target()?.join("asan"))
        .env("RUSTFLAGS", "-Zsanitizer=address");
    for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(name);
    }
    let status = command.status().context("cannot start rustup")?;
    Ok(if status.success() {
        Verdict::Passed("redox-driver-sys".to_owned())
    } else {
        Verdict::Failed(format!("{status}"))
    })
}
