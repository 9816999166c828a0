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
    Duplex, Features, Filter, FlowControl, Link, MacAddress, NetDevice, NetError, NetEvent, QueuePair,
    Received, RxChecksum, RxMetadata, Segmentation, Settings, Shape, SubmitError, TxOffload, TxPacket,
    WakeOn,
};
pub(crate) use model_rtl8168::{
    Action, Config, FaultPlan, Handle, LifecycleFault, Packets, Partner, Rule, StuckBits, Violation,
};
pub(crate) use redox_driver_sys::{irq::InterruptKind, model::Host};
pub(crate) use rtl8168_spec::{CHIPS, Chip, registers as reg};
pub(crate) use rtl8168d::{Error, Options, Pair, Rtl8168};

/// One of each kind: first generation; pages by PHYAR and the pin; the first with messages; MTPS; badly padded; the first with ERI; OCP.
pub(crate) const NAMES: [&str; 7] =
    ["RTL8168B", "RTL8168C", "RTL8168D", "RTL8168E", "RTL8168E-VL", "RTL8168F", "RTL8168H"];

/// A machine with the model in it, and the test's hand on both.
pub(crate) struct Bench {
    pub(crate) host: Host,
    pub(crate) model: Handle,
    pub(crate) chip: &'static Chip,
}

impl Bench {
    pub(crate) fn new(config: Config) -> Self {
        let chip = config.chip;
        let (device, model) = model_rtl8168::Rtl8168::new(config);
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

    pub(crate) fn try_attach(&self, options: Options) -> Result<Rtl8168, Error> {
        Rtl8168::attach(self.host.function(), options)
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

    /// Nothing that is forbidden was done, and no DMA strayed.
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

pub(crate) type Driven = driver_network::testing::Driven<Rtl8168>;
