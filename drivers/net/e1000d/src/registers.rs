//! The controller's registers, for everything that is not a packet.

use std::time::Duration;

use e1000_spec::{
    Chip,
    registers::{self as reg, Causes, Ctrl, Eecd, Rctl, Status, Tctl},
};
use redox_driver_sys::{
    Result,
    mmio::{Mmio, ReadClears, ReadWrite, Register, RegisterValue},
    time::Clock,
};

/// How long the device may take to end what it does on the bus.
const QUIET_TIMEOUT: Duration = Duration::from_millis(100);
/// How long packets on their way may take.
const DRAIN: Duration = Duration::from_millis(10);
/// How long a reset may take, with the EEPROM being read after it (8254x section 14.3).
const RESET_TIMEOUT: Duration = Duration::from_millis(100);
const RESET_TIME: Duration = Duration::from_millis(5);
const POLL: Duration = Duration::from_millis(1);

/// BAR 0.
#[derive(Clone, Debug)]
pub(crate) struct Registers {
    pub(crate) region: Mmio,
    pub(crate) clock: Clock,
    pub(crate) chip: &'static Chip,
}

impl Registers {
    pub(crate) fn get<T: RegisterValue>(&self, offset: u64) -> Result<T> {
        let register: Register<T, ReadWrite> = self.region.register(offset)?;
        Ok(register.read())
    }

    pub(crate) fn set<T: RegisterValue>(&self, offset: u64, value: T) -> Result<()> {
        let register: Register<T, ReadWrite> = self.region.register(offset)?;
        register.write(value);
        Ok(())
    }

    /// Reads a register and thereby clears it.
    pub(crate) fn take<T: RegisterValue>(&self, offset: u64) -> Result<T> {
        let register: Register<T, ReadClears> = self.region.register(offset)?;
        Ok(register.read_and_clear())
    }

    pub(crate) fn modify<T: RegisterValue>(&self, offset: u64, change: impl FnOnce(T) -> T) -> Result<()> {
        self.set(offset, change(self.get(offset)?))
    }

    /// The device's status, which is never all ones.
    pub(crate) fn status(&self) -> Result<Status> {
        let register: Register<Status, ReadWrite> = self.region.register(reg::STATUS)?;
        register.read_present("STATUS")
    }

    /// Stops interrupts and both directions: no frame is begun any more.
    pub(crate) fn stop(&self) -> Result<()> {
        self.set(reg::IMC, u32::MAX)?;
        self.set(reg::RCTL, Rctl::new())?;
        self.set(reg::TCTL, Tctl::new().with_psp(true))?;
        self.status().map(drop)
    }

    /// Resets the device (8254x section 14.3, 82574 section 4.6.1). It does no DMA afterwards, and its registers are as after power-up.
    pub(crate) fn reset(&self) -> Result<()> {
        self.stop()?;
        if self.chip.is_express() {
            // What is outstanding would be answered into a device that has forgotten it (82574 section 5.2.3).
            self.modify(reg::CTRL, |ctrl: Ctrl| ctrl.with_master_disable(true))?;
            let quiet = self.clock.poll_until("GIO master disable", QUIET_TIMEOUT, POLL, || {
                Ok((!self.status()?.master_enable()).then_some(()))
            });
            match quiet {
                Err(error) if error.is_gone() => return Err(error),
                Err(error) => log::warn!("{error}: the device is reset all the same"),
                Ok(()) => {}
            }
        }
        self.clock.sleep(DRAIN);
        self.modify(reg::CTRL, |ctrl: Ctrl| ctrl.with_rst(true))?;
        // No register may be touched while the device reads its EEPROM.
        self.clock.sleep(RESET_TIME);
        let control: Register<Ctrl, ReadWrite> = self.region.register(reg::CTRL)?;
        self.clock.poll_until("end of reset (CTRL.RST)", RESET_TIMEOUT, POLL, || {
            Ok((!control.read().rst()).then_some(()))
        })?;
        if self.chip.is_express() {
            self.clock.poll_until("read of the EEPROM (EECD.AUTO_RD)", RESET_TIMEOUT, POLL, || {
                Ok(self.get::<Eecd>(reg::EECD)?.auto_rd().then_some(()))
            })?;
        }
        self.set(reg::IMC, u32::MAX)?;
        self.take::<Causes>(reg::ICR)?;
        self.status().map(drop)
    }
}
