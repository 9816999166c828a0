//! A network device (section 5.1).

mod control;
mod receive;
mod transmit;

use std::collections::{BTreeSet, VecDeque};

use redox_driver_sys::model::Bus;
use virtio_spec::{
    Features,
    net::{DEVICE_TYPE, NetConfig as Configuration, NetFeatures, NetHeader, NetStatus},
    pci::TRANSITIONAL_NET,
};
use zerocopy::IntoBytes;

use crate::{
    device_type::{DeviceType, Execution},
    handle::Handle,
    ring::Request,
    violation::Violation,
};

/// Frames that wait for a pair's receive buffers; more are lost.
const MOST_WAITING: usize = 256;
/// Frames on the wire that nobody took; more are lost.
const MOST_SENT: usize = 1 << 16;

/// What a modelled network device is like. [`Default`] is one that has everything.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// Features of the type that are offered.
    pub features: NetFeatures,
    /// The address.
    pub mac: [u8; 6],
    /// The largest MTU, with MTU.
    pub mtu: u16,
    /// Pairs of queues, with MQ.
    pub pairs: u16,
    /// Megabits per second, with SPEED_DUPLEX.
    pub speed: u32,
    /// Addresses that the tables of stations and of groups hold; of more everything is let through.
    pub table: usize,
    /// Whether the cable is in.
    pub link: bool,
}

impl NetConfig {
    /// All features that the model has.
    pub const FEATURES: NetFeatures = NetFeatures::from_bits_retain(
        NetFeatures::CSUM.bits()
            | NetFeatures::GUEST_CSUM.bits()
            | NetFeatures::CTRL_GUEST_OFFLOADS.bits()
            | NetFeatures::MTU.bits()
            | NetFeatures::MAC.bits()
            | NetFeatures::GUEST_TSO4.bits()
            | NetFeatures::GUEST_TSO6.bits()
            | NetFeatures::HOST_TSO4.bits()
            | NetFeatures::HOST_TSO6.bits()
            | NetFeatures::HOST_ECN.bits()
            | NetFeatures::MRG_RXBUF.bits()
            | NetFeatures::STATUS.bits()
            | NetFeatures::CTRL_VQ.bits()
            | NetFeatures::CTRL_RX.bits()
            | NetFeatures::CTRL_VLAN.bits()
            | NetFeatures::GUEST_ANNOUNCE.bits()
            | NetFeatures::MQ.bits()
            | NetFeatures::CTRL_MAC_ADDR.bits()
            | NetFeatures::SPEED_DUPLEX.bits(),
    );
}

impl Default for NetConfig {
    fn default() -> Self {
        NetConfig {
            features: NetConfig::FEATURES,
            mac: [0x52, 0x54, 0x00, 0x12, 0x34, 0x56],
            mtu: 9000,
            pairs: 2,
            speed: 10_000,
            table: 64,
            link: true,
        }
    }
}

/// What a driver has set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetState {
    /// The address.
    pub mac: [u8; 6],
    /// All frames are received.
    pub promiscuous: bool,
    /// All frames to groups are received.
    pub all_multicast: bool,
    /// Further stations; `None`: more than the table holds, so all.
    pub unicast: Option<Vec<[u8; 6]>>,
    /// Groups, likewise.
    pub multicast: Option<Vec<[u8; 6]>>,
    /// VLANs, with CTRL_VLAN.
    pub vlans: BTreeSet<u16>,
    /// Pairs of queues in use.
    pub pairs: u16,
    /// What the driver takes: GUEST_CSUM and others.
    pub offloads: NetFeatures,
    /// Announcements that the driver confirmed.
    pub announced: u64,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetCounts {
    /// Packets that the driver sent, as it gave them.
    pub tx_packets: u64,
    /// Those of them that were cut.
    pub tx_cut: u64,
    /// Packets given to the driver.
    pub rx_packets: u64,
    /// Those of them that took several buffers.
    pub rx_merged: u64,
    /// Frames that were not for the driver.
    pub rx_filtered: u64,
    /// Frames for which there was no buffer for too long.
    pub rx_missed: u64,
    /// Commands.
    pub commands: u64,
}

/// What a queue is for: the kinds of its requests, for fault rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Receive(u16),
    Transmit,
    Control,
}

/// A modelled network device.
#[derive(Debug)]
pub struct Net {
    config: NetConfig,
    accepted: NetFeatures,
    state: NetState,
    /// The driver is to announce itself.
    announce: bool,
    /// Packets on their way to the driver, by pair.
    incoming: Vec<VecDeque<(NetHeader, Vec<u8>)>>,
    sent: VecDeque<Vec<u8>>,
    counts: NetCounts,
}

impl Net {
    /// Requests by which frames are received, for fault rules.
    pub const RECEIVE: u32 = 0;
    /// Requests by which frames are sent.
    pub const TRANSMIT: u32 = 1;
    /// Commands.
    pub const CONTROL: u32 = 2;

    /// A device.
    pub fn new(config: NetConfig) -> Self {
        let mut net = Net {
            accepted: NetFeatures::empty(),
            state: NetState::default(),
            announce: false,
            incoming: (0..config.pairs.max(1)).map(|_| VecDeque::new()).collect(),
            sent: VecDeque::new(),
            counts: NetCounts::default(),
            config,
        };
        net.reset();
        net
    }

