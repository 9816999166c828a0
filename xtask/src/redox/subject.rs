//! The drivers that are tried on Redox, and the devices that they get there.

use clap::ValueEnum;

use super::programs::Program;
use crate::rig::Guest;

/// A storage driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Subject {
    /// NVMe
    Nvmed,
    /// SATA disks
    Ahcid,
    /// virtio block devices
    VirtioBlkd,
}

/// All of them, in the order in which they are tried.
pub(super) const ALL: [Subject; 3] = [Subject::Nvmed, Subject::Ahcid, Subject::VirtioBlkd];

/// PCI slots of the disk that a guest boots from, and of the one to try things on.
const SLOTS: [(&str, u8); 2] = [("root", 4), ("data", 5)];

impl Subject {
    /// Its daemon, which has the same name as upstream's.
    pub(super) fn program(self) -> Program {
        let name = match self {
            Subject::Nvmed => "nvmed",
            Subject::Ahcid => "ahcid",
            Subject::VirtioBlkd => "virtio-blkd",
        };
        Program { package: name, name }
    }

    /// The devices of a disk.
    fn devices(self) -> &'static [&'static str] {
        match self {
            Subject::Nvmed => &["nvme,serial=NAME,drive=DRIVE,addr=SLOT"],
            Subject::Ahcid => &["ich9-ahci,id=NAME,addr=SLOT", "ide-hd,bus=NAME.0,serial=NAME,drive=DRIVE"],
            Subject::VirtioBlkd => &["virtio-blk-pci,serial=NAME,drive=DRIVE,addr=SLOT"],
        }
    }

    /// Number of a device's first disk in its scheme.
    fn node(self) -> &'static str {
        match self {
            // The id of a namespace.
            Subject::Nvmed => "1",
            Subject::Ahcid | Subject::VirtioBlkd => "0",
        }
    }

    fn scheme(self, slot: u8) -> String {
        let kind = match self {
            Subject::Nvmed => "-nvme",
            Subject::Ahcid => "_ahci",
            Subject::VirtioBlkd => "_virtio_blk",
        };
        format!("disk.pci-0000-00-{slot:02x}.0{kind}")
    }

    /// Gives a guest two disks: one that it boots from, and one to try things on, with these back ends.
    pub(super) fn with_disks<'a>(self, mut guest: Guest<'a>, root: &str, data: &str) -> Guest<'a> {
        for ((name, slot), drive) in SLOTS.into_iter().zip([root, data]) {
            for device in self.devices() {
                let mut device = device.replace("NAME", name).replace("SLOT", &slot.to_string());
                if device.contains("DRIVE") {
                    device = device.replace("DRIVE", drive);
                    if name == "root" {
                        device.push_str(",bootindex=0");
                    }
                }
                guest = guest.device(&device);
            }
        }
        guest
    }

    /// How our programs find the second disk.
    pub(super) fn data_arguments(self) -> Vec<String> {
        let [_, (_, slot)] = SLOTS;
        ["--scheme", &self.scheme(slot), "--node", self.node()].map(str::to_owned).to_vec()
    }

    /// How `disk-check` finds both disks and their driver.
    pub(super) fn check_arguments(self) -> Vec<String> {
        let [(_, slot), _] = SLOTS;
        let mut arguments =
            ["--driver", self.program().name, "--root", &self.scheme(slot)].map(str::to_owned).to_vec();
        arguments.extend(self.data_arguments());
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_are_called_as_the_drivers_call_them() {
        assert_eq!(Subject::Nvmed.scheme(4), "disk.pci-0000-00-04.0-nvme");
        let words = Subject::Ahcid.check_arguments().join(" ");
        assert_eq!(
            words,
            "--driver ahcid --root disk.pci-0000-00-04.0_ahci --scheme disk.pci-0000-00-05.0_ahci --node 0"
        );
    }
}
