//! Function level reset (PCI Express 3.0, section 6.6.2), for systems whose kernel does not do it.

use std::time::Duration;

use super::{Capabilities, Command, FunctionBackend, Width, header};
use crate::{
    error::{Error, Result},
    time::Clock,
};

/// Offsets in the PCI Express capability (section 7.8).
const DEVICE_CAPABILITIES: u16 = 4;
const DEVICE_CONTROL: u16 = 8;
const FLR_CAPABLE: u32 = 1 << 28;
const INITIATE_FLR: u32 = 1 << 15;
/// Device Status, in the upper half of the same 32 bits.
const TRANSACTIONS_PENDING: u32 = 1 << 21;
/// How long transactions may be outstanding, and how long the function may take to come back.
const QUIET: Duration = Duration::from_millis(100);
const RESET_TIME: Duration = Duration::from_millis(100);
const POLL: Duration = Duration::from_millis(1);

/// Resets the function and puts its header back as it was, with bus mastering off.
pub(crate) fn function_level_reset(function: &dyn FunctionBackend, clock: &Clock) -> Result<()> {
    let read = |offset| function.config_read(offset, Width::Dword);
    let write = |offset, value| function.config_write(offset, Width::Dword, value);
    let express = Capabilities::read(function)?.pci_express;
    let reset =
        express.filter(|&at| matches!(read(at + DEVICE_CAPABILITIES), Ok(value) if value & FLR_CAPABLE != 0));
    let Some(express) = reset else {
        return Err(Error::Unsupported("the function has no function level reset".to_string()));
    };
    let command = function.config_read(header::COMMAND, Width::Word)?;
    // Cache line size to interrupt line: all that can be written behind Command, Status and class.
    let kept = (0x0c..0x40).step_by(4).map(|offset| Ok((offset, read(offset)?)));
    let kept = kept.collect::<Result<Vec<(u16, u32)>>>()?;
    let control = read(express + DEVICE_CONTROL)? & 0xffff & !INITIATE_FLR;

    // Nothing may be on its way when the reset hits (section 6.6.2, implementation note).
    function.config_write(header::COMMAND, Width::Word, Command::INTX_DISABLE.bits().into())?;
    clock.poll_until("end of outstanding transactions", QUIET, POLL, || {
        Ok((read(express + DEVICE_CONTROL)? & TRANSACTIONS_PENDING == 0).then_some(()))
    })?;
    write(express + DEVICE_CONTROL, control | INITIATE_FLR)?;
    clock.sleep(RESET_TIME);
    clock.poll_until("return from function level reset", RESET_TIME, POLL, || {
        Ok((read(header::VENDOR_ID)? != u32::MAX).then_some(()))
    })?;

    write(express + DEVICE_CONTROL, control)?;
    for (offset, value) in kept {
        write(offset, value)?;
    }
    let command = command & !u32::from(Command::BUS_MASTER.bits());
    function.config_write(header::COMMAND, Width::Word, command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Bus, ConfigSpace, Device, Host},
        pci::PciIds,
        time::Time,
    };

    /// Counts its resets.
    struct Counter(ConfigSpace, u32);

    impl Device for Counter {
        fn config(&mut self) -> &mut ConfigSpace {
            &mut self.0
        }
        fn mmio_read(&mut self, _: &mut dyn Bus, _: u8, _: u64, _: usize) -> u64 {
            self.1.into()
        }
        fn mmio_write(&mut self, _: &mut dyn Bus, _: u8, _: u64, _: usize, _: u64) {}
        fn run(&mut self, _: &mut dyn Bus) {}
        fn next_event(&self) -> Option<Time> {
            None
        }
        fn reset(&mut self) {
            self.1 += 1;
        }
    }

    fn host(config: ConfigSpace) -> Host {
        Host::new(Box::new(Counter(config.with_memory_bar(0, 0x1000), 0)))
    }

    fn ids() -> PciIds {
        PciIds {
            vendor: 0x1b36,
            device: 0x10,
            subsystem_vendor: 0,
            subsystem: 0,
            class: 1,
            subclass: 8,
            interface: 2,
            revision: 0,
        }
    }

    #[test]
    fn resets_and_restores_the_header() {
        let host = host(ConfigSpace::new(ids()).with_msi(1).with_pci_express());
        let function = host.function();
        function.config_write_u32(header::BAR0, 0xfeb0_0000).unwrap();
        function.config_write_u8(0x3c, 11).unwrap();
        function.enable_memory().unwrap();
        function.set_bus_master(true).unwrap();
        function_level_reset(&*function.backend, &function.clock()).unwrap();
        let registers = function.map_bar(0).unwrap();
        let resets = registers.register::<u32, crate::mmio::ReadOnly>(0).unwrap();
        assert_eq!(resets.read(), 1);
        assert_eq!(function.config_read_u32(header::BAR0).unwrap(), 0xfeb0_0004);
        assert_eq!(function.config_read_u8(0x3c).unwrap(), 11);
        assert!(!host.bus_master());
        let command = Command::from_bits_retain(function.config_read_u16(header::COMMAND).unwrap());
        assert_eq!(command, Command::MEMORY_SPACE);
    }

    #[test]
    fn refuses_what_cannot_be_reset() {
        let host = host(ConfigSpace::new(ids()).with_msi(1));
        let function = host.function();
        function.set_bus_master(true).unwrap();
        let error = function_level_reset(&*function.backend, &function.clock()).unwrap_err();
        assert_eq!(error.to_string(), "not supported: the function has no function level reset");
        assert!(host.bus_master(), "nothing was changed");
    }

    #[test]
    fn says_when_the_function_does_not_come_back() {
        let host = host(ConfigSpace::new(ids()).with_pci_express());
        let function = host.function();
        host.set_connected(false);
        assert!(function_level_reset(&*function.backend, &function.clock()).is_err());
    }
}
