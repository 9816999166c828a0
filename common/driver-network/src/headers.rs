//! The headers at the start of a frame, as far as offloads need them. Frames come from clients: nothing is believed.

use crate::{
    device::PseudoHeader,
    packet::{Checksum, IpVersion, Segmentation},
};

/// Ethernet header without a tag, in bytes.
pub(crate) const ETHERNET: usize = 14;
/// An 802.1Q tag.
pub(crate) const VLAN_TAG: usize = 4;

const TYPE_IPV4: u16 = 0x0800;
const TYPE_IPV6: u16 = 0x86dd;
const TYPE_VLAN: u16 = 0x8100;
const TYPE_SERVICE_VLAN: u16 = 0x88a8;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
/// Where the transports have their checksums.
const TCP_CHECKSUM: usize = 16;
const TCP_DATA_OFFSET: usize = 12;
const TCP_MIN: usize = 20;

/// What a client says about a packet makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPacket(pub(crate) &'static str);

fn u16_at(head: &[u8], at: usize) -> Option<u16> {
    head.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// Where the network header is, and what it is.
fn network(head: &[u8]) -> (usize, Option<IpVersion>) {
    let mut at = ETHERNET;
    // Two tags at most, as for a service provider's.
    for _ in 0..3 {
        match u16_at(head, at - 2) {
            Some(TYPE_IPV4) => return (at, Some(IpVersion::V4)),
            Some(TYPE_IPV6) => return (at, Some(IpVersion::V6)),
            Some(TYPE_VLAN | TYPE_SERVICE_VLAN) => at += VLAN_TAG,
            _ => break,
        }
    }
    (at, None)
}

/// The protocol above IP at `start`, when the headers lead there.
fn transport(head: &[u8], at: usize, ip: IpVersion, start: usize) -> Option<u8> {
    match ip {
        IpVersion::V4 => {
            let len = usize::from(head.get(at)? & 0xf) * 4;
            (len >= 20 && at + len == start).then_some(())?;
            head.get(at + 9).copied()
        }
        IpVersion::V6 => {
            let mut protocol = *head.get(at + 6)?;
            let mut next = at + 40;
            // Extension headers: hop-by-hop, routing, destination options.
            while next < start && matches!(protocol, 0 | 43 | 60) {
                let len = 8 + usize::from(*head.get(next + 1)?) * 8;
                protocol = *head.get(next)?;
                next += len;
            }
            (next == start).then_some(protocol)
        }
    }
}

/// The checksum that is to be put at `offset` after `start` of a frame of `len` bytes that begins with `head`.
///
/// # Errors
/// The place is not in the frame, or before its payload.
pub(crate) fn checksum(head: &[u8], len: usize, start: u16, offset: u16) -> Result<Checksum, BadPacket> {
    let (at, ip) = network(head);
    let (first, field) = (usize::from(start), usize::from(start) + usize::from(offset));
    if first < at || field + 2 > len {
        return Err(BadPacket("a checksum outside of the packet"));
    }
    let protocol = ip.and_then(|ip| transport(head, at, ip, first));
    let tcp = protocol == Some(PROTOCOL_TCP) && usize::from(offset) == TCP_CHECKSUM;
    let known = tcp || protocol == Some(PROTOCOL_UDP);
    Ok(Checksum {
        network: u16::try_from(at).map_err(|_| BadPacket("a header too far in the packet"))?,
        ip: ip.filter(|_| known),
        start,
        field: u16::try_from(field).map_err(|_| BadPacket("a checksum too far in the packet"))?,
        tcp,
    })
}

/// How a frame of `len` bytes with this checksum is to be cut into segments of `mss` bytes of payload.
///
/// # Errors
/// It is no TCP packet of this version of IP, or its headers do not fit.
pub(crate) fn segmentation(
    head: &[u8],
    len: usize,
    checksum: Checksum,
    ip: IpVersion,
    mss: u16,
) -> Result<Segmentation, BadPacket> {
    if !checksum.tcp || checksum.ip != Some(ip) || mss == 0 {
        return Err(BadPacket("no TCP packet that could be cut"));
    }
    let start = usize::from(checksum.start);
    let offset = head.get(start + TCP_DATA_OFFSET).ok_or(BadPacket("a cut TCP header"))?;
    let tcp = usize::from(offset >> 4) * 4;
    let header_len = start + tcp;
    if tcp < TCP_MIN || header_len > head.len() || header_len > len {
        return Err(BadPacket("a cut TCP header"));
    }
    let header_len = u16::try_from(header_len).map_err(|_| BadPacket("a cut TCP header"))?;
    Ok(Segmentation { mss, header_len })
}

/// Makes the headers in `head` what the device expects of a packet that it is to cut.
pub(crate) fn prepare(head: &mut [u8], checksum: Checksum, pseudo: PseudoHeader) -> Option<()> {
    if pseudo == PseudoHeader::WithLength {
        return Some(());
    }
    let at = usize::from(checksum.network);
    let mut put = |at: usize, value: u16| -> Option<()> {
        *head.get_mut(at..)?.first_chunk_mut()? = value.to_be_bytes();
        Some(())
    };
    let (addresses, len) = match checksum.ip? {
        IpVersion::V4 => {
            put(at + 2, 0)?;
            put(at + 10, 0)?;
            (at + 12, 8)
        }
        IpVersion::V6 => {
            put(at + 4, 0)?;
            (at + 8, 32)
        }
    };
    let sum = sum(head.get(addresses..addresses + len)?, u32::from(PROTOCOL_TCP));
    *head.get_mut(usize::from(checksum.field)..)?.first_chunk_mut()? = sum.to_be_bytes();
    Some(())
}

/// The Internet's sum of 16-bit words (RFC 1071), not complemented.
pub(crate) fn sum(bytes: &[u8], start: u32) -> u16 {
    let (words, rest) = bytes.as_chunks::<2>();
    let mut sum = words.iter().fold(u64::from(start), |sum, word| sum + u64::from(u16::from_be_bytes(*word)));
    sum += rest.first().map_or(0, |byte| u64::from(*byte) << 8);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    #[allow(clippy::cast_possible_truncation, reason = "folded")]
    let sum = sum as u16;
    sum
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A TCP/IPv4 frame with `tags` VLAN tags and `options` bytes of TCP options.
    pub(crate) fn tcp4(tags: usize, options: usize) -> Vec<u8> {
        let mut frame = vec![0; 12];
        for _ in 0..tags {
            frame.extend([0x81, 0, 0, 5]);
        }
        frame.extend([0x08, 0]);
        frame.extend([0x45, 0, 0x12, 0x34, 0, 1, 0, 0, 64, 6, 0xaa, 0xbb, 10, 0, 2, 15, 10, 0, 2, 2]);
        let mut tcp = vec![0; 20 + options];
        tcp[12] = u8::try_from((20 + options) / 4).unwrap() << 4;
        frame.extend(tcp);
        frame
    }

    fn tcp6(extension: bool) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0x12, 0x34, if extension { 60 } else { 6 }, 64]);
        frame.extend([0xfe; 32]);
        if extension {
            frame.extend([6, 1]);
            frame.extend([0; 14]);
        }
        let mut tcp = vec![0; 20];
        tcp[12] = 5 << 4;
        frame.extend(tcp);
        frame
    }

    #[test]
    fn headers_are_found_behind_tags_and_extensions() {
        for tags in 0..=2 {
            let frame = tcp4(tags, 12);
            let start = u16::try_from(34 + 4 * tags).unwrap();
            let found = checksum(&frame, 3000, start, 16).unwrap();
            let expected = Checksum {
                network: start - 20,
                ip: Some(IpVersion::V4),
                start,
                field: start + 16,
                tcp: true,
            };
            assert_eq!(found, expected);
            let cut = segmentation(&frame, 3000, found, IpVersion::V4, 1448).unwrap();
            assert_eq!(cut, Segmentation { mss: 1448, header_len: start + 32 });
        }
        for (extension, start) in [(false, 54), (true, 70)] {
            let found = checksum(&tcp6(extension), 3000, start, 16).unwrap();
            assert_eq!((found.network, found.ip, found.tcp), (14, Some(IpVersion::V6), true));
        }
    }

    #[test]
    fn what_is_unknown_is_summed_all_the_same() {
        let mut frame = tcp4(0, 0);
        frame[12] = 0x12;
        let found = checksum(&frame, frame.len(), 34, 6).unwrap();
        assert_eq!((found.ip, found.tcp, found.field), (None, false, 40));
        // A TCP whose checksum is said to be elsewhere is none.
        assert!(!checksum(&tcp4(0, 0), 100, 34, 6).unwrap().tcp);
    }

    #[test]
    fn nonsense_is_refused() {
        let frame = tcp4(0, 0);
        for (len, start, offset) in [(54, 34, 19), (54, 54, 0), (54, 13, 2), (54, u16::MAX, u16::MAX)] {
            assert!(checksum(&frame, len, start, offset).is_err(), "{len} {start} {offset}");
        }
        let good = checksum(&frame, 54, 34, 16).unwrap();
        assert!(segmentation(&frame, 54, good, IpVersion::V6, 1000).is_err());
        assert!(segmentation(&frame, 54, good, IpVersion::V4, 0).is_err());
        assert!(segmentation(&frame[..46], 54, good, IpVersion::V4, 9).is_err());
        for data_offset in [0x40, 0xf0] {
            let mut frame = frame.clone();
            frame[34 + 12] = data_offset;
            assert!(segmentation(&frame, 54, good, IpVersion::V4, 9).is_err(), "{data_offset:#x}");
        }
    }

    #[test]
    fn a_packet_to_be_cut_is_prepared_as_the_device_wants_it() {
        let frame = tcp4(0, 0);
        let found = checksum(&frame, 54, 34, 16).unwrap();
        let mut with = frame.clone();
        prepare(&mut with, found, PseudoHeader::WithLength).unwrap();
        assert_eq!(with, frame);
        let mut without = frame.clone();
        prepare(&mut without, found, PseudoHeader::WithoutLength).unwrap();
        assert_eq!((&without[16..18], &without[24..26]), (&[0, 0][..], &[0, 0][..]));
        // 10.0.2.15, 10.0.2.2 and protocol 6, by hand.
        let by_hand: u16 = 0x0a00 + 0x020f + 0x0a00 + 0x0202 + 6;
        assert_eq!(without[50..52], by_hand.to_be_bytes());
        let mut six = tcp6(false);
        let found = checksum(&six, 74, 54, 16).unwrap();
        prepare(&mut six, found, PseudoHeader::WithoutLength).unwrap();
        assert_eq!(six[18..20], [0, 0]);
        assert_eq!(six[70..72], sum(&[0xfe; 32], 6).to_be_bytes());
    }

    #[test]
    fn sums_are_the_internets() {
        // The example of RFC 1071, section 3.
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7], 0), 0xddf2);
        assert_eq!(sum(&[0xff], 0), 0xff00);
        assert_eq!(sum(&[], 0x1_0000), 1);
    }
}
