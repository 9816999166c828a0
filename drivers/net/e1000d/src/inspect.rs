//! A report for people.

use std::fmt::Write;

use driver_network::NetDevice;

use crate::adapter::E1000;

impl E1000 {
    pub(crate) fn report(&mut self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write_report(&mut text);
        text
    }

    fn write_report(&mut self, text: &mut String) -> std::fmt::Result {
        let shape = self.shape();
        let settings = self.settings();
        writeln!(text, "{}: {}", self.name(), self.chip().name)?;
        writeln!(text, "  address: {}", settings.address)?;
        writeln!(text, "  PHY: {}", self.phy())?;
        writeln!(text, "  link: {}", self.link())?;
        writeln!(text, "  interrupts: {}", self.interrupt_kind())?;
        let (queues, tx, rx) = (self.capabilities().queues, shape.tx_ring, shape.rx_ring);
        writeln!(text, "  queues: {queues} of {tx} transmit and {rx} receive descriptors")?;
        writeln!(text, "  MTU: {} of at most {}", shape.mtu, self.capabilities().mtu.end())?;
        writeln!(text, "  features: {:?}", settings.features)?;
        match self.statistics() {
            Ok(statistics) => {
                for (name, value) in statistics.iter().filter(|(_, value)| *value > 0) {
                    writeln!(text, "  {name}: {value}")?;
                }
                Ok(())
            }
            Err(error) => writeln!(text, "  counters: {error}"),
        }
    }
}
