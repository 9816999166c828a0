//! Packets from the driver (section 5.1.6.2).

use model_support::packet::{Headers, Parsed, Transport, parse, pseudo_sum, put_sum, segments};
use virtio_spec::net::{GsoType, NetFeatures, NetHeader, PacketHeader};

use super::{MOST_SENT, Net};
use crate::{device_type::Execution, ring::Request};

const HEADER: u64 = size_of::<PacketHeader>() as u64;
/// The longest packet of IP, behind an Ethernet header with two tags.
const LONGEST: u64 = (1 << 16) + 22;
/// An Ethernet header with a tag.
const ETHERNET: usize = 18;

impl Net {
    /// Sends a packet.
    pub(super) fn transmit(&mut self, execution: &mut Execution<'_>) {
        if !execution.request.writable.is_empty() {
            execution.violation("a packet to send with something to write");
        }
        let len = Request::bytes(&execution.request.readable).saturating_sub(HEADER);
        let mut header = [0; size_of::<PacketHeader>()];
        if !(14..=LONGEST).contains(&len) || !execution.request.read(execution.bus, 0, &mut header) {
            return execution.violation("a packet without a header, too short or too long");
        }
        let PacketHeader { header, num_buffers } = zerocopy::transmute!(header);
        let mut frame = vec![0; usize::try_from(len).unwrap_or(0)];
        if !execution.request.read(execution.bus, HEADER, &mut frame) {
            return;
        }
        if num_buffers != 0 {
            execution.violation("num_buffers of a packet to send");
        }
        if let Err(what) = self.check(header, &frame) {
            return execution.violation(what);
        }
        self.counts.tx_packets += 1;
        let Some(frames) = finish(header, frame) else {
            return execution.violation("a packet whose headers are not what it says");
        };
        self.counts.tx_cut += u64::from(header.gso_type != GsoType::NONE);
        if !self.config.link {
            return;
        }
        for mut frame in frames {
            frame.resize(frame.len().max(60), 0);
            if self.sent.len() < MOST_SENT {
                self.sent.push_back(frame);
            }
        }
    }

    /// Whether the driver may ask for this.
    fn check(&self, header: NetHeader, frame: &[u8]) -> Result<(), &'static str> {
        if header.flags.data_valid() {
            return Err("a packet to send is said to have been checked");
        }
        if header.flags.needs_csum() && !self.has(NetFeatures::CSUM) {
            return Err("a checksum without CSUM");
        }
        let needs = match GsoType(header.gso_type.0 & !GsoType::ECN) {
            GsoType::NONE => {
                let most = usize::from(self.config.mtu) + ETHERNET;
                let long = self.has(NetFeatures::MTU) && frame.len() > most;
                return if long { Err("a packet longer than the MTU") } else { Ok(()) };
            }
            GsoType::TCPV4 => NetFeatures::HOST_TSO4,
            GsoType::TCPV6 => NetFeatures::HOST_TSO6,
            _ => return Err("a packet to be cut as what was not offered"),
        };
        let ecn = header.gso_type.0 & GsoType::ECN != 0;
        if !self.has(needs) || (ecn && !self.has(NetFeatures::HOST_ECN)) {
            return Err("a packet to be cut as was not negotiated");
        }
        if !header.flags.needs_csum() || header.gso_size == 0 {
            return Err("a packet to be cut without a checksum, or into nothing");
        }
        Ok(())
    }
}

