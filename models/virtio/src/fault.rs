//! Faults on demand.

use std::{fmt, time::Duration};

use fastrand::Rng;
use model_support::generator;

/// What goes wrong, when. The same plan with the same seed does the same again; `Display` shows both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultPlan {
    seed: u64,
    rules: Vec<Rule>,
    lifecycle: Vec<(LifecycleFault, Option<u32>)>,
}

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// The request is carried out, its chain is never used.
    Drop,
    /// The request is never carried out.
    Hang,
    /// The request takes this much longer.
    Delay(Duration),
    /// The used entry has another id, combined by exclusive or; a packed ring has 16 bits of it.
    CorruptId(u32),
    /// The used entry claims that this many bytes more were written.
    BadLength(u32),
    /// The device moves so many places ahead without writing anything there.
    IndexJump(u16),
    /// The request is not carried out and ends with this status of its type.
    Fail(u8),
    /// The request is carried out, but its status is not written.
    NoStatus,
    /// The used entry is written twice.
    Duplicate,
    /// The used entry is held back until the next one of its queue was written, at most 10 ms.
    Reorder,
    /// The data that the request returns is garbage.
    Garbage,
    /// The used entry does not interrupt.
    LoseInterrupt,
    /// Before the request is carried out, an interrupt comes for nothing.
    SpuriousInterrupt,
    /// The device sets DEVICE_NEEDS_RESET and stops.
    NeedsReset,
    /// The device is pulled out: registers read as all ones and nothing is ever done again.
    Remove,
    /// The device reads this address, which may not be its own.
    WildRead(u64),
    /// The device writes to this address, which may not be its own.
    WildWrite(u64),
}

/// What goes wrong with the device itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifecycleFault {
    /// A reset is never over.
    NeverReset,
    /// The reset of a queue is never over.
    NeverResetQueue,
    /// FEATURES_OK is not kept.
    RefuseFeatures,
}

/// When an [`Action`] happens: to all requests, until narrowed.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    action: Action,
    queue: Option<u16>,
    kind: Option<u32>,
    nth: Option<u64>,
    probability: Option<f64>,
    times: Option<u64>,
}

impl Rule {
    /// `action` on every request.
    pub const fn new(action: Action) -> Self {
        Rule { action, queue: None, kind: None, nth: None, probability: None, times: None }
    }

    /// Only on requests of a kind, as the type of the device numbers them.
    #[must_use]
    pub const fn on_kind(mut self, kind: u32) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Only on a queue.
    #[must_use]
    pub const fn on_queue(mut self, queue: u16) -> Self {
        self.queue = Some(queue);
        self
    }

    /// Only on the `nth` request that matches, counted from 1.
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

    fn matches(&self, queue: u16, kind: u32) -> bool {
        self.queue.is_none_or(|only| only == queue) && self.kind.is_none_or(|only| only == kind)
    }
}

impl FaultPlan {
    /// A plan in which nothing goes wrong.
    pub fn new(seed: u64) -> Self {
        FaultPlan { seed, ..FaultPlan::default() }
    }

    /// Adds a rule.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds a fault of the device itself that stays.
    #[must_use]
    pub fn lifecycle(mut self, fault: LifecycleFault) -> Self {
        self.lifecycle.push((fault, None));
        self
    }

    /// Adds a fault of the device itself that happens so often.
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
        match self.queue {
            Some(queue) => write!(f, "queue {queue}")?,
            None => f.write_str("any queue")?,
        }
        if let Some(kind) = self.kind {
            write!(f, ", kind {kind}")?;
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
    /// For each rule: requests that matched, and times that it struck.
    progress: Vec<(u64, u64)>,
}

impl Faults {
    pub(crate) fn new(plan: FaultPlan) -> Self {
        // Not the numbers that made the plan, if chance did.
        let rng = generator(!plan.seed);
        let progress = vec![(0, 0); plan.rules.len()];
        Faults { plan, rng, progress }
    }

    /// What goes wrong with a request that was fetched.
    pub(crate) fn strike(&mut self, queue: u16, kind: u32) -> Vec<Action> {
        let mut actions = Vec::new();
        for (rule, (matched, struck)) in self.plan.rules.iter().zip(&mut self.progress) {
            if !rule.matches(queue, kind) {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_strike_when_they_say() {
        let plan = FaultPlan::new(1)
            .rule(Rule::new(Action::Drop).on_kind(0).nth(2))
            .rule(Rule::new(Action::Garbage).on_kind(8).times(1))
            .rule(Rule::new(Action::Hang).on_queue(3));
        let mut faults = Faults::new(plan.clone());
        assert_eq!(faults.strike(0, 0), []);
        assert_eq!(faults.strike(1, 0), [Action::Drop]);
        assert_eq!(faults.strike(1, 0), []);
        assert_eq!(faults.strike(0, 8), [Action::Garbage]);
        assert_eq!(faults.strike(0, 8), []);
        assert_eq!(faults.strike(3, 9), [Action::Hang]);
        assert!(plan.to_string().starts_with("fault plan, seed 0x1; any queue, kind 0, number 2: Drop"));
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let strikes = |seed| {
            let plan = FaultPlan::new(seed).rule(Rule::new(Action::Drop).probability(0.2));
            let mut faults = Faults::new(plan);
            (0..200).map(|_| faults.strike(0, 0).len()).collect::<Vec<_>>()
        };
        assert_eq!(strikes(7), strikes(7));
        assert_ne!(strikes(7), strikes(8));
        assert!((20..60).contains(&strikes(7).iter().sum::<usize>()));
    }

    #[test]
    fn lifecycle_faults_run_out() {
        let mut faults = Faults::new(FaultPlan::new(0).lifecycle_times(LifecycleFault::NeverReset, 1));
        assert!(!faults.lifecycle(LifecycleFault::RefuseFeatures));
        assert!(faults.lifecycle(LifecycleFault::NeverReset));
        assert!(!faults.lifecycle(LifecycleFault::NeverReset));
    }
}
