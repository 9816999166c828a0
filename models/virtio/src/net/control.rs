//! Commands (section 5.1.6.5).

use virtio_spec::net::{
    NetFeatures,
    control::{Ack, Command},
};
use zerocopy::IntoBytes;

use super::Net;
use crate::{device_type::Execution, fault::Action, ring::Request};

const HEADER: usize = size_of::<Command>();
/// Longer commands are not read.
const MOST: u64 = 1 << 16;

impl Net {
    /// Carries a command out and says how many bytes were written.
    pub(super) fn command(&mut self, execution: &mut Execution<'_>) -> u32 {
        self.counts.commands += 1;
        let given = Request::bytes(&execution.request.readable);
        if Request::bytes(&execution.request.writable) != 1 {
            execution.violation("a command without room for a byte of its acknowledgement");
            return 0;
        }
        let mut bytes = vec![0; usize::try_from(given.min(MOST)).unwrap_or(0)];
        let read = execution.request.read(execution.bus, 0, &mut bytes);
        let Some((&[class, command], data)) = bytes.split_first_chunk::<HEADER>().filter(|_| read) else {
            execution.violation("a command that is too short");
            return 0;
        };
        let failed = execution.actions.iter().find_map(|action| match action {
            Action::Fail(status) => Some(Ack(*status)),
            _ => None,
        });
        let ack = failed.unwrap_or_else(|| match self.obey(Command { class, command }, data) {
            Some(()) => Ack::OK,
            None => {
                execution.violation("a command that was not negotiated, or makes no sense");
                Ack::ERR
            }
        });
        if execution.actions.contains(&Action::NoStatus) {
            return 0;
        }
        // Where it is not in memory the machine has noted it.
        let _ = execution.request.write(execution.bus, 0, ack.as_bytes());
        1
    }

    fn obey(&mut self, command: Command, data: &[u8]) -> Option<()> {
        let needs = match command {
            Command::RX_PROMISC | Command::RX_ALLMULTI | Command::MAC_TABLE_SET => NetFeatures::CTRL_RX,
            Command::MAC_ADDR_SET => NetFeatures::CTRL_MAC_ADDR,
            Command::VLAN_ADD | Command::VLAN_DEL => NetFeatures::CTRL_VLAN,
            Command::ANNOUNCE_ACK => NetFeatures::GUEST_ANNOUNCE,
            Command::MQ_VQ_PAIRS_SET => NetFeatures::MQ,
            Command::GUEST_OFFLOADS_SET => NetFeatures::CTRL_GUEST_OFFLOADS,
            _ => return None,
        };
        self.has(needs).then_some(())?;
        let switch = || match data {
            [value @ 0..=1] => Some(*value == 1),
            _ => None,
        };
        let word = || Some(u16::from_le_bytes(*data.first_chunk().filter(|_| data.len() == 2)?));
        match command {
            Command::RX_PROMISC => self.state.promiscuous = switch()?,
            Command::RX_ALLMULTI => self.state.all_multicast = switch()?,
            Command::MAC_TABLE_SET => {
                let (unicast, rest) = addresses(data, false)?;
                let (multicast, rest) = addresses(rest, true)?;
                rest.is_empty().then_some(())?;
                let most = self.config.table;
                self.state.unicast = Some(unicast).filter(|table| table.len() <= most);
                self.state.multicast = Some(multicast).filter(|table| table.len() <= most);
            }
            Command::MAC_ADDR_SET => self.state.mac = data.try_into().ok()?,
            Command::VLAN_ADD => drop(self.state.vlans.insert(word().filter(|id| *id < 4096)?)),
            Command::VLAN_DEL => drop(self.state.vlans.remove(&word()?)),
            Command::ANNOUNCE_ACK => {
                self.announce.then_some(())?;
                self.announce = false;
                self.state.announced += 1;
            }
            Command::MQ_VQ_PAIRS_SET => {
                self.state.pairs = word().filter(|pairs| (1..=self.config.pairs).contains(pairs))?;
            }
            _ => {
                let offloads = u64::from_le_bytes(data.try_into().ok()?);
                let offloads = NetFeatures::from_bits_retain(offloads);
                let guest = NetFeatures::GUEST_CSUM | NetFeatures::GUEST_TSO4 | NetFeatures::GUEST_TSO6;
                ((self.accepted & guest).contains(offloads) && offloads.consistent() == offloads)
                    .then_some(())?;
                self.state.offloads = offloads;
            }
        }
        Some(())
    }
}

/// A table of addresses, and what follows it.
fn addresses(data: &[u8], groups: bool) -> Option<(Vec<[u8; 6]>, &[u8])> {
    let (count, rest) = data.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    let (table, rest) = rest.split_at_checked(count.checked_mul(6)?)?;
    let (table, _) = table.as_chunks::<6>();
    table.iter().all(|address| (address[0] & 1 == 1) == groups).then(|| (table.to_vec(), rest))
}
