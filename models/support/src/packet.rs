//! Frames: their headers and checksums, and TCP packets that a device cuts.

use std::ops::Range;

/// The one's complement sum of 16-bit words (RFC 1071), folded, not inverted.
pub fn internet_sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    u16::try_from(sum).unwrap_or(0)
}

/// Adds two folded sums.
pub fn add_sums(one: u16, other: u16) -> u16 {
    let (sum, carry) = one.overflowing_add(other);
    sum + u16::from(carry)
}

/// The network header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Where it starts.
    pub at: usize,
    /// Bytes of it.
    pub header_len: usize,
    /// End of the packet, which padding may follow.
    pub end: usize,
    /// IPv6, or else IPv4.
    pub v6: bool,
    /// A part of a packet that was cut by IP.
    pub fragment: bool,
}

/// The transport header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Where it starts.
    pub at: usize,
    /// TCP, or else UDP.
    pub tcp: bool,
}

/// What of a frame is understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Its network header.
    pub ip: Option<Ip>,
    /// Its transport header.
    pub transport: Option<Transport>,
}

fn word(frame: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]))
}

/// Understands IPv4 without options being special, and IPv6 without extension headers.
pub fn parse(frame: &[u8]) -> Parsed {
    let mut at = 14;
    let mut ethertype = word(frame, 12);
    if ethertype == Some(0x8100) {
        ethertype = word(frame, 16);
        at = 18;
    }
    let ip = match ethertype {
        Some(0x0800) => ipv4(frame, at),
        Some(0x86dd) => ipv6(frame, at),
        _ => None,
    };
    let Some((ip, protocol)) = ip else { return Parsed::default() };
    let transport = match protocol {
        6 | 17 if !ip.fragment => Some(Transport { at: at + ip.header_len, tcp: protocol == 6 }),
        _ => None,
    };
    Parsed { ip: Some(ip), transport }
}

fn ipv4(frame: &[u8], at: usize) -> Option<(Ip, u8)> {
    let first = *frame.get(at)?;
    let header_len = usize::from(first & 0xf) * 4;
    let end = at + usize::from(word(frame, at + 2)?);
    if first >> 4 != 4 || header_len < 20 || end > frame.len() || at + header_len > end {
        return None;
    }
    let fragment = word(frame, at + 6)? & 0x3fff != 0;
    Some((Ip { at, header_len, end, v6: false, fragment }, *frame.get(at + 9)?))
}

fn ipv6(frame: &[u8], at: usize) -> Option<(Ip, u8)> {
    let end = at + 40 + usize::from(word(frame, at + 4)?);
    if frame.get(at)? >> 4 != 6 || end > frame.len() {
        return None;
    }
    Some((Ip { at, header_len: 40, end, v6: true, fragment: false }, *frame.get(at + 6)?))
}

/// Whether the IPv4 header's checksum is right; `None` where there is none.
pub fn ip_is_right(frame: &[u8], parsed: &Parsed) -> Option<bool> {
    let ip = parsed.ip.filter(|ip| !ip.v6)?;
    Some(internet_sum(frame.get(ip.at..ip.at + ip.header_len)?) == 0xffff)
}

/// Whether the transport's checksum is right; `None` where there is none.
pub fn transport_is_right(frame: &[u8], parsed: &Parsed) -> Option<bool> {
    let (ip, transport) = (parsed.ip?, parsed.transport?);
    let body = frame.get(transport.at..ip.end)?;
    if !transport.tcp && word(body, 6)? == 0 {
        return None;
    }
    let pseudo = pseudo_sum(frame, &ip, transport.tcp, body.len())?;
    Some(add_sums(pseudo, internet_sum(body)) == 0xffff)
}

