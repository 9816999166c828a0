//! Faults on demand: plans that replay from a seed.
//!
//! A model says what can go wrong: an action `A` with one command, packet or request among those that `O` names (by default all
//! of them), or a lifecycle fault `L` of the device itself. When it does is the same for all models.

use std::fmt;

use fastrand::Rng;

use crate::generator;

/// What goes wrong, when. The same plan with the same seed does the same again; `Display` shows both.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultPlan<A, O, L> {
    seed: u64,
    rules: Vec<Rule<A, O>>,
    stuck: Vec<StuckBits>,
    /// With how often it happens yet; `None`: always.
    lifecycle: Vec<(L, Option<u32>)>,
}

/// When an action happens: to everything, until narrowed.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule<A, O> {
    action: A,
    only: O,
    nth: Option<u64>,
    probability: Option<f64>,
    times: Option<u64>,
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

impl<A, O: Default> Rule<A, O> {
    /// `action` on everything.
    pub fn new(action: A) -> Self {
        Rule::only(O::default(), action)
    }
}

impl<A, O> Rule<A, O> {
    /// `action` on some.
    pub const fn only(only: O, action: A) -> Self {
        Rule { action, only, nth: None, probability: None, times: None }
    }

    /// Only on the `nth` that matches, counted from 1.
    #[must_use]
    pub fn nth(mut self, nth: u64) -> Self {
        self.nth = Some(nth);
        self
    }

    /// Only by chance, with this probability.
    #[must_use]
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = Some(probability);
        self
    }

    /// At most so often.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }
}

impl<A, O, L> FaultPlan<A, O, L> {
    /// A plan in which nothing goes wrong.
    pub fn new(seed: u64) -> Self {
        FaultPlan { seed, rules: Vec::new(), stuck: Vec::new(), lifecycle: Vec::new() }
    }

    /// Adds a rule.
    #[must_use]
    pub fn rule(mut self, rule: Rule<A, O>) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds stuck bits.
    #[must_use]
    pub fn stuck(mut self, bits: StuckBits) -> Self {
        self.stuck.push(bits);
        self
    }

    /// Adds a fault of the device itself that stays.
    #[must_use]
    pub fn lifecycle(mut self, fault: impl Into<L>) -> Self {
        self.lifecycle.push((fault.into(), None));
        self
    }

    /// Adds a fault of the device itself that happens so often.
    #[must_use]
    pub fn lifecycle_times(mut self, fault: impl Into<L>, times: u32) -> Self {
        self.lifecycle.push((fault.into(), Some(times)));
        self
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

/// A plan being carried out by a model.
#[derive(Debug)]
pub struct Faults<A, O, L> {
    plan: FaultPlan<A, O, L>,
    rng: Rng,
    /// For each rule: how many matched, and how often it struck.
    progress: Vec<(u64, u64)>,
}

impl<A: Copy, O, L> Faults<A, O, L> {
    /// From the beginning.
    pub fn new(plan: FaultPlan<A, O, L>) -> Self {
        // Not the numbers that made the plan, if chance did.
        let rng = generator(!plan.seed);
        let progress = vec![(0, 0); plan.rules.len()];
        Faults { plan, rng, progress }
    }

    /// What goes wrong with one thing, which `matches` tells from others.
    pub fn strike(&mut self, matches: impl Fn(&O) -> bool) -> Vec<A> {
        let mut actions = Vec::new();
        for (rule, (matched, struck)) in self.plan.rules.iter().zip(&mut self.progress) {
            if !matches(&rule.only) {
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

    /// Whether a fault of the device that `matches` happens now.
    pub fn lifecycle(&mut self, matches: impl Fn(&L) -> bool) -> bool {
        self.plan.lifecycle.iter_mut().any(|(fault, times)| {
            matches(fault)
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
    pub fn stick(&self, offset: u64, value: u32) -> u32 {
        let bits = self.plan.stuck.iter().filter(|bits| bits.offset == offset);
        bits.fold(value, |value, bits| (value | bits.ones) & !bits.zeroes)
    }

    /// Makes garbage of data: all of it, or some bytes.
    pub fn garble(&mut self, data: &mut [u8]) {
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

impl<A: fmt::Debug, O: fmt::Display, L: fmt::Debug> fmt::Display for FaultPlan<A, O, L> {
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

impl<A: fmt::Debug, O: fmt::Display> fmt::Display for Rule<A, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.only.fmt(f)?;
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

impl<A, O, L> Default for FaultPlan<A, O, L> {
    fn default() -> Self {
        FaultPlan::new(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Faults = super::Faults<u8, Letter, &'static str>;

    #[derive(Clone, Debug, Default, PartialEq)]
    struct Letter(Option<char>);

    impl fmt::Display for Letter {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "letter {:?}", self.0)
        }
    }

    fn strike(faults: &mut Faults, letter: char) -> Vec<u8> {
        faults.strike(|only| only.0.is_none_or(|only| only == letter))
    }

    #[test]
    fn rules_strike_when_they_say() {
        let plan = FaultPlan::new(1)
            .rule(Rule::only(Letter(Some('a')), 1).nth(2))
            .rule(Rule::only(Letter(Some('b')), 2).times(1))
            .rule(Rule::new(3).nth(5));
        let said =
            "fault plan, seed 0x1; letter Some('a'), number 2: 1; letter Some('b'), at most 1 times: 2";
        assert!(plan.to_string().starts_with(said), "{plan}");
        let mut faults = Faults::new(plan);
        let mut next = |letter| strike(&mut faults, letter);
        assert_eq!([next('a'), next('a'), next('a')], [vec![], vec![1], vec![]]);
        assert_eq!([next('b'), next('b'), next('c')], [vec![2], vec![3], vec![]]);
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let strikes = |seed| {
            let mut faults = Faults::new(FaultPlan::new(seed).rule(Rule::new(1).probability(0.2)));
            (0..200).map(|_| strike(&mut faults, 'a').len()).collect::<Vec<_>>()
        };
        assert_eq!(strikes(7), strikes(7));
        assert_ne!(strikes(7), strikes(8));
        assert!((20..60).contains(&strikes(7).iter().sum::<usize>()));
    }

    #[test]
    fn lifecycle_faults_run_out() {
        let plan = FaultPlan::new(0).lifecycle_times("once", 1).lifecycle("always");
        let mut faults = Faults::new(plan);
        let mut happens = |which| faults.lifecycle(|&fault| fault == which);
        assert_eq!([happens("once"), happens("once"), happens("never")], [true, false, false]);
        assert_eq!([happens("always"), happens("always")], [true, true]);
    }

    #[test]
    fn bits_stick() {
        let bits = StuckBits { offset: 8, ones: 0xf0, zeroes: 0x0f };
        let faults = Faults::new(FaultPlan::new(0).stuck(bits));
        assert_eq!([faults.stick(8, 0x133), faults.stick(12, 0x133)], [0x1f0, 0x133]);
    }
}
