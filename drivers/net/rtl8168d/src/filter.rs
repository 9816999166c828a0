//! Which frames are received (8168B sections 2.1 and 2.8), and what is done to them.

use driver_network::{Features, Settings};
use redox_driver_sys::Result;
use rtl8168_spec::registers::{CPLUS, IDR0, IDR4, MAR0, MAR4, RxConfig, multicast_bit};

use crate::{queue::TIME_UNIT, registers::Registers};

/// Sets address, table and offloads. What of RCR lets frames pass.
pub(crate) fn apply(registers: &Registers, settings: &Settings) -> Result<RxConfig> {
    set_address(registers, settings.address.0)?;
    let filter = &settings.filter;
    // There is one address and one table.
    let all_stations = filter.promiscuous || !filter.unicast.is_empty();
    let all_groups =
        filter.promiscuous || filter.all_multicast || registers.chip.no_table && !filter.multicast.is_empty();
    let mut table = if all_groups { [0xff; 8] } else { [0; 8] };
    for group in &filter.multicast {
        let (byte, bit) = multicast_bit(group.0);
        if let Some(byte) = table.get_mut(byte) {
            *byte |= bit;
        }
    }
    let [a, b, c, d, e, f, g, h] = table;
    registers.set(MAR4, u32::from_le_bytes([e, f, g, h]))?;
    registers.set(MAR0, u32::from_le_bytes([a, b, c, d]))?;
    let cplus = registers.cplus()?.with_time_unit(TIME_UNIT);
    let cplus = cplus.with_rx_checksum(settings.features.contains(Features::RX_CHECKSUM));
    registers.set(CPLUS, cplus.with_rx_vlan(settings.features.contains(Features::RX_VLAN)))?;
    Ok(RxConfig::new()
        .with_ab(true)
        .with_apm(true)
        .with_am(all_groups || !filter.multicast.is_empty())
        .with_aap(all_stations))
}

/// Sets the station's address, where all chips have it and where the E-VL looks as well.
pub(crate) fn set_address(registers: &Registers, address: [u8; 6]) -> Result<()> {
    let [a, b, c, d, e, f] = address;
    let (low, high) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, 0, 0]));
    registers.configure(|| {
        registers.set(IDR4, high)?;
        registers.set(IDR0, low)
    })?;
    if registers.chip.modern && !registers.chip.address_in_eri {
        registers.write_extended(0xe0, 0xf, low)?;
        registers.write_extended(0xe4, 0xf, high)?;
        registers.write_extended(0xf0, 0xf, u32::from_le_bytes([0, 0, a, b]))?;
        registers.write_extended(0xf4, 0xf, u32::from_le_bytes([c, d, e, f]))?;
    }
    Ok(())
}
