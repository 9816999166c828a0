//! The link of a port: resets, hotplug, power states (SATA, chapter 8; AHCI, chapters 7, 8 and 10).

use std::time::Duration;

use ahci_spec::{
    DeviceToHost, FisType, PmFlags, received,
    registers::{PxCmd, PxFbs, PxSctl, PxSerr, PxSsts, PxTfd},
};
use redox_driver_sys::{model::Bus, time::Time};
use zerocopy::IntoBytes;

use crate::{
    config::Config,
    fault::LifecycleFault,
    port::{ABSENT, BUSY, Port, READY, Shared},
    target::Target,
    violation::Violation,
};

/// Shortest COMRESET (AHCI, section 10.4.2).
const SHORTEST_RESET: Duration = Duration::from_millis(1);
/// Idle time after which a link is put into a power state.
const IDLE: Duration = Duration::from_micros(500);

/// What happens to a link by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkEvent {
    /// Communication begins.
    Up,
    /// The device sends its signature.
    Ready {
        /// For this port of the multiplier.
        pm_port: u8,
        /// After COMRESET.
        hard: bool,
    },
}

impl Port {
    /// Puts the port's registers into their state after a reset of the HBA. The device stays what it is.
    pub(crate) fn reset(&mut self, shared: &mut Shared, now: Time) {
        let number = self.number;
        let target = self.target.take();
        *self = Port::new(number, target);
        self.idle_since = now;
        self.tfd = PxTfd::new().with_status(ABSENT);
        // Without staggered spin-up the bit is read only and set.
        self.cmd = PxCmd::new().with_sud(!shared.config.staggered).with_pod(true);
        self.cmd.set_fbscp(shared.config.fbs);
        self.cmd.set_hpcp(true);
        self.devslp.set_dsp(shared.config.device_sleep);
        self.devslp.set_dm(15);
        if !shared.config.staggered {
            self.connect(shared, now);
        }
    }

    /// A device, if there is one, is about to communicate.
    pub(crate) fn connect(&mut self, shared: &mut Shared, now: Time) {
        self.link.retain(|(_, event)| *event != LinkEvent::Up);
        if self.target.is_none() {
            return;
        }
        if shared.faults.lifecycle(|it| it.is(LifecycleFault::NoLink, Some(self.number))) {
            self.ssts = PxSsts::new().with_det(PxSsts::DET_PRESENT);
            return;
        }
        self.link.push((now.plus(shared.config.latency.link), LinkEvent::Up));
    }

    pub(crate) fn run_link(&mut self, bus: &mut dyn Bus, shared: &mut Shared) {
        let now = bus.now();
        while let Some(at) = self.link.iter().position(|(due, _)| *due <= now) {
            let (_, event) = self.link.remove(at);
            match event {
                LinkEvent::Up => self.link_up(shared, now),
                LinkEvent::Ready { pm_port, hard } => self.ready(bus, pm_port, hard),
            }
        }
    }

    fn link_up(&mut self, shared: &mut Shared, now: Time) {
        let Some(target) = &mut self.target else { return };
        if self.sctl.det() != 0 || !self.cmd.sud() {
            return;
        }
        target.reset();
        let limit = if self.sctl.spd() == 0 { 3 } else { self.sctl.spd() };
        let speed = target.speed().min(shared.config.speed).min(limit);
        self.ssts =
            PxSsts::new().with_det(PxSsts::DET_ESTABLISHED).with_spd(speed).with_ipm(PxSsts::IPM_ACTIVE);
        self.serr = self.serr.with_diag_x(true).with_diag_n(true);
        self.tfd = PxTfd::new().with_status(BUSY);
        self.abandoned = false;
        self.idle_since = now;
        if !shared.faults.lifecycle(|it| it.is(LifecycleFault::NeverReady, Some(self.number))) {
            let at = now.plus(shared.config.latency.ready);
            self.link.push((at, LinkEvent::Ready { pm_port: 0, hard: true }));
        }
    }

    /// The device sends its signature.
    fn ready(&mut self, bus: &mut dyn Bus, pm_port: u8, hard: bool) {
        let Some(signature) = self.target.as_ref().and_then(|target| target.signature(pm_port)) else {
            // Behind a multiplier without a device at that port nothing answers a COMRESET but the multiplier itself.
            if hard {
                self.tfd = PxTfd::new().with_status(READY);
            }
            return;
        };
        let [count, a, b, c] = signature.to_le_bytes();
        let fis = DeviceToHost {
            fis_type: FisType::DEVICE_TO_HOST.0,
            flags: PmFlags::new().with_pm_port(pm_port).with_interrupt(true),
            status: READY,
            error: 1,
            lba_low: [a, b, c],
            count: count.into(),
            ..DeviceToHost::default()
        };
        self.receive(bus, pm_port, received::DEVICE_TO_HOST, fis.as_bytes());
        self.sig = signature;
        self.tfd = PxTfd::new().with_status(READY).with_error(1);
        self.is.set_dhrs(true);
    }

    /// SCTL was written.
    pub(crate) fn write_control(&mut self, shared: &mut Shared, value: PxSctl, now: Time) {
        let before = std::mem::replace(&mut self.sctl, value);
        if value.det() != 0 && before.det() == 0 {
            if self.cmd.cr() || self.cmd.st() {
                shared.note(Violation::Comreset { port: self.number });
            }
            if value.det() == PxSctl::DET_RESET {
                *shared.statistics.comresets.entry(self.number).or_default() += 1;
                self.reset_since = Some(now);
            }
            self.link_down();
            if value.det() == PxSsts::DET_OFFLINE {
                self.ssts = PxSsts::new().with_det(PxSsts::DET_OFFLINE);
            }
        } else if value.det() == 0 && before.det() != 0 {
            if self.reset_since.take().is_some_and(|since| now.since(since) < SHORTEST_RESET) {
                shared.note(Violation::Comreset { port: self.number });
            }
            self.ssts = PxSsts::new();
            if self.cmd.sud() {
                self.connect(shared, now);
            }
        }
    }

