//! Sending: descriptors, checksums and cutting of packets, of both generations (8168B section 6.1; `rtl8168_spec::descriptors`).

use model_support::{
    network::Action,
    packet::{Headers, parse, pseudo_sum, put_sum, segments},
};
use redox_driver_sys::{model::Bus, time::Time};
use rtl8168_spec::{
    Jumbo, Offloads,
    descriptors::{TxFirst, TxSecond, Work1, Work2},
    registers::{CONFIG3, CONFIG4, Config3, Events, JUMBO_EN_0, JUMBO_EN_1, MTPS, MTPS_MAX},
};

use crate::{
    core::Core,
    ring::{Ring, after},
    violation::Violation,
};

/// Shortest frame without its frame check sequence.
const SHORTEST: usize = 60;
/// Longest frame, with tag and frame check sequence, while jumbo frames are off.
pub(crate) const LONGEST_USUAL: usize = 1522;
pub(crate) const FCS: usize = 4;
/// What chips that pad badly pad with.
const STALE: u8 = 0x5a;
/// What one packet may hold at most: a device that is told more stops.
const LONGEST: usize = 1 << 17;
/// Unit of MTPS.
const MTPS_UNIT: usize = 128;
/// Where the TCP header has its length, and its checksum.
const TCP_LENGTH: usize = 12;
const TCP_SUM: usize = 16;
const UDP_SUM: usize = 6;
/// Where the IPv4 header has its checksum.
const IP_SUM: usize = 10;

#[derive(Debug, Default)]
pub(crate) struct Transmitter {
    pub(crate) ring: Ring,
    pub(crate) due: Option<Time>,
    /// There may be something to send.
    pub(crate) polled: bool,
    hung: bool,
}

impl Transmitter {
    pub(crate) fn restart(&mut self) {
        *self = Transmitter { ring: Ring { next: 0, ..self.ring }, ..Transmitter::default() };
    }

    /// There was a poll.
    pub(crate) fn poll(&mut self, at: Time) {
        self.polled = true;
        self.wake(at);
    }

    /// Goes on, if there was a poll before.
    pub(crate) fn wake(&mut self, at: Time) {
        if self.polled && self.due.is_none() && !self.hung {
            self.due = Some(at);
        }
    }
}

/// A packet whose descriptors were fetched.
struct Packet {
    first: TxFirst,
    second: TxSecond,
    data: Vec<u8>,
    /// Each descriptor, with its two dwords.
    parts: Vec<(u16, TxFirst, u32)>,
    next: u16,
}

impl Core {
    pub(crate) fn run_transmit(&mut self, bus: &mut dyn Bus) {
        let now = bus.now();
        if self.tx.hung || !self.is_on(true) || self.tx.due.is_none_or(|due| due > now) {
            return;
        }
        self.tx.due = None;
        if !self.link_up(now) || self.flap.is_some() {
            // The link's change makes it go on.
            return;
        }
        for _ in 0..4096 {
            if self.removed || self.tx.hung {
                return;
            }
            match self.fetch(bus) {
                Ok(Some(packet)) => self.send(bus, packet),
                Ok(None) => {
                    self.tx.polled = false;
                    return self.raise(bus, Events::new().with_tdu(true));
                }
                Err(()) => {
                    self.tx.hung = true;
                    return self.raise(bus, Events::new().with_serr(true));
                }
            }
        }
        self.tx.due = Some(now);
    }

    /// The next packet, if all of it is the device's; an error when it cannot go on.
    fn fetch(&mut self, bus: &mut dyn Bus) -> Result<Option<Packet>, ()> {
        let ring = self.tx.ring;
        let mut packet = Packet {
            first: TxFirst::new(),
            second: TxSecond::new(),
            data: Vec::new(),
            parts: Vec::new(),
            next: ring.next,
        };
        loop {
            let descriptor = ring.read(bus, packet.next).map_err(|_| ())?;
            let first = TxFirst::from(descriptor.opts1);
            if !first.own() {
                return Ok(None);
            }
            if packet.parts.is_empty() {
                (packet.first, packet.second) = (first, TxSecond::from(descriptor.opts2));
            }
            let length = usize::from(first.length());
            let wrong = if first.fs() != packet.parts.is_empty() {
                Some("a packet that starts in its middle")
            } else if length == 0 {
                Some("nothing to send")
            } else if packet.data.len() + length > LONGEST {
                Some("a packet without an end")
            } else {
                None
            };
            if let Some(wrong) = wrong {
                self.violation(Violation::Descriptor(wrong));
                return Err(());
            }
            let old = packet.data.len();
            packet.data.resize(old + length, 0);
            bus.dma_read(descriptor.address, &mut packet.data[old..]).map_err(|_| ())?;
            packet.parts.push((packet.next, first, descriptor.opts2));
            packet.next = after(packet.next, first.eor());
            if first.ls() {
                return Ok(Some(packet));
            }
        }
    }

