//! What a network driver implements.
//!
//! A [`NetDevice`] owns the device; each of its [`QueuePair`]s is owned by one thread, which submits, posts, commits, reaps and
//! receives without a lock. For a reset the pairs travel back to the device: while it works on them, nobody else can.

use std::{ops::RangeInclusive, time::Duration};

use redox_driver_sys::{irq::Interrupt, time::Time};

use crate::{
    error::NetError,
    queue::QueuePair,
    settings::{Features, Link, Settings, Shape, WakeOn},
};

/// What the checksum field of a packet that is to be cut must hold, and its length fields with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PseudoHeader {
    /// The sum over the pseudo header with the length of the whole packet, as for a packet that is not cut (virtio).
    WithLength,
    /// The sum over the pseudo header with a length of 0; the IP header's length and IPv4 checksum fields are 0 too (e1000, RTL8168).
    WithoutLength,
}

/// What a device can do. It stays the same as long as the device is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// What may be among the active features.
    pub features: Features,
    /// What the MTU may be: payload bytes of a frame.
    pub mtu: RangeInclusive<u16>,
    /// Most pieces of a packet that is sent; at least 1, at most [`MAX_FRAGMENTS`](crate::MAX_FRAGMENTS).
    pub max_segments: u16,
    /// Most bytes of a packet that is to be cut, with its headers. Means nothing without TSO.
    pub max_tso_len: u32,
    /// What a packet that is to be cut must look like. Means nothing without TSO.
    pub pseudo_header: PseudoHeader,
    /// What [`Shape::tx_ring`] may be.
    pub tx_ring: RangeInclusive<u16>,
    /// What [`Shape::rx_ring`] may be.
    pub rx_ring: RangeInclusive<u16>,
    /// Most pairs of queues.
    pub queues: u16,
    /// What the device can wake the machine up for.
    pub wake_on: WakeOn,
}

/// Something that happened to a device by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetEvent {
    /// The link came, went, or changed its speed.
    LinkChanged(Link),
    /// The device is in a state that only a reset ends; the text says which.
    ResetNeeded(String),
}

/// Counters by name, in a fixed order; names are those of Linux's `ethtool -S` where it has one: `rx_packets`, `rx_crc_errors`.
pub type Statistics = Vec<(&'static str, u64)>;

/// A network device with its queues.
pub trait NetDevice: Send {
    /// Its pairs of queues.
    type Queue: QueuePair;

    /// For logs and scheme names: `pci-0000-00-06.0_e1000`.
    fn name(&self) -> &str;

    /// What it can do.
    fn capabilities(&self) -> &Capabilities;

    /// Hands out pairs of queues, once, at most as many as the caller has a use for. All frames come by these from then on. They neither send nor
    /// receive before [`start`](Self::start).
    fn take_queues(&mut self, most: usize) -> Vec<Self::Queue>;

    /// How it is set.
    fn settings(&self) -> &Settings;

    /// How its rings and frames are.
    fn shape(&self) -> Shape;

    /// The state of the link, as it was found last: by [`poll`](Self::poll), or at the start.
    fn link(&self) -> Link;

    /// Frames go both ways from now on, and interrupts come. After the first [`take_queues`](Self::take_queues), and after each
    /// [`reset`](Self::reset), once buffers were posted.
    ///
    /// # Errors
    /// [`NetError::Gone`] when the device is no longer there.
    fn start(&mut self) -> Result<(), NetError>;

    /// Changes what can be changed while queues are running.
    ///
    /// # Errors
    /// [`NetError::Invalid`] or [`NetError::Unsupported`] for what the device cannot do; nothing has changed then.
    fn configure(&mut self, settings: &Settings) -> Result<(), NetError>;

    /// The interrupt of everything that is no queue's; `None` when the queues call by [`QueuePair::attention`], or when it is polled.
    fn interrupt(&self) -> Option<&Interrupt>;

    /// Serves what is no queue's, without waiting: changes of the link, hangs. Called when [`interrupt`](Self::interrupt) or a
    /// queue calls, and when what it answered is due.
    ///
    /// # Errors
    /// [`NetError::Gone`] when the device is no longer there.
    fn poll(&mut self, now: Time, events: &mut Vec<NetEvent>) -> Result<Option<Time>, NetError>;

    /// How long a packet may take to be sent while the link is up, before the device is reset.
    fn transmit_timeout(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// Resets the device and sets it up again with its settings and a shape, with the queues that the caller gives back, in their order.
    /// No packet or buffer that was in flight is touched any more, none is reported, and all tags are free.
    ///
    /// # Errors
    /// [`NetError::Invalid`] for a shape that the device cannot have. Otherwise the device could not be brought back; it is off, does no DMA,
    /// and the queues are gone.
    fn reset(&mut self, queues: Vec<Self::Queue>, shape: Shape) -> Result<Vec<Self::Queue>, NetError>;

    /// The counters, of which those in the device may be read and cleared by it.
    ///
    /// # Errors
    /// [`NetError::Gone`], [`NetError::TimedOut`].
    fn statistics(&mut self) -> Result<Statistics, NetError>;

    /// Ends orderly: no more frames, no DMA, and what is to wake the machine up is set.
    ///
    /// # Errors
    /// The device did not confirm; DMA has ended all the same.
    fn shutdown(&mut self, queues: Vec<Self::Queue>, wake_on: WakeOn) -> Result<(), NetError>;

    /// A report for people: identity, link, health.
    fn inspect(&mut self) -> String {
        String::new()
    }
}
