//! A pair of queues, as its thread has it.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use driver_network::{Features, NetError, QueuePair, Received, SubmitError, TxPacket};
use redox_driver_sys::{
    dma::{DmaBuffer, Segment},
    irq::Interrupt,
    mmio::{ReadClears, Register},
    time::Time,
};
use virtio_spec::pci::InterruptStatus;

use crate::{rx::RxQueue, tx::TxQueue};

/// What of a pair others look at, and what they tell it.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// The active features.
    pub(crate) features: AtomicU32,
    pub(crate) tx_packets: AtomicU64,
    pub(crate) tx_bytes: AtomicU64,
    pub(crate) tx_kicks: AtomicU64,
    pub(crate) rx_packets: AtomicU64,
    pub(crate) rx_bytes: AtomicU64,
    pub(crate) rx_merged: AtomicU64,
    pub(crate) rx_dropped: AtomicU64,
    pub(crate) rx_kicks: AtomicU64,
    pub(crate) protocol_errors: AtomicU64,
}

/// How a pair is called.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) interrupt: Option<Interrupt>,
    /// Its MSI-X vector.
    pub(crate) vector: Option<u16>,
    /// With the interrupt pin: where its reason is read, which lets it fall.
    pub(crate) reason: Option<Register<InterruptStatus, ReadClears>>,
    /// The interrupt may be that of the configuration, and nothing tells.
    pub(crate) shared: bool,
}

/// A transmit queue and a receive queue.
#[derive(Debug)]
pub struct Pair {
    pub(crate) tx: TxQueue,
    pub(crate) rx: RxQueue,
    pub(crate) calls: Calls,
    pub(crate) shared: Arc<Shared>,
    pub(crate) attention: bool,
    pub(crate) gone: bool,
}

impl Pair {
    /// The device was reset.
    pub(crate) fn reset(&mut self, mtu: u16) {
        self.tx.reset(mtu);
        self.rx.reset(mtu);
        (self.attention, self.gone) = (false, false);
    }

    /// How often the device was notified: of packets to send, and of receive buffers.
    pub fn notifications(&self) -> (u64, u64) {
        (self.tx.queue.notifications(), self.rx.queue.notifications())
    }

    /// Only this thread writes them.
    fn publish(&self) {
        let shared = &self.shared;
        for (target, value) in [
            (&shared.tx_packets, self.tx.packets),
            (&shared.tx_bytes, self.tx.bytes),
            (&shared.tx_kicks, self.tx.queue.notifications()),
            (&shared.rx_packets, self.rx.counts.packets),
            (&shared.rx_bytes, self.rx.counts.bytes),
            (&shared.rx_merged, self.rx.counts.merged),
            (&shared.rx_dropped, self.rx.counts.dropped),
            (&shared.rx_kicks, self.rx.queue.notifications()),
        ] {
            target.store(value, Ordering::Relaxed);
        }
    }

    fn count(&self, result: Result<(), NetError>) -> Result<(), NetError> {
        if result.is_err() {
            self.shared.protocol_errors.fetch_add(1, Ordering::Relaxed);
        }
        result
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

    fn lend(&mut self, buffers: &[DmaBuffer]) {
        self.rx.lend(buffers);
    }

    #[inline]
    fn post(&mut self, tag: u16, buffer: Segment) {
        self.rx.post(tag, buffer);
    }

    #[inline]
    fn commit(&mut self) {
        self.tx.queue.commit();
        self.rx.queue.commit();
        self.publish();
    }

    #[inline]
    fn reap(&mut self, done: &mut Vec<u16>) -> Result<(), NetError> {
        if self.gone {
            return Err(NetError::Gone);
        }
        let reaped = self.tx.reap(done);
        self.count(reaped)
    }

    #[inline]
    fn receive(&mut self, budget: usize, received: &mut Received) -> Result<(), NetError> {
        if self.gone {
            return Err(NetError::Gone);
        }
        let active = Features::from_bits_truncate(self.shared.features.load(Ordering::Relaxed));
        let taken = self.rx.receive(budget, active, received);
        self.count(taken)
    }

    fn interrupts(&self) -> [Option<&Interrupt>; 2] {
        [self.calls.interrupt.as_ref(), None]
    }

    fn interrupted(&mut self) {
        if let Some(reason) = &self.calls.reason {
            let status = reason.read_and_clear();
            // All ones are what a device that is gone reads as.
            self.gone |= u8::from(status) == u8::MAX;
            self.attention |= status.configuration();
        }
        self.attention |= self.calls.shared;
    }

    fn arm(&mut self, _: Time) -> bool {
        let received = self.rx.queue.arm();
        self.tx.queue.arm() || received
    }

    fn attention(&mut self) -> bool {
        std::mem::take(&mut self.attention)
    }
}
