//! Faults on demand.

use std::{fmt, time::Duration};

use ahci_spec::{AtaCommand, AtaError};
use fastrand::Rng;
use model_support::generator;

/// What goes wrong, when. The same plan with the same seed does the same again; `Display` shows both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultPlan {
    seed: u64,
    rules: Vec<Rule>,
    stuck: Vec<StuckBits>,
    lifecycle: Vec<(LifecycleFault, Option<u8>, Option<u32>)>,
}

/// What goes wrong with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// The command is done, its completion never comes.
    Drop,
    /// The command is never done.
    Hang,
    /// The command takes this much longer.
    Delay(Duration),
    /// The command is not done and ends with this error.
    Fail(AtaError),
    /// The device ends the command with a device fault.
    DeviceFault,
    /// The completion comes twice.
    Duplicate,
    /// The data that the command returns is garbage.
    Garbage,
    /// The error log that tells of this failed command is garbage.
    GarbageLog,
    /// The completion also clears these bits of SACT or CI.
    ClearOthers(u32),
    /// The completion does not interrupt.
    LoseInterrupt,
    /// Before the command is done, an interrupt comes for nothing.
    SpuriousInterrupt,
    /// The data has a CRC error on the link, or the link breaks its protocol: PxIS.IFS.
    LinkError,
    /// A fatal error of the bus: PxIS.HBFS.
    BusError,
    /// The link goes down and comes up again, as after a COMRESET.
    LinkLoss,
    /// The device is pulled out.
    Unplug,
    /// The controller is pulled out: registers read as all ones and nothing is ever done again.
    Remove,
    /// The controller reads this address, which may not be its own.
    WildRead(u64),
    /// The controller writes to this address, which may not be its own.
    WildWrite(u64),
}

/// What goes wrong with the controller or a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifecycleFault {
    /// GHC.HR never clears.
    ResetNeverEnds,
    /// PxCMD.CR does not follow ST being cleared.
    NeverStops,
    /// No communication comes after COMRESET.
    NoLink,
    /// The device never sends its signature.
    NeverReady,
    /// The BIOS does not let go.
    BiosKeeps,
}

/// Bits of a register that read the same whatever they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StuckBits {
    /// Offset of a dword in ABAR.
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
    port: Option<u8>,
    command: Option<AtaCommand>,
    lba: Option<u64>,
    data_only: bool,
    nth: Option<u64>,
    probability: Option<f64>,
    times: Option<u64>,
}

impl Rule {
    /// `action` on every command.
    pub const fn new(action: Action) -> Self {
        Rule {
            action,
            port: None,
            command: None,
            lba: None,
            data_only: false,
            nth: None,
            probability: None,
            times: None,
        }
    }

    /// `action` on commands with this code.
    pub const fn on(command: AtaCommand, action: Action) -> Self {
        Rule { command: Some(command), ..Rule::new(action) }
    }

    /// `action` on commands that read, write, trim or flush.
    pub const fn any_io(action: Action) -> Self {
        Rule { data_only: true, ..Rule::new(action) }
    }

    /// Only on this port.
    #[must_use]
    pub const fn on_port(mut self, port: u8) -> Self {
        self.port = Some(port);
        self
    }

