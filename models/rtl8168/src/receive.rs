//! Receiving: filter, FIFO, descriptors (8168B section 6.2).

use std::{collections::VecDeque, time::Duration};

use model_support::{
    network::Action,
    packet::{ip_is_right, parse, transport_is_right},
};
use redox_driver_sys::{
    model::{Bus, DmaFault},
    time::Time,
};
use rtl8168_spec::{
    Offloads,
    descriptors::{Descriptor, RxDone, RxPosted, RxSecond},
    registers::{CPLUS, CPlus, Events, IDR0, MAR0, MISC, Misc, RCR, RMS, RxConfig, multicast_bit},
};

use crate::{
    core::Core,
    ring::{Ring, after},
    transmit::FCS,
    violation::Violation,
};

/// Bytes that the chip holds until there is a descriptor.
const FIFO: usize = 48 * 1024;
/// How often it looks for one.
const RETRY: Duration = Duration::from_micros(50);
/// Most descriptors of a frame.
const MOST_PARTS: usize = 64;

/// A descriptor that takes a part of a frame: its place in the ring, itself, and its first dword.
type Part = (u16, Descriptor, RxPosted);

#[derive(Debug, Default)]
pub(crate) struct Receiver {
    pub(crate) ring: Ring,
    hung: bool,
    /// On their way to the device.
    wire: VecDeque<Vec<u8>>,
    /// In the device, with what goes wrong with them.
    fifo: VecDeque<(Vec<u8>, Vec<Action>)>,
    /// There was no descriptor: when to look again.
    retry: Option<Time>,
}

impl Receiver {
    pub(crate) fn restart(&mut self) {
        *self = Receiver { ring: Ring { next: 0, ..self.ring }, ..Receiver::default() };
    }

    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.wire.push_back(frame.to_vec());
    }

    pub(crate) fn has_arrivals(&self) -> bool {
        !self.wire.is_empty()
    }

    pub(crate) fn due(&self) -> Option<Time> {
        self.retry
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fifo.is_empty()
    }

    fn held(&self) -> usize {
        self.fifo.iter().map(|(frame, _)| frame.len() + FCS).sum()
    }
}

impl Core {
    pub(crate) fn run_receive(&mut self, bus: &mut dyn Bus) {
        self.store_all(bus);
        while let Some(frame) = self.rx.wire.pop_front() {
            if self.link_up(bus.now()) && self.flap.is_none() && !self.removed {
                self.arrive(bus, frame);
                self.store_all(bus);
            }
        }
    }

    fn store_all(&mut self, bus: &mut dyn Bus) {
        let now = bus.now();
        if self.rx.retry.is_some_and(|retry| retry > now) {
            return;
        }
        let starved = self.rx.retry.take().is_some();
        while let Some((frame, actions)) = self.rx.fifo.pop_front() {
            if self.rx.hung || actions.contains(&Action::Hang) {
                self.rx.hung = true;
                continue;
            }
            if self.store(bus, &frame, &actions) {
                continue;
            }
            self.rx.fifo.push_front((frame, actions));
            self.rx.retry = Some(now.plus(RETRY));
            if !starved {
                self.raise(bus, Events::new().with_rdu(true));
            }
            return;
        }
    }

    /// A frame comes from the wire.
    fn arrive(&mut self, bus: &mut dyn Bus, frame: Vec<u8>) {
        let held_back = self.config.chip.gated && Misc::from(self.get32(MISC)).rx_gated();
        let on = self.is_on(false) && !held_back && !self.mcu.out_of_band();
        let Some(destination) = frame.first_chunk::<6>().copied().filter(|_| on) else { return };
        let longest = self.longest(false).min(self.get16(RMS).into());
        if frame.len() + FCS > longest {
            self.tally.rx_errors = self.tally.rx_errors.saturating_add(1);
            return;
        }
        let actions = self.faults.strike(|only| only.matches(false));
        if self.suffer(bus, &actions) || actions.contains(&Action::Drop) {
            return;
        }
        if actions.contains(&Action::Garbage) && !RxConfig::from(self.get32(RCR)).aer() {
            self.tally.rx_errors = self.tally.rx_errors.saturating_add(1);
            return;
        }
        if !self.passes(destination) {
            self.statistics.filtered += 1;
            return;
        }
        if self.rx.held() + frame.len() + FCS > FIFO {
            self.statistics.missed += 1;
            self.missed = (self.missed + 1) & 0xff_ffff;
            self.tally.rx_missed = self.tally.rx_missed.saturating_add(1);
            return self.raise(bus, Events::new().with_fovw(true));
        }
        self.rx.fifo.push_back((frame, actions));
    }

    /// The filter (8168B sections 2.8 and 2.1).
    fn passes(&self, destination: [u8; 6]) -> bool {
        let rcr = RxConfig::from(self.get32(RCR));
        if destination == [0xff; 6] {
            return rcr.ab();
        }
        if rcr.aap() {
            return true;
        }
        if destination[0] & 1 == 0 {
            let own = (IDR0..).zip(destination).all(|(offset, byte)| self.get8(offset) == byte);
            return rcr.apm() && own;
        }
        let (byte, bit) = multicast_bit(destination);
        let in_table = self.get8(MAR0 + byte as u64) & bit != 0;
        rcr.am() && (in_table || self.config.chip.no_table && self.get32(MAR0) == u32::MAX)
    }

