//! Faults on demand.

use std::{fmt, time::Duration};

use fastrand::Rng;
use model_support::generator;
use nvme_spec::{AdminOpcode, NvmOpcode, Status};

use crate::queue::ADMIN;

/// What goes wrong, when. The same plan with the same seed does the same again; `Display` shows both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultPlan {
    seed: u64,
    rules: Vec<Rule>,
    stuck: Vec<StuckBits>,
    lifecycle: Vec<(LifecycleFault, Option<u32>)>,
}

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

/// Bits of a register that read the same whatever they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StuckBits {
    /// Offset of a dword.
    pub offset: u64,
    /// Bits that read as 1.
    pub ones: u32,
    /// Bits that read as 0.
    pub zeroes: u32,
}

/// When an [`Action`] happens: to all commands, until narrowed.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    action: Action,
    queues: Queues,
    opcode: Option<u8>,
    nth: Option<u64>,
    probability: Option<f64>,
    times: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queues {
    All,
    Io,
    One(u16),
}

impl Rule {
    /// `action` on every command.
    pub const fn new(action: Action) -> Self {
        Rule { action, queues: Queues::All, opcode: None, nth: None, probability: None, times: None }
    }

    /// `action` on admin commands with `opcode`.
    pub const fn admin(opcode: AdminOpcode, action: Action) -> Self {
        Rule { queues: Queues::One(ADMIN), opcode: Some(opcode.0), ..Rule::new(action) }
    }

    /// `action` on I/O commands with `opcode`.
    pub const fn io(opcode: NvmOpcode, action: Action) -> Self {
        Rule { queues: Queues::Io, opcode: Some(opcode.0), ..Rule::new(action) }
    }

    /// `action` on every I/O command.
    pub const fn any_io(action: Action) -> Self {
        Rule { queues: Queues::Io, ..Rule::new(action) }
    }

    /// Only on submission queue `sqid`.
    #[must_use]
    pub const fn on_queue(mut self, sqid: u16) -> Self {
        self.queues = Queues::One(sqid);
        self
    }

    /// Only on the `nth` command that matches, counted from 1.
    #[must_use]
    pub const fn nth(mut self, nth: u64) -> Self {
        self.nth = Some(nth);
        self
    }

    /// Only by chance, with this probability.
    #[must_use]
    pub const fn probability(mut self, probability: f64) -> Self {
        self.probability = Some(probability);
        self
    }

    /// At most so often.
    #[must_use]
    pub const fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    fn matches(&self, sqid: u16, opcode: u8) -> bool {
        let queue = match self.queues {
            Queues::All => true,
            Queues::Io => sqid != ADMIN,
            Queues::One(only) => sqid == only,
        };
        queue && self.opcode.is_none_or(|only| only == opcode)
    }
}

impl FaultPlan {
    /// A plan in which nothing goes wrong.
    pub fn new(seed: u64) -> Self {
        FaultPlan { seed, ..FaultPlan::default() }
    }

    /// A plan made by chance from `seed`: every kind of fault on I/O commands, each with a small probability. The
    /// controller stays where it is, and answers to a reset.
    pub fn random(seed: u64) -> Self {
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
        let rules = actions.into_iter().filter_map(|action| {
            let chance = f64::from(rng.u32(0..20)) / 1000.0;
            rng.bool().then(|| Rule::any_io(action).probability(chance))
        });
        let rules = rules.collect();
        FaultPlan { seed, rules, ..FaultPlan::default() }
    }

    /// Adds a rule.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds stuck bits.
    #[must_use]
    pub fn stuck(mut self, bits: StuckBits) -> Self {
        self.stuck.push(bits);
        self
    }

    /// Adds a fault of the controller itself that stays.
    #[must_use]
    pub fn lifecycle(mut self, fault: LifecycleFault) -> Self {
        self.lifecycle.push((fault, None));
        self
    }

