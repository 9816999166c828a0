//! Sending: descriptors, contexts, checksums and cutting of packets (8254x chapter 3.3, 82574 section 7.2).

use std::time::Duration;

use e1000_spec::{
    registers::{self as reg, Ctrl, RingRegisters, Tctl},
    statistics,
    transmit::{
        CONTEXT, ContextCommand, ContextTx, DATA, DD, DataCommand, DataTx, LegacyCommand, LegacyTx,
        PacketOptions,
    },
};
use model_support::{
    network::Action,
    packet::{self, Headers, segments},
};
use redox_driver_sys::{model::Bus, time::Time};
use zerocopy::FromBytes;

use crate::{core::Core, interrupt::Delay, ring::Ring, violation::Violation};

/// Shortest frame without its frame check sequence.
const SHORTEST: usize = 60;
/// What one packet may hold at most: a device that is told more stops.
const LONGEST: usize = 1 << 20;

#[derive(Debug, Default)]
pub(crate) struct TxQueue {
    due: Option<Time>,
    hung: bool,
    packet: Pending,
    /// For packets to be cut, and for others.
    contexts: [ContextTx; 2],
    pub(crate) delay: Delay,
}

/// A packet whose descriptors are being fetched.
#[derive(Debug, Default)]
struct Pending {
    start: Option<u32>,
    data: Vec<u8>,
    first: DataTx,
    legacy: Option<LegacyTx>,
    /// Descriptors to be written back, and whether the interrupt may wait.
    report: Vec<(u32, bool)>,
}

impl TxQueue {
    pub(crate) fn due(&self) -> Option<Time> {
        self.due
    }

    pub(crate) fn wake(&mut self, at: Time) {
        if self.due.is_none() && !self.hung {
            self.due = Some(at);
        }
    }
}

impl Core {
    pub(crate) fn run_transmit(&mut self, bus: &mut dyn Bus, queue: u16) {
        let (at, now) = (usize::from(queue), bus.now());
        if self.tx[at].hung || !Tctl::from(self.get(reg::TCTL)).en() {
            return;
        }
        let registers = RingRegisters::transmit(queue);
        if self.ring(registers).is_none_or(|ring| ring.owned() == 0) {
            self.tx[at].due = None;
            return;
        }
        if !self.link_up(now) || self.flap.is_some() {
            // The link's change makes it go on.
            self.tx[at].due = None;
            return;
        }
        if now < self.paused_until {
            self.tx[at].due = Some(self.paused_until);
            return;
        }
        if self.tx[at].due.is_some_and(|due| due > now) {
            return;
        }
        self.tx[at].due = None;
        let mut budget = 4096;
        while let Some(ring) = self.ring(registers).filter(|ring| ring.owned() > 0) {
            budget -= 1;
            if budget == 0 || self.removed {
                break;
            }
            if !self.fetch(bus, queue, &ring) {
                self.tx[at].hung = true;
                break;
            }
            if self.tx[at].hung {
                break;
            }
        }
    }

    /// Takes one descriptor; false when the device cannot go on.
    fn fetch(&mut self, bus: &mut dyn Bus, queue: u16, ring: &Ring) -> bool {
        let Ok(bytes) = ring.read(bus, ring.head) else { return false };
        let index = ring.head;
        self.set(ring.registers.head(), ring.after(index, 1));
        let Ok(data) = DataTx::read_from_bytes(&bytes) else { return false };
        let command = DataCommand::from(data.command);
        if !command.dext() {
            return match LegacyTx::read_from_bytes(&bytes) {
                Ok(legacy) => self.legacy(bus, queue, index, legacy),
                Err(_) => false,
            };
        }
        match command.dtyp() {
            CONTEXT => {
                self.statistics.contexts += 1;
                let Ok(context) = ContextTx::read_from_bytes(&bytes) else { return false };
                let tse = ContextCommand::from(context.command).tse();
                self.tx[usize::from(queue)].contexts[usize::from(!tse)] = context;
                if self.tx[usize::from(queue)].packet.start.is_some() {
                    self.violation(Violation::Descriptor("a context inside a packet"));
                }
                true
            }
            DATA => {
                let ends = command.eop().then_some(command.vle().then_some(data.vlan));
                let report = command.rs().then_some((index, command.ide()));
                let packet = &mut self.tx[usize::from(queue)].packet;
                if packet.start.is_none() {
                    packet.first = data;
                }
                self.part(bus, queue, (index, data.address, command.length()), report, ends)
            }
            _ => {
                self.violation(Violation::Descriptor("DTYP is reserved"));
                false
            }
        }
    }

