//! Which frames are received (8254x section 3.2.1).

use driver_network::{Features, Settings};
use e1000_spec::registers::{
    self as reg, Ctrl, MTA, RAH_AV, Rctl, Rxcsum, TABLE_DWORDS, multicast_hash, rah, ral, receive_address,
};
use redox_driver_sys::Result;

use crate::registers::Registers;

/// Sets addresses, multicast table and what of the device's work depends on settings. Bits of RCTL that say what passes.
pub(crate) fn apply(registers: &Registers, settings: &Settings) -> Result<Rctl> {
    let filter = &settings.filter;
    let places = u16::from(registers.chip.receive_addresses);
    let mut addresses = std::iter::once(settings.address).chain(filter.unicast.iter().copied());
    for index in 0..places {
        match addresses.next() {
            Some(address) => {
                let (low, high) = receive_address(address.0);
                // Not valid while it is half written.
                registers.set(rah(index), 0u32)?;
                registers.set(ral(index), low)?;
                registers.set(rah(index), high | RAH_AV)?;
            }
            None => registers.set(rah(index), 0u32)?,
        }
    }
    let too_many = addresses.next().is_some();
    let mut table = [0u32; TABLE_DWORDS];
    for group in &filter.multicast {
        let bit = multicast_hash(group.0);
        if let Some(dword) = table.get_mut(usize::from(bit >> 5)) {
            *dword |= 1 << (bit & 31);
        }
    }
    for (offset, dword) in (MTA..).step_by(4).zip(table) {
        registers.set(offset, dword)?;
    }
    offloads(registers, settings.features)?;
    Ok(Rctl::new()
        .with_bam(true)
        .with_upe(filter.promiscuous || too_many)
        .with_mpe(filter.promiscuous || filter.all_multicast))
}

fn offloads(registers: &Registers, features: Features) -> Result<()> {
    let vlan = features.intersects(Features::RX_VLAN | Features::TX_VLAN);
    registers.modify(reg::CTRL, |ctrl: Ctrl| ctrl.with_vme(vlan))?;
    let checksum = features.contains(Features::RX_CHECKSUM);
    // With extended descriptors the hash is in the place of the packet checksum.
    let value = Rxcsum::new().with_ipofl(checksum).with_tuofl(checksum);
    registers.set(reg::RXCSUM, value.with_pcsd(registers.chip.extended_rx))
}
