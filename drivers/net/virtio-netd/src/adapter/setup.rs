//! Bringing a device up, for the first time and after a reset (sections 3.1.1 and 5.1.5).

use std::sync::Arc;

use driver_network::{
    Capabilities, Features, Filter, Link, MacAddress, PseudoHeader, Settings, Shape, WakeOn,
};
use redox_driver_sys::{
    irq::{Interrupt, InterruptKind},
    pci::PciFunction,
};
use virtio_core::{QueueOptions, Transport, VirtQueue};
use virtio_spec::net::{DEVICE_TYPE, NetConfig, NetFeatures};

use super::{RECEIVE, VirtioNet};
use crate::{
    control::Control,
    error::{Error, Result},
    options::{Options, RING},
    queue::{Calls, Pair, Shared},
    rx::RxQueue,
    tx::{MAX_SEGMENTS, MAX_TSO, TxQueue},
};

/// The largest MTU of a device that does not say: as large as a jumbo frame is anywhere.
const LARGEST_MTU: u16 = 16_110;
/// The smallest MTU (section 5.1.4.1).
const LEAST_MTU: u16 = 68;
/// Most pairs of queues (section 5.1.4.1).
const MOST_PAIRS: u16 = 0x8000;
/// Features of the type that are used where they are offered. Not among them, beside those of receiving: CTRL_VLAN, without which all
/// VLANs are received; GUEST_ANNOUNCE, without which the device announces the driver; HOST_ECN, as clients have no way to ask for it.
const WANTED: NetFeatures = NetFeatures::CSUM
    .union(NetFeatures::CTRL_GUEST_OFFLOADS)
    .union(NetFeatures::MTU)
    .union(NetFeatures::MAC)
    .union(NetFeatures::HOST_TSO4)
    .union(NetFeatures::HOST_TSO6)
    .union(NetFeatures::STATUS)
    .union(NetFeatures::CTRL_VQ)
    .union(NetFeatures::CTRL_RX)
    .union(NetFeatures::MQ)
    .union(NetFeatures::CTRL_MAC_ADDR)
    .union(NetFeatures::SPEED_DUPLEX);

/// What is to be accepted of what is offered, when the driver takes `receive` and this cannot be changed later.
fn wanted(options: &Options, offered: virtio_core::Features, receive: Features) -> virtio_core::Features {
    let net = NetFeatures::from_bits_retain(offered.bits());
    let switches = net.contains(NetFeatures::CTRL_GUEST_OFFLOADS | NetFeatures::CTRL_VQ);
    let mergeable = options.mergeable && net.contains(NetFeatures::MRG_RXBUF);
    let mut chosen = WANTED;
    chosen.set(NetFeatures::MRG_RXBUF, mergeable);
    chosen.set(NetFeatures::GUEST_CSUM, switches || receive.contains(Features::RX_CHECKSUM));
    // Without mergeable buffers each would have to hold 64 KiB.
    let together = mergeable && (switches || receive.contains(Features::RX_LRO));
    chosen.set(NetFeatures::GUEST_TSO4 | NetFeatures::GUEST_TSO6, together);
    let chosen = (net & chosen).consistent();
    let rings = [
        (options.packed, virtio_core::Features::RING_PACKED),
        (options.indirect, virtio_core::Features::INDIRECT_DESC),
        (options.event_idx, virtio_core::Features::EVENT_IDX),
    ];
    let rings = rings.into_iter().filter(|(wanted, _)| *wanted).map(|(_, feature)| feature);
    rings.collect::<virtio_core::Features>()
        | virtio_core::Features::NOTIFICATION_DATA
        | virtio_core::Features::from_bits_retain(chosen.bits())
}

/// Features without those that are negotiated anew when clients want others.
fn lasting(features: virtio_core::Features) -> virtio_core::Features {
    let guest = NetFeatures::GUEST_CSUM | NetFeatures::GUEST_TSO4 | NetFeatures::GUEST_TSO6;
    features - virtio_core::Features::from_bits_retain(guest.bits())
}

