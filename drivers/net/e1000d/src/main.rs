//! The daemon of Intel's gigabit Ethernet controllers.

#![forbid(unsafe_code)]

mod args;

use std::process::ExitCode;

use args::{Cli, Task};
use clap::Parser;
use driver_network::{
    NetDevice,
    daemon::{Attached, Daemon},
};
use e1000d::E1000;
use redox_driver_sys::pci::PciFunction;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let options = cli.tuning.options();
    let attach = |function: PciFunction| {
        let address = function.address();
        let device = E1000::attach(function, options.clone())?;
        log::info!(
            "{address}: {}, {}, {} pairs of queues, {}",
            device.chip().name,
            device.settings().address,
            device.capabilities().queues,
            device.interrupt_kind()
        );
        Ok(Attached { dma: device.dma().clone(), clock: device.clock().clone(), device })
    };
    let daemon = |arguments| Daemon {
        arguments,
        net: &cli.net,
        name_at: E1000::name_at,
        wake_on: cli.tuning.wake_on(),
        attach: &attach,
    };
    common::exit(match &cli.command {
        Some(Task::Inspect(arguments)) => daemon(arguments).inspect(),
        None => daemon(&cli.daemon).serve(),
    })
}
