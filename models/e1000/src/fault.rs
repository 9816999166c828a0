//! What can go wrong.

use model_support::{
    fault,
    network::{Action, Packets},
};

/// What goes wrong, when.
pub type FaultPlan = fault::FaultPlan<Action, Packets, LifecycleFault>;
/// When an [`Action`] happens.
pub type Rule = fault::Rule<Action, Packets>;
/// A plan being carried out.
pub(crate) type Faults = fault::Faults<Action, Packets, LifecycleFault>;

/// What goes wrong with the device itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifecycleFault {
    /// A reset is never over.
    NeverReset,
    /// A read of the EEPROM is never done.
    NvmHangs,
    /// The EEPROM's words do not add up.
    NvmChecksum,
    /// An access to the PHY is never done.
    MdioHangs,
    /// An access to the PHY fails.
    MdioError,
    /// Requests never end, so that the bus cannot be left in peace (82574).
    NeverQuiet,
}
