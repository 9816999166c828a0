//! What can go wrong.

use std::{fmt, time::Duration};

use amd_vi_spec::Opcode;
use model_support::fault;

/// What goes wrong, when.
pub type FaultPlan = fault::FaultPlan<Action, Commands, LifecycleFault>;
/// When an [`Action`] happens.
pub type Rule = fault::Rule<Action, Commands>;
/// A plan being carried out.
pub(crate) type Faults = fault::Faults<Action, Commands, LifecycleFault>;

/// What goes wrong with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// The command takes this much longer.
    Delay(Duration),
    /// A COMPLETION_WAIT does not store.
    DropStore,
    /// A COMPLETION_WAIT stores something else, combined by exclusive or.
    CorruptStore(u64),
    /// A COMPLETION_WAIT does not interrupt.
    LoseInterrupt,
    /// The command is never done: the head pointer stays, and the status says that all is well.
    Hang,
    /// The command is taken for an illegal one.
    Illegal,
    /// The command cannot be read.
    HardwareError,
    /// An event is logged that the command has nothing to do with.
    SpuriousEvent(u64, u64),
    /// The event log overflows.
    Overflow,
    /// The IOMMU disappears: registers read as all ones and nothing is ever done again.
    Remove,
}

/// What goes wrong with the unit itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifecycleFault {
    /// CmdBufRun does not follow CmdBufEn.
    CommandsNeverRun,
    /// CmdBufRun does not go away with CmdBufEn.
    CommandsNeverStop,
    /// EventLogRun does not follow EventLogEn.
    EventsNeverRun,
    /// EventLogRun does not go away with EventLogEn.
    EventsNeverStop,
    /// The device table cannot be read.
    DeviceTableError,
    /// Page tables cannot be read.
    PageTableError,
}

/// Commands that a rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commands(pub Option<Opcode>);

impl Commands {
    pub(crate) fn matches(&self, opcode: Opcode) -> bool {
        self.0.is_none_or(|only| only == opcode)
    }
}

impl fmt::Display for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(opcode) => opcode.fmt(f),
            None => f.write_str("any command"),
        }
    }
}
