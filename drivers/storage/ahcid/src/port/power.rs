//! Power states of the link (AHCI, chapter 8).

use ahci_spec::{FeatureCode, Identify, registers::PxSctl};

use super::{INTERRUPTS, Port, jobs::Job, states::State};
use crate::options::LinkPower;

/// SCTL.IPM: slumber and device sleep are forbidden; device sleep is; nothing is.
const PARTIAL_ONLY: u8 = 6;
const NO_DEVICE_SLEEP: u8 = 4;
const EVERYTHING: u8 = 0;
/// DEVSLP: idle for 1 s, and what the specification has a device take where it does not say.
const IDLE_MS: u16 = 1000;
const EXIT_MS: u8 = 20;
const ASSERT_MS: u8 = 10;

impl Port {
    /// Has the links be put into other power states from now on.
    pub(crate) fn set_policy(&mut self, policy: LinkPower) {
        self.policy = policy;
        if self.state == State::Running {
            let features: Vec<Job> = self
                .devices
                .iter()
                .flat_map(|device| self.power_features(device.pm_port, &device.drive.identify))
                .collect();
            self.jobs.extend(features);
            self.set_link_power();
        }
    }

    /// What a device is to be told about the policy.
    pub(super) fn power_features(&self, pm_port: u8, identify: &Identify) -> Vec<Job> {
        let mut jobs = Vec::new();
        let deep = matches!(self.policy, LinkPower::MinPower | LinkPower::DeviceSleep);
        // A multiplier's links are its own business.
        let direct = !self.is_multiplied();
        let on = deep && direct && self.abilities.slumber;
        if identify.has_dipm() && on != identify.dipm_enabled() {
            jobs.push(Job::SataFeature { pm_port, feature: FeatureCode::SATA_DIPM, on });
        }
        if self.abilities.device_sleep && identify.has_devslp() {
            let on = direct && self.policy == LinkPower::DeviceSleep;
            jobs.push(Job::SataFeature { pm_port, feature: FeatureCode::SATA_DEVSLP, on });
        }
        jobs
    }

    /// Tells the port about the policy.
    pub(super) fn set_link_power(&mut self) {
        let Some(device) = self.devices.first().filter(|_| !self.is_multiplied()) else { return };
        let identify = &device.drive.identify;
        let abilities = self.abilities;
        let (allowed, slumber) = match self.policy {
            LinkPower::MaxPerformance => (PxSctl::IPM_NONE, false),
            LinkPower::MediumPower => (PARTIAL_ONLY, false),
            LinkPower::DeviceSleep if abilities.device_sleep && identify.has_devslp() => (EVERYTHING, true),
            LinkPower::MinPower | LinkPower::DeviceSleep => (NO_DEVICE_SLEEP, true),
        };
        let can = if slumber { abilities.slumber } else { abilities.partial };
        let allowed = if can { allowed } else { PxSctl::IPM_NONE };
        let by_host = allowed != PxSctl::IPM_NONE && abilities.aggressive && identify.has_hipm();
        let by_device = allowed != PxSctl::IPM_NONE && slumber && identify.has_dipm();
        let sleeps = by_host || by_device;
        // PhyRdy changes with every transition: it tells nothing about devices then (AHCI, section 7.3.1). COMINIT still
        // does.
        self.link.sleeps = sleeps;
        let coalesced =
            if self.abilities.coalesced { INTERRUPTS.with_dhrs(false).with_sdbs(false) } else { INTERRUPTS };
        self.regs.ie.write(coalesced.with_prcs(!sleeps));
        self.regs.sctl.write(PxSctl::new().with_spd(self.link.limit).with_ipm(allowed));
        if abilities.device_sleep {
            let devslp = self.regs.devslp.read();
            let on = devslp.dsp() && allowed == EVERYTHING && by_host;
            let times = IDLE_MS / (u16::from(devslp.dm()) + 1);
            self.regs.devslp.write(
                devslp.with_adse(on).with_deto(EXIT_MS).with_mdat(ASSERT_MS).with_dito(times.min(0x3ff)),
            );
        }
        self.regs.cmd.modify(|cmd| cmd.with_alpe(by_host).with_asp(by_host && slumber));
    }

    /// Has every disk of the port stop turning, when nothing else is to be done.
    pub(crate) fn stand_by(&mut self) {
        let disks = self.devices.iter().filter(|device| device.drive.identify.is_ata());
        let jobs: Vec<Job> = disks.map(|device| Job::Standby { pm_port: device.pm_port }).collect();
        self.jobs.extend(jobs);
    }

    /// Whether all of the driver's own commands have ended.
    pub(crate) fn is_quiet(&self) -> bool {
        self.own.is_none() && (self.jobs.is_empty() || self.state != State::Running)
    }
}
