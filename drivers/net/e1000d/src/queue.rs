//! A pair of rings, as its thread has it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use common::itr::Itr;
use driver_network::{NetError, QueuePair, Received, SubmitError, TxPacket};
use e1000_spec::registers::{Causes, THROTTLE_UNIT_NANOS};
use redox_driver_sys::{
    dma::Segment,
    irq::Interrupt,
    mmio::{ReadClears, Register, WriteOnly},
    time::Time,
};

use crate::{rx::RxRing, tx::TxRing};

/// What of a pair others look at.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Receive descriptors that were taken since the rings were set up. Where the ring stands may be the same after a round, this is not.
    pub(crate) consumed: AtomicU64,
    pub(crate) checksum_good: AtomicU64,
    pub(crate) checksum_bad: AtomicU64,
    pub(crate) damaged: AtomicU64,
}

/// How a pair is called, and how it says that it wants to be.
#[derive(Debug)]
pub(crate) struct Calls {
    /// INTx and MSI: the reason, which reading clears; then everything has to be masked. Vectors mask themselves.
    pub(crate) reason: Option<(Register<Causes, ReadClears>, Register<u32, WriteOnly>)>,
    pub(crate) unmask: Register<u32, WriteOnly>,
    /// What is unmasked.
    pub(crate) mask: Causes,
    pub(crate) throttles: [Option<Register<u32, WriteOnly>>; 2],
    pub(crate) interrupts: [Option<Interrupt>; 2],
}

/// A transmit ring and a receive ring.
#[derive(Debug)]
pub struct Pair {
    pub(crate) tx: TxRing,
    pub(crate) rx: RxRing,
    pub(crate) calls: Calls,
    pub(crate) itr: Itr,
    pub(crate) shared: Arc<Shared>,
    pub(crate) attention: bool,
    pub(crate) gone: bool,
}

impl Pair {
    fn publish(&mut self) {
        let counts = std::mem::take(&mut self.rx.counts);
        self.shared.consumed.store(self.rx.consumed(), Ordering::Relaxed);
        self.shared.checksum_good.fetch_add(counts.checksum_good, Ordering::Relaxed);
        if counts.checksum_bad + counts.damaged > 0 {
            self.shared.checksum_bad.fetch_add(counts.checksum_bad, Ordering::Relaxed);
            self.shared.damaged.fetch_add(counts.damaged, Ordering::Relaxed);
        }
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
        self.rx.commit();
    }

    #[inline]
    fn reap(&mut self, done: &mut Vec<u16>) -> Result<(), NetError> {
        if self.gone {
            return Err(NetError::Gone);
        }
        let found = self.tx.reap(done);
        self.itr.record(found.packets, found.bytes);
        Ok(())
    }

    #[inline]
    fn receive(&mut self, budget: usize, received: &mut Received) -> Result<(), NetError> {
        if self.gone {
            return Err(NetError::Gone);
        }
        let found = self.rx.receive(budget, received)?;
        if found.packets > 0 {
            self.itr.record(found.packets, found.bytes);
            self.publish();
        }
        Ok(())
    }

    fn interrupts(&self) -> [Option<&Interrupt>; 2] {
        self.calls.interrupts.each_ref().map(Option::as_ref)
    }

    fn interrupted(&mut self) {
        let Some((reason, mask)) = &self.calls.reason else { return };
        let causes = reason.read_and_clear();
        mask.write(u32::MAX);
        if causes.into_bits() == u32::MAX {
            self.gone = true;
        }
        self.attention |= causes.lsc() || causes.rxseq();
    }

    fn arm(&mut self, now: Time) -> bool {
        if let Some(interval) = self.itr.decide(now) {
            let units = interval.as_nanos() / u128::from(THROTTLE_UNIT_NANOS);
            let units = u32::try_from(units).unwrap_or(u32::MAX).min(0xffff);
            for throttle in self.calls.throttles.iter().flatten() {
                throttle.write(units);
            }
        }
        // What came meanwhile is still among the causes: the device interrupts as soon as it may.
        self.calls.unmask.write(self.calls.mask.into_bits());
        false
    }

    fn attention(&mut self) -> bool {
        std::mem::take(&mut self.attention)
    }
}
