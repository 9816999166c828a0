//! The device's tally counters, summed up: some of them have 16 bits.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use driver_network::Statistics;
use redox_driver_sys::{
    Result,
    dma::{DmaAllocator, DmaSlice},
};
use rtl8168_spec::{
    registers::{CR, Command, DTCCR, DTCCR_HIGH},
    tally::{DUMP, RESET, Tally},
};

use crate::{adapter::Rtl8168, registers::Registers};

const TIMEOUT: Duration = Duration::from_millis(10);
const POLL: Duration = Duration::from_micros(10);

/// What was counted since the device was attached.
#[derive(Debug)]
pub(crate) struct Totals {
    memory: DmaSlice<Tally>,
    /// As the device had them last; `None` before the first look.
    last: Option<Tally>,
    sums: [u64; 13],
}

impl Totals {
    pub(crate) fn new(dma: &DmaAllocator) -> Result<Self> {
        Ok(Totals { memory: dma.allocate_slice(1)?, last: None, sums: [0; 13] })
    }

    fn command(&self, registers: &Registers, command: u32) -> Result<()> {
        let [a, b, c, d, e, f, g, h] = self.memory.addr().get().to_le_bytes();
        let low = u32::from_le_bytes([a, b, c, d]);
        registers.set(DTCCR_HIGH, u32::from_le_bytes([e, f, g, h]))?;
        registers.set(DTCCR, low)?;
        registers.set(DTCCR, low | command)?;
        registers.clock.poll_until("tally counters (DTCCR)", TIMEOUT, POLL, || {
            registers.present()?;
            Ok((registers.get::<u32>(DTCCR)? & (DUMP | RESET) == 0).then_some(()))
        })
    }

    /// Begins to count: what was counted before is nobody's. The device has to receive.
    pub(crate) fn begin(&mut self, registers: &Registers) -> Result<()> {
        if self.last.is_none() {
            if registers.chip.tally_reset {
                self.command(registers, RESET)?;
            }
            self.command(registers, DUMP)?;
            self.last = Some(self.memory.read(0));
        }
        Ok(())
    }

    /// Adds what was counted since the last time, if the device receives: some chips do not answer otherwise.
    pub(crate) fn update(&mut self, registers: &Registers) -> Result<()> {
        registers.present()?;
        if !registers.get::<Command>(CR)?.re() {
            return Ok(());
        }
        self.command(registers, DUMP)?;
        let now = self.memory.read(0);
        let last = self.last.replace(now).unwrap_or(now);
        for (sum, (_, more)) in self.sums.iter_mut().zip(now.since(&last).named()) {
            *sum = sum.saturating_add(more);
        }
        Ok(())
    }
}

impl Rtl8168 {
    pub(crate) fn collect(&mut self) -> Result<Statistics> {
        self.totals.update(&self.registers)?;
        let names = Tally::default().named();
        let mut all: Statistics =
            names.into_iter().zip(self.totals.sums).map(|((name, _), sum)| (name, sum)).collect();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        all.push(("rx_csum_offload_good", read(&self.shared.checksum_good)));
        all.push(("rx_csum_offload_errors", read(&self.shared.checksum_bad)));
        all.push(("rx_dropped", read(&self.shared.damaged)));
        all.push(("resets", self.resets));
        Ok(all)
    }
}
