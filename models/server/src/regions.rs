//! What the guest is told of the function: its regions and interrupts, in VFIO's order.

use redox_driver_sys::{irq::InterruptKind, model::ConfigSpace};
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_INFO_AUTOMASKED, VFIO_IRQ_INFO_EVENTFD, VFIO_IRQ_INFO_MASKABLE, VFIO_IRQ_INFO_NORESIZE,
    VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX,
    VFIO_PCI_NUM_IRQS, VFIO_PCI_NUM_REGIONS, VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE,
    vfio_region_info,
};
use vfio_user::{IrqInfo, ServerRegion};

/// Bytes of configuration space.
const CONFIG_LEN: u64 = 256;

/// The BARs, the ROM (there is none), configuration space, VGA (none).
pub(crate) fn regions(config: &ConfigSpace) -> Vec<ServerRegion> {
    let region = |index| {
        let size = match index {
            VFIO_PCI_CONFIG_REGION_INDEX => CONFIG_LEN,
            _ => u8::try_from(index).map_or(0, |bar| config.bar_len(bar)),
        };
        let flags = if size == 0 { 0 } else { VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE };
        let argsz = u32::try_from(size_of::<vfio_region_info>()).unwrap_or(0);
        // QEMU tells regions apart by where they are in the device's file, of which there is none here.
        let offset = u64::from(index) << 40;
        let region_info = vfio_region_info { argsz, index, size, flags, offset, ..Default::default() };
        ServerRegion { region_info, sparse_areas: Vec::new(), mmap_fd: None }
    };
    (0..VFIO_PCI_NUM_REGIONS).map(region).collect()
}

/// The interrupts of each kind.
pub(crate) fn interrupts(config: &ConfigSpace) -> Vec<IrqInfo> {
    let info = |index| {
        let (kind, flags) = match index {
            VFIO_PCI_INTX_IRQ_INDEX => {
                (InterruptKind::Intx, VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED)
            }
            VFIO_PCI_MSI_IRQ_INDEX => (InterruptKind::Msi, VFIO_IRQ_INFO_NORESIZE),
            VFIO_PCI_MSIX_IRQ_INDEX => (InterruptKind::MsiX, 0),
            _ => return IrqInfo { index, flags: 0, count: 0 },
        };
        IrqInfo { index, flags: flags | VFIO_IRQ_INFO_EVENTFD, count: config.vectors(kind).into() }
    };
    (0..VFIO_PCI_NUM_IRQS).map(info).collect()
}

#[cfg(test)]
mod tests {
    use redox_driver_sys::pci::PciIds;

    use super::*;

    #[test]
    fn what_a_function_has_is_told() {
        let ids = PciIds {
            vendor: 1,
            device: 2,
            subsystem_vendor: 3,
            subsystem: 4,
            class: 5,
            subclass: 6,
            interface: 7,
            revision: 8,
        };
        let config = ConfigSpace::new(ids)
            .with_memory_bar(0, 0x4000)
            .with_msix(9, 4, 0, 0x800)
            .with_memory_bar(4, 0x1000)
            .with_msi(4);
        let sizes: Vec<u64> = regions(&config).iter().map(|region| region.region_info.size).collect();
        assert_eq!(sizes, [0x4000, 0, 0, 0, 0x1000, 0, 0, 256, 0]);
        let counts: Vec<u32> = interrupts(&config).iter().map(|info| info.count).collect();
        assert_eq!(counts, [1, 4, 9, 0, 0]);
    }
}
