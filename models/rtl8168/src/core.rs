//! The controller's state, and what happens when.

use std::{collections::VecDeque, time::Duration};

use model_support::{network::Action, phy::PhyModel};
use redox_driver_sys::{model::Bus, time::Time};
use rtl8168_spec::{
    registers::{Command, Events, IDR0, IDR4, LEN, Mcu, PhyStatus, RCR, TCR, TxConfig},
    tally::Tally,
};

use crate::{
    config::Config,
    fault::{FaultPlan, Faults, LifecycleFault},
    indirect::Indirect,
    interrupt::Interrupts,
    receive::Receiver,
    statistics::Statistics,
    transmit::Transmitter,
    violation::Violation,
};

/// Violations beyond this many are not kept.
const MOST_VIOLATIONS: usize = 256;
/// Frames that went out and were not taken.
const MOST_FRAMES: usize = 65_536;

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Config,
    /// Registers that keep what they are given, by bytes.
    registers: Vec<u8>,
    pub(crate) cr: u8,
    pub(crate) mcu: Mcu,
    pub(crate) missed: u32,
    pub(crate) phy: PhyModel,
    pub(crate) indirect: Indirect,
    pub(crate) interrupts: Interrupts,
    pub(crate) tx: Transmitter,
    pub(crate) rx: Receiver,
    pub(crate) tally: Tally,
    pub(crate) tally_due: Option<Time>,
    pub(crate) sent: VecDeque<Vec<u8>>,
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
        let mut core = Core {
            registers: vec![0; usize::try_from(LEN).unwrap_or(0)],
            cr: 0,
            mcu: Mcu::new(),
            missed: 0,
            phy: PhyModel::new(config.phy),
            indirect: Indirect::new(config.address),
            interrupts: Interrupts::default(),
            tx: Transmitter::default(),
            rx: Receiver::default(),
            tally: Tally::default(),
            tally_due: None,
            sent: VecDeque::new(),
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
        core.power_up();
        core
    }

    /// Registers as after power came.
    fn power_up(&mut self) {
        self.registers.fill(0);
        self.indirect = Indirect::new(self.config.address);
        let [a, b, c, d, e, f] = self.config.address;
        self.set32(IDR0, u32::from_le_bytes([a, b, c, d]));
        self.set32(IDR4, u32::from_le_bytes([e, f, 0, 0]));
        self.set32(TCR, TxConfig::new().with_xid(self.config.chip.xid).into_bits());
        // Until a driver comes remote management has chips that can.
        self.mcu = Mcu::new().with_out_of_band(self.config.chip.modern).with_list_ready(true);
        self.restart();
    }

    /// What a reset does: addresses, filters and configuration stay (8168B section 2.3).
    fn restart(&mut self) {
        self.cr = 0;
        self.interrupts = Interrupts::default();
        self.tally_due = None;
        self.indirect.restart();
        self.tx.restart();
        self.rx.restart();
        self.set32(RCR, self.get32(RCR) & !0x3f);
    }

    fn bytes<const N: usize>(&self, offset: u64) -> [u8; N] {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        self.registers.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
    }

    fn set_bytes(&mut self, offset: u64, bytes: &[u8]) {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        if let Some(target) = self.registers.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len())) {
            target.copy_from_slice(bytes);
        }
    }

    pub(crate) fn get8(&self, offset: u64) -> u8 {
        u8::from_le_bytes(self.bytes(offset))
    }

    pub(crate) fn get16(&self, offset: u64) -> u16 {
        u16::from_le_bytes(self.bytes(offset))
    }

    pub(crate) fn get32(&self, offset: u64) -> u32 {
        u32::from_le_bytes(self.bytes(offset))
    }

    pub(crate) fn set8(&mut self, offset: u64, value: u8) {
        self.set_bytes(offset, &[value]);
    }

    pub(crate) fn set16(&mut self, offset: u64, value: u16) {
        self.set_bytes(offset, &value.to_le_bytes());
    }

    pub(crate) fn set32(&mut self, offset: u64, value: u32) {
        self.set_bytes(offset, &value.to_le_bytes());
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
        self.phy.link(elapsed(now)).is_some()
    }

    pub(crate) fn phy_status(&mut self, now: Time) -> PhyStatus {
        self.phy.link(elapsed(now)).map_or(PhyStatus::new(), |link| {
            PhyStatus::new()
                .with_link(true)
                .with_full_duplex(link.full_duplex)
                .with_speed_10(link.speed == 10)
                .with_speed_100(link.speed == 100)
                .with_speed_1000(link.speed == 1000)
        })
    }

    /// Starts a reset.
    pub(crate) fn begin_reset(&mut self, bus: &mut dyn Bus) {
        self.statistics.resets += 1;
        self.set_pin(bus, false);
        self.restart();
        let never = self.lifecycle(LifecycleFault::NeverReset);
        let after = if never { Time::from_nanos(u64::MAX) } else { bus.now().plus(self.config.reset) };
        self.reset_until = Some(after);
    }

    /// Reset of the function: at once.
    pub(crate) fn reset_function(&mut self) {
        self.statistics.resets += 1;
        self.power_up();
        self.reset_until = None;
    }

    pub(crate) fn is_resetting(&self, now: Time) -> bool {
        self.reset_until.is_some_and(|until| now < until)
    }

    /// A frame goes out.
    pub(crate) fn put_on_wire(&mut self, frame: Vec<u8>) {
        self.statistics.sent += 1;
        self.tally.tx_packets += 1;
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
        if let Some((until, partner)) = self.flap
            && until <= now
        {
            self.flap = None;
            self.phy.set_partner(partner, elapsed(now));
        }
        self.run_indirect(bus);
        if self.phy.take_change(elapsed(now)) {
            self.tx.wake(now);
            self.raise(bus, Events::new().with_link(true));
        }
        self.run_transmit(bus);
        self.run_receive(bus);
        self.run_tally(bus);
        self.run_mitigation(bus);
        self.update_interrupts(bus);
    }

    /// When [`run`](Self::run) has something to do.
    pub(crate) fn next_event(&self) -> Option<Time> {
        if self.removed {
            return None;
        }
        if self.poked || self.rx.has_arrivals() {
            return Some(Time::default());
        }
        if let Some(until) = self.reset_until {
            return Some(until);
        }
        let phy = self.phy.next_event().map(|at| Time::default().plus(at));
        let flap = self.flap.map(|(until, _)| until);
        let events = [
            phy,
            flap,
            self.indirect.due(),
            self.tx.due,
            self.rx.due(),
            self.tally_due,
            self.interrupts.due(),
        ];
        events.into_iter().flatten().min()
    }

    /// Whether a direction is on.
    pub(crate) fn is_on(&self, sends: bool) -> bool {
        let cr = Command::from(self.cr);
        if sends { cr.te() } else { cr.re() }
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
pub(crate) fn elapsed(now: Time) -> Duration {
    now.since(Time::default())
}
