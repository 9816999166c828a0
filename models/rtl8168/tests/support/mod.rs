//! The model by hand: registers, and a ring each way.
#![allow(dead_code, unused_imports, clippy::unwrap_used, reason = "each test crate uses its part")]

use std::time::Duration;

pub(crate) use model_rtl8168::{
    Action, Config, FaultPlan, Handle, LifecycleFault, Packets, Partner, Rtl8168, Rule, Violation,
};
use redox_driver_sys::{
    dma::DmaBuffer,
    irq::InterruptSet,
    mmio::{Mmio, ReadWrite},
    model::Host,
    pci::PciFunction,
};
pub(crate) use rtl8168_spec::{
    Chip,
    descriptors::{Descriptor, RxDone, RxPosted, RxSecond, TxFirst, TxSecond, Work1, Work2},
    indirect::{Access, Eriar, Ocp, eri},
    registers::{self as reg, CPlus, Command, Events, Mitigation, RxConfig},
    tally::{self, Tally},
};
use zerocopy::{FromBytes, IntoBytes};

pub(crate) const OWN: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
pub(crate) const PEER: [u8; 6] = [0x52, 0x54, 0x00, 0xaa, 0xbb, 0xcc];
/// Entries of either ring.
pub(crate) const RING: usize = 4;
const TX: usize = 0;
const RX: usize = 0x100;
pub(crate) const TALLY: usize = 0x200;
const OUTGOING: usize = 0x1000;
const INCOMING: usize = 0x1_0000;
pub(crate) const BUFFER: u16 = 2048;

pub(crate) struct Bench {
    pub(crate) host: Host,
    pub(crate) model: Handle,
    pub(crate) memory: DmaBuffer,
    bar: Mmio,
    pub(crate) function: PciFunction,
    _interrupts: InterruptSet,
    next: (usize, usize),
}

impl Bench {
    /// With a link, both directions on, and all receive descriptors posted.
    pub(crate) fn new(chip: &str) -> Self {
        let mut bench = Bench::cold(Config::named(chip));
        bench.model.set_partner(Some(Partner::SWITCH), Duration::ZERO);
        bench.host.advance(Duration::from_secs(2));
        bench.start();
        bench
    }

    /// As after power-up.
    pub(crate) fn cold(config: Config) -> Self {
        let (device, model) = Rtl8168::new(config);
        let host = Host::new(Box::new(device));
        let function = host.function();
        let interrupts = function.interrupts(1).unwrap();
        function.set_bus_master(true).unwrap();
        let bar = function.map_bar(reg::BAR).unwrap();
        let memory = function.dma().unwrap().allocate(0x2_0000).unwrap();
        Bench { host, model, memory, bar, function, _interrupts: interrupts, next: (0, 0) }
    }

    pub(crate) fn start(&mut self) {
        self.next = (0, 0);
        if self.modern() {
            self.write8(reg::MCU, 0);
        }
        for index in 0..RING {
            self.post(index);
            self.put(TX, index, Descriptor::default());
        }
        for (low, at) in [(reg::TNPDS, TX), (reg::RDSAR, RX)] {
            let base = self.address(at);
            self.write32(low + 4, u32::try_from(base >> 32).unwrap());
            self.write32(low, u32::try_from(base & 0xffff_ffff).unwrap());
        }
        self.write16(reg::RMS, 0x3fffu16);
        self.write8(reg::MTPS, reg::MTPS_MAX);
        self.write8(reg::CR, Command::new().with_te(true).with_re(true).into_bits());
        self.write32(reg::RCR, RxConfig::new().with_apm(true).with_ab(true));
        self.write16(reg::CPLUS, CPlus::new().with_rx_checksum(true));
    }

    fn modern(&self) -> bool {
        let tcr = rtl8168_spec::registers::TxConfig::from(self.read32(reg::TCR));
        Chip::find(tcr).unwrap().modern
    }

    pub(crate) fn read8(&self, offset: u64) -> u8 {
        self.bar.register::<u8, ReadWrite>(offset).unwrap().read()
    }

    pub(crate) fn read16(&self, offset: u64) -> u16 {
        self.bar.register::<u16, ReadWrite>(offset).unwrap().read()
    }

    pub(crate) fn read32(&self, offset: u64) -> u32 {
        self.bar.register::<u32, ReadWrite>(offset).unwrap().read()
    }

    pub(crate) fn write8(&self, offset: u64, value: impl Into<u8>) {
        self.bar.register::<u8, ReadWrite>(offset).unwrap().write(value.into());
    }

    pub(crate) fn write16(&self, offset: u64, value: impl Into<u16>) {
        self.bar.register::<u16, ReadWrite>(offset).unwrap().write(value.into());
    }

    pub(crate) fn write32(&self, offset: u64, value: impl Into<u32>) {
        self.bar.register::<u32, ReadWrite>(offset).unwrap().write(value.into());
    }

    pub(crate) fn address(&self, at: usize) -> u64 {
        self.memory.addr().get() + at as u64
    }

    fn put(&self, ring: usize, index: usize, descriptor: Descriptor) {
        self.memory.copy_from(ring + 16 * index, descriptor.as_bytes()).unwrap();
    }

    fn get(&self, ring: usize, index: usize) -> Descriptor {
        let mut bytes = [0; 16];
        self.memory.copy_to(ring + 16 * index, &mut bytes).unwrap();
        Descriptor::read_from_bytes(&bytes).unwrap()
    }

