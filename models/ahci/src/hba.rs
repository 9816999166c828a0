//! The controller: what its ports have in common (AHCI, chapters 3.1, 10 and 11).

use std::time::Duration;

use ahci_spec::registers::{Bohc, CccCtl, Ghc};
use model_support::generator;
use redox_driver_sys::{irq::InterruptKind, model::Bus, time::Time};

use crate::{
    config::Config,
    fault::{FaultPlan, Faults, LifecycleFault},
    port::{Port, Shared},
    statistics::Statistics,
    target::Target,
};

#[derive(Debug)]
pub(crate) struct Hba {
    pub(crate) shared: Shared,
    pub(crate) ports: Vec<Option<Port>>,
    pub(crate) ghc: Ghc,
    pub(crate) is: u32,
    pub(crate) bohc: Bohc,
    pub(crate) ccc: CccCtl,
    pub(crate) ccc_ports: u32,
    coalesced: u32,
    coalesce_by: Option<Time>,
    reset_done: Option<Time>,
    bios_done: Option<Time>,
    /// The time that was seen last, for what happens without a bus.
    pub(crate) now: Time,
    /// A test's hand changed something.
    pub(crate) touched: bool,
}

impl Hba {
    pub(crate) fn new(config: Config) -> Self {
        let mut devices = config.devices.clone().into_iter();
        let ports = (0..32u8)
            .map(|number| {
                let device = devices.next().flatten();
                (config.ports & 1 << number != 0).then(|| Port::new(number, device.map(Target::new)))
            })
            .collect();
        let bios = config.bios;
        let shared = Shared {
            rng: generator(config.seed),
            config,
            faults: Faults::new(FaultPlan::default()),
            statistics: Statistics::default(),
            violations: Vec::new(),
            removed: false,
        };
        let mut hba = Hba {
            shared,
            ports,
            ghc: Ghc::new(),
            is: 0,
            bohc: Bohc::new(),
            ccc: CccCtl::new(),
            ccc_ports: 0,
            coalesced: 0,
            coalesce_by: None,
            reset_done: None,
            bios_done: None,
            now: Time::default(),
            touched: false,
        };
        hba.power_on_reset();
        hba.bohc.set_bos(bios);
        hba
    }

    /// Everything as after power on. Who owns the controller is not changed by it.
    pub(crate) fn power_on_reset(&mut self) {
        let now = self.now;
        self.ghc = Ghc::new();
        (self.is, self.ccc_ports, self.coalesced) = (0, 0, 0);
        self.ccc = CccCtl::new();
        (self.coalesce_by, self.reset_done) = (None, None);
        for port in self.ports.iter_mut().flatten() {
            port.reset(&mut self.shared, now);
        }
    }

    /// GHC.HR was set.
    pub(crate) fn begin_reset(&mut self, now: Time) {
        self.shared.statistics.resets += 1;
        self.ghc.set_hr(true);
        if !self.shared.faults.lifecycle(|it| it.is(LifecycleFault::ResetNeverEnds, None)) {
            self.reset_done = Some(now.plus(self.shared.config.latency.reset));
        }
    }

    /// BOHC.OOS was set.
    pub(crate) fn ask_bios(&mut self, now: Time) {
        if self.bohc.bos() && !self.shared.faults.lifecycle(|it| it.is(LifecycleFault::BiosKeeps, None)) {
            self.bios_done = Some(now.plus(self.shared.config.latency.bios));
        }
    }

    pub(crate) fn run(&mut self, bus: &mut dyn Bus) {
        self.now = bus.now();
        self.touched = false;
        if self.shared.removed {
            return;
        }
        if self.bios_done.is_some_and(|at| at <= self.now) {
            self.bios_done = None;
            self.bohc = self.bohc.with_bos(false).with_ooc(true).with_bb(false);
        }
        if self.reset_done.is_some_and(|at| at <= self.now) {
            self.power_on_reset();
            // The capabilities of this one allow nothing but AHCI.
            self.ghc.set_ae(true);
        }
        for port in self.ports.iter_mut().flatten() {
            port.run(bus, &mut self.shared);
        }
        self.update_interrupts(bus, false);
    }

    pub(crate) fn next_event(&self) -> Option<Time> {
        if self.shared.removed {
            return None;
        }
        if self.touched {
            return Some(self.now);
        }
        let ports = self.ports.iter().flatten().filter_map(|port| port.next_event(&self.shared.config));
        ports.chain(self.coalesce_by).chain(self.reset_done).chain(self.bios_done).min()
    }

    /// Sets IS as the ports say and tells the machine. `again`: IS was written, so that what is still set is told once
    /// more (AHCI, section 10.7.2).
    pub(crate) fn update_interrupts(&mut self, bus: &mut dyn Bus, again: bool) {
        let before = self.is;
        let mut lose = false;
        for port in self.ports.iter_mut().flatten() {
            if port.wants_interrupt() {
                self.is |= 1 << port.number;
            }
            lose |= std::mem::take(&mut port.lose);
            let completions = std::mem::take(&mut port.completions);
            if self.ccc.en() && self.ccc_ports & 1 << port.number != 0 && completions != 0 {
                self.coalesced += completions;
                // The timer begins with the first completion that nobody was told of.
                let by = bus.now().plus(Duration::from_millis(self.ccc.tv().into()));
                self.coalesce_by.get_or_insert(by);
            }
        }
        let enough = self.ccc.cc() != 0 && self.coalesced >= u32::from(self.ccc.cc());
        if self.ccc.en() && (enough || self.coalesce_by.is_some_and(|by| by <= bus.now())) {
            self.is |= 1 << self.ccc.int();
            self.coalesced = 0;
            self.coalesce_by = None;
        }
        let new = self.is & !before;
        if !self.ghc.ie() {
            bus.set_intx(false);
            return;
        }
        match bus.interrupt_kind() {
            Some(InterruptKind::Intx) => {
                self.shared.statistics.interrupts += u64::from(new != 0);
                bus.set_intx(self.is != 0);
            }
            Some(_) if (new != 0 || (again && self.is != 0)) && !lose => {
                self.shared.statistics.interrupts += 1;
                bus.message(0);
            }
            _ => {}
        }
    }
}
