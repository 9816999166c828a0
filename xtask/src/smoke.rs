//! `cargo xtask smoke`: shows that the rig itself works, before any driver is tried in it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::demo::print;
use crate::rig::{Guest, Rig};

const MIB: u64 = 1 << 20;

/// Boots the guest and prints its results.
///
/// # Errors
/// When the guest cannot be run.
pub fn run(rig: &Rig) -> Result<ExitCode> {
    let outcome = Guest::new(rig, "smoke", "smoke.sh")?
        .device("intel-iommu,intremap=on")
        .cmdline("intel_iommu=on")
        .disk("disk0", 256 * MIB)?
        .device("nvme,serial=left-to-linux,drive=disk0,addr=4")
        .null_disk("null0", 1024 * MIB)
        .device("nvme,serial=to-vfio,drive=null0,addr=5")
        .trace("pci_nvme_*")
        .deadline(Duration::from_secs(180))
        .run(&mut print)?;
    println!(
        "boot {:.1} s, run {:.1} s, files in {}",
        outcome.boot.as_secs_f64(),
        outcome.elapsed.as_secs_f64(),
        outcome.directory.display()
    );
    let good = outcome.status == 0 && outcome.checks.iter().all(|check| check.passed);
    Ok(if good && !outcome.checks.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
