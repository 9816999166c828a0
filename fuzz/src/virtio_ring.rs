//! A virtqueue whose memory the device scribbles over.

use std::{collections::BTreeMap, time::Duration};

use model_virtio::{Blk, BlkConfig, TransportConfig, Virtio};
use redox_driver_sys::{
    dma::Segment,
    mmio::{Mmio, ReadWrite},
    model::Host,
};
use virtio_core::{AddError, Chain, Features, QueueOptions, Transport, VirtQueue};
use virtio_spec::{
    blk::{DEVICE_TYPE, RequestType},
    pci::common,
};

use crate::input::Input;

/// The BAR with the structures of the model, which begins with the common configuration.
const BAR: u8 = 4;
const CHAINS: u16 = 8;
/// Memory of each chain: a header, data, a status.
const BUFFER: usize = 256;
const MOST_STEPS: usize = 512;

/// One run: `data` are steps of the driver, and what the device writes meanwhile.
pub fn run(data: &[u8], packed: bool) {
    let input = Input::new(data);
    let choice = input.byte();
    let mut features = TransportConfig::FEATURES;
    features.set(Features::RING_PACKED, packed);
    features.set(Features::EVENT_IDX, choice & 1 == 0);
    features.set(Features::INDIRECT_DESC, choice & 2 == 0);
    features.set(Features::IN_ORDER, choice & 4 != 0);
    let config = TransportConfig { features, ..TransportConfig::default() };
    let (device, _model) = Virtio::new(config, Blk::new(BlkConfig::default()));
    let host = Host::new(Box::new(device));
    let function = host.function();
    let Ok(registers) = function.map_bar(BAR) else { return };
    let Ok(mut transport) = Transport::attach(function, DEVICE_TYPE) else { return };
    let wanted = Features::RING_PACKED | Features::EVENT_IDX | Features::INDIRECT_DESC | Features::IN_ORDER;
    if transport.negotiate(wanted).is_err() {
        return;
    }
    let options = QueueOptions { chains: CHAINS, descriptors: 4, vector: None, interrupts: choice & 8 == 0 };
    let (Ok(queue), Ok(memory)) =
        (transport.queue(0, &options), transport.dma().allocate(usize::from(CHAINS) * BUFFER))
    else {
        return;
    };
    transport.start();
    // What the device may write to: its own area, and the descriptors of a packed ring.
    let device_area = address(&registers, common::QUEUE_DEVICE);
    let descriptors = packed.then(|| address(&registers, common::QUEUE_DESC));
    let mut run = Run { host, queue, given: BTreeMap::new(), scribbled: false };
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        match input.byte() % 8 {
            0..=2 => {
                let token = u16::from(input.byte()) % CHAINS;
                let base = usize::from(token) * BUFFER;
                let _ = memory.write(base, [RequestType::GET_ID.0, 0, 0, 0]);
                let pieces = [(0, 16), (16, 20), (36, 1)].map(|(at, len)| memory.segment(base + at, len));
                let [Ok(header), Ok(data), Ok(status)] = pieces else { return };
                run.add(token, header, &[data, status]);
            }
            3 => run.queue.commit(),
            4 => run.take(),
            5 => run.host.advance(Duration::from_micros(input.byte().into())),
            _ => {
                let area = descriptors.filter(|_| !input.byte().is_multiple_of(4)).unwrap_or(device_area);
                let at = area + u64::from(input.byte());
                let value = [input.byte(), input.byte()];
                let len = if input.byte().is_multiple_of(2) { 1 } else { 2 };
                run.scribbled = true;
                let _ = run.host.with_device(|_, bus| bus.dma_write(at, &value[..len]));
            }
        }
    }
    run.finish();
}

/// An address that the device was given.
fn address(registers: &Mmio, offset: u64) -> u64 {
    let half = |offset| registers.register::<u32, ReadWrite>(offset).map_or(0, |register| register.read());
    u64::from(half(offset)) | u64::from(half(offset + 4)) << 32
}

struct Run {
    host: Host,
    queue: VirtQueue,
    /// For each chain that the device has: how many bytes it may write.
    given: BTreeMap<u16, u32>,
    scribbled: bool,
}

impl Run {
    fn add(&mut self, token: u16, header: Segment, writable: &[Segment]) {
        if self.given.contains_key(&token) {
            return;
        }
        let chain = Chain { readable: [&[header], &[]], writable: [writable, &[]] };
        match self.queue.add(&chain, token) {
            Ok(()) => {
                self.given.insert(token, writable.iter().map(|segment| segment.len).sum());
            }
            Err(AddError::Broken(_)) => assert!(self.scribbled),
            Err(error) => assert_eq!(error, AddError::Full),
        }
    }

    fn take(&mut self) {
        for _ in 0..2 * CHAINS {
            match self.queue.pop() {
                Ok(Some(used)) => {
                    let most = self.given.remove(&used.token);
                    assert!(most.is_some(), "chain {} came back and was not given", used.token);
                    assert!(most >= Some(used.len));
                }
                Ok(None) => {
                    if !self.queue.arm() {
                        return;
                    }
                }
                Err(error) => {
                    assert!(self.scribbled, "{error}");
                    assert_eq!(self.queue.pop(), Err(error), "a broken queue stays broken");
                    assert!(!self.queue.arm());
                    return;
                }
            }
        }
        assert!(self.scribbled, "the device returns more than it has");
    }

    fn finish(mut self) {
        self.queue.commit();
        self.host.advance(Duration::from_secs(1));
        self.take();
        assert!(self.scribbled || self.given.is_empty(), "{:?} never came back", self.given);
        self.queue.reset();
        assert_eq!(self.queue.outstanding(), 0);
    }
}
