//! The controller's state, and what happens when.

use std::collections::VecDeque;

use e1000_spec::registers::{self as reg, Ctrl, RAH_AV, Status, rah, ral, receive_address};
use model_support::{network::Action, phy::PhyModel};
use redox_driver_sys::{model::Bus, time::Time};

use crate::{
    config::Config,
    fault::{FaultPlan, Faults, LifecycleFault},
    interrupt::Interrupts,
    management::Management,
    receive::RxQueue,
    statistics::Statistics,
    transmit::TxQueue,
    violation::Violation,
};

/// Bytes of registers.
pub(crate) const REGISTERS: u64 = 0x2_0000;
/// Violations beyond this many are not kept.
const MOST_VIOLATIONS: usize = 256;
/// Frames that wait in the wire's tail or went out and were not taken.
const MOST_FRAMES: usize = 65_536;

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) registers: Vec<u32>,
    pub(crate) phy: PhyModel,
    pub(crate) management: Management,
    pub(crate) interrupts: Interrupts,
    pub(crate) tx: [TxQueue; 2],
    pub(crate) rx: [RxQueue; 2],
    /// On their way to the device.
    pub(crate) wire: VecDeque<Vec<u8>>,
    /// In its packet buffer, with what goes wrong with them.
    pub(crate) fifo: VecDeque<(Vec<u8>, Vec<Action>)>,
    /// Descriptors that the first of them has taken already.
    pub(crate) begun: usize,
    pub(crate) sent: VecDeque<Vec<u8>>,
    /// A pause frame stopped transmission until then.
    pub(crate) paused_until: Time,
    /// The partner was told to pause.
    pub(crate) asked_to_pause: bool,
    /// The cable has a loose contact until then; what is at its end.
    pub(crate) flap: Option<(Time, Option<crate::Partner>)>,
    pub(crate) partner: Option<crate::Partner>,
    pub(crate) reset_until: Option<Time>,
    pub(crate) removed: bool,
    pub(crate) faults: Faults,
    pub(crate) statistics: Statistics,
    pub(crate) violations: Vec<Violation>,
    /// Something outside changed: look at everything.
    pub(crate) poked: bool,
}

impl Core {
    pub(crate) fn new(config: Config) -> Self {
        let words = usize::try_from(REGISTERS / 4).unwrap_or(0);
        let mut core = Core {
            registers: vec![0; words],
            phy: PhyModel::new(config.phy),
            management: Management::new(config.nvm()),
            interrupts: Interrupts::default(),
            tx: Default::default(),
            rx: Default::default(),
            wire: VecDeque::new(),
            fifo: VecDeque::new(),
            begun: 0,
            sent: VecDeque::new(),
            paused_until: Time::default(),
            asked_to_pause: false,
            flap: None,
            partner: None,
            reset_until: None,
            removed: false,
            faults: Faults::new(FaultPlan::new(0)),
            statistics: Statistics::default(),
            violations: Vec::new(),
            poked: false,
            config,
        };
        core.set_defaults();
        core
    }

    /// Registers after a reset.
    pub(crate) fn set_defaults(&mut self) {
        self.registers.fill(0);
        self.management.reset(self.config.chip.is_express());
        self.interrupts.reset();
        self.tx = Default::default();
        self.rx = Default::default();
        self.fifo.clear();
        self.begun = 0;
        self.wire.clear();
        self.paused_until = Time::default();
        self.asked_to_pause = false;
        self.set(reg::PBA, u32::from(self.config.chip.packet_buffer / 2));
        if self.config.chip.is_express() {
            for fix in self.config.chip.fixes {
                self.set(fix.register, fix.clear);
            }
        }
        let (low, high) = receive_address(self.management.address());
        self.set(ral(0), low);
        self.set(rah(0), high | RAH_AV);
    }

    pub(crate) fn get(&self, offset: u64) -> u32 {
        usize::try_from(offset / 4).ok().and_then(|at| self.registers.get(at)).copied().unwrap_or(0)
    }

    pub(crate) fn set(&mut self, offset: u64, value: u32) {
        if let Some(register) = usize::try_from(offset / 4).ok().and_then(|at| self.registers.get_mut(at)) {
            *register = value;
        }
    }

    pub(crate) fn violation(&mut self, violation: Violation) {
        if self.violations.len() < MOST_VIOLATIONS {
            self.violations.push(violation);
        }
    }

    pub(crate) fn lifecycle(&mut self, fault: LifecycleFault) -> bool {
        self.faults.lifecycle(|&planned| planned == fault)
    }

    pub(crate) fn link_up(&mut self, now: Time) -> bool {
        Ctrl::from(self.get(reg::CTRL)).slu() && self.phy.link(elapsed(now)).is_some()
    }

