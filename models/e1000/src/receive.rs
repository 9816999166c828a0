//! Receiving: filters, queues, descriptors (8254x section 3.2, 82574 section 7.1).

use e1000_spec::{
    receive::{ExtendedRx, ExtendedRxRead, LegacyRx, RxErrors, RxStatus},
    registers::{
        self as reg, Causes, Ctrl, RETA_ENTRIES, RFCTL_EXSTEN, RSS_KEY, Rctl, RingRegisters, Rxcsum,
    },
    statistics,
};
use model_support::{
    network::Action,
    packet::{Parsed, ip_is_right, parse, transport_is_right},
};
use redox_driver_sys::model::Bus;
use zerocopy::{FromBytes, IntoBytes};

use crate::{core::Core, interrupt::Delay, ring::Ring, rss, violation::Violation};

/// Longest frame without LPE, with its frame check sequence.
const LONGEST_USUAL: usize = 1522;
const FCS: usize = 4;
/// Destination of pause frames, and their type and opcode.
const PAUSE_ADDRESS: [u8; 6] = [0x01, 0x80, 0xc2, 0x00, 0x00, 0x01];
const PAUSE_TYPE: [u8; 4] = [0x88, 0x08, 0x00, 0x01];

#[derive(Debug, Default)]
pub(crate) struct RxQueue {
    hung: bool,
    pub(crate) delay: Delay,
}

/// What the descriptors of a frame say.
struct Verdict {
    queue: u16,
    status: RxStatus,
    vlan: u16,
    mrq: u32,
    hash: u32,
}

impl Core {
    pub(crate) fn run_receive(&mut self, bus: &mut dyn Bus) {
        self.store_all(bus);
        while let Some(frame) = self.wire.pop_front() {
            if self.link_up(bus.now()) && self.flap.is_none() {
                self.arrive(bus, frame);
                self.store_all(bus);
            }
        }
        if self.asked_to_pause && self.fifo_bytes() <= self.threshold(reg::FCRTL) {
            self.asked_to_pause = false;
            self.statistics.pauses += 1;
            self.count(statistics::XONTXC);
        }
    }

    fn store_all(&mut self, bus: &mut dyn Bus) {
        while let Some((frame, actions)) = self.fifo.pop_front() {
            if let Some(waits) = self.store(bus, frame, actions) {
                self.fifo.push_front(waits);
                break;
            }
        }
    }

    fn fifo_bytes(&self) -> usize {
        self.fifo.iter().map(|(frame, _)| frame.len() + FCS).sum()
    }

    fn threshold(&self, offset: u64) -> usize {
        usize::try_from(self.get(offset) & 0xfff8).unwrap_or(0)
    }

    /// A frame comes from the wire.
    fn arrive(&mut self, bus: &mut dyn Bus, frame: Vec<u8>) {
        let rctl = Rctl::from(self.get(reg::RCTL));
        let ctrl = Ctrl::from(self.get(reg::CTRL));
        let Some(destination) = frame.first_chunk::<6>().copied().filter(|_| rctl.en() && rctl.dtyp() == 0)
        else {
            return;
        };
        self.count(statistics::TPR);
        if frame.len() + FCS > if rctl.lpe() { 16_384 } else { LONGEST_USUAL } {
            return self.count(statistics::ROC);
        }
        if destination == PAUSE_ADDRESS && frame.get(12..16) == Some(&PAUSE_TYPE) {
            if ctrl.rfce() {
                let quanta = frame.get(16..18).map_or(0, |word| u16::from_be_bytes([word[0], word[1]]));
                self.count(if quanta == 0 { statistics::XONRXC } else { statistics::XOFFRXC });
                self.pause(bus.now(), quanta);
                for queue in &mut self.tx {
                    queue.wake(bus.now());
                }
            }
            return;
        }
        let actions = self.faults.strike(|only| only.matches(false));
        if self.suffer(bus, &actions) || actions.contains(&Action::Drop) {
            return;
        }
        if actions.contains(&Action::Garbage) && !rctl.sbp() {
            return self.count(statistics::CRCERRS);
        }
        if !self.passes(destination, tag_of(&frame)) {
            self.statistics.filtered += 1;
            return;
        }
        let room = usize::try_from(self.get(reg::PBA) & 0xffff).unwrap_or(0) * 1024;
        let held = self.fifo_bytes() + frame.len() + FCS;
        if held > room {
            self.statistics.missed += 1;
            self.count(statistics::MPC);
            return self.raise(bus, Causes::new().with_rxo(true));
        }
        let high = self.threshold(reg::FCRTH);
        if ctrl.tfce() && high > 0 && held > high && !self.asked_to_pause {
            self.asked_to_pause = true;
            self.statistics.pauses += 1;
            self.count(statistics::XOFFTXC);
        }
        self.fifo.push_back((frame, actions));
    }