/// Whether the device can have this shape; as it will have it.
pub(super) fn check(capabilities: &Capabilities, shape: Shape) -> Result<Shape> {
    for (what, value, range) in [
        ("MTU", shape.mtu, &capabilities.mtu),
        ("transmit ring", shape.tx_ring, &capabilities.tx_ring),
        ("receive ring", shape.rx_ring, &capabilities.rx_ring),
    ] {
        if !range.contains(&value) {
            return Err(Error::Shape { what, value });
        }
    }
    let whole = |entries: u16, most: u16| entries.checked_next_power_of_two().unwrap_or(most).min(most);
    let tx_ring = whole(shape.tx_ring, *capabilities.tx_ring.end());
    Ok(Shape { tx_ring, rx_ring: whole(shape.rx_ring, *capabilities.rx_ring.end()), ..shape })
}

fn capabilities(features: virtio_core::Features) -> Features {
    let net = NetFeatures::from_bits_retain(features.bits());
    let mut can = Features::empty();
    can.set(Features::TX_CHECKSUM, net.contains(NetFeatures::CSUM));
    can.set(Features::TSO4, net.contains(NetFeatures::HOST_TSO4));
    can.set(Features::TSO6, net.contains(NetFeatures::HOST_TSO6));
    can.set(Features::RX_CHECKSUM, net.contains(NetFeatures::GUEST_CSUM));
    can.set(Features::RX_LRO, net.intersects(NetFeatures::GUEST_TSO4 | NetFeatures::GUEST_TSO6));
    can
}

impl VirtioNet {
    /// Takes the device over: resets it, negotiates, and makes its queues.
    ///
    /// # Errors
    /// What the device or the machine refuses. The device is reset then, and bus mastering off.
    pub fn attach(function: PciFunction, options: Options) -> Result<Self> {
        let name = VirtioNet::name_at(function.address());
        let mut transport = Transport::attach(function, DEVICE_TYPE)?;
        let offered = transport.offered()?;
        let features = transport.negotiate(wanted(&options, offered, RECEIVE))?;
        let can = capabilities(features);
        let mut device = VirtioNet {
            transport,
            name,
            offered,
            features,
            config: NetConfig::default(),
            generation: 0,
            capabilities: Capabilities {
                features: can,
                mtu: LEAST_MTU..=LARGEST_MTU,
                max_segments: MAX_SEGMENTS,
                max_tso_len: MAX_TSO,
                pseudo_header: PseudoHeader::WithLength,
                tx_ring: RING,
                rx_ring: RING,
                queues: 1,
                wake_on: WakeOn::empty(),
            },
            settings: Settings { address: MacAddress::default(), filter: Filter::default(), features: can },
            shape: Shape { mtu: options.mtu, tx_ring: options.tx_ring, rx_ring: options.rx_ring },
            link: Link::Down,
            interrupt_kind: InterruptKind::MsiX,
            interrupt: None,
            configuration_vector: None,
            pairs: Vec::new(),
            shared: Vec::new(),
            control: None,
            resets: 0,
            options,
        };
        device.read_configuration()?;
        device.settings.address = device.address()?;
        device.choose_shape()?;
        device.make_queues()?;
        device.go()?;
        Ok(device)
    }

    pub(super) fn read_configuration(&mut self) -> Result<()> {
        (self.config, self.generation) = self.transport.configuration(&NetConfig::WIDTHS)?;
        Ok(())
    }

    /// The address that was chosen, the device's, or, of a device without one, any.
    fn address(&self) -> Result<MacAddress> {
        let own = self.has(NetFeatures::MAC).then_some(MacAddress(self.config.mac));
        let address = match (self.options.address, own) {
            (Some(chosen), own)
                if own.is_none_or(|own| own == chosen) || self.has(NetFeatures::CTRL_MAC_ADDR) =>
            {
                chosen
            }
            (Some(_), _) => {
                let feature = "VIRTIO_NET_F_CTRL_MAC_ADDR";
                return Err(Error::Lacks { what: "another address", feature });
            }
            (None, Some(own)) => own,
            // Locally administered, of one station.
            (None, None) => {
                MacAddress([2, 0, 0, 0, 0, 0].map(|byte: u8| if byte == 0 { fastrand::u8(..) } else { byte }))
            }
        };
        if address.is_station() { Ok(address) } else { Err(Error::Address(address)) }
    }

