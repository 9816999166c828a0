//! Both rings against devices that were not made for them: the crate virtio-queue of rust-vmm for the split one, the model's for
//! both. Random chains are added, shown, fetched, used and taken back in random steps; what each side sees is compared with what
//! the other one did, and neither may be left waiting for a notification that does not come.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

use std::collections::{BTreeMap, VecDeque};

use fastrand::Rng;
use model_virtio::{
    Blk, BlkConfig, TransportConfig, Virtio,
    ring::{Layout, PackedDevice, SplitDevice},
};
use redox_driver_sys::{
    dma::{DmaAddr, DmaAllocator, Segment},
    model::{Bus, Host},
};
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::{AddError, Chain, QueueError, Ring, Used, packed::PackedRing, split::SplitRing};
use crate::Features;

/// Where the model's machine gives memory to devices, and as much of it as the rings of these tests take.
const MEMORY_AT: u64 = 0x10_0000;
const MEMORY_LEN: usize = 256 << 10;
const PAGE: usize = 4096;

/// A machine whose device does nothing: the rings are all that is looked at.
fn machine() -> (Host, redox_driver_sys::pci::PciFunction, DmaAllocator) {
    let (device, _) = Virtio::new(TransportConfig::default(), Blk::new(BlkConfig::default()));
    let host = Host::new(Box::new(device));
    let function = host.function();
    function.set_bus_master(true).unwrap();
    let dma = function.dma().unwrap();
    (host, function, dma)
}

/// A chain as a device sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    id: u16,
    entries: u16,
    readable: Vec<(u64, u32)>,
    writable: Vec<(u64, u32)>,
}

/// A device's side of a ring.
trait Peer {
    fn fetch(&mut self, bus: &mut dyn Bus) -> Option<Seen>;
    fn want_notification(&mut self, bus: &mut dyn Bus);
    /// Gives chains back by one entry: that of the last one.
    fn finish(&mut self, bus: &mut dyn Bus, chains: &[Seen], len: u32);
    fn wants_interrupt(&mut self, bus: &mut dyn Bus) -> bool;
}

macro_rules! model_peer {
    ($name:ty) => {
        impl Peer for $name {
            fn fetch(&mut self, bus: &mut dyn Bus) -> Option<Seen> {
                let parts = |parts: Vec<model_virtio::ring::Part>| {
                    parts.iter().map(|part| (part.addr, part.len)).collect()
                };
                let request = <$name>::fetch(self, bus).unwrap()?;
                Some(Seen {
                    id: request.id,
                    entries: request.entries,
                    readable: parts(request.readable),
                    writable: parts(request.writable),
                })
            }
            fn want_notification(&mut self, bus: &mut dyn Bus) {
                <$name>::want_notification(self, bus).unwrap();
            }
            fn finish(&mut self, bus: &mut dyn Bus, chains: &[Seen], len: u32) {
                let entries = chains.iter().map(|seen| seen.entries).sum();
                let count = u16::try_from(chains.len()).unwrap();
                self.put_used(bus, chains.last().unwrap().id.into(), len, count, entries).unwrap();
            }
            fn wants_interrupt(&mut self, bus: &mut dyn Bus) -> bool {
                <$name>::wants_interrupt(self, bus).unwrap()
            }
        }
    };
}
model_peer!(SplitDevice);
model_peer!(PackedDevice);

/// The split queue of rust-vmm. Its memory is a copy of the machine's, taken before each step and brought back after it.
struct RustVmm {
    memory: GuestMemoryMmap,
    queue: Queue,
    used: (u64, usize),
}

impl RustVmm {
    fn new(layout: Layout) -> Self {
        let at = GuestAddress(MEMORY_AT);
        let memory = GuestMemoryMmap::from_ranges(&[(at, MEMORY_LEN)]).unwrap();
        let mut queue = Queue::new(layout.size).unwrap();
        queue.set_size(layout.size);
        let halves = |addr: u64| (Some(addr as u32), Some((addr >> 32) as u32));
        let [descriptors, available, used] = layout.areas.map(halves);
        queue.set_desc_table_address(descriptors.0, descriptors.1);
        queue.set_avail_ring_address(available.0, available.1);
        queue.set_used_ring_address(used.0, used.1);
        queue.set_event_idx(layout.features.contains(Features::EVENT_IDX));
        queue.set_ready(true);
        let len = 4 * virtio_spec::split::used::words(layout.size.into());
        RustVmm { memory, queue, used: (layout.areas[2], len) }
    }

