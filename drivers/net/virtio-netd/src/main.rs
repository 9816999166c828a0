//! The virtio network device daemon.

#![forbid(unsafe_code)]

mod args;

use std::process::ExitCode;

use args::{Cli, Task};
use clap::Parser;
use driver_network::{
    NetDevice, WakeOn,
    daemon::{Attached, Daemon},
};
use redox_driver_sys::pci::PciFunction;
use virtio_netd::VirtioNet;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let options = cli.tuning.options();
    let attach = |function: PciFunction| {
        let address = function.address();
        let device = VirtioNet::attach(function, options.clone())?;
        log::info!(
            "{address}: virtio network device, {}, {} pairs of queues, {}",
            device.settings().address,
            device.capabilities().queues,
            device.interrupt_kind()
        );
        Ok(Attached { dma: device.dma().clone(), clock: device.clock().clone(), device })
    };
    let daemon = |arguments| Daemon {
        arguments,
        net: &cli.net,
        name_at: VirtioNet::name_at,
        wake_on: WakeOn::empty(),
        attach: &attach,
    };
    common::exit(match &cli.command {
        Some(Task::Inspect(arguments)) => daemon(arguments).inspect(),
        None => daemon(&cli.daemon).serve(),
    })
}
