//! What a packet asks of the device, as a context descriptor says it (8254x section 3.3.6).

use driver_network::{Checksum, IpVersion, TxPacket};
use e1000_spec::{
    Chip,
    transmit::{ContextCommand, ContextTx, DataCommand, PacketOptions},
};

/// Where the checksum is in an IPv4 header.
const IPV4_CHECKSUM: u8 = 10;
/// Tag and frame check sequence, which the device adds.
const ADDED: u32 = 8;

/// What the descriptors of a packet say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// What has to have been said before, if anything.
    pub(crate) context: Option<ContextTx>,
    pub(crate) command: DataCommand,
    pub(crate) options: PacketOptions,
    pub(crate) vlan: u16,
}

impl Plan {
    /// How a chip is to send a packet; `None` if it cannot.
    pub(crate) fn new(chip: &Chip, packet: &TxPacket<'_>) -> Option<Plan> {
        let offload = &packet.offload;
        let mut command = DataCommand::new()
            .with_dtyp(e1000_spec::transmit::DATA)
            .with_dext(true)
            .with_ifcs(true)
            .with_vle(offload.vlan.is_some());
        let mut options = PacketOptions::new();
        let mut frame = packet.len;
        let context = match (offload.checksum, offload.segmentation) {
            (None, None) => None,
            (None, Some(_)) => return None,
            (Some(checksum), None) => {
                options = options.with_txsm(true);
                Some(context(&checksum)?)
            }
            (Some(checksum), Some(segmentation)) => {
                let ip = checksum.ip.filter(|ip| *ip == IpVersion::V4 || chip.tso6)?;
                let header_len = u8::try_from(segmentation.header_len).ok()?;
                let payload = packet.len.checked_sub(header_len.into()).filter(|&len| len > 0)?;
                if !checksum.tcp || segmentation.mss == 0 || payload >> 20 != 0 {
                    return None;
                }
                frame = u32::from(header_len) + payload.min(segmentation.mss.into());
                command = command.with_tse(true);
                options = options.with_txsm(true).with_ixsm(ip == IpVersion::V4);
                let context = context(&checksum)?;
                let said = ContextCommand::from(context.command).with_tse(true).with_payload(payload);
                let (command, mss) = (said.into_bits(), segmentation.mss);
                Some(ContextTx { command, header_len, mss, ..context })
            }
        };
        if frame + ADDED > u32::from(chip.max_frame) {
            return None;
        }
        Some(Plan { context, command, options, vlan: offload.vlan.unwrap_or(0) })
    }
}

fn context(checksum: &Checksum) -> Option<ContextTx> {
    let ipcss = u8::try_from(checksum.network).ok()?;
    let tucss = u8::try_from(checksum.start).ok()?;
    let tucso = u8::try_from(checksum.field).ok()?;
    let ipv4 = checksum.ip == Some(IpVersion::V4);
    let (ipcso, ipcse) =
        if ipv4 { (ipcss.checked_add(IPV4_CHECKSUM)?, checksum.start.checked_sub(1)?) } else { (0, 0) };
    let command = ContextCommand::new().with_dext(true).with_tcp(checksum.tcp).with_ipv4(ipv4);
    Some(ContextTx {
        ipcss,
        ipcso,
        ipcse,
        tucss,
        tucso,
        command: command.into_bits(),
        ..ContextTx::default()
    })
}
