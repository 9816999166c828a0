//! Waking the machine up.

use driver_network::{Settings, WakeOn};
use redox_driver_sys::Result;
use rtl8168_spec::{
    Offloads,
    indirect::eri,
    registers::{
        CONFIG2, CONFIG3, CONFIG5, CR, Command, Config2, Config3, Config5, MAR0, MAR4, RCR, RxConfig,
    },
};

use crate::{filter, registers::Registers};

/// What all the chips can do.
pub const WAKE_ON: WakeOn = WakeOn::all().difference(WakeOn::ARP);

/// Leaves the device, which was reset, so that it wakes the machine up by PME, or not. It does no DMA: bus mastering is off next.
pub(crate) fn leave(registers: &Registers, settings: &Settings, wake_on: WakeOn) -> Result<()> {
    let wakes = !wake_on.is_empty();
    let magic = wake_on.contains(WakeOn::MAGIC);
    let chip = registers.chip;
    if chip.wake_by_eri {
        let set = if magic { eri::WAKE_MAGIC } else { 0 };
        registers.modify_extended(eri::FILTER, 0b0100, eri::WAKE_MAGIC, set)?;
    }
    registers.configure(|| {
        registers.modify(CONFIG3, |config: Config3| {
            let config = config.with_wake_link(wake_on.contains(WakeOn::PHY));
            if chip.wake_by_eri { config } else { config.with_wake_magic(magic) }
        })?;
        registers.modify(CONFIG5, |config: Config5| {
            config
                .with_wake_unicast(wake_on.contains(WakeOn::UNICAST))
                .with_wake_multicast(wake_on.contains(WakeOn::MULTICAST))
                .with_wake_broadcast(wake_on.contains(WakeOn::BROADCAST))
                .with_lan_wake(wakes)
        })?;
        if chip.pme_signal {
            registers.modify(CONFIG2, |config: Config2| config.with_pme_signal(wakes))?;
        }
        Ok(())
    })?;
    if !wakes {
        return Ok(());
    }
    filter::set_address(registers, settings.address.0)?;
    if wake_on.contains(WakeOn::MULTICAST) {
        registers.set(MAR4, u32::MAX)?;
        registers.set(MAR0, u32::MAX)?;
    }
    registers.modify(RCR, |rcr: RxConfig| rcr.with_ab(true).with_am(true).with_apm(true))?;
    if chip.offloads == Offloads::First {
        // The 8168B does not wake anybody up while it does not receive (Linux).
        registers.set(CR, Command::new().with_re(true))?;
    }
    Ok(())
}
