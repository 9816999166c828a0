//! A driver on the model of its device, driven by hand.

use std::time::Duration;

use redox_driver_sys::{
    dma::{DmaAllocator, DmaBuffer, Segment},
    model::Host,
};

use super::frames::{OWN, frame};
use crate::{
    device::{NetDevice, NetEvent},
    error::NetError,
    packet::{Received, RxMetadata, TxOffload, TxPacket},
    queue::QueuePair,
    settings::{Shape, WakeOn},
};

/// Longer than any negotiation.
pub const NEGOTIATION: Duration = Duration::from_secs(2);

/// How often [`Driven::rounds`] goes round, and how many packets it sends and receives each time.
const ROUNDS: u8 = 40;
const EACH: u16 = 9;

/// A model of a device, and the other end of its wire.
pub trait Wire {
    /// The machine that it is in.
    fn host(&self) -> &Host;

    /// Puts a frame on the wire.
    fn send(&self, frame: &[u8]);

    /// Takes the frames that the device put on the wire.
    fn take_sent(&self) -> Vec<Vec<u8>>;
}

impl<W: Wire> Wire for &W {
    fn host(&self) -> &Host {
        (**self).host()
    }

    fn send(&self, frame: &[u8]) {
        (**self).send(frame);
    }

    fn take_sent(&self) -> Vec<Vec<u8>> {
        (**self).take_sent()
    }
}

/// A device with its pairs driven by hand.
#[derive(Debug)]
pub struct Driven<D: NetDevice> {
    /// The device.
    pub device: D,
    /// Its pairs.
    pub pairs: Vec<D::Queue>,
    /// Receive buffers of each pair.
    pub buffers: Vec<DmaBuffer>,
    /// Where packets that are sent lie.
    pub outgoing: DmaBuffer,
    /// What the device told.
    pub events: Vec<NetEvent>,
    dma: DmaAllocator,
}

/// A packet as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Came {
    /// By which pair it came.
    pub pair: usize,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What the device says about it.
    pub metadata: RxMetadata,
    /// How many pieces it is in.
    pub fragments: usize,
}

impl<D: NetDevice> Driven<D> {
    /// A device that was just attached: started, and with a link.
    pub fn new(wire: &impl Wire, mut device: D, dma: DmaAllocator) -> Self {
        let pairs = device.take_queues(usize::MAX);
        let outgoing = dma.allocate(1 << 17).unwrap();
        let mut driven = Driven { device, pairs, buffers: Vec::new(), outgoing, events: Vec::new(), dma };
        driven.equip();
        driven.device.start().unwrap();
        driven.link_up(wire);
        driven
    }

    /// Posts all receive buffers.
    pub fn equip(&mut self) {
        self.buffers.clear();
        for pair in &mut self.pairs {
            let len = usize::try_from(pair.rx_buffer_len()).unwrap();
            let buffer = self.dma.allocate(len * usize::from(pair.rx_depth())).unwrap();
            let slice =
                |tag: u16| buffer.slice(usize::from(tag) * len..(usize::from(tag) + 1) * len).unwrap();
            pair.lend(&(0..pair.rx_depth()).map(slice).collect::<Vec<_>>());
            for tag in 0..pair.rx_depth() {
                pair.post(tag, buffer.segment(usize::from(tag) * len, pair.rx_buffer_len()).unwrap());
            }
            pair.commit();
            self.buffers.push(buffer);
        }
    }

    /// Waits for the link.
    pub fn link_up(&mut self, wire: &impl Wire) {
        wire.host().advance(NEGOTIATION);
        self.poll(wire).unwrap();
        assert!(self.device.link().is_up(), "{:?}", self.device.link());
    }

    /// Has the device look after itself.
    ///
    /// # Errors
    /// What the device answers.
    pub fn poll(&mut self, wire: &impl Wire) -> Result<(), NetError> {
        self.device.poll(wire.host().now(), &mut self.events).map(drop)
    }

    /// Puts bytes where packets that are sent lie.
    pub fn write(&self, bytes: &[u8]) -> Segment {
        self.outgoing.copy_from(0, bytes).unwrap();
        self.outgoing.segment(0, u32::try_from(bytes.len()).unwrap()).unwrap()
    }

    /// Sends one packet through the first pair and lets time pass until it is done.
    pub fn send(&mut self, wire: &impl Wire, bytes: &[u8], offload: TxOffload) -> Vec<Vec<u8>> {
        let segment = self.write(bytes);
        self.send_segments(wire, &[segment], offload)
    }

