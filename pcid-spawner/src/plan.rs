//! Which functions are claimed, by which entry, and what speaks against taking them. Nothing is changed here.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use pcid_config::{Config, Entry};
use redox_driver_sys::pci::PciAddress;

use crate::{
    bind::VFIO_PCI,
    pci::Function,
    roots::{Roots, link_name, names, read_value},
    usage::{self, Use},
};

/// Drivers of neighbours that leave an IOMMU group usable: they never start DMA of their own.
const HARMLESS_DRIVERS: [&str; 3] = ["vfio-pci", "pci-stub", "pcieport"];

/// Why a claimed function is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The daemon is not there.
    #[error("{program}: {reason}", program = .program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The kernel has no vfio-pci.
    #[error("VFIO is not loaded: {missing} is missing (modprobe vfio-pci)", missing = .missing.display())]
    NoVfio {
        /// What was looked for.
        missing: PathBuf,
    },
    /// Nothing would contain the device's DMA.
    #[error("has no IOMMU group: the machine has no IOMMU, or the kernel does not use it (intel_iommu=on)")]
    NoIommuGroup,
    /// Another function of the group has a driver that may start DMA.
    #[error("IOMMU group {group} is not viable: {other} in it is bound to {driver}")]
    GroupNotViable {
        /// The group.
        group: u32,
        /// The other function.
        other: String,
        /// Its driver.
        driver: String,
    },
    /// Another program has the group open.
    #[error("is in use: IOMMU group {group} is open in another program")]
    GroupBusy {
        /// The group.
        group: u32,
    },
    /// `driver_override` reserves it for another driver.
    #[error("is reserved for {driver} by driver_override")]
    Reserved {
        /// The driver.
        driver: String,
    },
    /// A group has one user, and another function of it comes first.
    #[error("IOMMU group {group} is taken by {other}")]
    GroupTaken {
        /// The group.
        group: u32,
        /// The function that takes it.
        other: PciAddress,
    },
    /// The system uses it.
    #[error("is in use: {0}")]
    InUse(Use),
}

/// What is to happen to one function.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The function.
    pub function: Function,
    /// The entry that claims it, and the daemon's program.
    pub claim: Option<Claim>,
}

/// An entry that claims a function.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The entry.
    pub entry: Entry,
    /// The program with its directory.
    pub program: PathBuf,
    /// The IOMMU group; none only where that is why it is refused.
    pub group: Option<u32>,
    /// Why the function is not taken after all.
    pub refusal: Option<Refusal>,
}

/// Looks every function up. `drivers` is where programs without a directory are; a function whose group is in `taken`
/// is refused on behalf of the one that has it.
pub fn plan(
    functions: Vec<Function>,
    config: &Config,
    roots: &Roots,
    drivers: &Path,
    taken: &BTreeMap<u32, PciAddress>,
) -> Vec<Candidate> {
    let mut taken = taken.clone();
    let claimed = |function: Function| {
        let claim = config.find(&function.id).map(|entry| {
            let program = program(entry, drivers);
            let group = function.iommu_group();
            let refusal = refusal(&function, &program, roots, &taken);
            if let (Some(group), None) = (group, &refusal) {
                taken.insert(group, function.address);
            }
            Claim { entry: entry.clone(), program, group, refusal }
        });
        Candidate { function, claim }
    };
    functions.into_iter().map(claimed).collect()
}

/// As on Redox, a program without a leading slash is one of the installed drivers.
fn program(entry: &Entry, drivers: &Path) -> PathBuf {
    drivers.join(entry.driver.program())
}

fn refusal(
    function: &Function,
    program: &Path,
    roots: &Roots,
    taken: &BTreeMap<u32, PciAddress>,
) -> Option<Refusal> {
    let unusable = |reason: String| Refusal::Program { program: program.to_owned(), reason };
    match fs::metadata(program) {
        Err(error) => return Some(unusable(error.to_string())),
        Ok(found) if !found.is_file() || found.permissions().mode() & 0o111 == 0 => {
            return Some(unusable("is no program".to_owned()));
        }
        Ok(_) => {}
    }
    let missing =
        [roots.driver(VFIO_PCI), roots.dev.join("vfio/vfio")].into_iter().find(|path| !path.exists());
    if let Some(missing) = missing {
        return Some(Refusal::NoVfio { missing });
    }
    let Some(group) = function.iommu_group() else { return Some(Refusal::NoIommuGroup) };
    if let Some(&other) = taken.get(&group) {
        return Some(Refusal::GroupTaken { group, other });
    }
    // Unset, it reads so.
    let reserved = read_value(&function.path.join("driver_override")).unwrap_or_default();
    if !["", "(null)", VFIO_PCI].contains(&reserved.as_str()) {
        return Some(Refusal::Reserved { driver: reserved });
    }
    let own = function.address.to_string();
    for other in names(&function.path.join("iommu_group/devices")) {
        let driver = link_name(&roots.sys.join("bus/pci/devices").join(&other).join("driver"));
        if let Some(driver) =
            driver.filter(|driver| other != own && !HARMLESS_DRIVERS.contains(&driver.as_str()))
        {
            return Some(Refusal::GroupNotViable { group, other, driver });
        }
    }
    if function.driver().as_deref() == Some(VFIO_PCI) {
        // A group can be opened once. That it is closed again at once changes nothing.
        let node = roots.dev.join("vfio").join(group.to_string());
        let opened = fs::OpenOptions::new().read(true).write(true).open(node);
        if opened.is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy) {
            return Some(Refusal::GroupBusy { group });
        }
    }
    usage::of(function, roots).map(Refusal::InUse)
}
