//! Frames that tell which they are, and whether they are whole.

use crate::{
    address::MacAddress,
    device::PseudoHeader,
    headers::{prepare, sum},
    packet::{Checksum, IpVersion, Segmentation, TxOffload},
};

const RAW: [u8; 2] = [0x88, 0xb5];
const IPV4: [u8; 2] = [0x08, 0x00];
/// Behind the Ethernet header of a raw one: number and length.
const RAW_HEAD: usize = 14 + 10;
const IP: usize = 14;
const TRANSPORT: usize = IP + 20;
const UDP_DATA: usize = TRANSPORT + 8;
const TCP_DATA: usize = TRANSPORT + 20;

/// What a packet is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A frame of so many bytes, of a type of its own.
    Raw { len: u16 },
    /// UDP with so many bytes, whose checksum is the device's to put in.
    Udp { payload: u16 },
    /// TCP with so many bytes, which the device is to cut.
    Cut { mss: u16, payload: u32 },
}

/// What a frame tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    /// Which packet it is.
    pub(crate) packet: u64,
    /// It is one of several.
    pub(crate) piece: bool,
}

/// The byte at a place of a packet's data.
fn pattern(number: u64, at: usize) -> u8 {
    ((number << 24) ^ at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]
}

fn data(number: u64, from: usize, len: usize) -> impl Iterator<Item = u8> {
    (from..from + len).map(move |at| pattern(number, at))
}

/// A raw frame.
pub(crate) fn raw(to: MacAddress, from: MacAddress, number: u64, len: u16) -> Vec<u8> {
    let mut frame = [to.0, from.0].concat();
    frame.extend(RAW);
    frame.extend(number.to_be_bytes());
    frame.extend(len.to_be_bytes());
    frame.extend(data(number, RAW_HEAD, usize::from(len) - RAW_HEAD));
    frame
}

/// A packet and what the device is to do to it.
pub(crate) fn packet(
    to: MacAddress,
    from: MacAddress,
    number: u64,
    kind: Kind,
    pseudo: PseudoHeader,
) -> (Vec<u8>, TxOffload) {
    let (payload, tcp, field, mss) = match kind {
        Kind::Raw { len } => return (raw(to, from, number, len), TxOffload::default()),
        Kind::Udp { payload } => (usize::from(payload), false, TRANSPORT + 6, None),
        Kind::Cut { mss, payload } => {
            (usize::try_from(payload).unwrap_or(0), true, TRANSPORT + 16, Some(mss))
        }
    };
    let head = if tcp { TCP_DATA } else { UDP_DATA };
    let mut frame = [to.0, from.0].concat();
    frame.extend(IPV4);
    frame.extend([0x45, 0]);
    frame.extend(u16::try_from(head - IP + payload).unwrap_or(0).to_be_bytes());
    frame.extend([0, 1, 0, 0, 64, if tcp { 6 } else { 17 }, 0, 0]);
    // The number is in the addresses.
    frame.extend(number.to_be_bytes());
    let header = !sum(&frame[IP..TRANSPORT], 0);
    frame[IP + 10..IP + 12].copy_from_slice(&header.to_be_bytes());
    frame.extend([0, 7, 0, 7]);
    if tcp {
        frame.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x18, 0x10, 0, 0, 0, 0, 0]);
    } else {
        frame.extend(u16::try_from(8 + payload).unwrap_or(0).to_be_bytes());
        frame.extend([0, 0]);
    }
    frame.extend(data(number, 0, payload));
    let word = |at: usize| u16::try_from(at).unwrap_or(0);
    let checksum = Checksum {
        network: word(IP),
        ip: Some(IpVersion::V4),
        start: word(TRANSPORT),
        field: word(field),
        tcp,
    };
    let partial = pseudo_sum(&frame, frame.len() - TRANSPORT);
    frame[field..field + 2].copy_from_slice(&partial.to_be_bytes());
    let segmentation = mss.map(|mss| Segmentation { mss, header_len: word(head) });
    if segmentation.is_some() {
        prepare(&mut frame[..head], checksum, pseudo).expect("a packet of our own");
    }
    (frame, TxOffload { checksum: Some(checksum), segmentation, vlan: None })
}

fn pseudo_sum(frame: &[u8], len: usize) -> u16 {
    let rest = u32::try_from(len).unwrap_or(0) + u32::from(frame[IP + 9]);
    sum(&frame[IP + 12..TRANSPORT], (rest >> 16) + (rest & 0xffff))
}

/// What a frame tells; `None` if it is not whole.
pub(crate) fn read(frame: &[u8]) -> Option<Number> {
    match *frame.get(12..14)?.first_chunk::<2>()? {
        RAW => {
            let packet = u64::from_be_bytes(*frame.get(14..)?.first_chunk()?);
            let len = usize::from(u16::from_be_bytes(*frame.get(22..)?.first_chunk()?));
            let whole =
                data(packet, RAW_HEAD, len.checked_sub(RAW_HEAD)?).eq(frame.get(RAW_HEAD..)?.iter().copied());
            whole.then_some(Number { packet, piece: false })
        }
        IPV4 => {
            let end = IP + usize::from(u16::from_be_bytes(*frame.get(16..)?.first_chunk()?));
            let packet = u64::from_be_bytes(*frame.get(IP + 12..)?.first_chunk()?);
            let tcp = *frame.get(IP + 9)? == 6;
            let head = if tcp { TCP_DATA } else { UDP_DATA };
            let at = u32::from_be_bytes(*frame.get(TRANSPORT + 4..)?.first_chunk()?);
            let at = if tcp { usize::try_from(at).ok()? } else { 0 };
            let body = frame.get(head..end)?;
            let pseudo = pseudo_sum(frame, end - TRANSPORT);
            let sound = sum(frame.get(IP..TRANSPORT)?, 0) == 0xffff
                && sum(frame.get(TRANSPORT..end)?, pseudo.into()) == 0xffff
                && data(packet, at, body.len()).eq(body.iter().copied());
            sound.then_some(Number { packet, piece: tcp })
        }
        _ => None,
    }
}