    fn send(&mut self, bus: &mut dyn Bus, packet: Packet) {
        let actions = self.faults.strike(|only| only.matches(true));
        if actions.contains(&Action::Hang) {
            self.tx.hung = true;
            return;
        }
        if self.suffer(bus, &actions) {
            return;
        }
        self.tx.ring.next = packet.next;
        if !actions.iter().any(|action| matches!(action, Action::Drop | Action::Garbage)) {
            self.frames(&packet);
        }
        if actions.contains(&Action::NoWriteBack) {
            return;
        }
        let ring = self.tx.ring;
        for (index, first, opts2) in packet.parts {
            if ring.write_back(bus, index, first.with_own(false).into_bits(), opts2).is_err() {
                self.tx.hung = true;
                return self.raise(bus, Events::new().with_serr(true));
            }
        }
        if !actions.contains(&Action::LoseInterrupt) {
            self.packet_done(bus, true);
        }
    }

    fn frames(&mut self, packet: &Packet) {
        let Packet { first, second, data, .. } = packet;
        let vlan = second.vlan();
        let asked = match self.config.chip.offloads {
            Offloads::First => Asked::first(Work1::from(first.work())),
            Offloads::Second => Asked::second(Work2::from(first.work()), *second),
        };
        if let Some((mss, v6)) = asked.cut {
            return self.cut(data, asked.transport, usize::from(mss), v6, vlan);
        }
        let mut frame = data.clone();
        let bad_padding = self.config.chip.pads_badly && frame.len() < SHORTEST;
        if bad_padding && (self.config.chip.modern || asked.any()) {
            // With whatever there was, which is part of the sum then.
            frame.resize(SHORTEST, STALE);
        }
        if asked.any() && !self.put_sums(&mut frame, &asked, bad_padding) {
            self.violation(Violation::Descriptor("checksums of a packet that has none"));
        }
        self.emit(frame, vlan);
    }

    /// Puts checksums in; the transport's field holds the sum over the pseudo header. False where they cannot be.
    fn put_sums(&mut self, frame: &mut [u8], asked: &Asked, to_the_end: bool) -> bool {
        let parsed = parse(frame);
        let (Some(ip), Some(transport)) = (parsed.ip, parsed.transport) else { return false };
        let right = asked.transport.is_none_or(|at| at == transport.at)
            && asked.v6.is_none_or(|v6| v6 == ip.v6)
            && asked.tcp == transport.tcp
            && asked.udp != transport.tcp;
        if !right {
            return false;
        }
        self.statistics.checksums += 1;
        if !ip.v6 {
            frame[ip.at + IP_SUM..ip.at + IP_SUM + 2].fill(0);
            put_sum(frame, ip.at..ip.at + ip.header_len, ip.at + IP_SUM, 0);
        }
        let end = if to_the_end { frame.len() } else { ip.end };
        let field = transport.at + if transport.tcp { TCP_SUM } else { UDP_SUM };
        put_sum(frame, transport.at..end, field, 0)
    }

    /// Cuts a packet. With IPv4 the chip makes the pseudo header's sum itself; with IPv6 it is in the field, without the length.
    fn cut(&mut self, data: &[u8], transport: Option<usize>, mss: usize, v6: bool, vlan: Option<u16>) {
        let headers = find_headers(data)
            .filter(|headers| headers.v6 == v6 && transport.is_none_or(|at| at == headers.tcp));
        let pieces = headers.and_then(|headers| Some((headers, segments(data, headers, mss)?)));
        let Some((headers, pieces)) = pieces else {
            return self.violation(Violation::Descriptor("a packet that cannot be cut"));
        };
        let Headers { ip, tcp, .. } = headers;
        self.statistics.segmented += 1;
        for mut frame in pieces {
            let length = frame.len() - tcp;
            let more = if v6 {
                u16::try_from(length).unwrap_or(u16::MAX)
            } else {
                frame[ip + IP_SUM..ip + IP_SUM + 2].fill(0);
                put_sum(&mut frame, ip..tcp, ip + IP_SUM, 0);
                frame[tcp + TCP_SUM..tcp + TCP_SUM + 2].fill(0);
                parse(&frame).ip.and_then(|ip| pseudo_sum(&frame, &ip, true, length)).unwrap_or(0)
            };
            let end = frame.len();
            put_sum(&mut frame, tcp..end, tcp + TCP_SUM, more);
            self.emit(frame, vlan);
        }
    }

