//! What a packet asks of the device, as its first descriptor says it.

use driver_network::{Checksum, IpVersion, Segmentation, TxPacket};
use rtl8168_spec::{
    Chip, Offloads,
    descriptors::{MAX_MSS, TxSecond, Work1, Work2},
};

/// What the device adds: the frame check sequence, and a tag if it is asked to. A client's own tag is part of the packet.
const FCS: u32 = 4;
const TAG: u32 = 4;
/// Shortest frame without its frame check sequence.
const SHORTEST: u32 = 60;
/// Where the transport header may be at most.
const MAX_TRANSPORT: u16 = 0x3ff;
const MAX_CUT_TRANSPORT: u8 = 0x7f;

/// What the descriptors of a packet say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// [`TxFirst::work`](rtl8168_spec::descriptors::TxFirst::work).
    pub(crate) work: u16,
    pub(crate) second: TxSecond,
    /// Zeroes to be added at the end.
    pub(crate) padding: u16,
}

impl Plan {
    /// How a chip is to send a packet, of which a frame may have `max_frame` bytes; `None` if it cannot.
    pub(crate) fn new(chip: &Chip, max_frame: u32, packet: &TxPacket<'_>) -> Option<Plan> {
        let offload = &packet.offload;
        let mut frame = packet.len;
        let (work, second) = match (offload.checksum, offload.segmentation) {
            (None, None) => (0, TxSecond::new()),
            (None, Some(_)) => return None,
            (Some(checksum), None) => sum(chip, &checksum)?,
            (Some(checksum), Some(segmentation)) => {
                let Segmentation { mss, header_len } = segmentation;
                let payload = packet.len.checked_sub(header_len.into()).filter(|&len| len > 0)?;
                frame = u32::from(header_len) + payload.min(mss.into());
                cut(chip, &checksum, mss)?
            }
        };
        let tag = if offload.vlan.is_some() { TAG } else { 0 };
        if frame + FCS + tag > max_frame {
            return None;
        }
        let short = SHORTEST.saturating_sub(packet.len);
        let pads = chip.pads_badly && (chip.modern || offload.checksum.is_some());
        // A checksum is over the padding as well then, which is zero.
        let padding = if pads { u16::try_from(short).ok()? } else { 0 };
        let second = offload.vlan.map_or(second, |tag| second.with_vlan(tag));
        Some(Plan { work, second, padding })
    }
}

fn sum(chip: &Chip, checksum: &Checksum) -> Option<(u16, TxSecond)> {
    let &Checksum { ip: Some(ip), start, field, tcp, .. } = checksum else { return None };
    // The chips know where these two have it.
    if field != start.checked_add(if tcp { 16 } else { 6 })? {
        return None;
    }
    match chip.offloads {
        Offloads::First if ip == IpVersion::V6 => None,
        Offloads::First => {
            Some((Work1::new().with_ip(true).with_tcp(tcp).with_udp(!tcp).into_bits(), TxSecond::new()))
        }
        Offloads::Second if start > MAX_TRANSPORT => None,
        Offloads::Second => {
            let v6 = ip == IpVersion::V6;
            let second = TxSecond::new().with_v4(!v6).with_v6(v6).with_tcp(tcp).with_udp(!tcp);
            Some((0, second.with_transport(start)))
        }
    }
}

fn cut(chip: &Chip, checksum: &Checksum, mss: u16) -> Option<(u16, TxSecond)> {
    let &Checksum { ip: Some(ip), start, tcp: true, .. } = checksum else { return None };
    if mss == 0 || mss > MAX_MSS {
        return None;
    }
    let v6 = ip == IpVersion::V6;
    match chip.offloads {
        Offloads::First if v6 => None,
        Offloads::First => Some((Work1::cut_at(mss).into_bits(), TxSecond::new())),
        Offloads::Second => {
            let transport = u8::try_from(start).ok().filter(|&at| at <= MAX_CUT_TRANSPORT)?;
            let work = Work2::new().with_cut_v4(!v6).with_cut_v6(v6).with_transport(transport);
            Some((work.into_bits(), TxSecond::new().with_mss(mss)))
        }
    }
}