/// The folded sum over the pseudo header of a packet, with `length` bytes of transport or 0.
pub fn pseudo_sum(frame: &[u8], ip: &Ip, tcp: bool, length: usize) -> Option<u16> {
    let addresses = if ip.v6 { 8..40 } else { 12..20 };
    let addresses = internet_sum(frame.get(ip.at + addresses.start..ip.at + addresses.end)?);
    let length = u16::try_from(length).ok()?;
    Some(add_sums(add_sums(addresses, length), if tcp { 6 } else { 17 }))
}

/// Sums `frame` from `start` to `end` and `more`, and puts the inverted sum at `field`. False if it does not fit.
pub fn put_sum(frame: &mut [u8], range: Range<usize>, field: usize, more: u16) -> bool {
    let Some(summed) = frame.get(range) else { return false };
    let sum = !add_sums(internet_sum(summed), more);
    let Some(target) = frame.get_mut(field..field + 2) else { return false };
    target.copy_from_slice(&sum.to_be_bytes());
    true
}

/// Where the headers of a TCP packet are that is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// The network header.
    pub ip: usize,
    /// IPv6, or else IPv4.
    pub v6: bool,
    /// The TCP header.
    pub tcp: usize,
    /// Bytes of all headers.
    pub len: usize,
}

/// Cuts what follows the headers into pieces of `mss` bytes, and gives each its headers: lengths, IPv4 identification, sequence number
/// and flags are right, checksums as they were. `None` for headers that cannot be.
pub fn segments(frame: &[u8], headers: Headers, mss: usize) -> Option<Vec<Vec<u8>>> {
    let Headers { ip, v6, tcp, len } = headers;
    let ip_len = if v6 { 40 } else { 20 };
    if mss == 0 || ip + ip_len > tcp || tcp + 20 > len || len > frame.len() {
        return None;
    }
    let (header, body) = frame.split_at(len);
    let pieces: Vec<&[u8]> = body.chunks(mss).collect();
    let last = pieces.len().saturating_sub(1);
    let mut offset = 0u32;
    let cut = pieces.into_iter().enumerate().map(|(number, piece)| {
        let mut frame = [header, piece].concat();
        if v6 {
            let total = u16::try_from(frame.len() - ip - 40).unwrap_or(u16::MAX);
            frame[ip + 4..ip + 6].copy_from_slice(&total.to_be_bytes());
        } else {
            let total = u16::try_from(frame.len() - ip).unwrap_or(u16::MAX);
            frame[ip + 2..ip + 4].copy_from_slice(&total.to_be_bytes());
            let id = u16::from_be_bytes([frame[ip + 4], frame[ip + 5]]);
            let id = id.wrapping_add(u16::try_from(number).unwrap_or(u16::MAX));
            frame[ip + 4..ip + 6].copy_from_slice(&id.to_be_bytes());
        }
        let sequence = u32::from_be_bytes([frame[tcp + 4], frame[tcp + 5], frame[tcp + 6], frame[tcp + 7]]);
        frame[tcp + 4..tcp + 8].copy_from_slice(&sequence.wrapping_add(offset).to_be_bytes());
        if number != last {
            // FIN and PSH are the last one's.
            frame[tcp + 13] &= !0b1001;
        }
        offset = offset.wrapping_add(u32::try_from(piece.len()).unwrap_or(0));
        frame
    });
    Some(cut.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_fold() {
        assert_eq!(internet_sum(&[0xff, 0xff, 0x00, 0x01]), 1);
        assert_eq!(internet_sum(&[0x12]), 0x1200);
        assert_eq!(add_sums(0xffff, 1), 1);
    }

    #[test]
    fn what_is_cut_off_is_not_understood() {
        let mut frame = vec![0; 54];
        frame[12..16].copy_from_slice(&[8, 0, 0x45, 0]);
        frame[17] = 40;
        frame[23] = 6;
        let parsed = parse(&frame);
        assert_eq!(parsed.transport, Some(Transport { at: 34, tcp: true }));
        assert_eq!(ip_is_right(&frame, &parsed), Some(false));
        frame.truncate(50);
        assert_eq!(parse(&frame), Parsed::default());
    }
}
