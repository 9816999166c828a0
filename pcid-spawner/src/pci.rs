//! The PCI functions that sysfs knows.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use pcid_config::FunctionId;
use redox_driver_sys::pci::PciAddress;

use crate::roots::{Roots, link_name, names, read_value};

/// One function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Where it is.
    pub address: PciAddress,
    /// What it is.
    pub id: FunctionId,
    /// Its directory below `devices` of sysfs, without symbolic links: what belongs to it is below.
    pub path: PathBuf,
}

impl Function {
    /// The driver that it is bound to now.
    pub fn driver(&self) -> Option<String> {
        link_name(&self.path.join("driver"))
    }

    /// The number of its IOMMU group.
    pub fn iommu_group(&self) -> Option<u32> {
        link_name(&self.path.join("iommu_group"))?.parse().ok()
    }
}

/// All functions in the order of their addresses. A function that cannot be read is reported and left out.
///
/// # Errors
/// When sysfs has no list of PCI functions.
pub fn enumerate(roots: &Roots) -> io::Result<Vec<Function>> {
    let dir = roots.sys.join("bus/pci/devices");
    fs::read_dir(&dir)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", dir.display())))?;
    let mut functions = Vec::new();
    for name in names(&dir) {
        // Functions behind Intel VMD are in segments above ffff, which no daemon of ours can be told of.
        let Ok(address) = name.parse::<PciAddress>() else {
            log::debug!("{name}: not a PCI address that can be used");
            continue;
        };
        match read(&dir.join(&name), address) {
            Ok(function) => functions.push(function),
            // It may have been removed meanwhile.
            Err(error) => log::warn!("{address}: {error}"),
        }
    }
    functions.sort_unstable_by_key(|function| function.address);
    Ok(functions)
}

fn read(link: &Path, address: PciAddress) -> io::Result<Function> {
    let path = fs::canonicalize(link)?;
    let number = |file: &str| -> io::Result<u32> {
        let path = path.join(file);
        let text = read_value(&path)?;
        u32::from_str_radix(text.strip_prefix("0x").unwrap_or(&text), 16)
            .map_err(|_| io::Error::other(format!("{}: '{text}' is no number", path.display())))
    };
    let short = |file: &str| -> io::Result<u16> {
        u16::try_from(number(file)?).map_err(|_| io::Error::other(format!("{file}: more than 16 bits")))
    };
    let [_, class, subclass, interface] = number("class")?.to_be_bytes();
    let id = FunctionId { vendor: short("vendor")?, device: short("device")?, class, subclass, interface };
    Ok(Function { address, id, path })
}
