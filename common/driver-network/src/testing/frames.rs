//! Frames for tests of drivers.

use model_support::packet::internet_sum;

use crate::packet::{Checksum, IpVersion};

/// The device's address.
pub const OWN: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
/// That of the other end.
pub const PEER: [u8; 6] = [0x52, 0x54, 0x00, 0xaa, 0xbb, 0xcc];

/// A frame with `len` bytes in all, whose payload tells which it is.
pub fn frame(to: [u8; 6], len: usize, seed: u8) -> Vec<u8> {
    let mut bytes = [to, PEER].concat();
    bytes.extend([0x88, 0xb5]);
    bytes.extend((14..len).map(|at| u8::try_from(at % 251).unwrap() ^ seed));
    bytes
}

/// A TCP or UDP packet with right checksums.
#[derive(Clone, Copy, Debug)]
pub struct Ip {
    /// IPv6, or else IPv4.
    pub v6: bool,
    /// TCP, or else UDP.
    pub tcp: bool,
    /// From and to.
    pub ports: (u16, u16),
    /// Bytes behind the headers.
    pub payload: usize,
}

impl Ip {
    /// Bytes of all headers.
    pub fn header_len(&self) -> usize {
        14 + if self.v6 { 40 } else { 20 } + if self.tcp { 20 } else { 8 }
    }

    /// Where the transport header is.
    pub fn transport(&self) -> usize {
        14 + if self.v6 { 40 } else { 20 }
    }

    /// Where the transport's checksum is.
    pub fn field(&self) -> usize {
        self.transport() + if self.tcp { 16 } else { 6 }
    }

    /// Which version of IP.
    pub fn version(&self) -> IpVersion {
        if self.v6 { IpVersion::V6 } else { IpVersion::V4 }
    }

    fn addresses(&self) -> Vec<u8> {
        if self.v6 { (1..33).collect() } else { vec![10, 0, 0, 1, 10, 0, 0, 2] }
    }

    /// The sum over the pseudo header, with a length or 0.
    pub fn pseudo(&self, length: usize) -> u16 {
        let mut bytes = self.addresses();
        bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
        bytes.extend([0, if self.tcp { 6 } else { 17 }]);
        internet_sum(&bytes)
    }

    /// The frame, with the transport's checksum in place.
    pub fn frame(&self, to: [u8; 6]) -> Vec<u8> {
        let mut frame = self.partial(to);
        let at = self.transport();
        let sum = !internet_sum(&frame[at..]);
        frame[self.field()..self.field() + 2].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    /// The frame with only the pseudo header's sum in its checksum field.
    pub fn partial(&self, to: [u8; 6]) -> Vec<u8> {
        let mut frame = [to, PEER].concat();
        let transport_len = self.header_len() - self.transport() + self.payload;
        if self.v6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(u16::try_from(transport_len).unwrap().to_be_bytes());
            frame.extend([if self.tcp { 6 } else { 17 }, 64]);
            frame.extend(self.addresses());
        } else {
            frame.extend([8, 0, 0x45, 0]);
            frame.extend(u16::try_from(20 + transport_len).unwrap_or(0).to_be_bytes());
            frame.extend([0x12, 0x34, 0, 0, 64, if self.tcp { 6 } else { 17 }, 0, 0]);
            frame.extend(self.addresses());
            let sum = !internet_sum(&frame[14..34]);
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        frame.extend(self.ports.0.to_be_bytes());
        frame.extend(self.ports.1.to_be_bytes());
        if self.tcp {
            // Sequence number near its end, FIN, PSH and ACK.
            frame.extend([0xff, 0xff, 0xf0, 0, 0, 0, 0, 0, 0x50, 0x19, 0x10, 0, 0, 0, 0, 0]);
        } else {
            frame.extend(u16::try_from(transport_len).unwrap().to_be_bytes());
            frame.extend([0, 0]);
        }
        frame.extend((0..self.payload).map(|at| u8::try_from(at % 241).unwrap()));
        let field = self.field();
        let pseudo = self.pseudo(transport_len);
        frame[field..field + 2].copy_from_slice(&pseudo.to_be_bytes());
        frame
    }

    /// As [`partial`](Self::partial), prepared to be cut: no lengths, no IPv4 checksum.
    pub fn uncut(&self, to: [u8; 6]) -> Vec<u8> {
        let mut frame = self.partial(to);
        if self.v6 {
            frame[18..20].fill(0);
        } else {
            frame[16..18].fill(0);
            frame[24..26].fill(0);
        }
        let field = self.field();
        frame[field..field + 2].copy_from_slice(&self.pseudo(0).to_be_bytes());
        frame
    }

    /// How a driver is asked for the transport's checksum.
    pub fn checksum(&self) -> Checksum {
        let word = |at: usize| u16::try_from(at).unwrap();
        Checksum {
            network: 14,
            ip: Some(self.version()),
            start: word(self.transport()),
            field: word(self.field()),
            tcp: self.tcp,
        }
    }
}