    fn step<R>(&mut self, bus: &mut dyn Bus, step: impl FnOnce(&mut Queue, &GuestMemoryMmap) -> R) -> R {
        let mut page = [0; PAGE];
        for offset in (0..MEMORY_LEN).step_by(PAGE) {
            let addr = MEMORY_AT + offset as u64;
            if bus.dma_read(addr, &mut page).is_ok() {
                self.memory.write_slice(&page, GuestAddress(addr)).unwrap();
            }
        }
        assert!(self.queue.is_valid(&self.memory));
        let result = step(&mut self.queue, &self.memory);
        // The used ring is all that a device may write.
        let mut used = vec![0; self.used.1];
        self.memory.read_slice(&mut used, GuestAddress(self.used.0)).unwrap();
        bus.dma_write(self.used.0, &used).unwrap();
        result
    }
}

impl Peer for RustVmm {
    fn fetch(&mut self, bus: &mut dyn Bus) -> Option<Seen> {
        self.step(bus, |queue, memory| {
            let chain = queue.pop_descriptor_chain(memory)?;
            let id = chain.head_index();
            let (writable, readable): (Vec<_>, Vec<_>) =
                chain.into_iter().partition(virtio_queue::desc::split::Descriptor::is_write_only);
            let parts = |parts: Vec<virtio_queue::desc::split::Descriptor>| {
                parts.iter().map(|part| (part.addr().0, part.len())).collect()
            };
            Some(Seen { id, entries: 0, readable: parts(readable), writable: parts(writable) })
        })
    }

    fn want_notification(&mut self, bus: &mut dyn Bus) {
        self.step(bus, |queue, memory| queue.enable_notification(memory).unwrap());
    }

    fn finish(&mut self, bus: &mut dyn Bus, chains: &[Seen], len: u32) {
        self.step(bus, |queue, memory| {
            for seen in chains {
                queue.add_used(memory, seen.id, len).unwrap();
            }
        });
    }

    fn wants_interrupt(&mut self, bus: &mut dyn Bus) -> bool {
        self.step(bus, |queue, memory| {
            // Without EVENT_IDX it looks at nothing: whether the driver wants interrupts is its owner's to ask.
            queue.needs_notification(memory).unwrap()
        })
    }
}

/// Segments of `count` random places.
fn segments(rng: &mut Rng, count: usize) -> Vec<Segment> {
    let segment = |_| Segment { addr: DmaAddr::new(rng.u64(..1 << 40)), len: rng.u32(1..5000) };
    (0..count).map(segment).collect()
}

fn parts(segments: &[Segment]) -> Vec<(u64, u32)> {
    segments.iter().map(|segment| (segment.addr.get(), segment.len)).collect()
}

struct Run<P> {
    host: Host,
    ring: Ring,
    peer: P,
    rng: Rng,
    ordered: bool,
    next_token: u16,
    /// Chains that were added, in order, and not shown.
    added: VecDeque<(u16, Seen)>,
    /// Chains that were shown and not fetched.
    shown: VecDeque<(u16, Seen)>,
    /// Chains that the device has.
    fetched: VecDeque<(u16, Seen)>,
    /// Chains that were used, and with how many bytes; in order.
    used: VecDeque<Used>,
    /// The device waits for a notification.
    device_waits: bool,
    /// The driver waits for an interrupt.
    driver_waits: bool,
    total: u64,
}