    /// Sends one frame.
    fn emit(&mut self, mut frame: Vec<u8>, vlan: Option<u16>) {
        if let Some(tag) = vlan
            && frame.len() >= 12
        {
            let [high, low] = tag.to_be_bytes();
            frame.splice(12..12, [0x81, 0x00, high, low]);
        }
        if frame.len() < 14 || frame.len() + FCS > self.longest(true) {
            self.tally.tx_errors += 1;
            return self.violation(Violation::FrameLength(frame.len()));
        }
        if frame.len() < SHORTEST {
            frame.resize(SHORTEST, 0);
        }
        self.put_on_wire(frame);
    }

    /// Longest frame with its frame check sequence, as the chip is set up.
    pub(crate) fn longest(&self, sends: bool) -> usize {
        let chip = self.config.chip;
        let (config3, config4) = (Config3::from(self.get8(CONFIG3)), self.get8(CONFIG4));
        let mtps = self.get8(MTPS);
        let jumbo = match chip.jumbo {
            Jumbo::Always => true,
            Jumbo::Config4 => config4 & JUMBO_EN_0 != 0,
            Jumbo::Config3And4 => config3.jumbo() && config4 & JUMBO_EN_1 != 0,
            Jumbo::Config3And4AndMtps => config3.jumbo() && config4 & JUMBO_EN_0 != 0 && mtps == MTPS_MAX,
        };
        let most = if jumbo { chip.max_frame().into() } else { LONGEST_USUAL };
        // Realtek's own drivers have the largest value, for frames that are longer: it is no limit.
        let limited = sends && !chip.modern && mtps != MTPS_MAX;
        if limited { most.min(usize::from(mtps) * MTPS_UNIT) } else { most }
    }
}

/// What a packet's descriptors ask for.
struct Asked {
    tcp: bool,
    udp: bool,
    v6: Option<bool>,
    /// Where the transport header is said to be.
    transport: Option<usize>,
    /// The segment size, and whether it is IPv6.
    cut: Option<(u16, bool)>,
}

impl Asked {
    fn first(work: Work1) -> Asked {
        let cut = work.cut().then_some((work.mss(), false));
        let sums = cut.is_none();
        Asked { tcp: sums && work.tcp(), udp: sums && work.udp(), v6: Some(false), transport: None, cut }
    }

    fn second(work: Work2, second: TxSecond) -> Asked {
        let cut = (work.cut_v4() || work.cut_v6()).then_some((second.mss(), work.cut_v6()));
        if cut.is_some() {
            return Asked { tcp: false, udp: false, v6: None, transport: Some(work.transport().into()), cut };
        }
        let v6 = (second.v4() || second.v6()).then_some(second.v6());
        let transport = Some(second.transport().into());
        Asked { tcp: second.tcp(), udp: second.udp(), v6, transport, cut }
    }

    fn any(&self) -> bool {
        self.tcp || self.udp
    }
}

/// The headers of a TCP packet that is to be cut: its lengths may be anything.
fn find_headers(frame: &[u8]) -> Option<Headers> {
    let mut ip = 14;
    let mut kind = frame.get(12..14)?;
    if kind == [0x81, 0x00] {
        kind = frame.get(16..18)?;
        ip = 18;
    }
    let (v6, tcp) = match kind {
        [0x08, 0x00] => (false, ip + usize::from(frame.get(ip)? & 0xf) * 4),
        [0x86, 0xdd] => (true, ip + 40),
        _ => return None,
    };
    let len = tcp + usize::from(frame.get(tcp + TCP_LENGTH)? >> 4) * 4;
    Some(Headers { ip, v6, tcp, len })
}
