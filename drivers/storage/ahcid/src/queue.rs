//! All ports as one hardware queue: they share one interrupt, and so one thread.

use std::{sync::Arc, time::Duration};

use ahci_spec::registers::MOST_PORTS;
use driver_block::{BlockError, Command, Completed, HardwareQueue, SubmitError};
use redox_driver_sys::{
    irq::Interrupt,
    mmio::{ReadWrite, Register},
    time::{Clock, Time},
};

use crate::{
    board::Board,
    error::Result,
    options::LinkPower,
    port::{Outbox, Port},
    regs::HbaRegisters,
};

/// How often ports that are looked at without interrupts are asked for errors.
const ERROR_LOOK: Duration = Duration::from_millis(10);
const ALL_ONES: u32 = u32::MAX;
/// No port.
const NONE: u8 = u8::MAX;

/// Where the command of a tag is.
#[derive(Clone, Copy)]
struct Place {
    port: u8,
    slot: u8,
}

/// The ports of a controller.
pub struct AhciQueue {
    ports: Vec<Port>,
    /// Index in `ports` by port number.
    by_number: [u8; MOST_PORTS as usize],
    hba: Arc<HbaRegisters>,
    is: Register<u32, ReadWrite>,
    tags: Box<[Place]>,
    interrupt: Option<Interrupt>,
    /// The interrupt came since the last look.
    announced: bool,
    /// Ports, by index, that were given commands since the last commit.
    fresh: u32,
    /// The bit of IS that gathered completions set.
    coalesced: u32,
    /// When ports are asked for errors though no interrupt came.
    look_at: Time,
    reporting: bool,
    out: Outbox,
    attention: bool,
    board: Arc<Board>,
    clock: Clock,
}

impl AhciQueue {
    pub(crate) fn new(
        hba: &Arc<HbaRegisters>,
        ports: Vec<Port>,
        slots: u8,
        interrupt: Option<Interrupt>,
        board: Arc<Board>,
        clock: &Clock,
    ) -> Result<Self> {
        let mut by_number = [NONE; MOST_PORTS as usize];
        for (index, port) in (0..).zip(&ports) {
            if let Some(entry) = by_number.get_mut(usize::from(port.number())) {
                *entry = index;
            }
        }
        let depth = ports.len() * usize::from(slots);
        Ok(AhciQueue {
            ports,
            by_number,
            is: hba.interrupt_status()?,
            hba: hba.clone(),
            tags: vec![Place { port: NONE, slot: 0 }; depth].into_boxed_slice(),
            interrupt,
            announced: false,
            fresh: 0,
            coalesced: 0,
            look_at: Time::default(),
            reporting: false,
            out: Outbox::default(),
            attention: false,
            board,
            clock: clock.clone(),
        })
    }

    pub(crate) fn ports(&self) -> &[Port] {
        &self.ports
    }

    pub(crate) fn ports_mut(&mut self) -> &mut [Port] {
        &mut self.ports
    }

    /// Gathered completions set this bit of IS.
    pub(crate) fn set_coalesced(&mut self, bit: u32) {
        self.coalesced = bit;
    }

    /// Begins anew after a reset of the controller.
    pub(crate) fn start(&mut self) -> Result<()> {
        let now = self.clock.now();
        self.fresh = 0;
        self.out.done.clear();
        self.out.stuck = false;
        for port in &mut self.ports {
            port.forget_commands();
            port.start(now, &mut self.out)?;
        }
        Ok(())
    }

    /// Puts links into other power states from now on.
    fn set_policy(&mut self, policy: LinkPower) {
        for port in &mut self.ports {
            port.set_policy(policy);
        }
    }

    /// Looks at all that an interrupt may have announced.
    fn look(&mut self, now: Time) -> Result<(), BlockError> {
        let mut busy = self.ports.iter_mut().filter(|port| port.issued() != 0);
        if let (Some(port), None) = (busy.next(), busy.next())
            && port.take_completions(&mut self.out)
        {
            // It was for this port alone, or else interrupts again.
            port.issue();
            self.is.write(1 << port.number() | self.coalesced);
            return Ok(());
        }
        let status = self.is.read();
        if status == ALL_ONES && !self.hba.is_present() {
            return Err(BlockError::Gone);
        }
        for port in &mut self.ports {
            let gathered = status & self.coalesced != 0 && port.issued() != 0;
            if status & 1 << port.number() == 0 && !gathered {
                continue;
            }
            if port.issued() != 0 && port.take_completions(&mut self.out) {
                port.issue();
            } else {
                port.serve(now, true, &mut self.out);
            }
        }
        if status != 0 {
            self.is.write(status);
        }
        Ok(())
    }

