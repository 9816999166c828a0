//! Devices that an earlier daemon left.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use redox_driver_sys::pci::PciAddress;

use super::{control::Control, error::UblkError, identity::Identity, plan::Found, sysfs, uapi};
use crate::device::DiskId;

/// How long a killed process may still look alive.
const DEATH: Duration = Duration::from_secs(3);
const DEATH_INTERVAL: Duration = Duration::from_millis(20);

/// The devices that were made for disks of the function at `address`.
pub(super) fn left_over(
    control: &mut Control,
    address: PciAddress,
) -> Result<Vec<(DiskId, Found)>, UblkError> {
    let mut all = Vec::new();
    for number in sysfs::devices()? {
        let Some(info) = control.info(number)? else { continue };
        let Some(identity) = Identity::unpack(info.server_flags) else { continue };
        if identity.address != address {
            continue;
        }
        // A device that was never given parameters has none to tell.
        let parameters = match control.parameters(number) {
            Ok(parameters) => parameters,
            Err(error) => {
                log::debug!("{error}");
                uapi::Parameters::default()
            }
        };
        let served = info.state == uapi::STATE_LIVE && stays_served(info.server, number);
        all.push((identity.disk, Found { info, parameters, served }));
    }
    Ok(all)
}

/// Whether `process` holds device `number`, and goes on doing so.
fn stays_served(process: i32, number: u32) -> bool {
    let end = Instant::now() + DEATH;
    let device = PathBuf::from(format!("/dev/ublkc{number}"));
    let descriptors = PathBuf::from(format!("/proc/{process}/fd"));
    if u32::try_from(process).is_ok_and(|process| process == std::process::id()) {
        return false;
    }
    while holds(&descriptors, &device) {
        if Instant::now() >= end {
            return true;
        }
        std::thread::sleep(DEATH_INTERVAL);
    }
    false
}

/// Whether one of the links in `descriptors` leads to `file`.
fn holds(descriptors: &Path, file: &Path) -> bool {
    fs::read_dir(descriptors)
        .into_iter()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .any(|target| target == file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_holds_what_it_has_open() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = fs::canonicalize(file.path()).unwrap();
        let own = Path::new("/proc/self/fd");
        assert!(holds(own, &path));
        drop(file);
        assert!(!holds(own, &path));
        assert!(!holds(Path::new("/proc/0/fd"), &path));
    }
}
