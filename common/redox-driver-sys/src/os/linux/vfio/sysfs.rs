//! What sysfs and procfs know of a function.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::attach;
use crate::{
    error::{Error, Result},
    pci::PciAddress,
};

const DEVICES: &str = "/sys/bus/pci/devices";

/// That there is a function at this address.
pub(super) fn check_present(address: PciAddress) -> Result<()> {
    function(Path::new(DEVICES), address).map(drop)
}

/// The number of the IOMMU group that the function is in.
pub(super) fn iommu_group(address: PciAddress) -> Result<u32> {
    iommu_group_in(Path::new(DEVICES), address)
}

fn iommu_group_in(devices: &Path, address: PciAddress) -> Result<u32> {
    let device = function(devices, address)?;
    match link_name(&device.join("iommu_group"))? {
        Some(group) => group
            .parse()
            .map_err(|_| attach(format!("{address} is in an IOMMU group called '{group}', not in a number"))),
        None => Err(attach(format!(
            "{address} is in no IOMMU group: switch the IOMMU on (intel_iommu=on or amd_iommu=on, and in the firmware)"
        ))),
    }
}

/// That the function is bound to vfio-pci, or a driver like it.
pub(super) fn check_driver(address: PciAddress) -> Result<()> {
    check_driver_in(Path::new(DEVICES), address)
}

fn check_driver_in(devices: &Path, address: PciAddress) -> Result<()> {
    match link_name(&function(devices, address)?.join("driver"))? {
        Some(driver) if driver.contains("vfio") => Ok(()),
        Some(driver) => Err(attach(format!("{address} is bound to {driver}, not to vfio-pci"))),
        None => Err(attach(format!("{address} is bound to no driver: bind it to vfio-pci"))),
    }
}

fn function(devices: &Path, address: PciAddress) -> Result<PathBuf> {
    let path = devices.join(address.to_string());
    match path.symlink_metadata() {
        Ok(_) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(attach(format!("no PCI device {address}")))
        }
        Err(error) => Err(Error::os(format!("look at {}", path.display()), error)),
    }
}

/// The last component of what a symbolic link points to; `None` when there is no link.
fn link_name(path: &Path) -> Result<Option<String>> {
    match fs::read_link(path) {
        Ok(target) => Ok(target.file_name().map(|name| name.to_string_lossy().into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::os(format!("read link {}", path.display()), error)),
    }
}

/// Delivers the interrupt that `/proc/interrupts` calls `action` to processor `cpu`.
pub(super) fn set_affinity(action: &str, cpu: usize) -> Result<()> {
    const INTERRUPTS: &str = "/proc/interrupts";
    let table =
        fs::read_to_string(INTERRUPTS).map_err(|error| Error::os(format!("read {INTERRUPTS}"), error))?;
    let Some(irq) = find_irq(&table, action) else {
        return Err(Error::Unsupported(format!("interrupt affinity: {INTERRUPTS} has no {action}")));
    };
    let path = format!("/proc/irq/{irq}/smp_affinity_list");
    fs::write(&path, cpu.to_string()).map_err(|error| Error::os(format!("write {cpu} to {path}"), error))
}

/// The number of the interrupt whose actions include `action`.
fn find_irq(table: &str, action: &str) -> Option<u32> {
    table.lines().find_map(|line| {
        let (irq, rest) = line.split_once(':')?;
        let mut names = rest.split([' ', ',']);
        names.any(|name| name == action).then(|| irq.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn says_what_is_missing() {
        let devices = tempfile::tempdir().unwrap();
        let at = |text: &str| text.parse::<PciAddress>().unwrap();
        for (address, driver, group) in [
            ("0000:00:04.0", Some("vfio-pci"), Some("7")),
            ("0000:00:05.0", Some("nvme"), None),
            ("0000:00:06.0", None, None),
        ] {
            let device = devices.path().join(address);
            fs::create_dir(&device).unwrap();
            for (link, target) in [("driver", driver), ("iommu_group", group)] {
                if let Some(target) = target {
                    symlink(format!("../../somewhere/{target}"), device.join(link)).unwrap();
                }
            }
        }
        let text = |result: Result<()>| result.unwrap_err().to_string();
        let path = devices.path();
        assert_eq!(iommu_group_in(path, at("00:04.0")).unwrap(), 7);
        check_driver_in(path, at("00:04.0")).unwrap();
        assert_eq!(
            text(check_driver_in(path, at("00:05.0"))),
            "0000:00:05.0 is bound to nvme, not to vfio-pci"
        );
        assert_eq!(
            text(check_driver_in(path, at("00:06.0"))),
            "0000:00:06.0 is bound to no driver: bind it to vfio-pci"
        );
        assert_eq!(text(check_driver_in(path, at("00:09.0"))), "no PCI device 0000:00:09.0");
        assert_eq!(text(iommu_group_in(path, at("00:09.0")).map(drop)), "no PCI device 0000:00:09.0");
        assert!(
            text(iommu_group_in(path, at("00:05.0")).map(drop))
                .starts_with("0000:00:05.0 is in no IOMMU group")
        );
    }

    #[test]
    fn finds_the_interrupt_of_a_vector() {
        let table = "           CPU0       CPU1
  1:          0          9   IO-APIC    1-edge      i8042
 11:          3          0   IO-APIC   11-fasteoi   virtio0, vfio-intx(0000:00:05.0)
 26:          0          0  IR-PCI-MSIX-0000:00:04.0    0-edge      vfio-msix[0](0000:00:04.0)
 27:          0          0  IR-PCI-MSIX-0000:00:04.0    1-edge      vfio-msix[1](0000:00:04.0)
NMI:          0          0   Non-maskable interrupts
";
        assert_eq!(find_irq(table, "vfio-msix[1](0000:00:04.0)"), Some(27));
        assert_eq!(find_irq(table, "vfio-intx(0000:00:05.0)"), Some(11));
        assert_eq!(find_irq(table, "vfio-msix[2](0000:00:04.0)"), None);
    }
}