impl<P: Peer> Run<P> {
    fn add(&mut self) {
        let (readable, writable) = loop {
            let [readable, writable] = [self.rng.usize(0..4), self.rng.usize(0..4)];
            if readable + writable > 0 {
                break (segments(&mut self.rng, readable), segments(&mut self.rng, writable));
            }
        };
        let token = self.next_token;
        let cut = self.rng.usize(0..=readable.len());
        let chain = Chain { readable: [&readable[..cut], &readable[cut..]], writable: [&writable, &[]] };
        match each!(&mut self.ring, ring => ring.add(&chain, token)) {
            Ok(()) => {
                let seen = Seen { id: 0, entries: 0, readable: parts(&readable), writable: parts(&writable) };
                self.added.push_back((token, seen));
                self.next_token = self.next_token.wrapping_add(1);
                self.total += 1;
            }
            Err(AddError::Full) => {
                let outstanding = self.added.len() + self.shown.len() + self.fetched.len() + self.used.len();
                assert!(outstanding > 0, "an empty ring is full");
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn publish(&mut self) {
        let new = !self.added.is_empty();
        let notify = each!(&mut self.ring, ring => ring.publish()).is_some();
        self.shown.append(&mut self.added);
        assert!(!notify || new, "a notification of nothing");
        if self.device_waits && new {
            assert!(notify, "the device waits and is not notified");
            self.device_waits = false;
        }
    }

    fn fetch(&mut self) {
        let seen = self.host.with_device(|_, bus| self.peer.fetch(bus));
        let Some((token, expected)) = self.shown.pop_front() else {
            assert_eq!(seen, None, "a chain that was not shown");
            self.host.with_device(|_, bus| self.peer.want_notification(bus));
            self.device_waits = true;
            return;
        };
        let seen = seen.expect("a chain that was shown is not there");
        assert_eq!((&seen.readable, &seen.writable), (&expected.readable, &expected.writable));
        assert!(self.fetched.iter().all(|(_, other)| other.id != seen.id), "an id that is in use");
        self.fetched.push_back((token, seen));
    }

    fn finish(&mut self) {
        if self.fetched.is_empty() {
            return;
        }
        let count = if self.ordered { self.rng.usize(1..=self.fetched.len().min(3)) } else { 1 };
        let mut chains = Vec::new();
        for index in 0..count {
            let at = if self.ordered { 0 } else { self.rng.usize(..self.fetched.len()) };
            let (token, seen) = self.fetched.remove(at).unwrap();
            let writable = seen.writable.iter().map(|part| part.1).sum::<u32>();
            // Of chains that are skipped everything counts as written.
            let len = if index + 1 < count { writable } else { self.rng.u32(0..=writable) };
            self.used.push_back(Used { token, len });
            chains.push(seen);
        }
        let len = self.used.back().unwrap().len;
        let interrupt = self.host.with_device(|_, bus| {
            self.peer.finish(bus, &chains, len);
            self.peer.wants_interrupt(bus)
        });
        if self.driver_waits {
            assert!(interrupt, "the driver waits and is not interrupted");
            self.driver_waits = false;
        }
    }

    fn pop(&mut self) {
        let popped = each!(&mut self.ring, ring => ring.pop()).unwrap();
        assert_eq!(popped, self.used.pop_front());
    }

    fn arm(&mut self) {
        let more = each!(&mut self.ring, ring => ring.arm());
        assert_eq!(more, !self.used.is_empty());
        self.driver_waits = !more;
    }

    fn go(mut self, steps: u32) {
        for _ in 0..steps {
            match self.rng.u8(0..16) {
                0..5 => self.add(),
                5..7 => self.publish(),
                7..10 => self.fetch(),
                10..12 => self.finish(),
                12..15 => self.pop(),
                _ => self.arm(),
            }
        }
        self.publish();
        while !self.shown.is_empty() {
            self.fetch();
        }
        while !self.fetched.is_empty() {
            self.finish();
        }
        while !self.used.is_empty() {
            self.pop();
        }
        self.pop();
        assert_eq!(each!(&self.ring, ring => ring.outstanding().len()), 0);
        assert!(self.total > u64::from(steps) / 20, "{} chains", self.total);
    }
}

fn run<P: Peer>(features: Features, size: u16, seed: u64, peer: impl FnOnce(Layout) -> P) {
    let (host, _function, dma) = machine();
    let mut ring = if features.contains(Features::RING_PACKED) {
        Ring::Packed(PackedRing::new(size, features, 8, &dma).unwrap())
    } else {
        Ring::Split(SplitRing::new(size, features, 8, &dma).unwrap())
    };
    each!(&mut ring, ring => {
        ring.reset();
        ring.announce(true);
    });
    let areas = each!(&ring, ring => ring.areas()).map(DmaAddr::get);
    let run = Run {
        peer: peer(Layout { size, areas, features }),
        host,
        ring,
        rng: Rng::with_seed(seed),
        ordered: features.contains(Features::IN_ORDER),
        next_token: u16::MAX - 5,
        added: VecDeque::new(),
        shown: VecDeque::new(),
        fetched: VecDeque::new(),
        used: VecDeque::new(),
        device_waits: false,
        driver_waits: false,
        total: 0,
    };
    run.go(2000);
}

fn combinations(features: &[Features]) -> Vec<Features> {
    let chosen = |which: usize| {
        let chosen = features.iter().enumerate().filter(move |(bit, _)| which & 1 << bit != 0);
        chosen.map(|(_, feature)| *feature).collect()
    };
    (0..1 << features.len()).map(chosen).collect()
}

#[test]
fn a_split_ring_works_with_rust_vmm() {
    for features in combinations(&[Features::EVENT_IDX, Features::INDIRECT_DESC]) {
        for size in [8, 16, 64] {
            for seed in 0..4 {
                run(features, size, seed, RustVmm::new);
            }
        }
    }
}

#[test]
fn a_split_ring_works_with_the_model() {
    for features in combinations(&[Features::EVENT_IDX, Features::INDIRECT_DESC, Features::IN_ORDER]) {
        for size in [8, 16, 64] {
            for seed in 0..20 {
                run(features, size, seed, SplitDevice::new);
            }
        }
    }
}

#[test]
fn a_packed_ring_works_with_the_model() {
    let packed = Features::RING_PACKED;
    for features in combinations(&[Features::EVENT_IDX, Features::INDIRECT_DESC, Features::IN_ORDER]) {
        // Packed rings need not be powers of two.
        for size in [7, 8, 13, 64] {
            for seed in 0..20 {
                run(features | packed, size, seed, PackedDevice::new);
            }
        }
    }
}

/// The driver uses descriptors in the order of the table with IN_ORDER (section 2.7.5.2): the device may count on it.
#[test]
fn an_ordered_split_ring_uses_its_table_in_order() {
    let (host, _function, dma) = machine();
    let features = Features::IN_ORDER;
    let mut ring = SplitRing::new(8, features, 8, &dma).unwrap();
    ring.reset();
    let areas = ring.areas().map(DmaAddr::get);
    let mut device = SplitDevice::new(Layout { size: 8, areas, features });
    let three = [Segment { addr: DmaAddr::new(0x1000), len: 1 }; 3];
    let mut expected = 0;
    for round in 0..50 {
        ring.add(&Chain { readable: [&three, &[]], writable: [&[], &[]] }, round).unwrap();
        ring.publish();
        host.with_device(|_, bus| {
            let request = device.fetch(bus).unwrap().unwrap();
            assert_eq!(request.id, expected % 8);
            device.put_used(bus, request.id.into(), 0, 1, 3).unwrap();
        });
        expected += 3;
        assert_eq!(ring.pop(), Ok(Some(Used { token: round, len: 0 })));
    }
}

/// An entry that crossed a page would be torn by a device that translates its address once, as QEMU does.
#[test]
fn no_used_entry_crosses_a_page() {
    let (_host, _function, dma) = machine();
    for size in [2, 256, 512, 1024, 32768] {
        let ring = SplitRing::new(size, Features::empty(), 1, &dma).unwrap();
        let [_, _, used] = ring.areas().map(DmaAddr::get);
        assert!(used.is_multiple_of(4), "section 2.7: the alignment of the used ring");
        for entry in 0..u64::from(size) {
            let at = used + virtio_spec::split::used::RING_AT as u64 + 8 * entry;
            assert_eq!(at / PAGE as u64, (at + 7) / PAGE as u64, "entry {entry} of {size}");
        }
    }
}

/// Whatever a device writes into its part of a ring: no panic, no chain comes back that was not given, and none twice.
#[test]
fn whatever_a_device_writes_only_what_it_has_comes_back() {
    for seed in 0..3000 {
        let mut rng = Rng::with_seed(seed);
        let features = combinations(&[
            Features::EVENT_IDX,
            Features::INDIRECT_DESC,
            Features::IN_ORDER,
            Features::RING_PACKED,
        ])[rng.usize(..16)];
        let (host, _function, dma) = machine();
        let packed = features.contains(Features::RING_PACKED);
        let mut ring = if packed {
            Ring::Packed(PackedRing::new(8, features, 8, &dma).unwrap())
        } else {
            Ring::Split(SplitRing::new(8, features, 8, &dma).unwrap())
        };
        each!(&mut ring, ring => {
            ring.reset();
            ring.announce(true);
        });
        let areas = each!(&ring, ring => ring.areas()).map(DmaAddr::get);
        // What a device can write: the descriptors of a packed ring, the used ring of a split one.
        let (target, len) = if packed { (areas[0], 8 * 16) } else { (areas[2], 4 + 8 * 8 + 2) };
        let mut given: BTreeMap<u16, u32> = BTreeMap::new();
        let mut broken: Option<QueueError> = None;
        for token in 0..200 {
            let writable = segments(&mut rng, 2);
            let chain = Chain { readable: [&[], &[]], writable: [&writable, &[]] };
            if broken.is_none() && each!(&mut ring, ring => ring.add(&chain, token)).is_ok() {
                given.insert(token, writable.iter().map(|segment| segment.len).sum());
            }
            each!(&mut ring, ring => ring.publish());
            for _ in 0..rng.usize(0..4) {
                let at = rng.u64(..len);
                // Mostly plausible values.
                let value = if rng.bool() { rng.u8(0..16) } else { rng.u8(..) };
                host.with_device(|_, bus| bus.dma_write(target + at, &[value]).unwrap());
            }
            for _ in 0..10 {
                match each!(&mut ring, ring => ring.pop()) {
                    Ok(Some(Used { token, len })) => {
                        let writable = given.remove(&token).expect("a chain that was not given, or twice");
                        assert!(len <= writable);
                    }
                    Ok(None) => break,
                    Err(error) => broken = Some(error),
                }
                if broken.is_some() {
                    break;
                }
            }
            each!(&mut ring, ring => ring.arm());
            if broken.is_some() {
                break;
            }
        }
    }
}
