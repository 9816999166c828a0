//! What the model counts.

/// What was counted since the model was made, over all resets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Resets by CTRL.RST and of the function.
    pub resets: u64,
    /// Messages, and rises of the pin.
    pub interrupts: u64,
    /// Frames that went out.
    pub sent: u64,
    /// Frames that were stored in memory.
    pub received: u64,
    /// Frames that the filters refused.
    pub filtered: u64,
    /// Frames that were lost because there was no room.
    pub missed: u64,
    /// Context descriptors.
    pub contexts: u64,
    /// Data descriptors, legacy ones among them.
    pub data_descriptors: u64,
    /// Packets that were cut.
    pub segmented: u64,
    /// Writes of a transmit tail.
    pub tx_doorbells: u64,
    /// Writes of a receive tail.
    pub rx_doorbells: u64,
    /// Reads of registers.
    pub reads: u64,
    /// Pause frames that went out.
    pub pauses: u64,
}