    /// Stores a frame in memory; false when there are too few descriptors.
    fn store(&mut self, bus: &mut dyn Bus, frame: &[u8], actions: &[Action]) -> bool {
        let cplus = CPlus::from(self.get16(CPLUS));
        let (mut done, mut second) = self.judge(frame, cplus.rx_checksum());
        let mut stored = frame.to_vec();
        if let (true, Some(&[0x81, 0x00, high, low])) = (cplus.rx_vlan(), frame.get(12..16)) {
            second = second.with_vlan(u16::from_be_bytes([high, low]));
            stored.drain(12..16);
        }
        stored.extend([0; FCS]);
        let Ok(parts) = self.room(bus, stored.len()) else {
            self.rx.hung = true;
            self.raise(bus, Events::new().with_serr(true));
            return true;
        };
        let Some(parts) = parts else { return false };
        let garbage = actions.contains(&Action::Garbage);
        done = done.with_length(u16::try_from(stored.len()).unwrap_or(0) & 0x3fff);
        done = done.with_crc(garbage).with_res(garbage);
        let mut flipped = 0;
        for action in actions {
            match *action {
                Action::BadLength(bits) => done = done.with_length((done.length() ^ bits) & 0x3fff),
                // OWN and EOR are no status.
                Action::BadStatus(bits) => flipped ^= bits & 0x3fff_ffff,
                _ => {}
            }
        }
        if !actions.contains(&Action::NoWriteBack)
            && self.fill(bus, &parts, &stored, (done, flipped), second).is_err()
        {
            self.rx.hung = true;
            self.raise(bus, Events::new().with_serr(true));
            return true;
        }
        if let Some((index, _, posted)) = parts.last() {
            self.rx.ring.next = after(*index, posted.eor());
        }
        self.count_received(frame);
        if garbage {
            self.raise(bus, Events::new().with_rer(true));
        } else if !actions.contains(&Action::LoseInterrupt) {
            self.packet_done(bus, false);
        }
        true
    }

    /// What the descriptor says about a frame.
    fn judge(&self, frame: &[u8], look: bool) -> (RxDone, RxSecond) {
        let own = frame.first().is_some_and(|byte| byte & 1 == 0);
        let everybody = frame.starts_with(&[0xff; 6]);
        let mut done = RxDone::new().with_bar(everybody).with_mar(!own && !everybody).with_pam(own);
        let mut second = RxSecond::new();
        let parsed = parse(frame);
        let first_generation = self.config.chip.offloads == Offloads::First;
        let Some(ip) = parsed.ip.filter(|ip| look && !(first_generation && ip.v6)) else {
            return (done, second);
        };
        done = done.with_protocol(RxDone::IP).with_ip_wrong(ip_is_right(frame, &parsed) == Some(false));
        if let (Some(transport), Some(right)) = (parsed.transport, transport_is_right(frame, &parsed)) {
            done = if transport.tcp {
                done.with_protocol(RxDone::TCP).with_tcp_wrong(!right)
            } else {
                done.with_protocol(RxDone::UDP).with_udp_wrong(!right)
            };
        }
        if !first_generation {
            second = second.with_v4(!ip.v6).with_v6(ip.v6);
        }
        (done, second)
    }

    /// Descriptors for so many bytes, each with its place in the ring; `None` when there are too few.
    fn room(&mut self, bus: &mut dyn Bus, len: usize) -> Result<Option<Vec<Part>>, DmaFault> {
        let mut parts = Vec::new();
        let (mut index, mut room) = (self.rx.ring.next, 0);
        while room < len && parts.len() < MOST_PARTS {
            let descriptor = self.rx.ring.read(bus, index)?;
            let posted = RxPosted::from(descriptor.opts1);
            if !posted.own() {
                return Ok(None);
            }
            if posted.length() < 8 || !descriptor.address.is_multiple_of(8) {
                self.violation(Violation::Descriptor("a receive buffer of that size or place"));
            }
            // The lowest three bits do not count.
            room += usize::from(posted.length() & !7);
            parts.push((index, descriptor, posted));
            index = after(index, posted.eor());
        }
        Ok((room >= len).then_some(parts))
    }

    fn fill(
        &mut self,
        bus: &mut dyn Bus,
        parts: &[Part],
        stored: &[u8],
        (done, flipped): (RxDone, u32),
        second: RxSecond,
    ) -> Result<(), DmaFault> {
        let mut rest = stored;
        for (number, (index, descriptor, posted)) in parts.iter().enumerate() {
            let (piece, behind) = rest.split_at(rest.len().min(usize::from(posted.length() & !7)));
            rest = behind;
            bus.dma_write(descriptor.address, piece)?;
            let (first, last) = (number == 0, rest.is_empty());
            let mut opts = done.with_fs(first).with_ls(last).with_eor(posted.eor());
            if last {
                opts = RxDone::from(opts.into_bits() ^ flipped);
            } else {
                opts = opts.with_length(u16::try_from(piece.len()).unwrap_or(0));
            }
            self.rx.ring.write_back(bus, *index, opts.into_bits(), second.into_bits())?;
        }
        Ok(())
    }

    fn count_received(&mut self, frame: &[u8]) {
        self.statistics.received += 1;
        self.tally.rx_packets += 1;
        match frame.first() {
            _ if frame.starts_with(&[0xff; 6]) => self.tally.rx_broadcast += 1,
            Some(byte) if byte & 1 != 0 => {
                self.tally.rx_multicast = self.tally.rx_multicast.saturating_add(1);
            }
            _ => self.tally.rx_unicast += 1,
        }
    }
}
