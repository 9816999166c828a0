//! What is tried on Redox: boots, and the checks that each has to report.

use std::time::Duration;

use anyhow::Result;

use crate::demo::{Expected, Plan, always, ours};
use crate::rig::Guest;

/// One boot. Its plan's script is what `disk-check` is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Boot {
    pub(super) plan: Plan,
    /// The boot whose disks this one finds as a power cut left them.
    pub(super) after: Option<&'static str>,
    /// Arguments of our driver.
    pub(super) arguments: &'static [&'static str],
}

const fn boot(
    name: &'static str,
    title: &'static str,
    script: &'static str,
    build: fn(Guest<'_>) -> Result<Guest<'_>>,
    checks: &'static [Expected],
) -> Boot {
    Boot { plan: Plan { name, title, script, build, checks, curves: &[] }, after: None, arguments: &[] }
}

/// All boots, in order.
pub(super) const BOOTS: &[Boot] = &[
    boot("redox-smp1", "RedoxFS on one processor", "boot raw", one, &[ROOT, FILE, RAW, RANDOM]),
    boot("redox-smp2", "A disk from its clients' side", "boot raw nodes errors clients calls", two, CLIENTS),
    boot("redox-smp4", "RedoxFS on four processors", "boot raw", four, &[ROOT, FILE, RAW, RANDOM]),
    boot("redox-power", "Written, synced, power cut", "power", power, WRITTEN),
    Boot {
        after: Some("redox-power"),
        ..boot("redox-power-after", "After the power cut", "power", two, OUTLIVED)
    },
    boot("redox-kills", "The driver's process is killed", "kills", two, &[KILLS]),
    // The system keeps its log in memory for ever.
    Boot {
        arguments: &["--log-level", "off"],
        ..boot("redox-leaks", "What restarts leak", "leaks", two, &[LEAKS])
    },
];

const ROOT: Expected = ours("the root file system is on the driver");
const FILE: Expected = always("a file on the root file system is written and read");
const RAW: Expected = always("raw reads equal the host's image");
const RANDOM: Expected = always("reads of any place and length agree");
const KILLS: Expected = ours("100 kills under a reader and a writer");
const LEAKS: Expected = ours("no vector, memory or descriptor leaks over 50 restarts");

const CLIENTS: &[Expected] = &[
    ROOT,
    FILE,
    RAW,
    RANDOM,
    ours("the scheme lists its disks and partitions"),
    ours("sizes are those of disk and partitions"),
    ours("a descriptor tells its path"),
    ours("paths that name nothing are refused"),
    ours("a disk and its partitions are opened once"),
    ours("what is not whole blocks is refused"),
    ours("a disk ends where it ends"),
    always("two clients at once, each on its partition"),
    ours("limits are told by call"),
    ours("discard by call"),
    ours("write-zeroes by call"),
    ours("statistics by call count what was done"),
    ours("calls that make no sense are refused"),
];

const WRITTEN: &[Expected] =
    &[always("a disk is written and synced"), always("a file is written and synced"), FLUSHED];

/// The host sees whether flushes come down to the device.
pub(super) const FLUSHED: Expected = ours("syncs reach the device");

const OUTLIVED: &[Expected] =
    &[always("the disk's data outlived a power cut"), always("the file outlived a power cut")];

/// Longest time of a boot with everything that it checks.
const DEADLINE: Duration = Duration::from_secs(1200);

fn one(guest: Guest<'_>) -> Result<Guest<'_>> {
    Ok(guest.processors(1).deadline(DEADLINE))
}

fn two(guest: Guest<'_>) -> Result<Guest<'_>> {
    Ok(guest.processors(2).deadline(DEADLINE))
}

fn four(guest: Guest<'_>) -> Result<Guest<'_>> {
    Ok(guest.processors(4).deadline(DEADLINE))
}

fn power(guest: Guest<'_>) -> Result<Guest<'_>> {
    two(guest.trace("pci_nvme_flush*"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    /// The sources of `disk-check`.
    fn sources() -> String {
        let dir = workspace::root().unwrap().join("tools/redox-guest/src");
        let mut files = vec![dir.join("main.rs")];
        files.extend(std::fs::read_dir(dir.join("checks")).unwrap().map(|entry| entry.unwrap().path()));
        files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
    }

    #[test]
    fn the_guests_program_has_every_check() {
        let sources = sources();
        for boot in BOOTS {
            for expected in boot.plan.checks.iter().filter(|expected| expected.name != FLUSHED.name) {
                let name = expected.name.trim_start_matches("100 ");
                assert!(sources.contains(name), "{name}");
            }
            for word in boot.plan.script.split(' ') {
                let variant = word[..1].to_uppercase() + &word[1..];
                assert!(sources.contains(&format!("    {variant},\n")), "{word}");
            }
        }
    }

    #[test]
    fn disks_that_are_found_again_were_made_before() {
        for (index, boot) in BOOTS.iter().enumerate() {
            if let Some(name) = boot.after {
                assert!(BOOTS[..index].iter().any(|other| other.plan.name == name), "{name}");
            }
        }
    }
}
