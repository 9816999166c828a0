//! What a driver must not do.

/// Something the specification forbids the host. A real controller may do anything then; the model notes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A register was accessed in a width, or at an offset, that it does not have.
    RegisterAccess {
        /// Offset of the access.
        offset: u64,
        /// Its width in bytes.
        len: usize,
    },
    /// A register of a port that is not implemented was written.
    NoSuchPort {
        /// The port.
        port: u8,
    },
    /// The controller was used before the BIOS had given it up (AHCI, section 10.6.3).
    BeforeHandoff,
    /// A port register was written while GHC.AE was 0.
    LegacyMode,
    /// ST was set without FRE, with a busy device, or without one (AHCI, section 10.3.1).
    StartedEarly {
        /// The port.
        port: u8,
    },
    /// CLB was written while the command list runs, or FB while FISes are received, or either misaligned.
    AddressChanged {
        /// The port.
        port: u8,
    },
    /// FRE was cleared while the command list runs.
    ReceiveStopped {
        /// The port.
        port: u8,
    },
    /// CI or SACT was written while the command list does not run.
    IssuedStopped {
        /// The port.
        port: u8,
    },
    /// A slot was issued that is in use, or that does not exist.
    SlotInUse {
        /// The port.
        port: u8,
        /// The slot.
        slot: u8,
    },
    /// A queued command without its bit in SACT, or a bit in SACT of another.
    ActiveMismatch {
        /// The port.
        port: u8,
        /// The slot.
        slot: u8,
    },
    /// Queued and other commands were outstanding at the same time.
    MixedQueueing {
        /// The port.
        port: u8,
    },
    /// Commands for several devices of a port multiplier were outstanding without FIS-based switching.
    MixedDevices {
        /// The port.
        port: u8,
    },
    /// A queued command was sent beyond the device's queue depth, or to a device without NCQ.
    QueueDepth {
        /// The port.
        port: u8,
        /// The tag.
        tag: u8,
    },
    /// A command table is not aligned, or a PRD is odd.
    Table {
        /// The port.
        port: u8,
    },
    /// The command FIS is no command FIS, or CFL is wrong.
    CommandFis {
        /// The port.
        port: u8,
    },
    /// COMRESET while the command list runs, or for less than a millisecond (AHCI, section 10.4.2).
    Comreset {
        /// The port.
        port: u8,
    },
    /// FBS.EN was changed, or FBS.DEC used, while the command list does not allow it.
    FisBasedSwitching {
        /// The port.
        port: u8,
    },
    /// Interface power states were asked for that are forbidden or not there.
    LinkPower {
        /// The port.
        port: u8,
    },
    /// CCC_CTL was changed other than EN while enabled, or enabled with a timer of 0.
    Coalescing,
}
