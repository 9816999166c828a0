//! What people are told beside what the framework knows.

use std::fmt::Write;

use driver_network::NetDevice;
use rtl8168_spec::registers::TxConfig;

use crate::adapter::Rtl8168;

impl Rtl8168 {
    pub(crate) fn report(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write_report(&mut text);
        text
    }

    fn write_report(&self, text: &mut String) -> std::fmt::Result {
        let xid = self.registers.present().map(TxConfig::xid).unwrap_or(0);
        writeln!(text, "{}: {}, XID {xid:03x}", self.name(), self.chip().name)?;
        writeln!(text, "PHY: {}", self.phy())?;
        writeln!(text, "interrupts: {}", self.interrupt_kind())?;
        writeln!(text, "largest MTU: {}", self.capabilities().mtu.end())?;
        writeln!(text, "resets: {}", self.resets())
    }
}
