//! Interrupts by MSI-X or by the pin (sections 4.1.4.5 and 4.1.5.3).

use redox_driver_sys::{irq::InterruptKind, model::Bus};
use virtio_spec::pci::{InterruptStatus, NO_VECTOR};

#[derive(Debug, Default)]
pub(crate) struct Interrupts {
    /// The ISR status, which the pin follows.
    status: InterruptStatus,
    /// A change of the configuration is to be announced, as soon as there is a machine to do it in.
    pub(crate) configuration_due: bool,
    /// The pin is to be lowered, likewise.
    pub(crate) stale_pin: bool,
    sent: u64,
}

impl Interrupts {
    /// A queue has used chains.
    pub(crate) fn queue(&mut self, bus: &mut dyn Bus, vector: u16) {
        self.send(bus, vector, InterruptStatus::new().with_queue(true));
    }

    /// The configuration changed.
    pub(crate) fn configuration(&mut self, bus: &mut dyn Bus, vector: u16) {
        self.configuration_due = false;
        self.send(bus, vector, InterruptStatus::new().with_configuration(true));
    }

    fn send(&mut self, bus: &mut dyn Bus, vector: u16, reason: InterruptStatus) {
        match bus.interrupt_kind() {
            Some(InterruptKind::MsiX) if vector != NO_VECTOR => {
                self.sent += 1;
                bus.message(vector);
            }
            Some(InterruptKind::Intx) => {
                let before = u8::from(self.status);
                self.status = (before | u8::from(reason)).into();
                self.sent += u64::from(before == 0);
                bus.set_intx(true);
            }
            _ => {}
        }
    }

    /// An interrupt without a reason.
    pub(crate) fn spurious(&mut self, bus: &mut dyn Bus, vector: u16) {
        match bus.interrupt_kind() {
            Some(InterruptKind::MsiX) if vector != NO_VECTOR => bus.message(vector),
            Some(InterruptKind::Intx) => {
                bus.set_intx(true);
                bus.set_intx(u8::from(self.status) != 0);
            }
            _ => {}
        }
    }

    /// Reads the status, which clears it and lowers the pin.
    pub(crate) fn take_status(&mut self, bus: &mut dyn Bus) -> InterruptStatus {
        bus.set_intx(false);
        std::mem::take(&mut self.status)
    }

    /// The device was reset.
    pub(crate) fn reset(&mut self) {
        self.status = InterruptStatus::new();
        self.configuration_due = false;
        self.stale_pin = true;
    }

    /// Does what waited for a machine.
    pub(crate) fn run(&mut self, bus: &mut dyn Bus, configuration_vector: u16) {
        if std::mem::take(&mut self.stale_pin) {
            bus.set_intx(false);
        }
        if self.configuration_due {
            self.configuration(bus, configuration_vector);
        }
    }

    /// Whether [`run`](Self::run) has something to do.
    pub(crate) fn is_due(&self) -> bool {
        self.configuration_due || self.stale_pin
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }
}
