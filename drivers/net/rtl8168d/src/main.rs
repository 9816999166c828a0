//! The daemon of Realtek's gigabit Ethernet controllers RTL8168 and RTL8111.

#![forbid(unsafe_code)]

mod args;

use std::process::ExitCode;

use args::{Cli, Task};
use clap::Parser;
use driver_network::{
    NetDevice,
    daemon::{Attached, Daemon},
};
use redox_driver_sys::pci::PciFunction;
use rtl8168d::Rtl8168;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let options = cli.tuning.options();
    let attach = |function: PciFunction| {
        let address = function.address();
        let device = Rtl8168::attach(function, options.clone())?;
        log::info!(
            "{address}: {}, {}, {}",
            device.chip().name,
            device.settings().address,
            device.interrupt_kind()
        );
        Ok(Attached { dma: device.dma().clone(), clock: device.clock().clone(), device })
    };
    let daemon = |arguments| Daemon {
        arguments,
        net: &cli.net,
        name_at: Rtl8168::name_at,
        wake_on: cli.tuning.wake_on(),
        attach: &attach,
    };
    common::exit(match &cli.command {
        Some(Task::Inspect(arguments)) => daemon(arguments).inspect(),
        None => daemon(&cli.daemon).serve(),
    })
}
