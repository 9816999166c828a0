//! The life of a network daemon, from an attached device to its end.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "redox")]
mod redox;

use anyhow::Context;
use common::{args::DaemonArgs, daemon::Readiness, logger::Logging};
use redox_driver_sys::{
    dma::DmaAllocator,
    pci::{PciAddress, PciClaim, PciFunction},
    time::Clock,
};

use crate::{device::NetDevice, settings::WakeOn};

/// Arguments that all network daemons share, for `#[command(flatten)]`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct NetArgs {
    /// The network interface to serve the device as; made if there is none [default: after the device's address, as in rbp0s4].
    ///
    /// Has no effect on Redox, where the scheme is named after the device.
    #[arg(long, value_name = "NAME")]
    pub interface: Option<String>,
    /// Leave the interface, with its settings, when the daemon is told to end.
    ///
    /// A daemon that is killed leaves it anyway.
    #[arg(long)]
    pub keep_interface: bool,
    /// Do nothing for clients that they can do themselves: no checksums, no cutting of packets.
    #[arg(long)]
    pub no_offload: bool,
}

/// The daemon of one device, as far as every driver's is the same.
#[derive(Debug)]
pub struct Daemon<'a, A> {
    /// Which device, and how much to log.
    pub arguments: &'a DaemonArgs,
    /// How it is served.
    pub net: &'a NetArgs,
    /// How the device at an address is called: `pci-0000-00-06.0_e1000`.
    pub name_at: fn(PciAddress) -> String,
    /// What is to wake the machine up when the daemon ends.
    pub wake_on: WakeOn,
    /// Takes the device over.
    pub attach: A,
}

/// A device that is ready to serve.
#[derive(Debug)]
pub struct Attached<D> {
    /// The device.
    pub device: D,
    /// The memory that it can reach.
    pub dma: DmaAllocator,
    /// The clock that its deadlines go by.
    pub clock: Clock,
}

impl<D, A> Daemon<'_, A>
where
    D: NetDevice,
    A: FnOnce(PciFunction) -> anyhow::Result<Attached<D>>,
{
    /// Serves the device until the process is told to end; then packets in flight are sent, and it is shut down. It is ready with or
    /// without a link.
    ///
    /// # Errors
    /// What kept it from serving, or ended it, with the device's address.
    pub fn serve(self) -> anyhow::Result<()> {
        let readiness = Readiness::from_env()?;
        let mut claim = self.claim()?;
        let address = claim.address();
        let served = || -> anyhow::Result<()> {
            let attached = (self.attach)(claim.function()?)?;
            let service = Service { address, net: self.net, wake_on: self.wake_on };
            service.run(attached, readiness)
        };
        served().with_context(|| address.to_string())
    }

    /// Prints what the device tells of itself: what its daemon knows, if there is one, or else the device itself.
    ///
    /// # Errors
    /// The device cannot be taken over, or its daemon does not answer.
    pub fn inspect(self) -> anyhow::Result<()> {
        #[cfg(target_os = "linux")]
        if let Some(address) = self.arguments.device {
            let running = linux::inspect_running(&(self.name_at)(address));
            let running = running.with_context(|| format!("{address}: ask the daemon that serves it"))?;
            if let Some(report) = running {
                print!("{report}");
                return Ok(());
            }
        }
        let mut claim = self.claim()?;
        let address = claim.address();
        let inspected = || -> anyhow::Result<()> {
            let Attached { mut device, .. } = (self.attach)(claim.function()?)?;
            print!("{}", device.inspect());
            let queues = device.take_queues(usize::MAX);
            Ok(device.shutdown(queues, WakeOn::empty())?)
        };
        inspected().with_context(|| address.to_string())
    }

    /// The device's function. Starts the log, which is named after it.
    fn claim(&self) -> anyhow::Result<PciClaim> {
        let claim = PciClaim::find(self.arguments.device)?;
        let name = format!("network.{}", (self.name_at)(claim.address()));
        Logging::new("net", "pci", &name).level(self.arguments.log.log_level).init()?;
        Ok(claim)
    }
}

/// What the system's part of a daemon needs to know.
#[derive(Debug)]
#[allow(dead_code, reason = "each system has a use for its part")]
struct Service<'a> {
    address: PciAddress,
    net: &'a NetArgs,
    wake_on: WakeOn,
}
