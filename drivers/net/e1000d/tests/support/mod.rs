//! A device model with the driver on it.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test crate uses its part"
)]

use std::time::Duration;

pub(crate) use driver_network::testing::{
    Came, NEGOTIATION, Wire,
    frames::{Ip, OWN, PEER, frame},
};
pub(crate) use driver_network::{
    Checksum, Features, Filter, IpVersion, Link, MacAddress, NetDevice, NetError, NetEvent, QueuePair,
    Received, RxChecksum, RxMetadata, Segmentation, Settings, Shape, SubmitError, TxOffload, TxPacket,
    WakeOn,
};
pub(crate) use e1000_spec::{CHIPS, Chip};
pub(crate) use e1000d::{E1000, Error, Options, Pair};
pub(crate) use model_e1000::{
    Action, Config, FaultPlan, Handle, LifecycleFault, Packets, Partner, Rule, Violation, internet_sum,
};
pub(crate) use redox_driver_sys::{
    dma::{DmaBuffer, Segment},
    irq::InterruptKind,
    model::Host,
};

/// A machine with the model in it, and the test's hand on both.
pub(crate) struct Bench {
    pub(crate) host: Host,
    pub(crate) model: Handle,
    pub(crate) chip: &'static Chip,
}

/// One of each kind of chip.
pub(crate) const NAMES: [&str; 4] = ["82540EM", "82545EM", "82544", "82574L"];

impl Bench {
    pub(crate) fn new(config: Config) -> Self {
        let chip = config.chip;
        let (device, model) = model_e1000::E1000::new(config);
        let bench = Bench { host: Host::new(Box::new(device)), model, chip };
        bench.plug(Some(Partner::SWITCH));
        bench
    }

    pub(crate) fn named(name: &str) -> Self {
        Bench::new(Config::named(name))
    }

    pub(crate) fn plug(&self, partner: Option<Partner>) {
        self.model.set_partner(partner, Duration::from_nanos(self.host.now().as_nanos()));
    }

    pub(crate) fn try_attach(&self, options: Options) -> Result<E1000, Error> {
        E1000::attach(self.host.function(), options)
    }

    /// Attached, started, and with a link.
    pub(crate) fn drive(&self, options: Options) -> Driven {
        let device = self.try_attach(options).unwrap();
        let dma = device.dma().clone();
        Driven::new(self, device, dma)
    }

    pub(crate) fn drive_usual(&self) -> Driven {
        self.drive(Options { tx_ring: 64, rx_ring: 64, ..Options::default() })
    }

    /// Nothing that the manuals forbid was done, and no DMA strayed.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.model.take_violations(), []);
        assert_eq!(self.host.take_faults(), []);
    }
}

impl Wire for Bench {
    fn host(&self) -> &Host {
        &self.host
    }

    fn send(&self, frame: &[u8]) {
        self.model.send(frame);
    }

    fn take_sent(&self) -> Vec<Vec<u8>> {
        self.model.take_sent()
    }
}

pub(crate) type Driven = driver_network::testing::Driven<E1000>;
