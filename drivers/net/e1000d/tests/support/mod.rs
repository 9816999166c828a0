//! A device model with the driver on it.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test crate uses its part"
)]

use std::time::Duration;

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

/// Longer than any negotiation.
pub(crate) const NEGOTIATION: Duration = Duration::from_secs(2);

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

    /// Nothing that the manuals forbid was done, and no DMA strayed.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.model.take_violations(), []);
        assert_eq!(self.host.take_faults(), []);
    }
}

/// A device with its pairs driven by hand.
pub(crate) struct Driven {
    pub(crate) device: E1000,
    pub(crate) pairs: Vec<Pair>,
    /// Receive buffers of each pair.
    pub(crate) buffers: Vec<DmaBuffer>,
    /// Where packets that are sent lie.
    pub(crate) outgoing: DmaBuffer,
    pub(crate) events: Vec<NetEvent>,
}

/// A packet as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Came {
    pub(crate) pair: usize,
    pub(crate) bytes: Vec<u8>,
    pub(crate) metadata: RxMetadata,
    pub(crate) fragments: usize,
}

impl Driven {
    /// Attached, started, and with a link.
    pub(crate) fn new(bench: &Bench, options: Options) -> Self {
        let mut device = bench.try_attach(options).unwrap();
        let pairs = device.take_queues(usize::MAX);
        let outgoing = device.dma().allocate(1 << 17).unwrap();
        let mut driven = Driven { device, pairs, buffers: Vec::new(), outgoing, events: Vec::new() };
        driven.equip();
        driven.device.start().unwrap();
        driven.link_up(bench);
        driven
    }

    pub(crate) fn usual(bench: &Bench) -> Self {
        Driven::new(bench, Options { tx_ring: 64, rx_ring: 64, ..Options::default() })
    }

    /// Posts all receive buffers.
    pub(crate) fn equip(&mut self) {
        self.buffers.clear();
        for pair in &mut self.pairs {
            let len = usize::try_from(pair.rx_buffer_len()).unwrap();
            let buffer = self.device.dma().allocate(len * usize::from(pair.rx_depth())).unwrap();
            for tag in 0..pair.rx_depth() {
                pair.post(tag, buffer.segment(usize::from(tag) * len, pair.rx_buffer_len()).unwrap());
            }
            pair.commit();
            self.buffers.push(buffer);
        }
    }

    pub(crate) fn link_up(&mut self, bench: &Bench) {
        bench.host.advance(NEGOTIATION);
        self.poll(bench).unwrap();
        assert!(self.device.link().is_up(), "{:?}", self.device.link());
    }

    pub(crate) fn poll(&mut self, bench: &Bench) -> Result<(), NetError> {
        self.device.poll(bench.host.now(), &mut self.events).map(drop)
    }

    /// Puts bytes where packets that are sent lie.
    pub(crate) fn write(&self, bytes: &[u8]) -> Segment {
        self.outgoing.copy_from(0, bytes).unwrap();
        self.outgoing.segment(0, u32::try_from(bytes.len()).unwrap()).unwrap()
    }

    /// Sends one packet through the first pair and lets time pass until it is done.
    pub(crate) fn send(&mut self, bench: &Bench, bytes: &[u8], offload: TxOffload) -> Vec<Vec<u8>> {
        let segment = self.write(bytes);
        self.send_segments(bench, &[segment], offload)
    }

    pub(crate) fn send_segments(
        &mut self,
        bench: &Bench,
        segments: &[Segment],
        offload: TxOffload,
    ) -> Vec<Vec<u8>> {
        let len = segments.iter().map(|segment| segment.len).sum();
        let pair = &mut self.pairs[0];
        pair.submit(5, &TxPacket { segments, len, offload }).unwrap();
        pair.commit();
        let mut done = Vec::new();
        for _ in 0..1000 {
            bench.host.advance(Duration::from_micros(10));
            pair.reap(&mut done).unwrap();
            if !done.is_empty() {
                assert_eq!(done, [5]);
                return bench.model.take_sent();
            }
        }
        panic!("the packet is never sent");
    }

    /// Takes what came, and gives the buffers back.
    pub(crate) fn receive(&mut self, bench: &Bench) -> Vec<Came> {
        self.try_receive(bench).unwrap()
    }

    pub(crate) fn try_receive(&mut self, bench: &Bench) -> Result<Vec<Came>, NetError> {
        bench.host.advance(Duration::from_micros(100));
        self.take()
    }

    /// Takes what has come by now.
    pub(crate) fn take(&mut self) -> Result<Vec<Came>, NetError> {
        let mut all = Vec::new();
        for (number, (pair, buffer)) in self.pairs.iter_mut().zip(&self.buffers).enumerate() {
            let len = usize::try_from(pair.rx_buffer_len()).unwrap();
            let mut received = Received::with_capacity(64);
            pair.receive(64, &mut received)?;
            for packet in received.packets() {
                let mut bytes = Vec::new();
                for fragment in packet.fragments {
                    let mut part = vec![0; usize::try_from(fragment.len).unwrap()];
                    buffer.copy_to(usize::from(fragment.tag) * len, &mut part).unwrap();
                    bytes.extend(part);
                }
                let (metadata, fragments) = (packet.metadata, packet.fragments.len());
                all.push(Came { pair: number, bytes, metadata, fragments });
            }
            for tag in received.tags() {
                pair.post(tag, buffer.segment(usize::from(tag) * len, pair.rx_buffer_len()).unwrap());
            }
            pair.commit();
        }
        Ok(all)
    }