    /// Sends one packet that lies in pieces.
    pub fn send_segments(
        &mut self,
        wire: &impl Wire,
        segments: &[Segment],
        offload: TxOffload,
    ) -> Vec<Vec<u8>> {
        let len = segments.iter().map(|segment| segment.len).sum();
        let pair = &mut self.pairs[0];
        pair.submit(5, &TxPacket { segments, len, offload }).unwrap();
        pair.commit();
        let mut done = Vec::new();
        for _ in 0..1000 {
            wire.host().advance(Duration::from_micros(10));
            pair.reap(&mut done).unwrap();
            if !done.is_empty() {
                assert_eq!(done, [5]);
                return wire.take_sent();
            }
        }
        panic!("the packet is never sent");
    }

    /// Takes what came, and gives the buffers back.
    pub fn receive(&mut self, wire: &impl Wire) -> Vec<Came> {
        self.try_receive(wire).unwrap()
    }

    /// As [`receive`](Self::receive).
    ///
    /// # Errors
    /// What the queue answers.
    pub fn try_receive(&mut self, wire: &impl Wire) -> Result<Vec<Came>, NetError> {
        wire.host().advance(Duration::from_micros(100));
        self.take()
    }

    /// Takes what has come by now.
    ///
    /// # Errors
    /// What the device answers.
    pub fn take(&mut self) -> Result<Vec<Came>, NetError> {
        let mut all = Vec::new();
        for (number, (pair, buffer)) in self.pairs.iter_mut().zip(&self.buffers).enumerate() {
            let len = usize::try_from(pair.rx_buffer_len()).unwrap();
            let mut received = Received::with_capacity(64);
            pair.receive(64, &mut received)?;
            for packet in received.packets() {
                let mut bytes = Vec::new();
                for fragment in packet.fragments {
                    let mut part = vec![0; usize::try_from(fragment.len).unwrap()];
                    let start = usize::from(fragment.tag) * len + usize::try_from(fragment.offset).unwrap();
                    buffer.copy_to(start, &mut part).unwrap();
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

    /// Sends these packets and receives frames through the first pair, round after round, and has `watch` carry out each step that
    /// is the driver's: it gets the step's name and the work. Each frame is `stride` bytes longer than the one before.
    pub fn rounds(
        &mut self,
        wire: &impl Wire,
        packets: &[TxPacket<'_>],
        stride: usize,
        mut watch: impl FnMut(&str, &mut dyn FnMut()),
    ) {
        let (pair, buffer) = (&mut self.pairs[0], &self.buffers[0]);
        let len = pair.rx_buffer_len();
        let mut done = Vec::with_capacity(64);
        let mut received = Received::with_capacity(64);
        for round in 0..ROUNDS {
            for (tag, packet) in (0..EACH).zip(packets.iter().cycle()) {
                watch("submit", &mut || pair.submit(tag, packet).unwrap());
            }
            // The model does its work, and allocates for it, when it is told and while time passes.
            pair.commit();
            (0..EACH).for_each(|n| wire.send(&frame(OWN, 60 + stride * usize::from(n), round)));
            wire.host().advance(Duration::from_millis(1));
            watch("reap and receive", &mut || {
                pair.reap(&mut done).unwrap();
                pair.receive(64, &mut received).unwrap();
            });
            assert_eq!((done.len(), received.len()), (EACH.into(), EACH.into()));
            done.clear();
            watch("post", &mut || {
                for tag in received.tags() {
                    let at = usize::from(tag) * usize::try_from(len).unwrap();
                    pair.post(tag, buffer.segment(at, len).unwrap());
                }
                received.clear();
            });
            pair.commit();
        }
    }

    /// Resets the device and starts it again.
    ///
    /// # Errors
    /// What the device answers.
    pub fn reset(&mut self, shape: Shape) -> Result<(), NetError> {
        let pairs = std::mem::take(&mut self.pairs);
        self.pairs = self.device.reset(pairs, shape)?;
        self.equip();
        self.device.start()
    }

    /// Ends orderly.
    ///
    /// # Errors
    /// What the device answers.
    pub fn shutdown(mut self, wake_on: WakeOn) -> Result<(), NetError> {
        let pairs = std::mem::take(&mut self.pairs);
        self.device.shutdown(pairs, wake_on)
    }

    /// One of the counters.
    pub fn statistic(&mut self, name: &str) -> u64 {
        let statistics = self.device.statistics().unwrap();
        statistics.iter().find(|(known, _)| *known == name).unwrap().1
    }
}
