//! What can go wrong.

use std::{fmt, time::Duration};

use model_support::{fault, generator};
use nvme_spec::{AdminOpcode, NvmOpcode, Status};

use crate::queue::ADMIN;

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
    /// The command is done, its completion is never written.
    Drop,
    /// The command is never done, unless it is aborted or its queue deleted.
    Hang,
    /// The command takes this much longer.
    Delay(Duration),
    /// The completion has another command identifier, combined by exclusive or.
    CorruptCid(u16),
    /// The completion names another submission queue, combined by exclusive or.
    CorruptSqid(u16),
    /// The completion has another submission queue head, combined by exclusive or.
    CorruptSqHead(u16),
    /// The completion has the phase tag of the previous pass.
    WrongPhase,
    /// The command is not done and completes with this status; DNR as the flag says.
    Fail(Status, bool),
    /// The completion is written twice.
    Duplicate,
    /// The completion is held back until the next one of its queue was written, at most 10 ms.
    Reorder,
    /// The data that the command returns is garbage.
    Garbage,
    /// The completion does not interrupt.
    LoseInterrupt,
    /// Before the command is done, an interrupt comes for nothing.
    SpuriousInterrupt,
    /// The controller fails: CSTS.CFS.
    Fatal,
    /// The controller is pulled out: registers read as all ones and nothing is ever done again.
    Remove,
    /// The controller reads this address, which may not be its own.
    WildRead(u64),
    /// The controller writes to this address, which may not be its own.
    WildWrite(u64),
}

/// What goes wrong with the controller itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifecycleFault {
    /// CSTS.RDY does not follow CC.EN being set.
    NeverReady,
    /// CSTS.CFS is set when CC.EN is set.
    FatalOnEnable,
    /// CSTS.RDY does not follow CC.EN being cleared.
    NeverDisabled,
    /// CSTS.SHST never tells that shutdown is complete.
    NeverShutDown,
}

/// Commands that a rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    queues: Queues,
    opcode: Option<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Queues {
    #[default]
    All,
    Io,
    One(u16),
}

impl Commands {
    /// Admin commands with `opcode`.
    pub const fn admin(opcode: AdminOpcode) -> Self {
        Commands { queues: Queues::One(ADMIN), opcode: Some(opcode.0) }
    }

    /// I/O commands with `opcode`.
    pub const fn io(opcode: NvmOpcode) -> Self {
        Commands { queues: Queues::Io, opcode: Some(opcode.0) }
    }

    /// Every I/O command.
    pub const fn any_io() -> Self {
        Commands { queues: Queues::Io, opcode: None }
    }

    /// Every command of submission queue `sqid`.
    pub const fn on_queue(sqid: u16) -> Self {
        Commands { queues: Queues::One(sqid), opcode: None }
    }

    pub(crate) fn matches(&self, sqid: u16, opcode: u8) -> bool {
        let queue = match self.queues {
            Queues::All => true,
            Queues::Io => sqid != ADMIN,
            Queues::One(only) => sqid == only,
        };
        queue && self.opcode.is_none_or(|only| only == opcode)
    }
}

impl fmt::Display for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.queues {
            Queues::All => f.write_str("any queue")?,
            Queues::Io => f.write_str("I/O queues")?,
            Queues::One(sqid) => write!(f, "queue {sqid}")?,
        }
        match self.opcode {
            Some(opcode) => write!(f, ", opcode {opcode:#04x}"),
            None => Ok(()),
        }
    }
}

/// A plan made by chance from `seed`: every kind of fault on I/O commands, each with a small probability. The
/// controller stays where it is, and answers to a reset.
pub fn random_faults(seed: u64) -> FaultPlan {
    let mut rng = generator(seed);
    let actions = [
        Action::Drop,
        Action::Hang,
        Action::Delay(Duration::from_millis(rng.u64(1..100))),
        Action::CorruptCid(rng.u16(1..)),
        Action::CorruptSqid(rng.u16(1..)),
        Action::CorruptSqHead(rng.u16(1..)),
        Action::WrongPhase,
        Action::Fail(Status::of(rng.u8(0..8), rng.u8(1..)), rng.bool()),
        Action::Duplicate,
        Action::Reorder,
        Action::LoseInterrupt,
        Action::SpuriousInterrupt,
        Action::Fatal,
        Action::WildRead(rng.u64(..)),
        Action::WildWrite(rng.u64(..)),
    ];
    actions.into_iter().fold(FaultPlan::new(seed), |plan, action| {
        let chance = f64::from(rng.u32(0..20)) / 1000.0;
        let rule = Rule::only(Commands::any_io(), action).probability(chance);
        if rng.bool() { plan.rule(rule) } else { plan }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_apart() {
        assert!(Commands::default().matches(0, 2) && Commands::default().matches(3, 9));
        let read = Commands::io(NvmOpcode::READ);
        assert_eq!(
            [(1, 2), (0, 2), (1, 1)].map(|(sqid, opcode)| read.matches(sqid, opcode)),
            [true, false, false]
        );
        let identify = Commands::admin(AdminOpcode::IDENTIFY);
        assert_eq!([(0, 6), (1, 6)].map(|(sqid, opcode)| identify.matches(sqid, opcode)), [true, false]);
        assert!(Commands::on_queue(3).matches(3, 9) && !Commands::on_queue(3).matches(2, 9));
    }

    #[test]
    fn chance_strikes_and_replays() {
        let strikes = |seed| {
            let mut faults = Faults::new(random_faults(seed));
            (0..2000).map(|_| faults.strike(|only| only.matches(1, 2))).collect::<Vec<_>>()
        };
        let first = strikes(7);
        assert_eq!(first, strikes(7));
        assert_ne!(first, strikes(8));
        assert!(first.iter().any(|actions| !actions.is_empty()));
        assert!(random_faults(7).to_string().starts_with("fault plan, seed 0x7; I/O queues"));
    }
}
