//! The device's counters, summed up: reading clears them.

use std::sync::atomic::Ordering;

use driver_network::Statistics;
use e1000_spec::statistics::COUNTERS;
use redox_driver_sys::Result;

use crate::{adapter::E1000, registers::Registers};

/// Sums of all that was read, in the order of [`COUNTERS`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals([u64; COUNTERS.len()]);

impl Totals {
    /// Adds what was counted since the last time.
    pub(crate) fn update(&mut self, registers: &Registers) -> Result<()> {
        registers.status()?;
        for (total, counter) in self.0.iter_mut().zip(COUNTERS) {
            let mut value = u64::from(registers.take::<u32>(counter.offset)?);
            if counter.wide {
                value |= u64::from(registers.take::<u32>(counter.offset + 4)?) << 32;
            }
            *total = total.saturating_add(value);
        }
        Ok(())
    }
}

impl E1000 {
    pub(crate) fn collect(&mut self) -> Result<Statistics> {
        self.totals.update(&self.registers)?;
        let mut all: Statistics =
            COUNTERS.iter().zip(self.totals.0).map(|(counter, total)| (counter.name, total)).collect();
        let sum =
            |field: fn(&crate::queue::Shared) -> u64| self.shared.iter().map(|shared| field(shared)).sum();
        all.push(("rx_csum_offload_good", sum(|shared| shared.checksum_good.load(Ordering::Relaxed))));
        all.push(("rx_csum_offload_errors", sum(|shared| shared.checksum_bad.load(Ordering::Relaxed))));
        all.push(("rx_dropped", sum(|shared| shared.damaged.load(Ordering::Relaxed))));
        all.push(("resets", self.resets));
        Ok(all)
    }
}