/// Does what the header of a packet says is still to be done. `None` if the packet is not what it says.
pub(super) fn finish(header: NetHeader, mut frame: Vec<u8>) -> Option<Vec<Vec<u8>>> {
    if !header.flags.needs_csum() {
        return Some(vec![frame]);
    }
    let start = usize::from(header.csum_start);
    let field = start + usize::from(header.csum_offset);
    let Parsed { ip, transport } = parse(&frame);
    let tcp = transport.filter(|transport| transport.at == start);
    if let (Some(ip), Some(Transport { tcp, .. })) = (ip, tcp) {
        // The field holds the sum over the pseudo header.
        let pseudo = pseudo_sum(&frame, &ip, tcp, ip.end - start)?;
        let held = u16::from_be_bytes(*frame.get(field..)?.first_chunk()?);
        (held == pseudo).then_some(())?;
    }
    if header.gso_type == GsoType::NONE {
        let len = frame.len();
        return put_sum(&mut frame, start..len, field, 0).then_some(vec![frame]);
    }
    let (ip, Transport { at, .. }) = (ip?, tcp.filter(|transport| transport.tcp)?);
    let v6 = header.gso_type.0 & !GsoType::ECN == GsoType::TCPV6.0;
    let len = at + usize::from(frame.get(at + 12)? >> 4) * 4;
    (ip.v6 == v6 && usize::from(header.hdr_len) == len).then_some(())?;
    let headers = Headers { ip: ip.at, v6, tcp: at, len };
    let mut frames = segments(&frame, headers, header.gso_size.into())?;
    for frame in &mut frames {
        let len = frame.len();
        if !v6 {
            frame[ip.at + 10..ip.at + 12].fill(0);
            put_sum(frame, ip.at..at, ip.at + 10, 0);
        }
        frame[field..field + 2].fill(0);
        let pseudo = pseudo_sum(frame, &ip, true, len - at)?;
        put_sum(frame, at..len, field, pseudo);
    }
    Some(frames)
}

#[cfg(test)]
mod tests {
    use model_support::packet::transport_is_right;
    use virtio_spec::net::NetHeaderFlags;

    use super::*;

    /// A TCP packet with the pseudo header's sum in its checksum field.
    fn tcp(payload: usize) -> Vec<u8> {
        let mut frame = vec![0x52; 12];
        frame.extend([8, 0, 0x45, 0]);
        frame.extend(u16::try_from(40 + payload).unwrap().to_be_bytes());
        frame.extend([0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0, 9]);
        frame.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0]);
        frame.extend((0..payload).map(|at| u8::try_from(at % 251).unwrap()));
        put_sum(&mut frame, 14..34, 24, 0);
        let ip = parse(&frame).ip.unwrap();
        let pseudo = pseudo_sum(&frame, &ip, true, 20 + payload).unwrap();
        frame[50..52].copy_from_slice(&pseudo.to_be_bytes());
        frame
    }

    fn header(gso_type: GsoType) -> NetHeader {
        NetHeader {
            flags: NetHeaderFlags::new().with_needs_csum(true),
            gso_type,
            hdr_len: 54,
            gso_size: 1000,
            csum_start: 34,
            csum_offset: 16,
        }
    }

    #[test]
    fn checksums_are_put_in_and_packets_cut() {
        let whole = finish(header(GsoType::NONE), tcp(3001)).unwrap();
        let cut = finish(header(GsoType::TCPV4), tcp(3001)).unwrap();
        assert_eq!((whole.len(), cut.len()), (1, 4));
        for frame in whole.iter().chain(&cut) {
            let parsed = parse(frame);
            assert_eq!(transport_is_right(frame, &parsed), Some(true));
            assert_eq!(model_support::packet::ip_is_right(frame, &parsed), Some(true));
        }
        let payload: Vec<u8> = cut.iter().flat_map(|frame| frame[54..].to_vec()).collect();
        assert!(payload == tcp(3001)[54..]);
    }

    #[test]
    fn what_is_not_as_its_header_says_is_seen() {
        let mut wrong = tcp(3001);
        wrong[50] ^= 1;
        assert_eq!(finish(header(GsoType::NONE), wrong), None);
        assert_eq!(finish(header(GsoType::TCPV6), tcp(3001)), None);
        assert_eq!(finish(NetHeader { hdr_len: 66, ..header(GsoType::TCPV4) }, tcp(3001)), None);
    }
}
