//! Register accesses (AHCI, chapter 3).

use ahci_spec::registers::{
    self as reg, Bohc, Cap, Cap2, CccCtl, Ghc, PxCmd, PxDevslp, PxFbs, PxIs, PxSctl, PxSerr,
};
use redox_driver_sys::{model::Bus, time::Time};

use crate::{
    hba::Hba,
    port::{BUSY, Port, Shared},
    target::Target,
    violation::Violation,
};

/// Bits of PxCMD that the host may change beside those with a meaning of their own.
const CMD_PLAIN: u32 = 0x0f0e_0006;

impl Hba {
    fn capabilities(&self) -> Cap {
        let config = &self.shared.config;
        let ports = 32 - config.ports.leading_zeros();
        Cap::new()
            .with_np(u8::try_from(ports.saturating_sub(1)).unwrap_or(0))
            .with_ncs(config.slots.clamp(1, 32) - 1)
            .with_cccs(config.coalescing)
            .with_psc(config.link_power)
            .with_ssc(config.link_power)
            .with_salp(config.link_power)
            .with_fbss(config.fbs)
            .with_spm(config.multipliers)
            .with_sam(true)
            .with_iss(config.speed)
            .with_sclo(config.clo)
            .with_sss(config.staggered)
            .with_sncq(config.ncq)
            .with_s64a(config.s64a)
    }

    pub(crate) fn register_read(&mut self, offset: u64, len: usize) -> u64 {
        if self.shared.removed {
            return u64::MAX;
        }
        if len != 4 || !offset.is_multiple_of(4) {
            self.shared.note(Violation::RegisterAccess { offset, len });
            return 0;
        }
        let value = self.read_dword(offset);
        self.shared.faults.stick(offset, value).into()
    }

    fn read_dword(&mut self, offset: u64) -> u32 {
        let config = &self.shared.config;
        match offset {
            reg::CAP => self.capabilities().into(),
            reg::GHC => self.ghc.with_ae(true).into(),
            reg::IS => self.is,
            reg::PI => config.ports,
            reg::VS => 0x0001_0301,
            reg::CCC_CTL => self.ccc.with_int(31).into(),
            reg::CCC_PORTS => self.ccc_ports,
            reg::CAP2 => Cap2::new()
                .with_boh(config.bios)
                .with_sds(config.device_sleep)
                .with_sadm(config.device_sleep)
                .into(),
            reg::BOHC => self.bohc.into(),
            _ => match self.port_at(offset) {
                Some((port, register)) => read_port(port, register),
                None => 0,
            },
        }
    }

    fn port_at(&mut self, offset: u64) -> Option<(&mut Port, u64)> {
        let (number, register) = split(offset)?;
        Some((self.ports.get_mut(usize::from(number))?.as_mut()?, register))
    }

    pub(crate) fn register_write(&mut self, bus: &mut dyn Bus, offset: u64, len: usize, value: u64) {
        if self.shared.removed {
            return;
        }
        self.now = bus.now();
        let (4, true, Ok(value)) = (len, offset.is_multiple_of(4), u32::try_from(value)) else {
            return self.shared.note(Violation::RegisterAccess { offset, len });
        };
        if self.bohc.bos() && offset != reg::BOHC {
            self.shared.note(Violation::BeforeHandoff);
        }
        match offset {
            reg::GHC => self.write_control(value.into()),
            reg::IS => self.is &= !value,
            reg::CCC_CTL => self.write_coalescing(value.into()),
            reg::CCC_PORTS => self.ccc_ports = value,
            reg::BOHC => {
                let asked = Bohc::from(value);
                if asked.oos() && !self.bohc.oos() {
                    self.ask_bios(bus.now());
                }
                self.bohc = self.bohc.with_oos(asked.oos()).with_ooc(self.bohc.ooc() && !asked.ooc());
            }
            _ => match split(offset) {
                Some((number, register)) => {
                    let shared = &mut self.shared;
                    match self.ports.get_mut(usize::from(number)).and_then(Option::as_mut) {
                        Some(port) => {
                            write_port(port, shared, register, value, bus.now());
                            port.run(bus, shared);
                        }
                        None => shared.note(Violation::NoSuchPort { port: number }),
                    }
                }
                None => self.shared.note(Violation::RegisterAccess { offset, len }),
            },
        }
        self.update_interrupts(bus, offset == reg::IS);
    }

    fn write_control(&mut self, value: Ghc) {
        self.ghc.set_ae(value.ae());
        self.ghc.set_ie(value.ie());
        if value.hr() && !self.ghc.hr() {
            self.begin_reset(self.now);
        }
    }

    fn write_coalescing(&mut self, value: CccCtl) {
        let changed = value.with_en(false).with_int(0) != self.ccc.with_en(false).with_int(0);
        if (self.ccc.en() && changed) || (value.en() && value.tv() == 0) {
            self.shared.note(Violation::Coalescing);
        }
        self.ccc = value.with_int(31);
    }
}

/// The port and the offset in its registers.
fn split(offset: u64) -> Option<(u8, u64)> {
    let beyond = offset.checked_sub(reg::PORTS)?;
    Some((u8::try_from(beyond / reg::PORT_BYTES).ok()?, beyond % reg::PORT_BYTES))
}