    /// Adds a fault of the controller itself that happens so often.
    #[must_use]
    pub fn lifecycle_times(mut self, fault: LifecycleFault, times: u32) -> Self {
        self.lifecycle.push((fault, Some(times)));
        self
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

impl fmt::Display for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fault plan, seed {:#x}", self.seed)?;
        for rule in &self.rules {
            write!(f, "; {rule}")?;
        }
        for StuckBits { offset, ones, zeroes } in &self.stuck {
            write!(f, "; register {offset:#x}: {ones:#x} stuck at 1, {zeroes:#x} stuck at 0")?;
        }
        for (fault, times) in &self.lifecycle {
            write!(f, "; {fault:?}")?;
            if let Some(times) = times {
                write!(f, " {times} times")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.queues {
            Queues::All => f.write_str("any queue")?,
            Queues::Io => f.write_str("I/O queues")?,
            Queues::One(sqid) => write!(f, "queue {sqid}")?,
        }
        if let Some(opcode) = self.opcode {
            write!(f, ", opcode {opcode:#04x}")?;
        }
        if let Some(nth) = self.nth {
            write!(f, ", number {nth}")?;
        }
        if let Some(probability) = self.probability {
            write!(f, ", probability {probability}")?;
        }
        if let Some(times) = self.times {
            write!(f, ", at most {times} times")?;
        }
        write!(f, ": {:?}", self.action)
    }
}

/// A plan being carried out.
#[derive(Debug)]
pub(crate) struct Faults {
    plan: FaultPlan,
    rng: Rng,
    /// For each rule: commands that matched, and times that it struck.
    progress: Vec<(u64, u64)>,
}

impl Faults {
    pub(crate) fn new(plan: FaultPlan) -> Self {
        // Not the numbers that made the plan, if chance did.
        let rng = generator(!plan.seed);
        let progress = vec![(0, 0); plan.rules.len()];
        Faults { plan, rng, progress }
    }

    /// What goes wrong with a command that was fetched.
    pub(crate) fn strike(&mut self, sqid: u16, opcode: u8) -> Vec<Action> {
        let mut actions = Vec::new();
        for (rule, (matched, struck)) in self.plan.rules.iter().zip(&mut self.progress) {
            if !rule.matches(sqid, opcode) {
                continue;
            }
            *matched += 1;
            let now = rule.nth.is_none_or(|nth| nth == *matched)
                && rule.times.is_none_or(|times| *struck < times)
                && rule.probability.is_none_or(|probability| self.rng.f64() < probability);
            if now {
                *struck += 1;
                actions.push(rule.action);
            }
        }
        actions
    }

    /// Whether `fault` happens now.
    pub(crate) fn lifecycle(&mut self, fault: LifecycleFault) -> bool {
        self.plan.lifecycle.iter_mut().any(|(kind, times)| {
            *kind == fault
                && match times {
                    None => true,
                    Some(0) => false,
                    Some(left) => {
                        *left -= 1;
                        true
                    }
                }
        })
    }

    /// What a dword register reads as.
    pub(crate) fn stick(&self, offset: u64, value: u32) -> u32 {
        let bits = self.plan.stuck.iter().filter(|bits| bits.offset == offset);
        bits.fold(value, |value, bits| (value | bits.ones) & !bits.zeroes)
    }

    /// Makes garbage of data: all of it, or some bytes.
    pub(crate) fn garble(&mut self, data: &mut [u8]) {
        if self.rng.bool() {
            self.rng.fill(data);
            return;
        }
        for _ in 0..data.len().min(16) {
            let at = self.rng.usize(..data.len());
            if let Some(byte) = data.get_mut(at) {
                *byte = self.rng.u8(..);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_strike_when_they_say() {
        let plan = FaultPlan::new(1)
            .rule(Rule::io(NvmOpcode::READ, Action::Drop).nth(2))
            .rule(Rule::admin(AdminOpcode::IDENTIFY, Action::Garbage).times(1))
            .rule(Rule::new(Action::Hang).on_queue(3));
        let mut faults = Faults::new(plan);
        assert_eq!(faults.strike(1, 2), []);
        assert_eq!(faults.strike(0, 2), []);
        assert_eq!(faults.strike(2, 2), [Action::Drop]);
        assert_eq!(faults.strike(2, 2), []);
        assert_eq!(faults.strike(0, 6), [Action::Garbage]);
        assert_eq!(faults.strike(0, 6), []);
        assert_eq!(faults.strike(3, 9), [Action::Hang]);
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let strikes = |seed| {
            let mut faults = Faults::new(FaultPlan::random(seed));
            (0..2000).map(|_| faults.strike(1, 2)).collect::<Vec<_>>()
        };
        let first = strikes(7);
        assert_eq!(first, strikes(7));
        assert_ne!(first, strikes(8));
        assert!(first.iter().any(|actions| !actions.is_empty()));
        assert!(FaultPlan::random(7).to_string().starts_with("fault plan, seed 0x7; I/O queues"));
    }

    #[test]
    fn lifecycle_faults_run_out() {
        let mut faults = Faults::new(FaultPlan::new(0).lifecycle_times(LifecycleFault::NeverReady, 1));
        assert!(faults.lifecycle(LifecycleFault::NeverReady));
        assert!(!faults.lifecycle(LifecycleFault::NeverReady));
        let mut faults = Faults::new(FaultPlan::new(0).lifecycle(LifecycleFault::NeverShutDown));
        assert!(
            faults.lifecycle(LifecycleFault::NeverShutDown)
                && faults.lifecycle(LifecycleFault::NeverShutDown)
        );
    }
}
