//! Two devices at the ends of a wire.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redox_driver_sys::{
    dma::{DmaAllocator, Segment},
    irq::Interrupt,
    model::{Host, Inert},
    pci::PciFunction,
    time::{Clock, Time},
};

use crate::{
    address::MacAddress,
    device::{Capabilities, NetDevice, NetEvent, PseudoHeader, Statistics},
    error::NetError,
    packet::{MAX_FRAGMENTS, Received, RxFragment, RxMetadata, TxPacket},
    queue::{QueuePair, SubmitError},
    settings::{Duplex, Features, FlowControl, Link, Settings, Shape, WakeOn},
};

/// Frames on the way in each direction; what is more is lost.
const ON_THE_WAY: usize = 256;
const ETHERNET: usize = 14;

/// What a device is made to do wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// It sends nothing any more, until it is reset.
    Hangs,
    /// It sends nothing any more, and no reset mends it.
    HangsForGood,
    /// Its queue answers nonsense, until it is reset.
    Breaks,
    /// It says that it received more than its buffer holds, once.
    Lies,
    /// It does not come back from a reset.
    Dies,
}

#[derive(Debug)]
struct End {
    host: Host,
    /// On the way to this end.
    frames: VecDeque<Vec<u8>>,
    link: bool,
    trouble: Trouble,
    settings: Settings,
    shape: Shape,
    resets: u64,
    shut_down: bool,
    lost: u64,
}

type Shared = Arc<Mutex<[End; 2]>>;

fn lock(wire: &Shared) -> MutexGuard<'_, [End; 2]> {
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One of the two devices.
#[derive(Debug)]
pub struct WireDevice {
    wire: Shared,
    number: usize,
    name: String,
    function: PciFunction,
    capabilities: Capabilities,
    /// What the framework sees.
    settings: Settings,
    shape: Shape,
    link: Link,
    queue: Option<WireQueue>,
}

/// Its pair of queues.
#[derive(Debug)]
pub struct WireQueue {
    wire: Shared,
    number: usize,
    shape: Shape,
    submitted: Vec<(u16, Vec<u8>)>,
    sending: VecDeque<(u16, Vec<u8>)>,
    posted: VecDeque<(u16, Segment)>,
}

/// Two devices with a wire between them. Buffers are small enough for a long frame to take several.
pub fn wire() -> [WireDevice; 2] {
    let features = Features::TX_CHECKSUM | Features::RX_CHECKSUM;
    let capabilities = Capabilities {
        features,
        mtu: 68..=9000,
        max_segments: 8,
        max_tso_len: 0,
        pseudo_header: PseudoHeader::WithLength,
        tx_ring: 4..=256,
        rx_ring: 4..=256,
        queues: 1,
        wake_on: WakeOn::empty(),
    };
    let shape = Shape { mtu: 1500, tx_ring: 16, rx_ring: 32 };
    let end = |number: u8| End {
        host: Host::new(Box::new(Inert::default())),
        frames: VecDeque::new(),
        link: true,
        trouble: Trouble::None,
        settings: Settings {
            address: MacAddress([2, 0, 0, 0, 0, number]),
            filter: crate::settings::Filter::default(),
            features: Features::empty(),
        },
        shape,
        resets: 0,
        shut_down: false,
        lost: 0,
    };
    let wire: Shared = Arc::new(Mutex::new([end(0), end(1)]));
    [0, 1].map(|number| {
        let (host, settings) = {
            let ends = lock(&wire);
            (ends[number].host.clone(), ends[number].settings.clone())
        };
        let function = host.function();
        function.set_bus_master(true).expect("a model lets its device master the bus");
        let queue = WireQueue {
            wire: wire.clone(),
            number,
            shape,
            submitted: Vec::new(),
            sending: VecDeque::new(),
            posted: VecDeque::new(),
        };
        WireDevice {
            wire: wire.clone(),
            number,
            name: format!("wire-{number}"),
            function,
            capabilities: capabilities.clone(),
            settings,
            shape,
            link: Link::Down,
            queue: Some(queue),
        }
    })
}