#[allow(clippy::cast_possible_truncation, reason = "takes halves")]
fn read_port(port: &Port, register: u64) -> u32 {
    match register {
        reg::PX_CLB => port.clb as u32,
        0x04 => (port.clb >> 32) as u32,
        reg::PX_FB => port.fb as u32,
        0x0c => (port.fb >> 32) as u32,
        reg::PX_IS => port.interrupt_status().into(),
        reg::PX_IE => port.ie.into(),
        reg::PX_CMD => port.cmd.into(),
        reg::PX_TFD => port.tfd.into(),
        reg::PX_SIG => port.sig,
        reg::PX_SSTS => port.ssts.into(),
        reg::PX_SCTL => port.sctl.into(),
        reg::PX_SERR => port.serr.into(),
        reg::PX_SACT => port.sact,
        reg::PX_CI => port.ci,
        reg::PX_FBS => port.fbs.into(),
        reg::PX_DEVSLP => port.devslp.into(),
        _ => 0,
    }
}

fn write_port(port: &mut Port, shared: &mut Shared, register: u64, value: u32, now: Time) {
    let number = port.number;
    let low = |old: u64| old & !0xffff_ffff | u64::from(value);
    let high = |old: u64| old & 0xffff_ffff | u64::from(value) << 32;
    match register {
        reg::PX_CLB | 0x04 => {
            if port.cmd.st() || port.cmd.cr() || (register == reg::PX_CLB && value & 0x3ff != 0) {
                shared.note(Violation::AddressChanged { port: number });
            }
            port.clb = if register == reg::PX_CLB { low(port.clb) } else { high(port.clb) };
        }
        reg::PX_FB | 0x0c => {
            if port.cmd.fre() || port.cmd.fr() || (register == reg::PX_FB && value & 0xff != 0) {
                shared.note(Violation::AddressChanged { port: number });
            }
            port.fb = if register == reg::PX_FB { low(port.fb) } else { high(port.fb) };
        }
        reg::PX_IS => port.is = PxIs::from(u32::from(port.is) & !value),
        reg::PX_IE => port.ie = value.into(),
        reg::PX_CMD => write_command(port, shared, value.into(), now),
        reg::PX_SCTL => port.write_control(shared, PxSctl::from(value), now),
        reg::PX_SERR => port.serr = PxSerr::from(u32::from(port.serr) & !value),
        reg::PX_SACT => {
            if !port.cmd.st() {
                shared.note(Violation::IssuedStopped { port: number });
            }
            port.sact |= value;
        }
        reg::PX_CI => issue(port, shared, value),
        reg::PX_FBS => write_switching(port, shared, PxFbs::from(value)),
        reg::PX_DEVSLP => {
            let asked = PxDevslp::from(value);
            port.devslp = asked.with_dsp(port.devslp.dsp()).with_dm(port.devslp.dm());
        }
        reg::PX_SNTF => {}
        _ => shared.note(Violation::RegisterAccess { offset: reg::port(number) + register, len: 4 }),
    }
}

fn issue(port: &mut Port, shared: &mut Shared, value: u32) {
    let number = port.number;
    if !port.cmd.st() {
        return shared.note(Violation::IssuedStopped { port: number });
    }
    for slot in 0..32u8 {
        let bit = 1u32 << slot;
        if value & bit == 0 {
            continue;
        }
        if port.ci & bit != 0 || slot >= shared.config.slots || port.holds(slot) {
            shared.note(Violation::SlotInUse { port: number, slot });
        }
        port.ci |= bit;
    }
    // Behind a multiplier it depends on the devices, which the commands will tell.
    let multiplied = matches!(port.target, Some(Target::Multiplier(_)));
    if !multiplied && port.sact != 0 && port.ci & !port.sact != 0 {
        shared.note(Violation::MixedQueueing { port: number });
    }
}

fn write_command(port: &mut Port, shared: &mut Shared, value: PxCmd, now: Time) {
    let number = port.number;
    let before = port.cmd;
    let mut cmd = PxCmd::from(u32::from(before) & !CMD_PLAIN | u32::from(value) & CMD_PLAIN);
    if !shared.config.staggered {
        cmd.set_sud(true);
    }
    if !shared.config.link_power {
        cmd = cmd.with_alpe(false).with_asp(false);
    }
    cmd.set_st(value.st());
    cmd.set_fre(value.fre());
    port.cmd = cmd;
    if cmd.sud() && !before.sud() {
        port.connect(shared, now);
    }
    if value.clo() && shared.config.clo && !before.st() {
        port.tfd.set_status(port.tfd.status() & !(BUSY | 0x08));
    }
    if value.fre() && !before.fre() {
        port.receive_stop_at = None;
        port.cmd.set_fr(true);
    }
    if !value.fre() && before.fre() {
        if before.cr() || before.st() {
            shared.note(Violation::ReceiveStopped { port: number });
        }
        port.receive_stop_at = Some(now.plus(shared.config.latency.stop));
    }
    if value.st() && !before.st() {
        let early = !port.cmd.fr()
            || before.cr()
            || port.tfd.status() & (BUSY | 0x08) != 0
            || !port.ssts.is_connected()
            || port.abandoned;
        if early {
            shared.note(Violation::StartedEarly { port: number });
        }
        port.stop_at = None;
        port.halted = false;
        port.cmd = port.cmd.with_cr(true).with_ccs(0);
    }
    if !value.st() && before.st() {
        port.stop(shared, now);
    }
    port.control_interface(shared, value.icc(), now);
}

fn write_switching(port: &mut Port, shared: &mut Shared, value: PxFbs) {
    let number = port.number;
    if value.en() != port.fbs.en() && (port.cmd.st() || !shared.config.fbs) {
        shared.note(Violation::FisBasedSwitching { port: number });
        return;
    }
    port.fbs = port.fbs.with_en(value.en()).with_dev(value.dev());
    if value.dec() {
        if port.fbs.sde() {
            port.clear_device_error();
        } else {
            shared.note(Violation::FisBasedSwitching { port: number });
        }
    }
}
