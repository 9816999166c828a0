//! What the device counted.

/// Counters since the model was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Chains fetched.
    pub fetched: u64,
    /// Chains used.
    pub used: u64,
    /// Notifications by the driver.
    pub notifications: u64,
    /// Interrupt messages sent, or rises of the pin.
    pub interrupts: u64,
    /// Resets of the device that were over.
    pub resets: u64,
    /// Resets of queues that were over.
    pub queue_resets: u64,
    /// Times that DRIVER_OK was set.
    pub starts: u64,
    /// Entries that stood for several chains, as an in-order device may write them.
    pub batches: u64,
    /// Most chains that were outstanding at a time.
    pub most_outstanding: usize,
    /// Faults that were injected.
    pub faults: u64,
}
