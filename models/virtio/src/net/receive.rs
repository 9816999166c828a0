//! Frames on their way to the driver (section 5.1.6.4).

use model_support::packet::{Parsed, parse, transport_is_right};
use virtio_spec::net::{
    GsoType, LEAST_BUFFER, LEAST_BUFFER_TSO, NetFeatures, NetHeader, NetHeaderFlags, PacketHeader,
};
use zerocopy::IntoBytes;

use super::{MOST_WAITING, Net, transmit::finish};
use crate::{
    ring::{Part, Request},
    violation::Violation,
};

const HEADER: usize = size_of::<PacketHeader>();

impl Net {
    /// A frame comes by the wire, or from a station that left work to the device.
    pub(super) fn come(&mut self, header: NetHeader, frame: &[u8]) {
        if !self.config.link {
            return;
        }
        if !self.passes(frame) {
            self.counts.rx_filtered += 1;
            return;
        }
        let wants = |feature| self.state.offloads.contains(feature);
        let takes = wants(NetFeatures::GUEST_CSUM)
            && match header.gso_type {
                GsoType::TCPV4 => wants(NetFeatures::GUEST_TSO4),
                GsoType::TCPV6 => wants(NetFeatures::GUEST_TSO6),
                _ => true,
            };
        if header.flags.needs_csum() && takes {
            return self.enqueue(header, frame.to_vec());
        }
        for frame in finish(header, frame.to_vec()).unwrap_or_default() {
            let right = transport_is_right(&frame, &parse(&frame)) == Some(true);
            let valid = right && self.state.offloads.contains(NetFeatures::GUEST_CSUM);
            let flags = NetHeaderFlags::new().with_data_valid(valid);
            self.enqueue(NetHeader { flags, ..NetHeader::default() }, frame);
        }
    }

    fn enqueue(&mut self, header: NetHeader, frame: Vec<u8>) {
        let pair = flow(&frame) % self.state.pairs.max(1);
        match self.incoming.get_mut(usize::from(pair)) {
            Some(incoming) if incoming.len() < MOST_WAITING => incoming.push_back((header, frame)),
            _ => self.counts.rx_missed += 1,
        }
    }

    /// Whether a frame is for the driver.
    fn passes(&self, frame: &[u8]) -> bool {
        let Some(to) = frame.first_chunk::<6>() else { return false };
        let state = &self.state;
        let tag = (frame.get(12..14) == Some(&[0x81, 0x00])).then(|| frame.get(14..16)).flatten();
        if let (Some(&[high, low]), true) = (tag, self.has(NetFeatures::CTRL_VLAN))
            && !state.vlans.contains(&(u16::from_be_bytes([high, low]) & 0xfff))
        {
            return false;
        }
        let listed = |table: &Option<Vec<[u8; 6]>>| table.as_ref().is_none_or(|table| table.contains(to));
        match to {
            _ if state.promiscuous => true,
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => true,
            [first, ..] if first & 1 == 1 => state.all_multicast || listed(&state.multicast),
            _ => *to == state.mac || listed(&state.unicast),
        }
    }

    /// Whether the first packet of a pair can go to the buffers that wait, or has to go.
    pub(super) fn has_room(&self, pair: u16, waiting: &[Request]) -> bool {
        let incoming = self.incoming.get(usize::from(pair));
        let Some((_, frame)) = incoming.and_then(|incoming| incoming.front()) else { return false };
        let room: u64 = waiting.iter().map(|request| Request::bytes(&request.writable)).sum();
        !self.has(NetFeatures::MRG_RXBUF) || room >= (HEADER + frame.len()) as u64
    }

    /// Gives the first packet of a pair to the buffers that wait.
    pub(super) fn give(
        &mut self,
        queue: u16,
        pair: u16,
        waiting: &[Request],
        violations: &mut Vec<Violation>,
    ) -> Option<Vec<Vec<u8>>> {
        let merges = self.has(NetFeatures::MRG_RXBUF);
        let tso = self.accepted.intersects(NetFeatures::GUEST_TSO4 | NetFeatures::GUEST_TSO6);
        let incoming = self.incoming.get_mut(usize::from(pair))?;
        let (_, frame) = incoming.front()?;
        let total = HEADER + frame.len();
        let mut room = Vec::new();
        for request in waiting {
            let len = usize::try_from(Request::bytes(&request.writable)).unwrap_or(usize::MAX);
            if let Some(what) = wrong_buffer(request, merges, tso) {
                violations.push(Violation::Request { queue, what });
            }
            room.push(len);
            if !merges || room.iter().sum::<usize>() >= total {
                break;
            }
        }
        if room.iter().sum::<usize>() < total {
            if !merges {
                // There never will be room.
                incoming.pop_front();
                self.counts.rx_missed += 1;
            }
            return None;
        }
        let (header, frame) = incoming.pop_front()?;
        let num_buffers = u16::try_from(room.len()).unwrap_or(u16::MAX);
        let header = PacketHeader { header, num_buffers };
        let bytes = [header.as_bytes(), &frame].concat();
        let mut rest = bytes.as_slice();
        let parts = room.iter().map(|len| {
            let (part, left) = rest.split_at(rest.len().min(*len));
            rest = left;
            part.to_vec()
        });
        let parts: Vec<_> = parts.collect();
        self.counts.rx_packets += 1;
        self.counts.rx_merged += u64::from(parts.len() > 1);
        Some(parts)
    }
}

/// What is wrong with a receive buffer (section 5.1.6.3.1).
fn wrong_buffer(request: &Request, merges: bool, tso: bool) -> Option<&'static str> {
    let len = Request::bytes(&request.writable);
    let least = match (merges, tso) {
        (true, _) => 12,
        (false, true) => LEAST_BUFFER_TSO.into(),
        (false, false) => LEAST_BUFFER.into(),
    };
    match request.readable.as_slice() {
        [Part { .. }, ..] => Some("a receive buffer with something to read"),
        [] if len < least => Some("a receive buffer that is too short"),
        [] => None,
    }
}

/// A number that the packets of a flow share.
fn flow(frame: &[u8]) -> u16 {
    let Parsed { transport: Some(transport), .. } = parse(frame) else { return 0 };
    let word = |at: usize| frame.get(at..at + 2).map_or(0, |word| u16::from_be_bytes([word[0], word[1]]));
    word(transport.at) ^ word(transport.at + 2)
}
