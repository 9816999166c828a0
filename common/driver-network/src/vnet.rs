//! Between the header that TAP and virtio put before a packet and what a driver is told.

use virtio_spec::net::{GsoType, NetHeader, NetHeaderFlags};

use crate::{
    device::PseudoHeader,
    headers::{self, BadPacket},
    packet::{Coalesced, IpVersion, RxChecksum, RxMetadata, TxOffload},
};

/// So many bytes of a packet hold all the headers that [`offload`] looks at.
pub const HEAD: usize = 256;

/// What a driver is to do to a packet of `len` bytes with this header. `head` are its first bytes, [`HEAD`] if it has so many; for a packet
/// that is to be cut they are changed as the device wants them.
///
/// # Errors
/// The header does not go with the packet.
pub fn offload(
    header: NetHeader,
    head: &mut [u8],
    len: usize,
    pseudo_header: PseudoHeader,
) -> Result<TxOffload, BadPacket> {
    if !header.flags.needs_csum() {
        return match header.gso_type {
            GsoType::NONE => Ok(TxOffload::default()),
            _ => Err(BadPacket("a packet to be cut without a checksum")),
        };
    }
    let checksum = headers::checksum(head, len, header.csum_start, header.csum_offset)?;
    let ip = match header.gso_type {
        GsoType::NONE => return Ok(TxOffload { checksum: Some(checksum), ..TxOffload::default() }),
        GsoType::TCPV4 => IpVersion::V4,
        GsoType::TCPV6 => IpVersion::V6,
        _ => return Err(BadPacket("cut as what was not offered")),
    };
    let segmentation = headers::segmentation(head, len, checksum, ip, header.gso_size)?;
    headers::prepare(head, checksum, pseudo_header).ok_or(BadPacket("a cut header"))?;
    Ok(TxOffload { checksum: Some(checksum), segmentation: Some(segmentation), vlan: None })
}

/// The header of a received packet.
pub fn header(metadata: &RxMetadata) -> NetHeader {
    let mut header = NetHeader::default();
    match metadata.checksum {
        RxChecksum::Unknown => {}
        RxChecksum::Good => header.flags = NetHeaderFlags::new().with_data_valid(true),
        RxChecksum::Partial { start, field } => {
            header.flags = NetHeaderFlags::new().with_needs_csum(true);
            header.csum_start = start;
            header.csum_offset = field.saturating_sub(start);
        }
    }
    if let Some(Coalesced { ip, mss }) = metadata.coalesced {
        header.gso_type = match ip {
            IpVersion::V4 => GsoType::TCPV4,
            IpVersion::V6 => GsoType::TCPV6,
        };
        header.gso_size = mss;
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{headers::tests::tcp4, packet::Segmentation};

    fn tso(gso_type: GsoType) -> NetHeader {
        NetHeader {
            flags: NetHeaderFlags::new().with_needs_csum(true),
            gso_type,
            hdr_len: 54,
            gso_size: 1448,
            csum_start: 34,
            csum_offset: 16,
        }
    }

    #[test]
    fn clients_are_taken_at_their_word_where_it_makes_sense() {
        let mut head = tcp4(0, 12);
        let pseudo = PseudoHeader::WithoutLength;
        assert_eq!(offload(NetHeader::default(), &mut head, 3000, pseudo), Ok(TxOffload::default()));
        let plain = NetHeader { gso_size: 0, ..tso(GsoType::NONE) };
        let sum = offload(plain, &mut head, 3000, pseudo).unwrap();
        assert!(sum.checksum.is_some_and(|sum| sum.tcp && sum.field == 50) && sum.segmentation.is_none());
        assert_eq!(head, tcp4(0, 12));
        // Its own idea of the length of headers does not count.
        let cut = offload(tso(GsoType::TCPV4), &mut head, 3000, pseudo).unwrap();
        assert_eq!(cut.segmentation, Some(Segmentation { mss: 1448, header_len: 66 }));
        assert_ne!(head, tcp4(0, 12));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let pseudo = PseudoHeader::WithLength;
        for header in [
            NetHeader { flags: NetHeaderFlags::new(), ..tso(GsoType::TCPV4) },
            tso(GsoType::TCPV6),
            tso(GsoType::UDP),
            tso(GsoType(0x81)),
            NetHeader { gso_size: 0, ..tso(GsoType::TCPV4) },
            NetHeader { csum_start: 5000, ..tso(GsoType::TCPV4) },
        ] {
            assert!(offload(header, &mut tcp4(0, 0), 3000, pseudo).is_err(), "{header:?}");
        }
    }

    #[test]
    fn what_the_device_says_is_passed_on() {
        let good = RxMetadata { checksum: RxChecksum::Good, ..RxMetadata::default() };
        assert_eq!(header(&RxMetadata::default()), NetHeader::default());
        assert_eq!(header(&good).flags, NetHeaderFlags::new().with_data_valid(true));
        let partial = RxMetadata {
            checksum: RxChecksum::Partial { start: 34, field: 50 },
            coalesced: Some(Coalesced { ip: IpVersion::V4, mss: 1448 }),
            ..RxMetadata::default()
        };
        assert_eq!(header(&partial), NetHeader { hdr_len: 0, ..tso(GsoType::TCPV4) });
    }
}