    fn link_down(&mut self) {
        self.link.clear();
        self.abandon_commands();
        self.ssts = PxSsts::new();
        self.tfd = PxTfd::new().with_status(ABSENT);
        self.sig = u32::MAX;
        self.fbs = PxFbs::new().with_en(self.fbs.en()).with_ado(self.fbs.ado());
    }

    /// The device is pulled out.
    pub(crate) fn unplug(&mut self) {
        self.target = None;
        let was = self.ssts.is_connected();
        self.link_down();
        if was {
            self.serr.set_diag_n(true);
        }
    }

    /// A device is plugged in, in place of what was there.
    pub(crate) fn plug(&mut self, shared: &mut Shared, target: Target, now: Time) {
        self.unplug();
        self.target = Some(target);
        if self.cmd.sud() && self.sctl.det() == 0 {
            self.connect(shared, now);
        }
    }

    /// The link goes down and comes up again by itself.
    pub(crate) fn lose_link(&mut self, shared: &mut Shared, now: Time) {
        self.link_down();
        self.serr.set_diag_n(true);
        self.connect(shared, now);
    }

    /// When the link goes to sleep, unless something happens before.
    pub(crate) fn next_sleep(&self, config: &Config) -> Option<Time> {
        self.wanted_sleep(config).map(|(_, after)| self.idle_since.plus(after))
    }

    /// The power state that the link is to be put into, and after which idle time.
    fn wanted_sleep(&self, config: &Config) -> Option<(u8, Duration)> {
        if self.ssts.det() != PxSsts::DET_ESTABLISHED
            || self.ci | self.sact != 0
            || self.tfd.status() & BUSY != 0
            || !config.link_power
        {
            return None;
        }
        let allowed = |state| match state {
            PxSsts::IPM_PARTIAL => self.sctl.ipm() & 1 == 0,
            PxSsts::IPM_SLUMBER => self.sctl.ipm() & 2 == 0,
            _ => self.sctl.ipm() & 4 == 0,
        };
        let now = self.ssts.ipm();
        if self.devslp.adse()
            && self.devslp.dsp()
            && now < PxSsts::IPM_DEVSLEEP
            && allowed(PxSsts::IPM_DEVSLEEP)
        {
            let millis = u64::from(self.devslp.dito()) * (u64::from(self.devslp.dm()) + 1);
            return Some((PxSsts::IPM_DEVSLEEP, IDLE + Duration::from_millis(millis)));
        }
        let dipm = matches!(&self.target, Some(Target::Disk(disk)) if disk.dipm());
        let host =
            self.cmd.alpe().then_some(if self.cmd.asp() { PxSsts::IPM_SLUMBER } else { PxSsts::IPM_PARTIAL });
        let device = dipm.then_some(PxSsts::IPM_SLUMBER);
        let state = host.max(device).filter(|&state| state > now && allowed(state))?;
        Some((state, IDLE))
    }

    /// Puts an idle link to sleep when it is time.
    pub(crate) fn sleep(&mut self, shared: &mut Shared, now: Time) {
        if let Some((state, after)) = self.wanted_sleep(&shared.config)
            && self.idle_since.plus(after) <= now
        {
            self.enter(shared, state);
        }
    }

    fn enter(&mut self, shared: &mut Shared, state: u8) {
        self.ssts.set_ipm(state);
        // PhyRdy goes away, which is no hotplug.
        self.serr.set_diag_n(true);
        shared.statistics.link_sleeps += 1;
    }

    /// Wakes the link.
    pub(crate) fn wake(&mut self, now: Time) {
        self.idle_since = now;
        if self.ssts.det() == PxSsts::DET_ESTABLISHED && self.ssts.ipm() > PxSsts::IPM_ACTIVE {
            self.ssts.set_ipm(PxSsts::IPM_ACTIVE);
            self.serr = PxSerr::from(
                u32::from(self.serr) | u32::from(PxSerr::new().with_diag_n(true).with_diag_w(true)),
            );
        }
    }

    /// ICC was written.
    pub(crate) fn control_interface(&mut self, shared: &mut Shared, icc: u8, now: Time) {
        let port = self.number;
        let idle = self.ci == 0 && self.sact == 0;
        let (state, forbidden) = match icc {
            PxCmd::ICC_IDLE => return,
            PxCmd::ICC_ACTIVE => return self.wake(now),
            PxCmd::ICC_PARTIAL => (PxSsts::IPM_PARTIAL, self.sctl.ipm() & 1 != 0),
            PxCmd::ICC_SLUMBER => (PxSsts::IPM_SLUMBER, self.sctl.ipm() & 2 != 0),
            PxCmd::ICC_DEVSLEEP => (PxSsts::IPM_DEVSLEEP, self.sctl.ipm() & 4 != 0 || !self.devslp.dsp()),
            _ => return shared.note(Violation::LinkPower { port }),
        };
        if forbidden || !idle || !shared.config.link_power {
            shared.note(Violation::LinkPower { port });
        } else if self.ssts.det() == PxSsts::DET_ESTABLISHED {
            self.enter(shared, state);
        }
    }
}
