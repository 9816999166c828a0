//! What is counted.

/// What a unit did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Commands that were carried out.
    pub commands: u64,
    /// COMPLETION_WAITs among them.
    pub completion_waits: u64,
    /// INVALIDATE_IOMMU_PAGES among them.
    pub page_invalidations: u64,
    /// Accesses that were translated, or passed.
    pub translations: u64,
    /// Page tables that were walked for them.
    pub walks: u64,
    /// Accesses and interrupts that were blocked.
    pub blocked: u64,
    /// Interrupts that were remapped or passed.
    pub interrupts: u64,
    /// Events that were logged.
    pub events: u64,
    /// Events that were lost.
    pub lost_events: u64,
}