    pub(crate) fn status(&mut self, now: Time) -> Status {
        let ctrl = Ctrl::from(self.get(reg::CTRL));
        let mut status = Status::new().with_txoff(now < self.paused_until);
        if let Some(link) = self.phy.link(elapsed(now)).filter(|_| ctrl.slu()) {
            let speed = match link.speed {
                1000 => 2,
                100 => 1,
                _ => 0,
            };
            status = status.with_lu(true).with_fd(link.full_duplex).with_speed(speed);
        }
        let quiet = ctrl.master_disable() && !self.lifecycle(LifecycleFault::NeverQuiet);
        status.with_master_enable(self.config.chip.is_express() && !quiet)
    }

    /// Starts a reset.
    pub(crate) fn begin_reset(&mut self, bus: &mut dyn Bus) {
        self.statistics.resets += 1;
        if self.interrupts.pin {
            bus.set_intx(false);
        }
        self.set_defaults();
        let never = self.lifecycle(LifecycleFault::NeverReset);
        let after = if never { Time::from_nanos(u64::MAX) } else { bus.now().plus(self.config.reset) };
        self.reset_until = Some(after);
    }

    /// Reset of the function: at once.
    pub(crate) fn reset_function(&mut self) {
        self.statistics.resets += 1;
        self.set_defaults();
        self.reset_until = None;
    }

    pub(crate) fn is_resetting(&self, now: Time) -> bool {
        self.reset_until.is_some_and(|until| now < until)
    }

    /// A frame goes out.
    pub(crate) fn put_on_wire(&mut self, frame: Vec<u8>) {
        self.statistics.sent += 1;
        if self.sent.len() < MOST_FRAMES {
            self.sent.push_back(frame);
        }
    }

    /// Does everything that is due.
    pub(crate) fn run(&mut self, bus: &mut dyn Bus) {
        self.poked = false;
        let now = bus.now();
        if self.removed || self.is_resetting(now) {
            return;
        }
        self.reset_until = None;
        self.end_flap(now);
        self.run_management(bus);
        if self.phy.take_change(elapsed(now)) && Ctrl::from(self.get(reg::CTRL)).slu() {
            self.raise(bus, reg::Causes::new().with_lsc(true));
        }
        for queue in 0..self.config.chip.queues {
            self.run_transmit(bus, queue);
        }
        self.run_receive(bus);
        self.run_delays(bus);
        self.update_interrupts(bus);
    }

    fn end_flap(&mut self, now: Time) {
        if let Some((until, partner)) = self.flap
            && until <= now
        {
            self.flap = None;
            self.phy.set_partner(partner, elapsed(now));
        }
    }

    /// When [`run`](Self::run) has something to do.
    pub(crate) fn next_event(&self) -> Option<Time> {
        if self.removed {
            return None;
        }
        if self.poked {
            return Some(Time::default());
        }
        if let Some(until) = self.reset_until {
            return Some(until);
        }
        let phy = self.phy.next_event().map(|at| Time::default().plus(at));
        let flap = self.flap.map(|(until, _)| until);
        let queues = self.tx.iter().filter_map(TxQueue::due);
        let delays = self.tx.iter().map(|queue| queue.delay).chain(self.rx.iter().map(|queue| queue.delay));
        let delays = delays.filter_map(crate::interrupt::Delay::due);
        let arrives = (!self.wire.is_empty()).then_some(Time::default());
        let others = [phy, flap, self.management.due, self.interrupts.retry, arrives];
        others.into_iter().flatten().chain(queues).chain(delays).min()
    }

    /// Carries out what a packet's faults do to the device rather than to the packet; true if it is to go no further.
    pub(crate) fn suffer(&mut self, bus: &mut dyn Bus, actions: &[Action]) -> bool {
        for action in actions {
            match *action {
                Action::SpuriousInterrupt => self.spurious(bus),
                Action::LinkFlap(duration) if self.flap.is_none() => {
                    self.flap = Some((bus.now().plus(duration), self.partner));
                    self.phy.set_partner(None, elapsed(bus.now()));
                    self.poked = true;
                }
                Action::Remove => {
                    self.removed = true;
                    return true;
                }
                // Whether it is blocked is the host's to notice.
                Action::WildRead(at) => drop(bus.dma_read(at, &mut [0; 64])),
                Action::WildWrite(at) => drop(bus.dma_write(at, &[0xbd; 64])),
                _ => {}
            }
        }
        false
    }
}

/// Time as the PHY counts it.
pub(crate) fn elapsed(now: Time) -> std::time::Duration {
    now.since(Time::default())
}
