//! A text about everything.

use std::fmt::Write;

use super::Service;

impl Service {
    /// Units, clients with their domains and devices, and the last events.
    pub fn inspect(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, f: &mut String) -> std::fmt::Result {
        for (n, unit) in self.units.iter().enumerate() {
            let (firmware, capabilities, statistics) =
                (unit.firmware(), unit.capabilities(), unit.statistics());
            let state = if unit.is_working() { "working" } else { "FAILED" };
            writeln!(f, "unit {n}: {} at {:#x}, {state}", firmware.device, firmware.base)?;
            writeln!(f, "  levels      {}", capabilities.levels)?;
            writeln!(f, "  interrupts  {:?}", capabilities.interrupts)?;
            writeln!(f, "  batches     {}", statistics.batches)?;
            writeln!(f, "  restarts    {}", statistics.restarts)?;
            writeln!(f, "  events      {} ({} overflows)", statistics.events, statistics.overflows)?;
        }
        writeln!(f, "claimed devices: {}; unclaimed: {:?}", self.devices.claimed(), self.options.unclaimed)?;
        writeln!(f, "requests: {}", self.requests)?;
        writeln!(f, "refused requests: {}", self.refused)?;
        for client in self.clients.values() {
            writeln!(
                f,
                "client {}: {} memory objects, {} KiB in use, {} requests refused",
                client.caller,
                client.memory.len(),
                client.bytes() >> 10,
                client.refused
            )?;
            for (handle, owned) in &client.domains {
                let domain = &owned.domain;
                let devices = client.devices.iter().filter(|(_, of)| *of == handle);
                let devices: Vec<String> = devices.map(|(place, _)| place.device.to_string()).collect();
                writeln!(
                    f,
                    "  domain {}: {} mappings, {} tables, devices: {}",
                    domain.id(),
                    domain.mappings(),
                    domain.tables(),
                    if devices.is_empty() { "none".to_string() } else { devices.join(", ") }
                )?;
            }
        }
        writeln!(f, "events: {} ({} times some were lost)", self.recent.total, self.recent.lost)?;
        for event in &self.recent.last {
            writeln!(f, "  {event}")?;
        }
        Ok(())
    }
}
