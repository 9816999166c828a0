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
    Came, Wire,
    frames::{Ip, OWN, PEER, frame},
};
pub(crate) use driver_network::{
    Checksum, Coalesced, Duplex, Features, Filter, FlowControl, IpVersion, Link, MacAddress, NetDevice,
    NetError, NetEvent, QueuePair, Received, RxChecksum, RxMetadata, Segmentation, Settings, Shape,
    SubmitError, TxOffload, TxPacket, WakeOn,
};
pub(crate) use model_virtio::{
    Action, FaultPlan, Handle, LifecycleFault, Net, NetConfig, NetState, Requests, Rule, TransportConfig,
    Virtio,
};
pub(crate) use redox_driver_sys::{irq::InterruptKind, model::Host};
pub(crate) use virtio_core::Features as Rings;
pub(crate) use virtio_netd::{Error, Options, Pair, VirtioNet};
pub(crate) use virtio_spec::net::{GsoType, NetFeatures, NetHeader, NetHeaderFlags};

/// A machine with the model in it, and the test's hand on both.
pub(crate) struct Bench {
    pub(crate) host: Host,
    pub(crate) model: Handle<Net>,
}

impl Bench {
    pub(crate) fn new(transport: TransportConfig, config: NetConfig) -> Self {
        let (device, model) = Virtio::new(transport, Net::new(config));
        Bench { host: Host::new(Box::new(device)), model }
    }

    pub(crate) fn usual() -> Self {
        Bench::new(TransportConfig::default(), NetConfig::default())
    }

    /// A device without these features.
    pub(crate) fn without(features: NetFeatures) -> Self {
        let features = NetConfig::FEATURES - features;
        Bench::new(TransportConfig::default(), NetConfig { features, ..NetConfig::default() })
    }

    pub(crate) fn try_attach(&self, options: Options) -> Result<VirtioNet, Error> {
        VirtioNet::attach(self.host.function(), options)
    }

    /// Attached, started, and with a link.
    pub(crate) fn drive(&self, options: Options) -> Driven {
        let device = self.try_attach(options).unwrap();
        let dma = device.dma().clone();
        Driven::new(self, device, dma)
    }

    pub(crate) fn drive_usual(&self) -> Driven {
        self.drive(options())
    }

    /// Nothing that the specification forbids was done, and no DMA strayed.
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

pub(crate) type Driven = driver_network::testing::Driven<VirtioNet>;

pub(crate) fn options() -> Options {
    Options { queues: 1, tx_ring: 64, rx_ring: 64, ..Options::default() }
}

/// Every combination of ring, indirect descriptors, event indexes, order and notification data.
pub(crate) fn all_rings() -> Vec<TransportConfig> {
    let bits = [
        Rings::RING_PACKED,
        Rings::INDIRECT_DESC,
        Rings::EVENT_IDX,
        Rings::IN_ORDER,
        Rings::NOTIFICATION_DATA,
    ];
    let all = bits.into_iter().collect::<Rings>();
    let chosen = |which: u32| {
        let chosen = bits.iter().enumerate().filter(move |(bit, _)| which & 1 << bit != 0);
        chosen.map(|(_, feature)| *feature).collect::<Rings>()
    };
    let features = (0..1 << bits.len()).map(|which| (TransportConfig::FEATURES - all) | chosen(which));
    features.map(|features| TransportConfig { features, ..TransportConfig::default() }).collect()
}