    pub(crate) fn reset(&mut self, shape: Shape) -> Result<(), NetError> {
        let pairs = std::mem::take(&mut self.pairs);
        self.pairs = self.device.reset(pairs, shape)?;
        self.equip();
        self.device.start()
    }

    pub(crate) fn shutdown(mut self, wake_on: WakeOn) -> Result<(), NetError> {
        let pairs = std::mem::take(&mut self.pairs);
        self.device.shutdown(pairs, wake_on)
    }

    pub(crate) fn statistic(&mut self, name: &str) -> u64 {
        let statistics = self.device.statistics().unwrap();
        statistics.iter().find(|(known, _)| *known == name).unwrap().1
    }
}

pub(crate) const OWN: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
pub(crate) const PEER: [u8; 6] = [0x52, 0x54, 0x00, 0xaa, 0xbb, 0xcc];

/// A frame with `len` bytes in all, whose payload tells which it is.
pub(crate) fn frame(to: [u8; 6], len: usize, seed: u8) -> Vec<u8> {
    let mut bytes = [to, PEER].concat();
    bytes.extend([0x88, 0xb5]);
    bytes.extend((14..len).map(|at| u8::try_from(at % 251).unwrap() ^ seed));
    bytes
}

/// A TCP or UDP packet with right checksums.
pub(crate) struct Ip {
    pub(crate) v6: bool,
    pub(crate) tcp: bool,
    pub(crate) ports: (u16, u16),
    pub(crate) payload: usize,
}

impl Ip {
    pub(crate) fn header_len(&self) -> usize {
        14 + if self.v6 { 40 } else { 20 } + if self.tcp { 20 } else { 8 }
    }

    pub(crate) fn transport(&self) -> usize {
        14 + if self.v6 { 40 } else { 20 }
    }

    /// Where the transport's checksum is.
    pub(crate) fn field(&self) -> usize {
        self.transport() + if self.tcp { 16 } else { 6 }
    }

    pub(crate) fn version(&self) -> IpVersion {
        if self.v6 { IpVersion::V6 } else { IpVersion::V4 }
    }

    fn addresses(&self) -> Vec<u8> {
        if self.v6 { (1..33).collect() } else { vec![10, 0, 0, 1, 10, 0, 0, 2] }
    }

    /// The sum over the pseudo header, with a length or 0.
    pub(crate) fn pseudo(&self, length: usize) -> u16 {
        let mut bytes = self.addresses();
        bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
        bytes.extend([0, if self.tcp { 6 } else { 17 }]);
        internet_sum(&bytes)
    }

    /// The frame, with the transport's checksum in place.
    pub(crate) fn frame(&self, to: [u8; 6]) -> Vec<u8> {
        let mut frame = self.partial(to);
        let at = self.transport();
        let sum = !internet_sum(&frame[at..]);
        frame[self.field()..self.field() + 2].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    /// The frame with only the pseudo header's sum in its checksum field.
    pub(crate) fn partial(&self, to: [u8; 6]) -> Vec<u8> {
        let mut frame = [to, PEER].concat();
        let transport_len = self.header_len() - self.transport() + self.payload;
        if self.v6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(u16::try_from(transport_len).unwrap().to_be_bytes());
            frame.extend([if self.tcp { 6 } else { 17 }, 64]);
            frame.extend(self.addresses());
        } else {
            frame.extend([8, 0, 0x45, 0]);
            frame.extend(u16::try_from(20 + transport_len).unwrap_or(0).to_be_bytes());
            frame.extend([0x12, 0x34, 0, 0, 64, if self.tcp { 6 } else { 17 }, 0, 0]);
            frame.extend(self.addresses());
            let sum = !internet_sum(&frame[14..34]);
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        frame.extend(self.ports.0.to_be_bytes());
        frame.extend(self.ports.1.to_be_bytes());
        if self.tcp {
            // Sequence number near its end, FIN, PSH and ACK.
            frame.extend([0xff, 0xff, 0xf0, 0, 0, 0, 0, 0, 0x50, 0x19, 0x10, 0, 0, 0, 0, 0]);
        } else {
            frame.extend(u16::try_from(transport_len).unwrap().to_be_bytes());
            frame.extend([0, 0]);
        }
        frame.extend((0..self.payload).map(|at| u8::try_from(at % 241).unwrap()));
        let field = self.field();
        let pseudo = self.pseudo(transport_len);
        frame[field..field + 2].copy_from_slice(&pseudo.to_be_bytes());
        frame
    }

    /// As [`partial`](Self::partial), prepared to be cut: no lengths, no IPv4 checksum.
    pub(crate) fn uncut(&self, to: [u8; 6]) -> Vec<u8> {
        let mut frame = self.partial(to);
        if self.v6 {
            frame[18..20].fill(0);
        } else {
            frame[16..18].fill(0);
            frame[24..26].fill(0);
        }
        let field = self.field();
        frame[field..field + 2].copy_from_slice(&self.pseudo(0).to_be_bytes());
        frame
    }

    pub(crate) fn checksum(&self) -> Checksum {
        let word = |at: usize| u16::try_from(at).unwrap();
        Checksum {
            network: 14,
            ip: Some(self.version()),
            start: word(self.transport()),
            field: word(self.field()),
            tcp: self.tcp,
        }
    }
}