    fn legacy(&mut self, bus: &mut dyn Bus, queue: u16, index: u32, legacy: LegacyTx) -> bool {
        let command = LegacyCommand::from(legacy.command);
        let packet = &mut self.tx[usize::from(queue)].packet;
        if packet.start.is_none() {
            packet.legacy = Some(legacy);
        }
        let ends = command.eop().then_some(command.vle().then_some(legacy.vlan));
        let report = command.rs().then_some((index, command.ide()));
        self.part(bus, queue, (index, legacy.address, legacy.length.into()), report, ends)
    }

    /// A piece of a packet.
    fn part(
        &mut self,
        bus: &mut dyn Bus,
        queue: u16,
        (index, address, length): (u32, u64, u32),
        report: Option<(u32, bool)>,
        ends: Option<Option<u16>>,
    ) -> bool {
        self.statistics.data_descriptors += 1;
        let packet = &mut self.tx[usize::from(queue)].packet;
        packet.start.get_or_insert(index);
        packet.report.extend(report);
        let old = packet.data.len();
        let Ok(length) = usize::try_from(length) else { return false };
        if old + length > LONGEST {
            self.violation(Violation::Descriptor("a packet without an end"));
            return false;
        }
        packet.data.resize(old + length, 0);
        if bus.dma_read(address, &mut packet.data[old..]).is_err() {
            return false;
        }
        match ends {
            Some(vlan) => self.complete(bus, queue, vlan),
            None => true,
        }
    }

    /// All of a packet is here.
    fn complete(&mut self, bus: &mut dyn Bus, queue: u16, vlan: Option<u16>) -> bool {
        let packet = std::mem::take(&mut self.tx[usize::from(queue)].packet);
        let registers = RingRegisters::transmit(queue);
        let actions = self.faults.strike(|only| only.matches(true));
        if actions.contains(&Action::Hang) {
            self.set(registers.head(), packet.start.unwrap_or(0));
            return false;
        }
        if self.suffer(bus, &actions) {
            return true;
        }
        let lost = actions.iter().any(|action| matches!(action, Action::Drop | Action::Garbage));
        if !lost {
            self.frames(queue, &packet, vlan);
        }
        if actions.contains(&Action::NoWriteBack) {
            return true;
        }
        let Some(ring) = self.ring(registers) else { return false };
        let mut interrupt = None;
        for (index, may_wait) in packet.report {
            let status = ring.address(index).wrapping_add(12);
            if bus.dma_write(status, &[DD]).is_err() {
                return false;
            }
            interrupt = Some(may_wait);
        }
        if let Some(may_wait) = interrupt.filter(|_| !actions.contains(&Action::LoseInterrupt)) {
            self.packet_sent(bus, queue, may_wait);
        }
        true
    }

    fn frames(&mut self, queue: u16, packet: &Pending, vlan: Option<u16>) {
        if let Some(legacy) = packet.legacy {
            let mut frame = packet.data.clone();
            if LegacyCommand::from(legacy.command).ic() {
                put_sum(&mut frame, legacy.css.into(), 0, legacy.cso.into(), 0);
            }
            return self.emit(frame, vlan);
        }
        let (command, options) =
            (DataCommand::from(packet.first.command), PacketOptions::from(packet.first.options));
        let context = self.tx[usize::from(queue)].contexts[usize::from(!command.tse())];
        if !command.ifcs() {
            self.violation(Violation::Descriptor("a packet without IFCS"));
        }
        if command.tse() {
            return self.cut(&packet.data, &context, options, vlan);
        }
        let mut frame = packet.data.clone();
        let mut good = true;
        if options.ixsm() {
            good &= put_sum(&mut frame, context.ipcss.into(), context.ipcse.into(), context.ipcso.into(), 0);
        }
        if options.txsm() {
            good &= put_sum(&mut frame, context.tucss.into(), context.tucse.into(), context.tucso.into(), 0);
        }
        if !good {
            self.violation(Violation::Descriptor("a checksum outside of the packet"));
        }
        self.emit(frame, vlan);
    }

