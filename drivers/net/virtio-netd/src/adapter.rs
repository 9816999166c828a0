//! A device from attaching to shutting down.

mod setup;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use driver_network::{
    Capabilities, Duplex, Features, FlowControl, Link, NetDevice, NetError, NetEvent, Settings, Shape,
    Statistics, WakeOn,
};
use redox_driver_sys::{
    dma::DmaAllocator,
    error::chain,
    irq::{Interrupt, InterruptKind},
    pci::PciAddress,
    time::{Clock, Time},
};
use virtio_core::Transport;
use virtio_spec::net::{NetConfig, NetFeatures, control::Command};

use crate::{
    control::Control,
    error::{Error, Result},
    options::Options,
    queue::{Pair, Shared},
};

/// How often the device is looked at though it does not call: an interrupt may be lost.
const LOOK: Duration = Duration::from_secs(2);
/// What the device leaves to the driver, or puts together for it.
const RECEIVE: Features = Features::RX_CHECKSUM.union(Features::RX_LRO);

/// A virtio network device that this process owns.
///
/// Fields are dropped in this order: the device is reset and bus mastering is off before its memory is freed.
#[derive(Debug)]
pub struct VirtioNet {
    transport: Transport,
    name: String,
    options: Options,
    offered: virtio_core::Features,
    features: virtio_core::Features,
    config: NetConfig,
    /// The generation of the configuration that was read.
    generation: u8,
    capabilities: Capabilities,
    settings: Settings,
    shape: Shape,
    link: Link,
    interrupt_kind: InterruptKind,
    /// MSI-X: the vector of changes of the configuration.
    interrupt: Option<Interrupt>,
    configuration_vector: Option<u16>,
    /// Pairs that nobody has taken.
    pairs: Vec<Pair>,
    /// Of each pair that is in use.
    shared: Vec<Arc<Shared>>,
    control: Option<Control>,
    resets: u64,
}

impl VirtioNet {
    /// What the device at `address` is called: `pci-0000-00-05.0_virtio_net`.
    pub fn name_at(address: PciAddress) -> String {
        format!("pci-{}_virtio_net", address.scheme_name())
    }

    /// What was negotiated.
    pub fn features(&self) -> virtio_core::Features {
        self.features
    }

    /// What the device offers.
    pub fn offered(&self) -> virtio_core::Features {
        self.offered
    }

    /// How the device interrupts.
    pub fn interrupt_kind(&self) -> InterruptKind {
        self.interrupt_kind
    }

    /// The allocator of memory that the device can reach.
    pub fn dma(&self) -> &DmaAllocator {
        self.transport.dma()
    }

    /// The clock that the device's deadlines go by.
    pub fn clock(&self) -> &Clock {
        self.transport.clock()
    }

    /// How often the device was reset since it was attached.
    pub fn resets(&self) -> u64 {
        self.resets
    }

    fn has(&self, feature: NetFeatures) -> bool {
        self.features.bits() & feature.bits() == feature.bits()
    }

    fn fail(&self, step: &str, error: &Error) -> NetError {
        log::error!("{}: {step}: {}", self.name, chain(error));
        error.as_net_error()
    }

