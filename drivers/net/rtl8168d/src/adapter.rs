//! A device from attaching to shutting down.

mod setup;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use common::phy::{LinkStatus, Phy};
use driver_network::{
    Capabilities, Link, MacAddress, NetDevice, NetError, NetEvent, Settings, Shape, Statistics, WakeOn,
};
use redox_driver_sys::{
    dma::DmaAllocator,
    error::chain,
    irq::{Interrupt, InterruptKind},
    pci::{PciAddress, PciFunction},
    time::{Clock, Time},
};
use rtl8168_spec::{
    Chip,
    registers::{Events, RCR, RxConfig},
};

use crate::{
    error::{Error, Result},
    filter,
    mdio::MdioBus,
    options::Options,
    queue::{Pair, Shared},
    registers::Registers,
    statistics::Totals,
    wake,
};

/// How often the device is looked at though it does not call: an interrupt may be lost.
const LOOK: Duration = Duration::from_secs(2);

/// A controller that this process owns.
///
/// Fields are dropped in this order: bus mastering is off before memory is freed.
#[derive(Debug)]
pub struct Rtl8168 {
    function: PciFunction,
    pub(crate) registers: Registers,
    name: String,
    options: Options,
    capabilities: Capabilities,
    settings: Settings,
    shape: Shape,
    /// The address that it had.
    permanent: MacAddress,
    phy: Phy,
    link: Link,
    dma: DmaAllocator,
    interrupt_kind: InterruptKind,
    queue: Option<Pair>,
    pub(crate) shared: Arc<Shared>,
    /// What passes.
    passes: RxConfig,
    pub(crate) totals: Totals,
    pub(crate) resets: u64,
}

impl Rtl8168 {
    /// What the device at `address` is called: `pci-0000-00-06.0_rtl8168`.
    pub fn name_at(address: PciAddress) -> String {
        format!("pci-{}_rtl8168", address.scheme_name())
    }

    /// Which chip it is.
    pub fn chip(&self) -> &'static Chip {
        self.registers.chip
    }

    /// Its PHY.
    pub fn phy(&self) -> &Phy {
        &self.phy
    }

    /// How the device interrupts.
    pub fn interrupt_kind(&self) -> InterruptKind {
        self.interrupt_kind
    }

    /// The allocator of memory that the device can reach.
    pub fn dma(&self) -> &DmaAllocator {
        &self.dma
    }

    /// The clock that the device's deadlines go by.
    pub fn clock(&self) -> &Clock {
        &self.registers.clock
    }

    /// How often the device was reset since it was attached.
    pub fn resets(&self) -> u64 {
        self.resets
    }

    fn fail(&self, step: &str, error: &Error) -> NetError {
        log::error!("{}: {step}: {}", self.name, chain(error));
        error.as_net_error()
    }

    fn look_at_link(&mut self, events: &mut Vec<NetEvent>) -> Result<()> {
        let LinkStatus { up, dropped } = self.phy.status(&mut MdioBus(&self.registers))?;
        let link = Link::from(up);
        events.extend(self.link.changes(link, dropped));
        self.link = link;
        Ok(())
    }

    fn look(&mut self, events: &mut Vec<NetEvent>) -> Result<()> {
        self.registers.present().map_err(Error::machine("look at the device"))?;
        let came = Events::from(self.shared.events.swap(0, Ordering::Relaxed));
        if came.serr() {
            events.push(NetEvent::ResetNeeded("an error on the bus (SERR)".to_string()));
        } else if came.fovw() && self.chip().overflow_resets {
            events.push(NetEvent::ResetNeeded("the receive FIFO overflowed".to_string()));
        }
        self.look_at_link(events)
    }

    fn cut_off(&self) {
        if let Err(error) = self.function.set_bus_master(false) {
            log::error!("{}: bus mastering stays on: {}", self.name, chain(&error));
        }
    }
}

impl NetDevice for Rtl8168 {
    type Queue = Pair;

    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn take_queues(&mut self, most: usize) -> Vec<Pair> {
        if most == 0 { Vec::new() } else { self.queue.take().into_iter().collect() }
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn shape(&self) -> Shape {
        self.shape
    }

    fn link(&self) -> Link {
        self.link
    }

    fn start(&mut self) -> Result<(), NetError> {
        self.enable().map_err(|error| self.fail("start", &error))
    }

    fn configure(&mut self, settings: &Settings) -> Result<(), NetError> {
        settings.check(&self.capabilities)?;
        let apply = || {
            let passes = filter::apply(&self.registers, settings)?;
            // Before it is started nothing passes.
            self.registers.modify(RCR, |now: RxConfig| {
                if now.is_closed() { now } else { setup::rcr(self.registers.chip, passes) }
            })?;
            Ok(passes)
        };
        self.passes =
            apply().map_err(|error| self.fail("configure", &Error::machine("set filters")(error)))?;
        self.settings = settings.clone();
        Ok(())
    }

    fn interrupt(&self) -> Option<&Interrupt> {
        None
    }

    fn poll(&mut self, now: Time, events: &mut Vec<NetEvent>) -> Result<Option<Time>, NetError> {
        self.look(events).map_err(|error| self.fail("poll", &error))?;
        Ok(Some(now.plus(LOOK)))
    }

    fn transmit_timeout(&self) -> Duration {
        self.options.transmit_timeout
    }

    fn reset(&mut self, mut queues: Vec<Pair>, shape: Shape) -> Result<Vec<Pair>, NetError> {
        setup::check(&self.capabilities, shape).map_err(|error| self.fail("reset", &error))?;
        self.resets += 1;
        log::warn!("{}: device reset {}", self.name, self.resets);
        if let Err(error) = self.restart(&mut queues, shape) {
            let told = self.fail("reset", &error);
            // Before the rings are freed: the device may have them already.
            self.cut_off();
            return Err(if told == NetError::Invalid { NetError::TimedOut } else { told });
        }
        Ok(queues)
    }

    fn statistics(&mut self) -> Result<Statistics, NetError> {
        let collected = self.collect();
        collected.map_err(|error| self.fail("counters", &Error::machine("read counters")(error)))
    }

    fn shutdown(&mut self, queues: Vec<Pair>, wake_on: WakeOn) -> Result<(), NetError> {
        let leave = || {
            self.registers.reset()?;
            if wake_on.is_empty() {
                filter::set_address(&self.registers, self.permanent.0)?;
            }
            wake::leave(&self.registers, &self.settings, wake_on)
        };
        let ended = leave();
        self.cut_off();
        drop(queues);
        ended.map_err(|error| self.fail("shutdown", &Error::machine("reset")(error)))
    }

    fn inspect(&mut self) -> String {
        self.report()
    }
}
