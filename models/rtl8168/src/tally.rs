//! Counters that are written into memory on demand (8168B section 2.2).

use redox_driver_sys::model::Bus;
use rtl8168_spec::{
    registers::{Command, DTCCR, DTCCR_HIGH},
    tally::{ALIGN, DUMP, RESET, Tally},
};
use zerocopy::IntoBytes;

use crate::{core::Core, fault::LifecycleFault, violation::Violation};

impl Core {
    pub(crate) fn write_dtccr(&mut self, bus: &mut dyn Bus, value: u32) {
        let align = u32::try_from(ALIGN - 1).unwrap_or(0);
        if value & align & !(DUMP | RESET) != 0 {
            self.violation(Violation::Alignment(DTCCR));
        }
        self.set32(DTCCR, value);
        let command = value & (DUMP | RESET);
        if command == 0 {
            return;
        }
        if command == RESET && !self.config.chip.tally_reset {
            self.violation(Violation::Tally);
        }
        // Some chips do not answer while they do not receive.
        let answers = Command::from(self.cr).re() && !self.lifecycle(LifecycleFault::TallyHangs);
        self.tally_due = answers.then(|| bus.now().plus(self.config.access));
    }

    pub(crate) fn run_tally(&mut self, bus: &mut dyn Bus) {
        if self.tally_due.is_none_or(|due| due > bus.now()) {
            return;
        }
        self.tally_due = None;
        let command = self.get32(DTCCR);
        if command & RESET != 0 && self.config.chip.tally_reset {
            self.tally = Tally::default();
        }
        if command & DUMP != 0 {
            let address = u64::from(self.get32(DTCCR_HIGH)) << 32 | u64::from(command & !(DUMP | RESET));
            let tally = self.tally;
            // What is blocked is the host's to notice; the command stays then.
            if bus.dma_write(address, tally.as_bytes()).is_err() {
                return;
            }
        }
        self.set32(DTCCR, command & !(DUMP | RESET));
    }
}