    /// Finds out what MTU and rings may be, and makes those that were chosen fit.
    fn choose_shape(&mut self) -> Result<()> {
        if self.has(NetFeatures::MTU) {
            let value = self.config.mtu;
            if value < LEAST_MTU {
                return Err(Error::Shape { what: "MTU of the device", value });
            }
            self.capabilities.mtu = LEAST_MTU..=value.min(LARGEST_MTU);
        }
        let ring = |transport: &Transport, queue| -> Result<_> {
            let most = transport.queue_size(queue)?.min(*RING.end());
            Ok((*RING.start()).min(most)..=most)
        };
        self.capabilities.rx_ring = ring(&self.transport, 0)?;
        self.capabilities.tx_ring = ring(&self.transport, 1)?;
        let Shape { mtu, tx_ring, rx_ring } = self.shape;
        let shape = Shape {
            mtu: mtu.min(*self.capabilities.mtu.end()),
            tx_ring: tx_ring.min(*self.capabilities.tx_ring.end()),
            rx_ring: rx_ring.min(*self.capabilities.rx_ring.end()),
        };
        self.shape = check(&self.capabilities, shape)?;
        Ok(())
    }

    /// How many pairs the device has (section 5.1.5, step 2).
    fn pairs_offered(&self) -> Result<u16> {
        if !self.has(NetFeatures::MQ) {
            return Ok(1);
        }
        let (pairs, queues) = (self.config.max_virtqueue_pairs, self.transport.queue_count()?);
        let possible = (1..=MOST_PAIRS).contains(&pairs) && u32::from(queues) > 2 * u32::from(pairs);
        if possible { Ok(pairs) } else { Err(Error::Pairs { pairs, queues }) }
    }

    /// Makes the queues and hands out the interrupts: one for each pair, and one for the configuration.
    fn make_queues(&mut self) -> Result<()> {
        let offered = self.pairs_offered()?;
        let mut count = self.options.queues.clamp(1, offered);
        let interrupts = self
            .transport
            .function()
            .interrupts_up_to(usize::from(count) + 1, self.options.interrupts)
            .map_err(Error::machine("set up interrupts"))?;
        self.interrupt_kind = interrupts.kind();
        let messages = self.interrupt_kind == InterruptKind::MsiX;
        let mut vectors = interrupts.into_vectors();
        // The first vector is the configuration's. A single one serves everything, through one pair.
        let single = vectors.len() == 1;
        count = count.min(u16::try_from(vectors.len().max(2) - 1).unwrap_or(u16::MAX));
        self.configuration_vector = messages.then_some(0);
        let mut vectors = vectors.drain(..);
        if !single {
            self.interrupt = vectors.next();
        }
        self.transport.set_configuration_vector(self.configuration_vector)?;
        for index in 0..count {
            let vector = messages.then_some(index + u16::from(!single));
            let pair = self.make_pair(index, vector, vectors.next(), single && messages)?;
            self.shared.push(pair.shared.clone());
            self.pairs.push(pair);
        }
        self.capabilities.queues = count;
        if self.has(NetFeatures::CTRL_VQ) {
            let options = QueueOptions { chains: 1, descriptors: 2, vector: None, interrupts: false };
            let queue = self.transport.queue(2 * offered, &options)?;
            self.control = Some(Control::new(queue, self.transport.dma())?);
        }
        Ok(())
    }

