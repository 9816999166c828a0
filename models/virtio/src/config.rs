//! What the transport of a modelled device is like.

use std::time::Duration;

use virtio_spec::Features;

/// Properties of the transport that do not change while the device runs. [`Default`] is a device that has everything.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// The device id of a transitional device, where the type has one.
    pub transitional: bool,
    /// Whether there are structures for version 1. Without them the device is a legacy one.
    pub modern: bool,
    /// MSI-X vectors; 0: no MSI-X.
    pub msix_vectors: u16,
    /// Queues and configuration that can have a vector at a time; more are answered "no vector".
    pub vector_resources: u16,
    /// Whether there is an interrupt pin.
    pub interrupt_pin: bool,
    /// Features of rings and transport that are offered.
    pub features: Features,
    /// Entries of the largest queue.
    pub queue_size: u16,
    /// Bytes between the notification addresses of queues; 0: all the same.
    pub notify_multiplier: u32,
    /// How long things take.
    pub latency: Latency,
    /// Seed of all that happens by chance.
    pub seed: u64,
}

/// How long things take, in virtual time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// Resetting the device.
    pub reset: Duration,
    /// Resetting a queue.
    pub queue_reset: Duration,
    /// From a notification to the fetching of what is there.
    pub notification: Duration,
    /// A request.
    pub request: Duration,
    /// At most this much more, by chance, for each request: requests overtake each other.
    pub jitter: Duration,
}

impl Default for Latency {
    fn default() -> Self {
        Latency {
            reset: Duration::from_micros(500),
            queue_reset: Duration::from_micros(100),
            notification: Duration::from_micros(1),
            request: Duration::from_micros(10),
            jitter: Duration::ZERO,
        }
    }
}

impl TransportConfig {
    /// All features of rings and transport that the model has, less packed rings and the in-order rule.
    pub const FEATURES: Features = Features::from_bits_retain(
        Features::VERSION_1.bits()
            | Features::ACCESS_PLATFORM.bits()
            | Features::ORDER_PLATFORM.bits()
            | Features::INDIRECT_DESC.bits()
            | Features::EVENT_IDX.bits()
            | Features::RING_RESET.bits(),
    );
}

impl Default for TransportConfig {
    fn default() -> Self {
        TransportConfig {
            transitional: false,
            modern: true,
            msix_vectors: 33,
            vector_resources: u16::MAX,
            interrupt_pin: true,
            features: TransportConfig::FEATURES,
            queue_size: 256,
            notify_multiplier: 4,
            latency: Latency::default(),
            seed: 0,
        }
    }
}