impl WireDevice {
    /// Memory that the device reaches.
    pub fn dma(&self) -> DmaAllocator {
        self.function.dma().expect("a model has memory")
    }

    /// The clock of the device's machine.
    pub fn clock(&self) -> Clock {
        lock(&self.wire)[self.number].host.clock()
    }

    /// The test's hand on the device, for when the framework has it.
    pub fn handle(&self) -> Handle {
        Handle { wire: self.wire.clone(), number: self.number }
    }
}

/// A test's hand on a device.
#[derive(Clone, Debug)]
pub struct Handle {
    wire: Shared,
    number: usize,
}

impl Handle {
    /// Plugs the cable in or pulls it.
    pub fn set_link(&self, up: bool) {
        lock(&self.wire)[self.number].link = up;
    }

    /// Makes trouble from now on.
    pub fn make(&self, trouble: Trouble) {
        lock(&self.wire)[self.number].trouble = trouble;
    }

    /// Puts a frame on the way to the device.
    pub fn send(&self, frame: &[u8]) {
        lock(&self.wire)[self.number].frames.push_back(frame.to_vec());
    }

    /// Takes a frame that is on the way from the other end to this device.
    pub fn intercept(&self) -> Option<Vec<u8>> {
        lock(&self.wire)[self.number].frames.pop_front()
    }

    /// The settings that the device has.
    pub fn settings(&self) -> Settings {
        lock(&self.wire)[self.number].settings.clone()
    }

    /// How often the device was reset.
    pub fn resets(&self) -> u64 {
        lock(&self.wire)[self.number].resets
    }

    /// Whether the device was shut down in order.
    pub fn is_shut_down(&self) -> bool {
        lock(&self.wire)[self.number].shut_down
    }

    /// Lets time pass.
    pub fn advance(&self, duration: std::time::Duration) {
        let host = lock(&self.wire)[self.number].host.clone();
        host.advance(duration);
    }

    /// How often the device went beyond its memory.
    pub fn stray_accesses(&self) -> usize {
        lock(&self.wire)[self.number].host.take_faults().len()
    }
}

impl QueuePair for WireQueue {
    fn tx_depth(&self) -> u16 {
        self.shape.tx_ring
    }

    fn rx_depth(&self) -> u16 {
        self.shape.rx_ring
    }

    fn rx_buffer_len(&self) -> u32 {
        2048
    }

    fn submit(&mut self, tag: u16, packet: &TxPacket<'_>) -> Result<(), SubmitError> {
        if self.submitted.len() + self.sending.len() >= usize::from(self.shape.tx_ring / 2) {
            return Err(SubmitError::Full);
        }
        let mut bytes = Vec::new();
        let ends = lock(&self.wire);
        for segment in packet.segments {
            let mut part = vec![0; usize::try_from(segment.len).map_err(|_| SubmitError::Refused)?];
            let read =
                ends[self.number].host.with_device(|_, bus| bus.dma_read(segment.addr.get(), &mut part));
            read.map_err(|_| SubmitError::Refused)?;
            bytes.extend(part);
        }
        assert_eq!(bytes.len(), usize::try_from(packet.len).unwrap_or_default(), "lengths agree");
        if bytes.len() > usize::from(self.shape.mtu) + ETHERNET + 4 {
            return Err(SubmitError::Refused);
        }
        drop(ends);
        self.submitted.push((tag, bytes));
        Ok(())
    }

    fn post(&mut self, tag: u16, buffer: Segment) {
        assert!(self.posted.iter().all(|(posted, _)| *posted != tag), "tag {tag} is posted twice");
        self.posted.push_back((tag, buffer));
    }

    fn commit(&mut self) {
        self.sending.extend(self.submitted.drain(..));
    }

    fn reap(&mut self, done: &mut Vec<u16>) -> Result<(), NetError> {
        let mut ends = lock(&self.wire);
        match ends[self.number].trouble {
            Trouble::Hangs | Trouble::HangsForGood => return Ok(()),
            Trouble::Breaks => return Err(NetError::Protocol),
            _ => {}
        }
        let plugged = ends.iter().all(|end| end.link);
        let other = &mut ends[1 - self.number];
        for (tag, frame) in self.sending.drain(..) {
            done.push(tag);
            if plugged && other.frames.len() < ON_THE_WAY {
                other.frames.push_back(frame);
            } else {
                other.lost += 1;
            }
        }
        Ok(())
    }

