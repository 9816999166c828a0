//! The models that there are.

use std::fmt;

use clap::Subcommand;
use model_server::Complaints;
use redox_driver_sys::model::Device;

const SECTOR: u64 = 512;

/// A kind of device.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Kind {
    /// An NVMe controller with one namespace
    Nvme {
        #[command(flatten)]
        disk: Disk,
    },
    /// An AHCI controller with one disk
    Ahci {
        #[command(flatten)]
        disk: Disk,
    },
    /// A virtio block device
    VirtioBlk {
        #[command(flatten)]
        disk: Disk,
        /// Offer packed rings
        #[arg(long)]
        packed: bool,
    },
}

/// A disk, whose content is forgotten at the end.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Disk {
    /// Size in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=4096))]
    size: u64,
    /// Serial number
    #[arg(long, default_value = "model")]
    serial: String,
}

impl Disk {
    fn sectors(&self) -> u64 {
        (self.size << 20) / SECTOR
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, disk) = match self {
            Kind::Nvme { disk } => ("NVMe controller", disk),
            Kind::Ahci { disk } => ("AHCI controller", disk),
            Kind::VirtioBlk { disk, .. } => ("virtio block device", disk),
        };
        write!(f, "{name} with {} MiB", disk.size)
    }
}

impl Kind {
    /// The model, and what it says against its driver.
    pub(crate) fn build(&self) -> (Box<dyn Device>, Complaints) {
        match self {
            Kind::Nvme { disk } => {
                let namespaces = vec![model_nvme::NamespaceConfig::new(disk.sectors(), 9)];
                let config =
                    model_nvme::Config { namespaces, serial: disk.serial.clone(), ..Default::default() };
                let (device, handle) = model_nvme::Nvme::new(config);
                (Box::new(device), complaints(move || handle.take_violations()))
            }
            Kind::Ahci { disk } => {
                let disk = model_ahci::DiskConfig::new(disk.sectors(), &disk.serial);
                let devices = vec![Some(model_ahci::DeviceConfig::Disk(disk))];
                let (device, handle) =
                    model_ahci::Ahci::new(model_ahci::Config { devices, ..Default::default() });
                (Box::new(device), complaints(move || handle.take_violations()))
            }
            Kind::VirtioBlk { disk, packed } => {
                let mut transport = model_virtio::TransportConfig::default();
                transport.features.set(virtio_core::Features::RING_PACKED, *packed);
                let config = model_virtio::BlkConfig {
                    sectors: disk.sectors(),
                    serial: disk.serial.clone(),
                    ..Default::default()
                };
                let (device, handle) = model_virtio::Virtio::new(transport, model_virtio::Blk::new(config));
                (Box::new(device), complaints(move || handle.take_violations()))
            }
        }
    }
}

fn complaints<V: fmt::Debug>(mut take: impl FnMut() -> Vec<V> + Send + 'static) -> Complaints {
    Box::new(move || take().iter().map(|violation| format!("{violation:?}")).collect())
}