    /// The rings of a pair: receive and transmit.
    fn make_rings(&self, index: u16, vector: Option<u16>, shape: Shape) -> Result<[VirtQueue; 2]> {
        let receive = QueueOptions { chains: shape.rx_ring, descriptors: 1, vector, interrupts: true };
        let transmit = QueueOptions { chains: shape.tx_ring, descriptors: MAX_SEGMENTS + 1, ..receive };
        Ok([self.transport.queue(2 * index, &receive)?, self.transport.queue(2 * index + 1, &transmit)?])
    }

    fn make_pair(
        &self,
        index: u16,
        vector: Option<u16>,
        interrupt: Option<Interrupt>,
        shared: bool,
    ) -> Result<Pair> {
        let [receive, transmit] = self.make_rings(index, vector, self.shape)?;
        let mtu = self.shape.mtu;
        let (dma, can) = (self.transport.dma(), self.capabilities.features);
        let tx = TxQueue::new(transmit, dma, can, mtu).map_err(Error::machine("allocate headers"))?;
        let rx = RxQueue::new(receive, self.has(NetFeatures::MRG_RXBUF), mtu);
        let reason = (self.interrupt_kind == InterruptKind::Intx).then(|| self.transport.interrupt_status());
        let calls = Calls { interrupt, vector, reason, shared };
        Ok(Pair { tx, rx, calls, shared: Arc::new(Shared::default()), attention: false, gone: false })
    }

    /// The device may use its queues from now on. It is told what it is to be like before it has a buffer.
    fn go(&mut self) -> Result<()> {
        self.transport.start();
        let settings = self.settings.clone();
        self.apply(&settings)?;
        if self.transport.status()?.needs_reset() {
            return Err(Error::NeedsReset);
        }
        self.link = self.link_now();
        Ok(())
    }

    /// Resets the device and sets it up again with its settings, a shape, and these pairs.
    pub(super) fn restart(&mut self, pairs: &mut [Pair], shape: Shape) -> Result<()> {
        self.transport.reset()?;
        // Nobody has taken these, and the device no longer knows them.
        self.pairs.clear();
        let before = self.config.max_virtqueue_pairs;
        let wanted = wanted(&self.options, self.offered, self.settings.features);
        let features = self.transport.negotiate(wanted)?;
        if lasting(features) != lasting(self.features) {
            return Err(Error::Changed("features"));
        }
        self.features = features;
        self.read_configuration()?;
        if self.has(NetFeatures::MQ) && self.config.max_virtqueue_pairs != before {
            return Err(Error::Changed("max_virtqueue_pairs"));
        }
        self.transport.set_configuration_vector(self.configuration_vector)?;
        let same = (shape.tx_ring, shape.rx_ring) == (self.shape.tx_ring, self.shape.rx_ring);
        for (index, pair) in (0..).zip(pairs) {
            if same {
                pair.reset(shape.mtu);
                self.transport.enable_queue(&pair.rx.queue)?;
                self.transport.enable_queue(&pair.tx.queue)?;
            } else {
                self.replace_rings(index, pair, shape)?;
            }
        }
        if let Some(control) = &mut self.control {
            control.reset();
            self.transport.enable_queue(control.queue())?;
        }
        self.shape = shape;
        self.go()
    }

    /// Gives a pair rings of other lengths. Its counters go on.
    fn replace_rings(&self, index: u16, pair: &mut Pair, shape: Shape) -> Result<()> {
        let [receive, transmit] = self.make_rings(index, pair.calls.vector, shape)?;
        let (dma, can) = (self.transport.dma(), self.capabilities.features);
        let mut tx =
            TxQueue::new(transmit, dma, can, shape.mtu).map_err(Error::machine("allocate headers"))?;
        (tx.packets, tx.bytes) = (pair.tx.packets, pair.tx.bytes);
        let mut rx = RxQueue::new(receive, self.has(NetFeatures::MRG_RXBUF), shape.mtu);
        rx.counts = pair.rx.counts;
        (pair.tx, pair.rx) = (tx, rx);
        (pair.attention, pair.gone) = (false, false);
        Ok(())
    }
}