    /// Stores a frame in memory, as much of it as there are descriptors for; gives it back when it is not all.
    fn store(
        &mut self,
        bus: &mut dyn Bus,
        mut frame: Vec<u8>,
        actions: Vec<Action>,
    ) -> Option<(Vec<u8>, Vec<Action>)> {
        let rctl = Rctl::from(self.get(reg::RCTL));
        let size = usize::try_from(rctl.buffer_len()?).ok()?;
        let parsed = parse(&frame);
        let mut verdict = self.judge(&frame, &parsed);
        let whole = frame.len();
        let stored = if Ctrl::from(self.get(reg::CTRL)).vme() && tag_of(&frame).is_some() {
            verdict.vlan = tag_of(&frame).unwrap_or(0);
            verdict.status = verdict.status.with_vp(true);
            let mut stripped = frame.clone();
            stripped.drain(12..16);
            stripped
        } else {
            std::mem::take(&mut frame)
        };
        let give_back = |frame: Vec<u8>, stored: Vec<u8>| if frame.is_empty() { stored } else { frame };
        if self.rx[usize::from(verdict.queue)].hung || actions.contains(&Action::Hang) {
            self.rx[usize::from(verdict.queue)].hung = true;
            return None;
        }
        let ring = self.ring(RingRegisters::receive(verdict.queue));
        let needed = (stored.len() + if rctl.secrc() { 0 } else { FCS }).div_ceil(size);
        let needed = u32::try_from(needed.saturating_sub(self.begun)).ok()?;
        let Some(ring) = ring.filter(|ring| ring.owned() >= needed) else {
            self.count(statistics::RNBC);
            if let Some(ring) = ring {
                self.write_frame(bus, &ring, stored.clone(), size, &verdict, &actions);
            }
            return Some((give_back(frame, stored), actions));
        };
        self.write_frame(bus, &ring, stored, size, &verdict, &actions);
        self.begun = 0;
        self.count(statistics::GPRC);
        self.count_octets(statistics::GORC, whole + FCS);
        self.statistics.received += 1;
        let left = ring.owned() - needed;
        let few = ring.count >> (1 + u32::from(rctl.rdmts()));
        if left <= few && ring.owned() > few {
            self.raise(bus, Causes::new().with_rxdmt0(true));
        }
        if !actions.contains(&Action::LoseInterrupt) {
            self.packet_stored(bus, verdict.queue);
        }
        None
    }

