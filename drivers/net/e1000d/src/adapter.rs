//! A device from attaching to shutting down.

mod setup;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use common::phy::{FlowControl, LinkStatus, Phy};
use driver_network::{
    Capabilities, Duplex, Link, NetDevice, NetError, NetEvent, Settings, Shape, Statistics, WakeOn,
};
use e1000_spec::{
    Chip,
    registers::{self as reg, Causes, Ctrl, Rctl, RingRegisters, Tctl},
};
use redox_driver_sys::{
    dma::DmaAllocator,
    error::chain,
    irq::{Interrupt, InterruptKind},
    pci::{PciAddress, PciFunction},
    time::{Clock, Time},
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
pub struct E1000 {
    function: PciFunction,
    pub(crate) registers: Registers,
    name: String,
    options: Options,
    capabilities: Capabilities,
    settings: Settings,
    shape: Shape,
    phy: Phy,
    link: Link,
    dma: DmaAllocator,
    interrupt_kind: InterruptKind,
    /// MSI-X: the vector of everything that is no queue's.
    interrupt: Option<Interrupt>,
    /// Its number, as IVAR has it.
    vector: u8,
    queues: Vec<Pair>,
    /// Of each pair that is in use.
    pub(crate) shared: Vec<Arc<Shared>>,
    rctl: Rctl,
    rss_key: [u8; reg::RSS_KEY],
    /// Receive descriptors that were passed over at the last look, by queue: how many had been taken.
    passed: Vec<Option<u64>>,
    pub(crate) totals: Totals,
    pub(crate) resets: u64,
}

impl E1000 {
    /// What the device at `address` is called: `pci-0000-00-06.0_e1000`.
    pub fn name_at(address: PciAddress) -> String {
        format!("pci-{}_e1000", address.scheme_name())
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

    /// Serves the causes that come with a vector of their own.
    fn take_causes(&self) -> redox_driver_sys::Result<()> {
        if self.interrupt.is_some() {
            let causes: Causes = self.registers.take(reg::ICR)?;
            let of = |kind: Causes| Causes::from(causes.into_bits() & kind.into_bits());
            self.registers.set(reg::ICR, of(setup::OTHERS))?;
            // Reading may have cleared what the queues were not told of yet, while a throttle holds it up: it is raised again.
            let queues = of(setup::QUEUES);
            if queues != Causes::new() {
                self.registers.set(reg::ICS, queues)?;
            }
        }
        Ok(())
    }

    /// Looks at the link, and has the device behave as it was agreed on.
    fn look_at_link(&mut self, events: &mut Vec<NetEvent>) -> Result<()> {
        let LinkStatus { up, dropped } = {
            let mut bus = MdioBus::new(&self.registers).map_err(Error::machine("read the PHY"))?;
            self.phy.status(&mut bus)?
        };
        let link = Link::from(up);
        let mut changes = self.link.changes(link, dropped).peekable();
        if changes.peek().is_some() {
            self.follow(link).map_err(Error::machine("set what was agreed on"))?;
        }
        events.extend(changes);
        self.link = link;
        Ok(())
    }

    /// Sets flow control and collision distance (8254x sections 8.6.1 and 13.4.33).
    fn follow(&self, link: Link) -> redox_driver_sys::Result<()> {
        let Link::Up { speed, duplex, flow_control } = link else { return Ok(()) };
        let FlowControl { receive, transmit } = flow_control;
        self.registers.modify(reg::CTRL, |ctrl: Ctrl| ctrl.with_rfce(receive).with_tfce(transmit))?;
        let distance = match (speed, duplex) {
            (Some(1000), Duplex::Half) => setup::COLLISION_GIGABIT_HALF,
            _ => setup::COLLISION,
        };
        self.registers.modify(reg::TCTL, |tctl: Tctl| tctl.with_cold(distance))
    }

    /// Whether the device has gone past a descriptor twice in a row without telling that it is done with it.
    fn is_passed_over(&mut self) -> redox_driver_sys::Result<bool> {
        for ((queue, shared), passed) in (0..).zip(&self.shared).zip(&mut self.passed) {
            let consumed = shared.consumed.load(Ordering::Relaxed);
            let head: u32 = self.registers.get(RingRegisters::receive(queue).head())?;
            let next = consumed % u64::from(self.shape.rx_ring);
            let stands = (u64::from(head) != next).then_some(consumed);
            if stands.is_some() && stands == *passed {
                return Ok(true);
            }
            *passed = stands;
        }
        Ok(false)
    }

    fn look(&mut self, events: &mut Vec<NetEvent>) -> Result<()> {
        let step = Error::machine("look at the device");
        let status = self.registers.status();
        let seen = status.and_then(|status| self.take_causes().map(|()| status)).map_err(step)?;
        self.look_at_link(events)?;
        if seen.lu() && self.is_passed_over().map_err(Error::machine("look at the rings"))? {
            events.push(NetEvent::ResetNeeded("a receive descriptor is never written back".to_string()));
        }
        Ok(())
    }
}

impl NetDevice for E1000 {
    type Queue = Pair;

    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn take_queues(&mut self, most: usize) -> Vec<Pair> {
        self.shared.truncate(most);
        self.passed.truncate(most);
        // The device knows the rings of the others until it is reset: their memory stays.
        let others = self.queues.split_off(most.min(self.queues.len()));
        std::mem::replace(&mut self.queues, others)
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
            let rctl = self.rctl.with_upe(passes.upe()).with_mpe(passes.mpe());
            self.registers.modify(reg::RCTL, |now: Rctl| rctl.with_en(now.en()))?;
            Ok(rctl)
        };
        self.rctl = apply().map_err(|error| self.fail("configure", &Error::machine("set filters")(error)))?;
        self.settings = settings.clone();
        Ok(())
    }

    fn interrupt(&self) -> Option<&Interrupt> {
        self.interrupt.as_ref()
    }

    fn poll(&mut self, now: Time, events: &mut Vec<NetEvent>) -> Result<Option<Time>, NetError> {
        self.look(events).map_err(|error| self.fail("poll", &error))?;
        Ok(Some(now.plus(LOOK)))
    }

    fn transmit_timeout(&self) -> Duration {
        self.options.transmit_timeout
    }

    fn reset(&mut self, mut queues: Vec<Pair>, shape: Shape) -> Result<Vec<Pair>, NetError> {
        let shape = setup::check(self.chip(), shape).map_err(|error| self.fail("reset", &error))?;
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
        let ended =
            self.registers.reset().and_then(|()| wake::leave(&self.registers, &self.settings, wake_on));
        self.cut_off();
        drop(queues);
        ended.map_err(|error| self.fail("shutdown", &Error::machine("reset")(error)))
    }

    fn inspect(&mut self) -> String {
        self.report()
    }
}

impl E1000 {
    fn cut_off(&self) {
        if let Err(error) = self.function.set_bus_master(false) {
            log::error!("{}: bus mastering stays on: {error}", self.name);
        }
    }
}