    pub(crate) fn post(&self, index: usize) {
        let posted = RxPosted::new().with_length(BUFFER).with_eor(index == RING - 1).with_own(true);
        let address = self.address(INCOMING + index * usize::from(BUFFER));
        self.put(RX, index, Descriptor { opts1: posted.into_bits(), opts2: 0, address });
    }

    /// Puts a packet in pieces into the ring and polls, for `work` and `second` as its first descriptor's.
    pub(crate) fn submit(&mut self, pieces: &[&[u8]], work: u16, second: TxSecond) -> Vec<usize> {
        let mut at = OUTGOING;
        let mut used = Vec::new();
        for (number, piece) in pieces.iter().enumerate() {
            self.memory.copy_from(at, piece).unwrap();
            let index = self.next.0;
            self.next.0 = (index + 1) % RING;
            let first = TxFirst::new()
                .with_length(u16::try_from(piece.len()).unwrap())
                .with_work(work)
                .with_fs(number == 0)
                .with_ls(number == pieces.len() - 1)
                .with_eor(index == RING - 1)
                .with_own(true);
            let address = self.address(at);
            self.put(TX, index, Descriptor { opts1: first.into_bits(), opts2: second.into_bits(), address });
            used.push(index);
            at += piece.len();
        }
        self.write8(reg::TPPOLL, reg::NPQ);
        self.host.advance(Duration::from_millis(1));
        used
    }

    pub(crate) fn is_done(&self, index: usize) -> bool {
        !TxFirst::from(self.get(TX, index).opts1).own()
    }

    /// Sends a packet; what came out.
    pub(crate) fn send(&mut self, bytes: &[u8], work: u16, second: TxSecond) -> Vec<Vec<u8>> {
        let used = self.submit(&[bytes], work, second);
        assert!(used.into_iter().all(|index| self.is_done(index)));
        self.model.take_sent()
    }

    /// The next descriptor that was filled, with the bytes, and without posting it again.
    pub(crate) fn take(&mut self) -> Option<(RxDone, RxSecond, Vec<u8>)> {
        let index = self.next.1;
        let descriptor = self.get(RX, index);
        let done = RxDone::from(descriptor.opts1);
        if done.own() {
            return None;
        }
        self.next.1 = (index + 1) % RING;
        let mut bytes = vec![0; usize::from(done.length().min(BUFFER))];
        self.memory.copy_to(INCOMING + index * usize::from(BUFFER), &mut bytes).unwrap();
        Some((done, RxSecond::from(descriptor.opts2), bytes))
    }

    /// Sends a frame to the device and takes it from it.
    pub(crate) fn receive(&mut self, frame: &[u8]) -> Option<(RxDone, RxSecond, Vec<u8>)> {
        self.model.send(frame);
        self.host.advance(Duration::from_millis(1));
        let index = self.next.1;
        let came = self.take()?;
        self.post(index);
        Some(came)
    }

    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.model.take_violations(), []);
        assert_eq!(self.host.take_faults(), []);
    }
}

/// A frame of so many bytes.
pub(crate) fn frame(to: [u8; 6], len: usize) -> Vec<u8> {
    let mut bytes = [to, PEER].concat();
    bytes.extend([0x88, 0xb5]);
    bytes.extend((14..len).map(|at| u8::try_from(at % 251).unwrap()));
    bytes
}

/// A TCP or UDP packet with only the pseudo header's sum in its checksum field, and where its transport header is.
pub(crate) fn partial(v6: bool, tcp: bool, payload: usize, with_length: bool) -> (Vec<u8>, usize) {
    let mut frame = [OWN, PEER].concat();
    let transport_len = payload + if tcp { 20 } else { 8 };
    let protocol = if tcp { 6 } else { 17 };
    let addresses: Vec<u8> = if v6 { (1..33).collect() } else { vec![10, 0, 0, 1, 10, 0, 0, 2] };
    if v6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend(u16::try_from(transport_len).unwrap().to_be_bytes());
        frame.extend([protocol, 64]);
    } else {
        frame.extend([8, 0, 0x45, 0]);
        frame.extend(u16::try_from(20 + transport_len).unwrap().to_be_bytes());
        frame.extend([0x12, 0x34, 0, 0, 64, protocol, 0, 0]);
    }
    frame.extend(&addresses);
    let at = frame.len();
    frame.extend([0x13, 0x88, 0x13, 0x89]);
    if tcp {
        frame.extend([0xff, 0xff, 0xf0, 0, 0, 0, 0, 0, 0x50, 0x19, 0x10, 0, 0, 0, 0, 0]);
    } else {
        frame.extend(u16::try_from(transport_len).unwrap().to_be_bytes());
        frame.extend([0, 0]);
    }
    frame.extend((0..payload).map(|at| u8::try_from(at % 241).unwrap()));
    let mut pseudo = addresses;
    let length = if with_length { u32::try_from(transport_len).unwrap() } else { 0 };
    pseudo.extend(length.to_be_bytes());
    pseudo.extend([0, protocol]);
    let field = at + if tcp { 16 } else { 6 };
    frame[field..field + 2].copy_from_slice(&model_rtl8168::internet_sum(&pseudo).to_be_bytes());
    (frame, at)
}
