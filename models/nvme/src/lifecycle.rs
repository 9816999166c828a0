//! Enabling, resetting and shutting down (sections 3.1.5, 7.3 and 7.6).

use nvme_spec::registers::{Aqa, Cc, Csts};
use redox_driver_sys::{model::Bus, time::Time};

use crate::{
    controller::Controller,
    fault::LifecycleFault,
    feature::Features,
    queue::{ADMIN, CompletionQueue, SubmissionQueue},
    violation::Violation,
};

impl Controller {
    /// The CC register is written.
    pub(crate) fn configure(&mut self, bus: &mut dyn Bus, new: Cc) {
        let old = std::mem::replace(&mut self.cc, new);
        match (old.en(), new.en()) {
            (false, true) => self.enable(bus.now()),
            (true, false) => {
                self.reset_controller(Some(bus));
                if !self.faults.lifecycle(|&fault| fault == LifecycleFault::NeverDisabled) {
                    self.ready_change = Some((bus.now().plus(self.config.latency.disable), false));
                }
            }
            (true, true) if (old.mps(), old.css(), old.ams()) != (new.mps(), new.css(), new.ams()) => {
                self.note(Violation::ConfigurationWhileEnabled);
                self.cc = new.with_mps(old.mps()).with_css(old.css()).with_ams(old.ams());
            }
            _ => {}
        }
        if new.shn() != Cc::SHN_NONE && old.shn() == Cc::SHN_NONE {
            self.csts.set_shst(Csts::SHST_OCCURRING);
            if !self.faults.lifecycle(|&fault| fault == LifecycleFault::NeverShutDown) {
                self.shut_down_at = Some(bus.now().plus(self.config.latency.shutdown));
            }
        }
    }

    fn enable(&mut self, now: Time) {
        if self.csts.rdy() {
            self.note(Violation::EnabledTooEarly);
            self.ready_change = None;
            self.fail();
            return;
        }
        if let Some(what) = self.unsupported() {
            self.note(Violation::Configuration { what });
            self.fail();
            return;
        }
        if self.faults.lifecycle(|&fault| fault == LifecycleFault::FatalOnEnable) {
            self.fail();
        } else if self.faults.lifecycle(|&fault| fault == LifecycleFault::NeverReady) {
            self.ready_change = None;
        } else {
            self.ready_change = Some((now.plus(self.config.latency.enable), true));
        }
    }

    /// What about the configuration is not supported.
    fn unsupported(&self) -> Option<&'static str> {
        let (cc, cap) = (self.cc, self.cap());
        let css = match cc.css() {
            0 => cap.css() & 1 << 0,
            6 => cap.css() & 1 << 6,
            7 => cap.css() & 1 << 7,
            _ => 0,
        };
        let checks = [
            (css != 0, "command set (CC.CSS)"),
            ((cap.mpsmin()..=cap.mpsmax()).contains(&cc.mps()), "memory page size (CC.MPS)"),
            (cc.ams() == 0, "arbitration mechanism (CC.AMS)"),
            (self.aqa.asqs() > 0, "admin submission queue size (AQA.ASQS)"),
            (self.aqa.acqs() > 0, "admin completion queue size (AQA.ACQS)"),
            (self.asq.is_multiple_of(self.page()), "admin submission queue address (ASQ)"),
            (self.acq.is_multiple_of(self.page()), "admin completion queue address (ACQ)"),
        ];
        checks.iter().find(|(fine, _)| !fine).map(|(_, what)| *what)
    }

    /// Does what is due in the controller's life.
    pub(crate) fn run_lifecycle(&mut self, now: Time) {
        if let Some((due, ready)) = self.ready_change
            && due <= now
        {
            self.ready_change = None;
            self.csts.set_rdy(ready);
            if ready {
                self.start(now);
            }
        }
        if self.shut_down_at.is_some_and(|due| due <= now) {
            self.shut_down_at = None;
            // After an abrupt shutdown, too, what was acknowledged is kept: there is time to write it back.
            self.flush_all();
            self.commands.clear();
            self.csts.set_shst(Csts::SHST_COMPLETE);
            self.statistics.shutdowns += 1;
        }
    }

    fn start(&mut self, now: Time) {
        let sq = SubmissionQueue::new(self.asq, u32::from(self.aqa.asqs()) + 1, ADMIN);
        let cq = CompletionQueue::new(self.acq, u32::from(self.aqa.acqs()) + 1, Some(0));
        self.sqs.insert(ADMIN, sq);
        self.cqs.insert(ADMIN, cq);
        self.power.set(&self.config.power_states, 0, now);
        self.statistics.enables += 1;
        self.check_health();
    }

    /// What a controller reset undoes (section 7.3.2). The admin queue registers stay.
    pub(crate) fn reset_controller(&mut self, bus: Option<&mut dyn Bus>) {
        self.sqs.clear();
        self.cqs.clear();
        self.commands.clear();
        self.last_served = ADMIN;
        self.events = Default::default();
        self.features = Features::new(&self.config);
        self.power = Default::default();
        self.host_memory.disable();
        self.health.reported = Default::default();
        self.changed.clear();
        self.interrupts.reset(bus);
        self.csts.set_cfs(false);
        self.csts.set_shst(Csts::SHST_NORMAL);
        self.ready_change = None;
        self.shut_down_at = None;
        self.statistics.resets += 1;
    }

    /// What a reset of the function undoes, and loss of power too: every register.
    pub(crate) fn reset_function(&mut self, bus: Option<&mut dyn Bus>) {
        self.reset_controller(bus);
        self.cc = Cc::new();
        self.csts = Csts::new();
        self.aqa = Aqa::new();
        self.asq = 0;
        self.acq = 0;
    }

    /// NVM subsystem reset (section 7.3.1).
    pub(crate) fn reset_subsystem(&mut self, bus: &mut dyn Bus) {
        self.reset_function(Some(bus));
        self.csts.set_nssro(true);
    }

    pub(crate) fn flush_all(&mut self) {
        for namespace in self.namespaces.values_mut() {
            namespace.medium.flush();
        }
    }
}