    /// Cuts a packet (8254x section 3.5.4).
    fn cut(&mut self, data: &[u8], context: &ContextTx, options: PacketOptions, vlan: Option<u16>) {
        let command = ContextCommand::from(context.command);
        let header_len = usize::from(context.header_len);
        let mss = usize::from(context.mss);
        let (ip, tcp) = (usize::from(context.ipcss), usize::from(context.tucss));
        let payload = usize::try_from(command.payload()).unwrap_or(0);
        let sound = command.tse() && command.tcp() && mss > 0 && ip + 20 <= tcp && tcp + 20 <= header_len;
        if !sound || header_len + payload != data.len() || !options.txsm() {
            self.violation(Violation::Descriptor("a context that does not fit its packet"));
            self.count(statistics::TSCTFC);
            return;
        }
        self.statistics.segmented += 1;
        self.count(statistics::TSCTC);
        let headers = Headers { ip, v6: !command.ipv4(), tcp, len: header_len };
        for mut frame in segments(data, headers, mss).unwrap_or_default() {
            if command.ipv4() && options.ixsm() {
                put_sum(&mut frame, ip, context.ipcse.into(), context.ipcso.into(), 0);
            }
            let length = u16::try_from(frame.len() - tcp).unwrap_or(u16::MAX);
            put_sum(&mut frame, tcp, context.tucse.into(), context.tucso.into(), length);
            self.emit(frame, vlan);
        }
    }

    /// Sends one frame.
    fn emit(&mut self, mut frame: Vec<u8>, vlan: Option<u16>) {
        if let Some(tag) = vlan.filter(|_| Ctrl::from(self.get(reg::CTRL)).vme()) {
            let ethertype = self.get(reg::VET).to_be_bytes();
            let tag = [ethertype[2], ethertype[3], tag.to_be_bytes()[0], tag.to_be_bytes()[1]];
            if frame.len() >= 12 {
                frame.splice(12..12, tag);
            }
        }
        if frame.len() < SHORTEST && Tctl::from(self.get(reg::TCTL)).psp() {
            frame.resize(SHORTEST, 0);
        }
        if frame.len() < 14 || frame.len() + 4 > usize::from(self.config.chip.max_frame) {
            self.violation(Violation::FrameLength(frame.len()));
            return;
        }
        self.count(statistics::GPTC);
        self.count(statistics::TPT);
        self.count_octets(statistics::GOTC, frame.len() + 4);
        match frame[0] & 1 {
            _ if frame.starts_with(&[0xff; 6]) => self.count(statistics::BPTC),
            1 => self.count(statistics::MPTC),
            _ => {}
        }
        self.put_on_wire(frame);
    }

    /// The partner asks for a pause of so many times 512 bits.
    pub(crate) fn pause(&mut self, now: Time, quanta: u16) {
        let bit =
            Duration::from_nanos(match self.phy.link(crate::core::elapsed(now)).map(|link| link.speed) {
                Some(1000) => 1,
                Some(100) => 10,
                _ => 100,
            });
        self.paused_until = now.plus(bit * 512 * u32::from(quanta));
    }
}

/// Sums `frame` from `start` to `end` (inclusive; 0 for all) and `more`, and puts the inverted sum at `field`. False if it does not fit.
fn put_sum(frame: &mut [u8], start: usize, end: usize, field: usize, more: u16) -> bool {
    let end = if end == 0 { frame.len() } else { end + 1 };
    packet::put_sum(frame, start..end, field, more)
}