    fn receive(&mut self, budget: usize, received: &mut Received) -> Result<(), NetError> {
        let mut ends = lock(&self.wire);
        let end = &mut ends[self.number];
        let (most, mtu) = (2048, usize::from(self.shape.mtu));
        for _ in 0..budget {
            let Some(frame) = end.frames.front() else { return Ok(()) };
            let count = frame.len().div_ceil(most);
            if count > self.posted.len() {
                return Ok(());
            }
            assert!(count <= MAX_FRAGMENTS, "a frame of {} bytes", frame.len());
            let too_long = frame.len() > mtu + ETHERNET + 4;
            let lies = end.trouble == Trouble::Lies;
            if lies {
                end.trouble = Trouble::None;
            }
            for part in frame.chunks(most) {
                let Some((tag, buffer)) = self.posted.pop_front() else { return Err(NetError::Protocol) };
                let written = end.host.with_device(|_, bus| bus.dma_write(buffer.addr.get(), part));
                written.map_err(|_| NetError::Protocol)?;
                let len = if lies { u32::MAX } else { u32::try_from(part.len()).unwrap_or(u32::MAX) };
                received.fragment(RxFragment { tag, offset: 0, len });
            }
            if too_long {
                received.discard();
            } else {
                received.complete(RxMetadata::default());
            }
            end.frames.pop_front();
        }
        Ok(())
    }

    fn interrupts(&self) -> [Option<&Interrupt>; 2] {
        [None, None]
    }

    fn interrupted(&mut self) {}

    fn arm(&mut self, _: Time) -> bool {
        false
    }

    fn attention(&mut self) -> bool {
        true
    }
}

impl NetDevice for WireDevice {
    type Queue = WireQueue;

    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn take_queues(&mut self, most: usize) -> Vec<WireQueue> {
        self.queue.take().into_iter().take(most).collect()
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
        Ok(())
    }

    fn configure(&mut self, settings: &Settings) -> Result<(), NetError> {
        self.settings = settings.clone();
        lock(&self.wire)[self.number].settings = settings.clone();
        Ok(())
    }

    fn interrupt(&self) -> Option<&Interrupt> {
        None
    }

    fn poll(&mut self, _: Time, events: &mut Vec<NetEvent>) -> Result<Option<Time>, NetError> {
        let up = lock(&self.wire).iter().all(|end| end.link);
        let flow_control = FlowControl::default();
        let link = if up { Link::Up { speed: None, duplex: Duplex::Full, flow_control } } else { Link::Down };
        if link != self.link {
            self.link = link;
            events.push(NetEvent::LinkChanged(link));
        }
        Ok(None)
    }

    fn reset(&mut self, queues: Vec<WireQueue>, shape: Shape) -> Result<Vec<WireQueue>, NetError> {
        let mut ends = lock(&self.wire);
        let end = &mut ends[self.number];
        if end.trouble == Trouble::Dies {
            return Err(NetError::TimedOut);
        }
        if end.trouble != Trouble::HangsForGood {
            end.trouble = Trouble::None;
        }
        end.resets += 1;
        end.shape = shape;
        self.shape = shape;
        Ok(queues
            .into_iter()
            .map(|queue| WireQueue {
                shape,
                submitted: Vec::new(),
                sending: VecDeque::new(),
                posted: VecDeque::new(),
                ..queue
            })
            .collect())
    }

    fn statistics(&mut self) -> Result<Statistics, NetError> {
        Ok(vec![("rx_missed_errors", lock(&self.wire)[self.number].lost)])
    }

    fn shutdown(&mut self, queues: Vec<WireQueue>, _: WakeOn) -> Result<(), NetError> {
        drop(queues);
        lock(&self.wire)[self.number].shut_down = true;
        self.function.set_bus_master(false).map_err(|_| NetError::Gone)
    }
}
