//! What can be chosen about a unit, and what it can do.

use std::time::Duration;

use amd_vi_spec::{ExtendedFeatures, registers::RingBase};

/// What devices may that nobody has claimed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unclaimed {
    /// They reach no memory but what firmware has them use.
    #[default]
    Block,
    /// They reach all memory, as without an IOMMU.
    Pass,
}

/// How a unit is driven. The defaults suit a daemon.
#[derive(Clone, Copy, Debug)]
pub struct UnitOptions {
    /// What devices may that nobody has claimed.
    pub unclaimed: Unclaimed,
    /// log2 of the entries of the command buffer, 8–15.
    pub command_entries: u8,
    /// log2 of the entries of the event log, 8–15.
    pub event_entries: u8,
    /// How long the unit may take for a batch of commands, and to start or stop.
    pub timeout: Duration,
    /// Whether the device table is divided into as many segments as the unit allows, which need less memory in one piece.
    pub segments: bool,
    /// Whether interrupt entries of 128 bits and x2APIC destinations are used where the unit has them.
    pub x2apic: bool,
    /// Whether the unit remembers what is not present (NpCache in its capability header), so that what is mapped must be
    /// invalidated as well. To be set where that cannot be found out.
    pub not_present_cached: bool,
    /// Whether the unit interrupts for events. If not, whoever owns it looks at the log.
    pub event_interrupt: bool,
}

impl Default for UnitOptions {
    fn default() -> Self {
        UnitOptions {
            unclaimed: Unclaimed::Block,
            command_entries: 9,
            event_entries: 9,
            timeout: Duration::from_secs(1),
            segments: true,
            x2apic: true,
            not_present_cached: true,
            event_interrupt: false,
        }
    }
}

impl UnitOptions {
    /// A length of a ring that there is.
    pub(super) fn ring(log2: u8) -> u8 {
        log2.clamp(RingBase::LEAST_LOG2, 15)
    }
}

/// The format of interrupt remapping table entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IrteFormat {
    /// 32 bits: destinations of 8 bits.
    Bits32,
    /// 128 bits.
    Bits128 {
        /// Whether destinations have 32 bits instead of 8.
        x2apic: bool,
    },
}

/// What a unit can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Most levels of a page table, 4–6. Fewer can be walked as well.
    pub levels: u8,
    /// Segments of the device table in use, as log2.
    pub segments: u8,
    /// Whether what is mapped must be invalidated as well: the unit may remember that it was not present.
    pub not_present_cached: bool,
    /// How interrupts are remapped.
    pub interrupts: IrteFormat,
    /// The extended feature register.
    pub features: ExtendedFeatures,
}
