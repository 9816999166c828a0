//! What the model counts.

/// What was counted since the model was made, over all resets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Resets by CR.RST and of the function.
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
    /// Packets whose checksums were put in.
    pub checksums: u64,
    /// Packets that were cut.
    pub segmented: u64,
    /// Writes of TPPOLL.
    pub polls: u64,
    /// Reads of registers.
    pub reads: u64,
}
