//! By what a restarted daemon knows its devices again.
//!
//! The kernel keeps 64 bits of a device for its server and never looks at them (`ublksrv_flags`). They hold a mark, the
//! PCI address and the disk's number, so that nothing has to be written to a file that could be lost or be old.

use redox_driver_sys::pci::PciAddress;

use crate::device::DiskId;

/// Says that the other bits are ours. Other servers leave the field zero or keep small flags in it.
const MARK: u64 = 0x5eb;
const MARK_SHIFT: u32 = 52;

/// A disk of a PCI function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) address: PciAddress,
    pub(super) disk: DiskId,
}

impl Identity {
    /// The identity in 64 bits: mark (12), segment (16), bus (8), device (5), function (3), disk (20).
    ///
    /// `None` for a disk whose number has more than 20 bits: such a disk cannot be found again.
    pub(super) fn pack(self) -> Option<u64> {
        let disk = self.disk.0;
        if disk >= 1 << 20 {
            return None;
        }
        Some(
            MARK << MARK_SHIFT
                | u64::from(self.address.segment()) << 36
                | u64::from(self.address.bus()) << 28
                | u64::from(self.address.device()) << 23
                | u64::from(self.address.function()) << 20
                | u64::from(disk),
        )
    }

    /// The disk that a device was made for; `None` if the device is not one of ours.
    pub(super) fn unpack(bits: u64) -> Option<Self> {
        if bits >> MARK_SHIFT != MARK {
            return None;
        }
        let field = |shift: u32, width: u32| (bits >> shift) & ((1 << width) - 1);
        let address = PciAddress::new(
            u16::try_from(field(36, 16)).ok()?,
            u8::try_from(field(28, 8)).ok()?,
            u8::try_from(field(23, 5)).ok()?,
            u8::try_from(field(20, 3)).ok()?,
        )
        .ok()?;
        Some(Identity { address, disk: DiskId(u32::try_from(field(0, 20)).ok()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(segment: u16, bus: u8, device: u8, function: u8, disk: u32) -> Identity {
        Identity { address: PciAddress::new(segment, bus, device, function).unwrap(), disk: DiskId(disk) }
    }

    #[test]
    fn every_part_survives() {
        for wanted in [
            identity(0, 0, 4, 0, 1),
            identity(u16::MAX, u8::MAX, 31, 7, (1 << 20) - 1),
            identity(1, 0, 0, 0, 0),
            identity(0, 0x80, 0, 1, 2),
        ] {
            assert_eq!(Identity::unpack(wanted.pack().unwrap()), Some(wanted));
        }
    }

    #[test]
    fn different_disks_have_different_bits() {
        let all = [
            identity(0, 0, 4, 0, 1),
            identity(0, 0, 4, 0, 2),
            identity(0, 0, 4, 1, 1),
            identity(0, 0, 5, 0, 1),
            identity(0, 1, 4, 0, 1),
            identity(1, 0, 4, 0, 1),
        ];
        let packed: std::collections::HashSet<_> = all.iter().map(|one| one.pack().unwrap()).collect();
        assert_eq!(packed.len(), all.len());
    }

    #[test]
    fn a_number_that_does_not_fit_is_refused() {
        assert_eq!(identity(0, 0, 4, 0, 1 << 20).pack(), None);
    }

    #[test]
    fn devices_of_other_servers_are_left_alone() {
        for bits in [0, 1, 0x20, u64::MAX] {
            assert_eq!(Identity::unpack(bits), None);
        }
    }
}
