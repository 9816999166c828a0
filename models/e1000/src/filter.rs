//! Which frames are received (8254x section 3.2.1).

use e1000_spec::registers::{MTA, RAH_AV, Rctl, VFTA, multicast_hash, rah, ral};

use crate::core::Core;

const BROADCAST: [u8; 6] = [0xff; 6];

impl Core {
    /// Whether a frame to `destination` passes.
    pub(crate) fn passes(&self, destination: [u8; 6], vlan: Option<u16>) -> bool {
        self.address_passes(destination) && self.vlan_passes(vlan)
    }

    fn address_passes(&self, destination: [u8; 6]) -> bool {
        let rctl = Rctl::from(self.get(e1000_spec::registers::RCTL));
        let group = destination[0] & 1 != 0;
        if destination == BROADCAST {
            return rctl.bam() || rctl.mpe();
        }
        if (group && rctl.mpe()) || (!group && rctl.upe()) || self.is_own(destination) {
            return true;
        }
        // The manuals have the table for groups; MO selects other bits, which the model does not have.
        group && self.table(MTA, multicast_hash(destination))
    }

    fn is_own(&self, destination: [u8; 6]) -> bool {
        (0..u16::from(self.config.chip.receive_addresses)).any(|index| {
            let (low, high) = (self.get(ral(index)).to_le_bytes(), self.get(rah(index)));
            let [e, f, ..] = high.to_le_bytes();
            high & RAH_AV != 0 && destination == [low[0], low[1], low[2], low[3], e, f]
        })
    }

    fn vlan_passes(&self, vlan: Option<u16>) -> bool {
        let rctl = Rctl::from(self.get(e1000_spec::registers::RCTL));
        match vlan {
            Some(tag) if rctl.vfe() => self.table(VFTA, tag & 0xfff),
            _ => true,
        }
    }

    fn table(&self, base: u64, bit: u16) -> bool {
        self.get(base + 4 * u64::from(bit >> 5)) & 1 << (bit & 31) != 0
    }
}