    /// Only on reads and writes that include this block.
    #[must_use]
    pub const fn at_lba(mut self, lba: u64) -> Self {
        self.lba = Some(lba);
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

    fn matches(&self, port: u8, command: AtaCommand, range: Option<(u64, u64)>) -> bool {
        let within = |lba| range.is_some_and(|(start, blocks)| (start..start + blocks).contains(&lba));
        self.port.is_none_or(|only| only == port)
            && self.command.is_none_or(|only| only == command)
            && self.lba.is_none_or(within)
            && (!self.data_only || is_io(command))
    }
}

/// Whether a command reads, writes, trims or flushes.
fn is_io(command: AtaCommand) -> bool {
    matches!(
        command,
        AtaCommand::READ_DMA
            | AtaCommand::READ_DMA_EXT
            | AtaCommand::READ_FPDMA_QUEUED
            | AtaCommand::WRITE_DMA
            | AtaCommand::WRITE_DMA_EXT
            | AtaCommand::WRITE_DMA_FUA_EXT
            | AtaCommand::WRITE_FPDMA_QUEUED
            | AtaCommand::SEND_FPDMA_QUEUED
            | AtaCommand::DATA_SET_MANAGEMENT
            | AtaCommand::FLUSH_CACHE
            | AtaCommand::FLUSH_CACHE_EXT
    )
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

    /// Adds stuck bits.
    #[must_use]
    pub fn stuck(mut self, bits: StuckBits) -> Self {
        self.stuck.push(bits);
        self
    }

    /// Adds a fault of the controller that stays.
    #[must_use]
    pub fn lifecycle(mut self, fault: LifecycleFault) -> Self {
        self.lifecycle.push((fault, None, None));
        self
    }

    /// Adds a fault of one port that stays.
    #[must_use]
    pub fn lifecycle_of(mut self, port: u8, fault: LifecycleFault) -> Self {
        self.lifecycle.push((fault, Some(port), None));
        self
    }

    /// Adds a fault of one port that happens so often.
    #[must_use]
    pub fn lifecycle_times(mut self, port: u8, fault: LifecycleFault, times: u32) -> Self {
        self.lifecycle.push((fault, Some(port), Some(times)));
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
            write!(f, "; {rule:?}")?;
        }
        for StuckBits { offset, ones, zeroes } in &self.stuck {
            write!(f, "; register {offset:#x}: {ones:#x} stuck at 1, {zeroes:#x} stuck at 0")?;
        }
        for (fault, port, times) in &self.lifecycle {
            write!(f, "; {fault:?} on port {port:?}, times {times:?}")?;
        }
        Ok(())
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

    /// What goes wrong with a command that was fetched; `range` is the first block and the number of blocks.
    pub(crate) fn strike(&mut self, port: u8, command: AtaCommand, range: Option<(u64, u64)>) -> Vec<Action> {
        let mut actions = Vec::new();
        for (rule, (matched, struck)) in self.plan.rules.iter().zip(&mut self.progress) {
            if !rule.matches(port, command, range) {
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

    /// Whether `fault` happens now, to `port` if it is one of a port.
    pub(crate) fn lifecycle(&mut self, fault: LifecycleFault, port: Option<u8>) -> bool {
        self.plan.lifecycle.iter_mut().any(|(kind, only, times)| {
            *kind == fault
                && (only.is_none() || *only == port)
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
            .rule(Rule::on(AtaCommand::READ_DMA, Action::Drop).nth(2))
            .rule(Rule::any_io(Action::Hang).on_port(3).times(1))
            .rule(Rule::new(Action::Duplicate).at_lba(7));
        let mut faults = Faults::new(plan);
        assert_eq!(faults.strike(1, AtaCommand::READ_DMA, Some((0, 7))), []);
        assert_eq!(faults.strike(1, AtaCommand::IDENTIFY_DEVICE, None), []);
        assert_eq!(faults.strike(1, AtaCommand::READ_DMA, Some((7, 1))), [Action::Drop, Action::Duplicate]);
        assert_eq!(faults.strike(3, AtaCommand::IDENTIFY_DEVICE, None), []);
        assert_eq!(faults.strike(3, AtaCommand::FLUSH_CACHE, None), [Action::Hang]);
        assert_eq!(faults.strike(3, AtaCommand::FLUSH_CACHE, None), []);
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let strikes = |seed| {
            let rule = Rule::any_io(Action::Drop).probability(0.1);
            let mut faults = Faults::new(FaultPlan::new(seed).rule(rule));
            (0..2000).map(|_| faults.strike(1, AtaCommand::READ_DMA, None)).collect::<Vec<_>>()
        };
        assert_eq!(strikes(7), strikes(7));
        assert_ne!(strikes(7), strikes(8));
    }

    #[test]
    fn lifecycle_faults_run_out() {
        let plan = FaultPlan::new(0).lifecycle_times(2, LifecycleFault::NoLink, 1);
        let mut faults = Faults::new(plan);
        assert!(!faults.lifecycle(LifecycleFault::NoLink, Some(1)));
        assert!(faults.lifecycle(LifecycleFault::NoLink, Some(2)));
        assert!(!faults.lifecycle(LifecycleFault::NoLink, Some(2)));
    }
}