    fn has(&self, feature: NetFeatures) -> bool {
        self.accepted.contains(feature)
    }

    fn offers(&self, feature: NetFeatures) -> bool {
        self.config.features.contains(feature)
    }

    /// Where the control queue is (section 5.1.2).
    fn control_queue(&self) -> u16 {
        if self.has(NetFeatures::MQ) { 2 * self.config.pairs } else { 2 }
    }

    fn role(&self, queue: u16) -> Role {
        match queue {
            _ if self.has(NetFeatures::CTRL_VQ) && queue == self.control_queue() => Role::Control,
            _ if queue.is_multiple_of(2) => Role::Receive(queue / 2),
            _ => Role::Transmit,
        }
    }
}

impl DeviceType for Net {
    const TYPE: u16 = DEVICE_TYPE;
    const CLASS: (u8, u8) = (0x02, 0x00);
    const TRANSITIONAL: u16 = TRANSITIONAL_NET;

    fn features(&self) -> u64 {
        self.config.features.bits()
    }

    fn queues(&self) -> u16 {
        let pairs = if self.offers(NetFeatures::MQ) { self.config.pairs } else { 1 };
        2 * pairs + u16::from(self.offers(NetFeatures::CTRL_VQ))
    }

    fn configuration(&self) -> Vec<u8> {
        let config = &self.config;
        let configuration = Configuration {
            mac: self.state.mac,
            status: NetStatus::new().with_link_up(config.link).with_announce(self.announce),
            max_virtqueue_pairs: config.pairs,
            mtu: config.mtu,
            speed: config.speed,
            duplex: 1,
            ..Configuration::default()
        };
        configuration.as_bytes().to_vec()
    }

    fn write_configuration(&mut self, _: usize, _: &[u8]) -> bool {
        false
    }

    fn negotiated(&mut self, features: Features) {
        self.accepted = NetFeatures::from_bits_retain(features.bits());
        let guest = NetFeatures::GUEST_CSUM | NetFeatures::GUEST_TSO4 | NetFeatures::GUEST_TSO6;
        self.state.offloads = self.accepted & guest;
    }

    fn reset(&mut self) {
        self.accepted = NetFeatures::empty();
        self.announce = false;
        // A device that no driver has told anything lets everything through.
        self.state = NetState {
            mac: self.config.mac,
            promiscuous: true,
            unicast: Some(Vec::new()),
            multicast: Some(Vec::new()),
            pairs: 1,
            announced: self.state.announced,
            ..NetState::default()
        };
        self.incoming.iter_mut().for_each(VecDeque::clear);
    }

    fn is_consistent(&self, features: Features) -> bool {
        let features = NetFeatures::from_bits_retain(features.bits());
        features.consistent() == features
    }

    fn kind(&self, _: &mut dyn Bus, queue: u16, _: &Request) -> u32 {
        match self.role(queue) {
            Role::Receive(_) => Net::RECEIVE,
            Role::Transmit => Net::TRANSMIT,
            Role::Control => Net::CONTROL,
        }
    }

    fn execute(&mut self, mut execution: Execution<'_>) -> u32 {
        match self.role(execution.queue) {
            Role::Control => self.command(&mut execution),
            _ => {
                self.transmit(&mut execution);
                0
            }
        }
    }

    fn waits(&self, queue: u16) -> bool {
        matches!(self.role(queue), Role::Receive(_))
    }

    fn has_arrived(&self, queue: u16, waiting: &[Request]) -> bool {
        matches!(self.role(queue), Role::Receive(pair) if self.has_room(pair, waiting))
    }

    fn arrive(
        &mut self,
        queue: u16,
        waiting: &[Request],
        violations: &mut Vec<Violation>,
    ) -> Option<Vec<Vec<u8>>> {
        let Role::Receive(pair) = self.role(queue) else { return None };
        self.give(queue, pair, waiting, violations)
    }
}

impl Handle<Net> {
    /// Puts a frame on the wire to the device.
    pub fn send(&self, frame: &[u8]) {
        self.device(|net| net.come(NetHeader::default(), frame));
    }

    /// As [`send`](Self::send), of a packet that never was on a wire: its header says what of it is still to be done.
    pub fn send_unfinished(&self, header: NetHeader, frame: &[u8]) {
        self.device(|net| net.come(header, frame));
    }

    /// Takes the frames that the device has put on the wire.
    pub fn take_sent(&self) -> Vec<Vec<u8>> {
        self.device(|net| net.sent.drain(..).collect())
    }

    /// Plugs the cable in or pulls it.
    pub fn set_link(&self, link: bool) {
        self.reconfigure(|net| net.config.link = link);
    }

    /// Has the driver announce itself.
    pub fn announce(&self) {
        self.reconfigure(|net| net.announce = true);
    }

    /// Changes what the device is like, and tells the driver.
    pub fn change(&self, change: impl FnOnce(&mut NetConfig)) {
        self.reconfigure(|net| change(&mut net.config));
    }

    /// What the driver has set.
    pub fn state(&self) -> NetState {
        self.device(|net| net.state.clone())
    }

    /// What was counted.
    pub fn counts(&self) -> NetCounts {
        self.device(|net| net.counts)
    }
}
