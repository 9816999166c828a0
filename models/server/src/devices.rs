//! The models that there are.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use clap::Subcommand;
use model_server::Server;

use crate::cable;

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
    /// Two Ethernet controllers, at the ends of a cable
    Cable {
        /// What is at each end, such as 82574L or RTL8168H
        #[arg(value_names = ["CHIP", "CHIP"], num_args = 2, required = true)]
        chips: Vec<String>,
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
        match self {
            Kind::Nvme { disk } => write!(f, "an NVMe controller with {} MiB", disk.size),
            Kind::Ahci { disk } => write!(f, "an AHCI controller with {} MiB", disk.size),
            Kind::VirtioBlk { disk, .. } => write!(f, "a virtio block device with {} MiB", disk.size),
            Kind::Cable { chips } => write!(f, "a cable between {}", chips.join(" and ")),
        }
    }
}

impl Kind {
    /// Listens at a socket for each device, in order.
    pub(crate) fn listen(&self, sockets: &[PathBuf]) -> Result<Vec<Server>> {
        if let (Kind::Cable { chips }, [one, other]) = (self, sockets) {
            return cable::listen(chips, [one, other]);
        }
        let [socket] = sockets else {
            let devices = if matches!(self, Kind::Cable { .. }) { 2 } else { 1 };
            bail!("--socket must be given once for each device: {devices}, not {}", sockets.len());
        };
        Ok(vec![self.listen_at(socket)?])
    }

    fn listen_at(&self, socket: &Path) -> Result<Server> {
        Ok(match self {
            Kind::Nvme { disk } => {
                let namespaces = vec![model_nvme::NamespaceConfig::new(disk.sectors(), 9)];
                let config =
                    model_nvme::Config { namespaces, serial: disk.serial.clone(), ..Default::default() };
                let (device, handle) = model_nvme::Nvme::new(config);
                judged(Server::listen(socket, Box::new(device))?, move || handle.take_violations())
            }
            Kind::Ahci { disk } => {
                let disk = model_ahci::DiskConfig::new(disk.sectors(), &disk.serial);
                let devices = vec![Some(model_ahci::DeviceConfig::Disk(disk))];
                let (device, handle) =
                    model_ahci::Ahci::new(model_ahci::Config { devices, ..Default::default() });
                judged(Server::listen(socket, Box::new(device))?, move || handle.take_violations())
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
                judged(Server::listen(socket, Box::new(device))?, move || handle.take_violations())
            }
            Kind::Cable { .. } => bail!("a cable has two ends"),
        })
    }
}

/// Has what the model thinks forbidden logged.
pub(crate) fn judged<V: fmt::Debug>(
    server: Server,
    mut take: impl FnMut() -> Vec<V> + Send + 'static,
) -> Server {
    server.observe(move || {
        for violation in take() {
            log::error!("the guest's driver did what is forbidden: {violation:?}");
        }
    });
    server
}
