//! The pair of rings, as its thread has it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU64, Ordering},
    },
    time::Duration,
};

use common::itr::Itr;
use driver_network::{NetError, QueuePair, Received, SubmitError, TxPacket};
use redox_driver_sys::{
    dma::Segment,
    irq::Interrupt,
    mmio::{ReadWrite, Register, WriteOnly},
    time::Time,
};
use rtl8168_spec::registers::{Events, Mitigation};

use crate::{rx::RxRing, tx::TxRing};

/// What interrupts.
pub(crate) const EVENTS: Events = Events::new()
    .with_rok(true)
    .with_rer(true)
    .with_tok(true)
    .with_ter(true)
    .with_rdu(true)
    .with_link(true)
    .with_fovw(true)
    .with_serr(true);
/// What is for the device to look at.
const ATTENTION: Events = Events::new().with_link(true).with_fovw(true).with_serr(true);
/// CPLUS.time_unit: at 1000 Mb/s a unit is 40 us.
pub(crate) const TIME_UNIT: u8 = 1;
const UNIT: Duration = Duration::from_micros(40);
/// So many frames do not wait for the end of the time: 60.
const FRAMES: u8 = 15;
/// How far is looked for descriptors behind one that was passed over, each time, before the device comes round to it again; and how
/// often through all of them.
const NEAR: u16 = 8;
const SCAN: Duration = Duration::from_millis(500);

/// What of the pair others look at.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// [`Events`] that came and were not looked at yet.
    pub(crate) events: AtomicU16,
    pub(crate) checksum_good: AtomicU64,
    pub(crate) checksum_bad: AtomicU64,
    pub(crate) damaged: AtomicU64,
}

/// How the pair is called, and how it says that it wants to be.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) status: Register<Events, ReadWrite>,
    pub(crate) mask: Register<Events, WriteOnly>,
    pub(crate) mitigation: Register<Mitigation, WriteOnly>,
    pub(crate) interrupt: Option<Interrupt>,
}

/// The transmit ring and the receive ring.
#[derive(Debug)]
pub struct Pair {
    pub(crate) tx: TxRing,
    pub(crate) rx: RxRing,
    pub(crate) calls: Calls,
    pub(crate) itr: Itr,
    pub(crate) shared: Arc<Shared>,
    /// When descriptors were looked through last.
    pub(crate) scanned: Time,
    pub(crate) attention: bool,
    pub(crate) broken: Option<NetError>,
}

/// How long interrupts wait, so that there is at least `interval` between two.
fn mitigation(interval: Duration) -> Mitigation {
    let units = u8::try_from(interval.as_nanos() / UNIT.as_nanos()).unwrap_or(u8::MAX).min(15);
    if units == 0 {
        return Mitigation::new();
    }
    Mitigation::new().with_rx_time(units).with_rx_frames(FRAMES).with_tx_time(units).with_tx_frames(FRAMES)
}

impl Pair {
    /// The device was reset.
    pub(crate) fn restart(&mut self, max_frame: u32, buffer_len: u16) {
        self.tx.restart(max_frame);
        self.rx.restart(buffer_len);
        self.itr.forget();
        self.attention = false;
        self.broken = None;
        self.shared.events.store(0, Ordering::Relaxed);
    }

    fn publish(&mut self) {
        let counts = std::mem::take(&mut self.rx.counts);
        self.shared.checksum_good.fetch_add(counts.checksum_good, Ordering::Relaxed);
        if counts.checksum_bad + counts.damaged > 0 {
            self.shared.checksum_bad.fetch_add(counts.checksum_bad, Ordering::Relaxed);
            self.shared.damaged.fetch_add(counts.damaged, Ordering::Relaxed);
        }
    }

    fn check(&self) -> Result<(), NetError> {
        self.broken.map_or(Ok(()), Err)
    }
}

impl QueuePair for Pair {
    fn tx_depth(&self) -> u16 {
        self.tx.depth()
    }

    fn rx_depth(&self) -> u16 {
        self.rx.depth()
    }

    fn rx_buffer_len(&self) -> u32 {
        self.rx.buffer_len()
    }

    #[inline]
    fn submit(&mut self, tag: u16, packet: &TxPacket<'_>) -> Result<(), SubmitError> {
        self.tx.submit(tag, packet)
    }

    #[inline]
    fn post(&mut self, tag: u16, buffer: Segment) {
        self.rx.post(tag, buffer);
    }

    #[inline]
    fn commit(&mut self) {
        self.tx.commit();
    }

    #[inline]
    fn reap(&mut self, done: &mut Vec<u16>) -> Result<(), NetError> {
        self.check()?;
        let found = self.tx.reap(done);
        self.itr.record(found.packets, found.bytes);
        Ok(())
    }

    #[inline]
    fn receive(&mut self, budget: usize, received: &mut Received) -> Result<(), NetError> {
        self.check()?;
        let found = self.rx.receive(budget, received)?;
        if found.packets > 0 {
            self.itr.record(found.packets, found.bytes);
            self.publish();
        }
        Ok(())
    }

    fn interrupts(&self) -> [Option<&Interrupt>; 2] {
        [self.calls.interrupt.as_ref(), None]
    }

    fn interrupted(&mut self) {
        let events = self.calls.status.read();
        if events.into_bits() == u16::MAX {
            self.broken = Some(NetError::Gone);
            return;
        }
        self.calls.mask.write(Events::new());
        // Before the rings are looked at: what comes from now on is told again.
        self.calls.status.write(events);
        let attention = events.into_bits() & ATTENTION.into_bits();
        if attention != 0 {
            self.shared.events.fetch_or(attention, Ordering::Relaxed);
            self.attention = true;
        }
    }

    fn arm(&mut self, now: Time) -> bool {
        if let Some(interval) = self.itr.decide(now) {
            self.calls.mitigation.write(mitigation(interval));
        }
        let all = now.since(self.scanned) >= SCAN;
        if all {
            self.scanned = now;
        }
        if self.rx.is_passed_over(if all { u16::MAX } else { NEAR }) {
            log::warn!("a receive descriptor is never given back");
            self.broken = Some(NetError::Protocol);
            return true;
        }
        // What came meanwhile is still in the status: the device interrupts at once.
        self.calls.mask.write(EVENTS);
        false
    }

    fn attention(&mut self) -> bool {
        std::mem::take(&mut self.attention)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_interval_is_none() {
        assert_eq!(mitigation(Duration::from_micros(14)), Mitigation::new());
        assert_eq!(mitigation(Duration::from_micros(250)).rx_time(), 6);
        assert_eq!(mitigation(Duration::from_secs(1)).tx_time(), 15);
    }
}
