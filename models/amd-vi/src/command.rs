//! Commands (section 2.4).

use amd_vi_spec::{
    Command, CompletionWait, EventCode, EventFlags, EventLogEntry, HardwareError, InvalidatePagesRange,
    Operation, registers::Status,
};
use redox_driver_sys::model::Bus;

use crate::{core::Core, fault::Action, violation::Violation};

/// What becomes of a command beside what it says.
#[derive(Default)]
struct Strike {
    drop_store: bool,
    corrupt_store: u64,
    lose_interrupt: bool,
}

impl Core {
    /// Commands may have come.
    pub(crate) fn commands_written(&mut self, bus: &mut dyn Bus) {
        if self.command_due.is_none() && self.has_commands() {
            self.command_due = Some(bus.now().plus(self.config.command_time));
        }
        if self.config.command_time.is_zero() {
            self.run_commands(bus);
        }
    }

    fn has_commands(&self) -> bool {
        self.status.cmd_buf_run() && !self.hung && self.commands.head != self.commands.tail
    }

    /// Carries out what is due: at most a ring full.
    pub(crate) fn run_commands(&mut self, bus: &mut dyn Bus) {
        let most = self.commands.base.bytes() / amd_vi_spec::registers::RING_ENTRY;
        for _ in 0..most {
            if self.command_due.is_none_or(|due| due > bus.now()) || self.removed || !self.has_commands() {
                break;
            }
            self.next_command(bus);
            let due = bus.now().plus(self.config.command_time);
            // A fault may have put it off.
            self.command_due = self.command_due.map(|before| before.max(due));
        }
        if !self.has_commands() {
            self.command_due = None;
        }
    }

    fn next_command(&mut self, bus: &mut dyn Bus) {
        let place = self.commands.at(self.commands.head);
        let mut bytes = [0; 16];
        let fetched = bus.dma_read(place, &mut bytes).is_ok();
        let command: Command = zerocopy::transmute!(bytes);
        let mut strike = Strike::default();
        let actions = match std::mem::replace(&mut self.command_struck, false) {
            true => Vec::new(),
            false => self.faults.strike(|only| only.matches(command.opcode())),
        };
        for action in actions {
            match action {
                Action::Delay(time) => {
                    self.command_struck = true;
                    self.command_due = Some(bus.now().plus(time));
                    return;
                }
                Action::DropStore => strike.drop_store = true,
                Action::CorruptStore(bits) => strike.corrupt_store = bits,
                Action::LoseInterrupt => strike.lose_interrupt = true,
                Action::Hang => {
                    self.hung = true;
                    return;
                }
                Action::Illegal => return self.illegal(bus, place),
                Action::HardwareError => return self.unreadable(bus, place),
                Action::SpuriousEvent(flags, address) => {
                    self.log(bus, EventLogEntry { flags: EventFlags::from(flags), address });
                }
                Action::Overflow => self.overflow(bus),
                Action::Remove => {
                    self.removed = true;
                    return;
                }
            }
        }
        if !fetched {
            return self.unreadable(bus, place);
        }
        if command.reserved_bits() != Command::default() {
            self.violate(Violation::Command(command));
            return self.illegal(bus, place);
        }
        if !self.carry_out(bus, command, &strike) {
            self.violate(Violation::Command(command));
            return self.illegal(bus, place);
        }
        self.statistics.commands += 1;
        self.commands.head = self.commands.after(self.commands.head);
    }

    /// Does what a command says; `false`: it is none of this unit.
    fn carry_out(&mut self, bus: &mut dyn Bus, command: Command, strike: &Strike) -> bool {
        match command.operation() {
            Operation::CompletionWait { wait, data } => return self.complete(bus, wait, data, strike),
            Operation::InvalidateDevtabEntry(device) => {
                self.caches.forget_device(device);
                self.suppressed.retain(|&other| other != device);
            }
            Operation::InvalidateIommuPages { domain, range, .. } => {
                if range.guest() && !self.config.features.gt_sup() {
                    return false;
                }
                self.statistics.page_invalidations += 1;
                self.caches.forget_pages(domain, range.range(), range.pde());
            }
            Operation::InvalidateInterruptTable(device) => self.caches.forget_interrupts(device),
            Operation::InvalidateIommuAll => {
                if !self.config.features.ia_sup() {
                    return false;
                }
                self.caches.clear();
                self.suppressed.clear();
            }
            Operation::PrefetchIommuPages(_) => return self.config.features.pref_sup(),
            Operation::CompletePprRequest(_) => return self.config.features.ppr_sup(),
            // No device of this machine has an IOTLB of its own.
            Operation::InvalidateIotlbPages { range, .. } => {
                return range.kind() == InvalidatePagesRange::new().kind();
            }
            _ => return false,
        }
        true
    }

    fn complete(&mut self, bus: &mut dyn Bus, wait: CompletionWait, data: u64, strike: &Strike) -> bool {
        self.statistics.completion_waits += 1;
        if wait.store() && !strike.drop_store {
            let data = data ^ strike.corrupt_store;
            // Where there is no memory, the store goes nowhere.
            let _ = bus.dma_write(wait.store_to() << 3, &data.to_le_bytes());
        }
        if wait.interrupt() && !strike.lose_interrupt {
            self.interrupt(bus, Status::new().with_com_wait_int(true), self.control.com_wait_int_en());
        }
        true
    }

    fn illegal(&mut self, bus: &mut dyn Bus, address: u64) {
        self.stop(bus, EventCode::ILLEGAL_COMMAND_ERROR, 0, address);
    }

    fn unreadable(&mut self, bus: &mut dyn Bus, address: u64) {
        self.stop(bus, EventCode::COMMAND_HARDWARE_ERROR, HardwareError::MASTER_ABORT, address);
    }

    /// Commands are no longer carried out; the head pointer stays where the bad one is.
    fn stop(&mut self, bus: &mut dyn Bus, code: EventCode, kind: u8, address: u64) {
        self.status = self.status.with_cmd_buf_run(false);
        self.log(bus, EventLogEntry { flags: EventFlags::new().with_code(code.0).with_kind(kind), address });
    }
}
