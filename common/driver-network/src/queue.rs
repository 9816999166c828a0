//! What a driver implements for a pair of rings.

use redox_driver_sys::{
    dma::{DmaBuffer, Segment},
    irq::Interrupt,
    time::Time,
};

use crate::{
    error::NetError,
    packet::{Received, TxPacket},
};

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// No room now; there will be when packets have been sent.
    #[error("ring is full")]
    Full,
    /// The packet can never be taken; it is dropped and counted.
    #[error("the device cannot send this packet")]
    Refused,
}

/// A transmit ring and a receive ring, owned by one thread.
///
/// Memory is the framework's. A transmit tag names a packet from [`submit`](Self::submit) until [`reap`](Self::reap) reports
/// it, a receive tag a buffer from [`post`](Self::post) until [`receive`](Self::receive) reports it; each of `0..tx_depth()` and
/// `0..rx_depth()` is in use at most once at a time. Entries of the device that fit no tag in use are the driver's to count and to
/// ignore, or to fail over. After [`NetDevice::reset`](crate::NetDevice::reset) none is in use.
pub trait QueuePair: Send {
    /// Most packets in flight.
    fn tx_depth(&self) -> u16;

    /// Most buffers posted.
    fn rx_depth(&self) -> u16;

    /// Length in bytes of each receive buffer. Only a reset changes it. A frame that is longer takes several.
    fn rx_buffer_len(&self) -> u32;

    /// Puts a packet into the transmit ring. The device need not see it before [`commit`](Self::commit).
    ///
    /// # Errors
    /// [`SubmitError::Full`], or [`SubmitError::Refused`] for what the device cannot do.
    fn submit(&mut self, tag: u16, packet: &TxPacket<'_>) -> Result<(), SubmitError>;

    /// The memory of the receive buffers, by tag, before they are posted for the first time after a start or a reset: for a device that writes
    /// what it says about a packet in front of it.
    fn lend(&mut self, buffers: &[DmaBuffer]) {
        let _ = buffers;
    }

    /// Gives a receive buffer of [`rx_buffer_len`](Self::rx_buffer_len) bytes to the device; there is room for every tag. The device need not
    /// see it before [`commit`](Self::commit).
    fn post(&mut self, tag: u16, buffer: Segment);

    /// Shows the device everything that was submitted and posted: at most one doorbell for each ring.
    fn commit(&mut self);

    /// Appends the tags of packets that have been sent, and whose memory the device needs no longer, to `done`.
    ///
    /// # Errors
    /// [`NetError::Gone`] or [`NetError::Protocol`] when the device must be reset.
    fn reap(&mut self, done: &mut Vec<u16>) -> Result<(), NetError>;

    /// Appends at most `budget` received packets. A packet is reported when all of it has arrived.
    ///
    /// # Errors
    /// [`NetError::Gone`] or [`NetError::Protocol`] when the device must be reset.
    fn receive(&mut self, budget: usize, received: &mut Received) -> Result<(), NetError>;

    /// The interrupts of the pair: one, two, or none for a polled one. An interrupt that several pairs share belongs to one of them, whose
    /// thread then serves it.
    fn interrupts(&self) -> [Option<&Interrupt>; 2];

    /// One of the interrupts came, and was taken. No further one is wanted until [`arm`](Self::arm): where reading the reason costs a
    /// register access, it is read here and once.
    fn interrupted(&mut self);

    /// Nothing more is to be done: interrupts are wanted again, at the rate that the driver finds right for what it has seen since
    /// the last call. True: something came meanwhile, do not wait.
    fn arm(&mut self, now: Time) -> bool;

    /// When [`reap`](Self::reap) and [`receive`](Self::receive) have something to do though no interrupt comes.
    fn due(&self) -> Option<Time> {
        None
    }

    /// Whether something was found since the last call that is for [`NetDevice::poll`](crate::NetDevice::poll), such as a change of
    /// the link that came with a shared interrupt.
    fn attention(&mut self) -> bool {
        false
    }
}
