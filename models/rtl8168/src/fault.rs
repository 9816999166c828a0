//! What can go wrong.

use model_support::{
    fault,
    network::{Action, Packets},
};

/// What goes wrong, when. [`StuckBits`](fault::StuckBits) are of the dword that a register is in.
pub type FaultPlan = fault::FaultPlan<Action, Packets, LifecycleFault>;
/// When an [`Action`] happens.
pub type Rule = fault::Rule<Action, Packets>;
/// A plan being carried out.
pub(crate) type Faults = fault::Faults<Action, Packets, LifecycleFault>;

/// What goes wrong with the device itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LifecycleFault {
    /// A reset is never over.
    NeverReset,
    /// An access to the PHY is never done.
    PhyHangs,
    /// An access to an extended register, or to the PCI Express PHY, is never done.
    IndirectHangs,
    /// The counters are never written.
    TallyHangs,
    /// The transmitter never says that it is empty.
    NeverEmpty,
}
