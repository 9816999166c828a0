//! Waking the machine up (8254x section 6.4).

use driver_network::{Settings, WakeOn};
use e1000_spec::registers::{self as reg, Ctrl, Wuc, Wufc};
use redox_driver_sys::Result;

use crate::{filter, registers::Registers};

/// What all the chips can do.
pub const WAKE_ON: WakeOn = WakeOn::all();

/// Leaves the device, which was reset, so that it wakes the machine up by PME. It does no DMA: RCTL.EN stays off.
pub(crate) fn leave(registers: &Registers, settings: &Settings, wake_on: WakeOn) -> Result<()> {
    if wake_on.is_empty() {
        registers.set(reg::WUFC, Wufc::new())?;
        return registers.set(reg::WUC, Wuc::new());
    }
    registers.modify(reg::CTRL, |ctrl: Ctrl| ctrl.with_slu(true))?;
    let rctl = filter::apply(registers, settings)?;
    registers.set(reg::RCTL, rctl.with_mpe(rctl.mpe() || wake_on.contains(WakeOn::MULTICAST)))?;
    registers.set(reg::WUS, u32::MAX)?;
    let filters = Wufc::new()
        .with_lnkc(wake_on.contains(WakeOn::PHY))
        .with_mag(wake_on.contains(WakeOn::MAGIC))
        .with_ex(wake_on.contains(WakeOn::UNICAST))
        .with_mc(wake_on.contains(WakeOn::MULTICAST))
        .with_bc(wake_on.contains(WakeOn::BROADCAST))
        .with_arp(wake_on.contains(WakeOn::ARP));
    registers.set(reg::WUFC, filters)?;
    registers.set(reg::WUC, Wuc::new().with_apme(true).with_pme_en(true).with_pme_status(true))
}