    /// Does something; that the device gets stuck in it is for the next look to find, which asks for a reset.
    fn unless_stuck(
        &mut self,
        step: &str,
        work: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<(), NetError> {
        match work(self) {
            Err(error) if error.is_stuck() => {
                self.fail(step, &error);
                Ok(())
            }
            result => result.map_err(|error| self.fail(step, &error)),
        }
    }

    /// What the configuration says of the link.
    fn link_now(&self) -> Link {
        if self.has(NetFeatures::STATUS) && !self.config.status.link_up() {
            return Link::Down;
        }
        let told = self.has(NetFeatures::SPEED_DUPLEX);
        let speed = Some(self.config.speed).filter(|&speed| told && speed != NetConfig::UNKNOWN_SPEED);
        let duplex = if told && self.config.duplex == 0 { Duplex::Half } else { Duplex::Full };
        Link::Up { speed, duplex, flow_control: FlowControl::default() }
    }

    fn look(&mut self, events: &mut Vec<NetEvent>) -> Result<()> {
        if self.transport.status()?.needs_reset() {
            events.push(NetEvent::ResetNeeded("DEVICE_NEEDS_RESET".to_string()));
            return Ok(());
        }
        if self.control.as_ref().is_some_and(|control| control.stuck) {
            events.push(NetEvent::ResetNeeded("a command was not answered".to_string()));
        }
        if self.transport.generation() != self.generation {
            self.read_configuration()?;
        }
        let link = self.link_now();
        events.extend(self.link.changes(link, false));
        self.link = link;
        Ok(())
    }

    /// What of the active features is the device's to leave to the driver.
    fn guest_offloads(&self, features: Features) -> NetFeatures {
        let mut offloads = NetFeatures::empty();
        offloads.set(NetFeatures::GUEST_CSUM, features.contains(Features::RX_CHECKSUM));
        let both = NetFeatures::GUEST_TSO4 | NetFeatures::GUEST_TSO6;
        offloads.set(both, features.contains(Features::RX_LRO));
        (offloads & NetFeatures::from_bits_retain(self.features.bits())).consistent()
    }

    fn activate(&self, features: Features) {
        for shared in &self.shared {
            shared.features.store(features.bits(), Ordering::Relaxed);
        }
    }

    /// Has the device be as `settings` say.
    fn apply(&mut self, settings: &Settings) -> Result<()> {
        self.activate(settings.features);
        let offloads = self.guest_offloads(settings.features);
        // QEMU refuses the command where there is nothing to switch.
        let switches = self.has(NetFeatures::CTRL_GUEST_OFFLOADS | NetFeatures::GUEST_CSUM);
        let (addresses, filters) = (self.has(NetFeatures::CTRL_MAC_ADDR), self.has(NetFeatures::CTRL_RX));
        let clock = self.transport.clock().clone();
        let Some(control) = &mut self.control else { return Ok(()) };
        if switches {
            control.guest_offloads(&clock, offloads)?;
        }
        if addresses {
            control.command(&clock, Command::MAC_ADDR_SET, &settings.address.0)?;
        }
        if filters {
            control.filter(&clock, settings)?;
        }
        Ok(())
    }

    /// Changes the settings of a device that is up.
    fn change(&mut self, settings: &Settings) -> Result<()> {
        if settings.address != self.settings.address && !self.has(NetFeatures::CTRL_MAC_ADDR) {
            return Err(Error::Lacks { what: "another address", feature: "VIRTIO_NET_F_CTRL_MAC_ADDR" });
        }
        let differ = (settings.features ^ self.settings.features).intersects(RECEIVE);
        if differ && !self.has(NetFeatures::CTRL_GUEST_OFFLOADS) {
            if self.pairs.is_empty() {
                let feature = "VIRTIO_NET_F_CTRL_GUEST_OFFLOADS";
                return Err(Error::Lacks { what: "other features while packets go", feature });
            }
            // Nobody has the queues yet: what is left to the driver is negotiated anew.
            let before = std::mem::replace(&mut self.settings, settings.clone());
            let mut pairs = std::mem::take(&mut self.pairs);
            let again = self.restart(&mut pairs, self.shape);
            self.pairs = pairs;
            return again.inspect_err(|_| self.settings = before);
        }
        self.apply(settings)
    }

    fn send_pairs(&mut self) -> Result<()> {
        self.transport.status()?;
        let pairs = u16::try_from(self.shared.len()).unwrap_or(1);
        let clock = self.transport.clock().clone();
        match &mut self.control {
            Some(control) if pairs > 1 => {
                control.command(&clock, Command::MQ_VQ_PAIRS_SET, &pairs.to_le_bytes())
            }
            _ => Ok(()),
        }
    }
}

impl NetDevice for VirtioNet {
    type Queue = Pair;

    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn take_queues(&mut self, most: usize) -> Vec<Pair> {
        self.shared.truncate(most);
        // The device knows the rings of the others until it is reset: their memory stays.
        let others = self.pairs.split_off(most.min(self.pairs.len()));
        std::mem::replace(&mut self.pairs, others)
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
        self.unless_stuck("start", VirtioNet::send_pairs)
    }

    fn configure(&mut self, settings: &Settings) -> Result<(), NetError> {
        settings.check(&self.capabilities)?;
        if let Err(error) = self.change(settings) {
            self.activate(self.settings.features);
            return Err(self.fail("configure", &error));
        }
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
        let shape = setup::check(&self.capabilities, shape).map_err(|error| self.fail("reset", &error))?;
        self.resets += 1;
        log::warn!("{}: device reset {}", self.name, self.resets);
        if let Err(told) = self.unless_stuck("reset", |device| device.restart(&mut queues, shape)) {
            // Before the queues' memory is freed: the device may have them already.
            self.transport.cut_off();
            return Err(if told == NetError::Invalid { NetError::TimedOut } else { told });
        }
        Ok(queues)
    }

    fn statistics(&mut self) -> Result<Statistics, NetError> {
        let sum = |get: fn(&Shared) -> &AtomicU64| -> u64 {
            self.shared.iter().map(|shared| get(shared).load(Ordering::Relaxed)).sum()
        };
        Ok(vec![
            ("tx_packets", sum(|shared| &shared.tx_packets)),
            ("tx_bytes", sum(|shared| &shared.tx_bytes)),
            ("tx_kicks", sum(|shared| &shared.tx_kicks)),
            ("rx_packets", sum(|shared| &shared.rx_packets)),
            ("rx_bytes", sum(|shared| &shared.rx_bytes)),
            ("rx_merged", sum(|shared| &shared.rx_merged)),
            ("rx_drops", sum(|shared| &shared.rx_dropped)),
            ("rx_kicks", sum(|shared| &shared.rx_kicks)),
            ("protocol_errors", sum(|shared| &shared.protocol_errors)),
            ("resets", self.resets),
        ])
    }

    fn shutdown(&mut self, queues: Vec<Pair>, _: WakeOn) -> Result<(), NetError> {
        let ended = self.transport.reset().map_err(Error::from);
        self.transport.cut_off();
        drop(queues);
        ended.map_err(|error| self.fail("shutdown", &error))
    }

    fn inspect(&mut self) -> String {
        self.report()
    }
}