    fn judge(&mut self, frame: &[u8], parsed: &Parsed) -> Verdict {
        let rxcsum = Rxcsum::from(self.get(reg::RXCSUM));
        let mut status = RxStatus::new();
        let mut errors = RxErrors::new();
        if let Some(right) = ip_is_right(frame, parsed).filter(|_| rxcsum.ipofl()) {
            status = status.with_ipcs(true);
            errors = errors.with_ipe(!right);
        }
        if let Some(right) = transport_is_right(frame, parsed).filter(|_| rxcsum.tuofl()) {
            let tcp = parsed.transport.is_some_and(|transport| transport.tcp);
            status = status.with_tcpcs(true).with_udpcs(!tcp);
            errors = errors.with_tcpe(!right);
        }
        if !status.ipcs() && !status.tcpcs() {
            status = status.with_ixsm(true);
        }
        if frame.starts_with(&[0xff; 6]) {
            self.count(statistics::BPRC);
        } else if frame[0] & 1 != 0 {
            self.count(statistics::MPRC);
        }
        let (mut mrq, mut hash, mut queue) = (0, 0, 0);
        if self.config.chip.queues > 1 && self.get(reg::MRQC) & 3 == 1 {
            let mut key = [0; RSS_KEY];
            for (at, bytes) in (reg::RSSRK..).step_by(4).zip(key.chunks_exact_mut(4)) {
                bytes.copy_from_slice(&self.get(at).to_le_bytes());
            }
            let (kind, value) = rss::hash(&key, frame, parsed);
            let entry = usize::try_from(value).unwrap_or(0) % RETA_ENTRIES;
            let dword = self.get(reg::RETA + 4 * (entry as u64 / 4)).to_le_bytes();
            queue = if kind == 0 { 0 } else { u16::from(dword[entry % 4] >> 7) };
            (mrq, hash) = (kind | u32::from(queue) << 8, value);
        }
        Verdict { queue, status: status.with_errors(errors), vlan: 0, mrq, hash }
    }

    /// Writes what was not yet written, to the descriptors that there are.
    fn write_frame(
        &mut self,
        bus: &mut dyn Bus,
        ring: &Ring,
        mut stored: Vec<u8>,
        size: usize,
        verdict: &Verdict,
        actions: &[Action],
    ) {
        if !Rctl::from(self.get(reg::RCTL)).secrc() {
            stored.extend([0; FCS]);
        }
        let extended = self.config.chip.extended_rx && self.get(reg::RFCTL) & RFCTL_EXSTEN != 0;
        let last = stored.len().div_ceil(size) - 1;
        let mut index = ring.head;
        let room = usize::try_from(ring.owned()).unwrap_or(0);
        for (number, piece) in stored.chunks(size).enumerate().skip(self.begun).take(room) {
            let Ok(bytes) = ring.read(bus, index) else { break };
            let Ok(posted) = ExtendedRxRead::read_from_bytes(&bytes) else { break };
            if extended && posted.zero & 1 != 0 {
                self.violation(Violation::StaleDescriptor);
            }
            let ends = number == last;
            let mut status = RxStatus::new().with_dd(true);
            let mut length = u16::try_from(piece.len()).unwrap_or(0);
            if ends {
                status = verdict.status.with_dd(true).with_eop(true);
                for action in actions {
                    match *action {
                        Action::BadLength(bits) => length ^= bits,
                        Action::BadStatus(bits) => status = RxStatus::from(status.into_bits() ^ bits),
                        Action::Garbage => status = status.with_errors(RxErrors::new().with_ce(true)),
                        _ => {}
                    }
                }
            }
            let vlan = if ends { verdict.vlan } else { 0 };
            let back = if extended {
                let Verdict { mrq, hash, .. } = *verdict;
                ExtendedRx { mrq, hash, status: status.into_bits(), length, vlan }.as_bytes().to_vec()
            } else {
                let errors = status.errors().into_bits();
                let [status, ..] = status.into_bits().to_le_bytes();
                let address = posted.address;
                LegacyRx { address, length, checksum: 0, status, errors, vlan }.as_bytes().to_vec()
            };
            let written = actions.contains(&Action::NoWriteBack)
                || (bus.dma_write(posted.address, piece).is_ok()
                    && bus.dma_write(ring.address(index), &back).is_ok());
            if !written {
                break;
            }
            index = ring.after(index, 1);
            self.set(ring.registers.head(), index);
            self.begun = number + 1;
        }
    }
}

/// The 802.1Q tag of a frame.
fn tag_of(frame: &[u8]) -> Option<u16> {
    match frame.get(12..16)? {
        &[0x81, 0x00, high, low] => Some(u16::from_be_bytes([high, low])),
        _ => None,
    }
}