    /// Looks without an interrupt: for completions always, for errors now and then.
    fn look_polled(&mut self, now: Time) -> Result<(), BlockError> {
        for port in &mut self.ports {
            if port.issued() != 0 && port.take_finished(&mut self.out) {
                port.issue();
            }
        }
        if self.look_at <= now {
            self.look_at = now.plus(ERROR_LOOK);
            self.look(now)?;
        }
        Ok(())
    }

    /// Does what the controller asks, and reports when the disks have answered.
    fn answer_calls(&mut self) {
        if let Some(call) = self.board.take_call() {
            if let Some(policy) = call.policy {
                self.set_policy(policy);
            }
            if call.report {
                self.reporting = true;
                for port in &mut self.ports {
                    port.ask_for_report();
                }
            }
            let now = self.clock.now();
            for port in &mut self.ports {
                port.serve(now, false, &mut self.out);
            }
        }
        if self.reporting && self.ports.iter().all(Port::is_quiet) {
            self.reporting = false;
            let mut report = String::new();
            for port in &self.ports {
                port.report(&mut report);
            }
            self.board.set_report(report);
        }
    }
}

impl HardwareQueue for AhciQueue {
    fn depth(&self) -> u16 {
        #[allow(clippy::cast_possible_truncation, reason = "at most 32 ports with 32 slots")]
        let depth = self.tags.len() as u16;
        depth
    }

    #[inline]
    fn submit(&mut self, tag: u16, command: &Command<'_>) -> Result<(), SubmitError> {
        let (number, pm_port) = Port::place(command.disk);
        let index = self.by_number.get(usize::from(number)).copied().unwrap_or(NONE);
        let (Some(port), Some(place)) =
            (self.ports.get_mut(usize::from(index)), self.tags.get_mut(usize::from(tag)))
        else {
            return Err(BlockError::Gone.into());
        };
        let slot = port.submit(tag, command, pm_port)?;
        *place = Place { port: index, slot };
        self.fresh |= 1 << index;
        Ok(())
    }

    #[inline]
    fn commit(&mut self) {
        let mut fresh = std::mem::take(&mut self.fresh);
        while fresh != 0 {
            let index = fresh.trailing_zeros() as usize;
            fresh &= fresh - 1;
            if let Some(port) = self.ports.get_mut(index) {
                port.issue();
            }
        }
    }

    #[inline]
    fn reap(&mut self, completed: &mut Vec<Completed>) -> Result<(), BlockError> {
        let now = self.clock.coarse();
        if self.interrupt.is_none() {
            self.look_polled(now)?;
        } else if std::mem::take(&mut self.announced) {
            self.look(now)?;
        }
        for port in &mut self.ports {
            if port.due().is_some_and(|due| due <= now) {
                port.serve(now, false, &mut self.out);
            }
        }
        self.answer_calls();
        completed.append(&mut self.out.done);
        if !self.out.events.is_empty() {
            self.board.post(&mut self.out.events);
            self.attention = true;
        }
        if std::mem::take(&mut self.out.stuck) { Err(BlockError::Protocol) } else { Ok(()) }
    }

    fn interrupt(&self) -> Option<&Interrupt> {
        self.interrupt.as_ref()
    }

    #[inline]
    fn interrupted(&mut self) {
        self.announced = true;
    }

    fn due(&self) -> Option<Time> {
        if !self.out.done.is_empty() {
            return Some(Time::default());
        }
        self.ports.iter().filter_map(Port::due).min()
    }

    #[inline]
    fn attention(&mut self) -> bool {
        std::mem::take(&mut self.attention)
    }

    fn abort(&mut self, tag: u16) -> bool {
        let now = self.clock.now();
        let Some(place) = self.tags.get(usize::from(tag)) else { return false };
        let Some(port) = self.ports.get_mut(usize::from(place.port)) else { return false };
        port.abort(place.slot, now, &mut self.out);
        true
    }

    fn abort_handle(&self, tag: u16) -> u32 {
        tag.into()
    }
}
