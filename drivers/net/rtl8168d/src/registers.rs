//! The controller's registers, for everything that is not a packet.

use std::{cell::Cell, time::Duration};

use redox_driver_sys::{
    Result,
    mmio::{Mmio, ReadWrite, Register, RegisterValue},
    time::Clock,
};
use rtl8168_spec::{
    Chip,
    registers::{self as reg, CPlus, Command, Events, Mcu, Misc, RxConfig, TxConfig},
};

/// How long the transmitter may take to be empty.
const EMPTY_TIMEOUT: Duration = Duration::from_millis(67);
/// How long older chips, which do not say, are given.
const EMPTY_TIME: Duration = Duration::from_micros(100);
/// How long a reset may take.
const RESET_TIMEOUT: Duration = Duration::from_millis(100);
/// How long the chip may take to come out of remote management's hands.
const TAKE_TIMEOUT: Duration = Duration::from_millis(10);
const TAKE_TIME: Duration = Duration::from_millis(1);
const POLL: Duration = Duration::from_micros(100);

/// The registers of a chip.
#[derive(Debug)]
pub(crate) struct Registers {
    pub(crate) region: Mmio,
    pub(crate) clock: Clock,
    pub(crate) chip: &'static Chip,
    /// An access to a register behind a register did not end: before a reset there must be no other one.
    pub(crate) stuck: Cell<bool>,
}

impl Registers {
    pub(crate) fn new(region: Mmio, clock: Clock, chip: &'static Chip) -> Self {
        Registers { region, clock, chip, stuck: Cell::new(false) }
    }

    pub(crate) fn get<T: RegisterValue>(&self, offset: u64) -> Result<T> {
        let register: Register<T, ReadWrite> = self.region.register(offset)?;
        Ok(register.read())
    }

    pub(crate) fn set<T: RegisterValue>(&self, offset: u64, value: T) -> Result<()> {
        let register: Register<T, ReadWrite> = self.region.register(offset)?;
        register.write(value);
        Ok(())
    }

    pub(crate) fn modify<T: RegisterValue>(&self, offset: u64, change: impl FnOnce(T) -> T) -> Result<()> {
        self.set(offset, change(self.get(offset)?))
    }

    /// TCR, which is never all ones.
    pub(crate) fn present(&self) -> Result<TxConfig> {
        let register: Register<TxConfig, ReadWrite> = self.region.register(reg::TCR)?;
        register.read_present("TCR")
    }

    /// Has configuration registers changed, which are protected otherwise.
    pub(crate) fn configure(&self, change: impl FnOnce() -> Result<()>) -> Result<()> {
        self.set(reg::CR9346, reg::UNLOCK)?;
        let changed = change();
        self.set(reg::CR9346, reg::LOCK)?;
        changed
    }

    /// Stops interrupts and what comes; what is under way ends.
    fn stop(&self) -> Result<()> {
        self.set(reg::IMR, Events::new())?;
        self.set(reg::ISR, u16::MAX)?;
        self.modify(reg::RCR, |rcr: RxConfig| RxConfig::from(rcr.into_bits() & !0x3f))?;
        self.modify(reg::CR, |cr: Command| cr.with_stop(true).with_rst(false))?;
        if !self.chip.modern {
            self.clock.sleep(EMPTY_TIME);
            return self.present().map(drop);
        }
        let empty = self.clock.poll_until("empty transmitter (TCR)", EMPTY_TIMEOUT, POLL, || {
            Ok(self.present()?.empty().then_some(()))
        });
        self.in_spite_of(empty)
    }

    /// Goes on after what was only to make the next step gentle.
    fn in_spite_of(&self, waited: Result<()>) -> Result<()> {
        match waited {
            Err(error) if error.is_gone() => Err(error),
            Err(error) => {
                log::warn!("{error}: the device is reset all the same");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Resets the device. It does no DMA afterwards; addresses and configuration stay as they were.
    pub(crate) fn reset(&self) -> Result<()> {
        self.present()?;
        self.stop()?;
        self.set(reg::CR, Command::new().with_rst(true))?;
        let command: Register<Command, ReadWrite> = self.region.register(reg::CR)?;
        self.clock.poll_until("end of reset (CR.RST)", RESET_TIMEOUT, POLL, || {
            Ok((!command.read_present("CR")?.rst()).then_some(()))
        })?;
        self.set(reg::IMR, Events::new())?;
        self.set(reg::ISR, u16::MAX)?;
        self.stuck.set(false);
        self.present().map(drop)
    }

    /// Takes the device from remote management, which has it as long as there is no driver, on chips that can hold back what comes.
    pub(crate) fn take_over(&self) -> Result<()> {
        if !self.chip.gated {
            return Ok(());
        }
        self.modify(reg::MISC, |misc: Misc| misc.with_rx_gated(true))?;
        let empty = self.clock.poll_until("empty buffers (MCU)", TAKE_TIMEOUT, POLL, || {
            let mcu: Mcu = self.get(reg::MCU)?;
            Ok((self.present()?.empty() && mcu.tx_empty() && mcu.rx_empty()).then_some(()))
        });
        self.in_spite_of(empty)?;
        self.modify(reg::CR, |cr: Command| cr.with_te(false).with_re(false))?;
        self.clock.sleep(TAKE_TIME);
        self.modify(reg::MCU, |mcu: Mcu| mcu.with_out_of_band(false))?;
        self.modify_mac(0xe8de, 1 << 14, 0)?;
        self.wait_for_lists()?;
        self.modify_mac(0xe8de, 0, 1 << 15)?;
        self.wait_for_lists()
    }

    fn wait_for_lists(&self) -> Result<()> {
        let ready = self.clock.poll_until("lists of descriptors (MCU)", TAKE_TIMEOUT, POLL, || {
            Ok(self.get::<Mcu>(reg::MCU)?.list_ready().then_some(()))
        });
        self.in_spite_of(ready)
    }

    /// What CPLUS is to be: what the chip came with, less what drivers leave alone.
    pub(crate) fn cplus(&self) -> Result<CPlus> {
        let now: CPlus = self.get(reg::CPLUS)?;
        Ok(CPlus::new().with_normal_mode(now.normal_mode()))
    }
}
