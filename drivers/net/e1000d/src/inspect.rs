//! What people are told beside what the framework knows.

use std::fmt::Write;

use driver_network::NetDevice;

use crate::adapter::E1000;

impl E1000 {
    pub(crate) fn report(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write_report(&mut text);
        text
    }

    fn write_report(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "{}: {}", self.name(), self.chip().name)?;
        writeln!(text, "PHY: {}", self.phy())?;
        writeln!(text, "interrupts: {}", self.interrupt_kind())?;
        writeln!(text, "queues: {}", self.shared.len())?;
        writeln!(text, "largest MTU: {}", self.capabilities().mtu.end())?;
        writeln!(text, "resets: {}", self.resets())
    }
}
