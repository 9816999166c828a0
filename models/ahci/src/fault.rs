//! What can go wrong.

use std::{fmt, time::Duration};

use ahci_spec::{AtaCommand, AtaError};
use model_support::fault;

/// What goes wrong, when.
pub type FaultPlan = fault::FaultPlan<Action, Commands, Trouble>;
/// When an [`Action`] happens.
pub type Rule = fault::Rule<Action, Commands>;
/// A plan being carried out.
pub(crate) type Faults = fault::Faults<Action, Commands, Trouble>;

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

impl LifecycleFault {
    /// On one port only.
    pub const fn on_port(self, port: u8) -> Trouble {
        Trouble { fault: self, port: Some(port) }
    }
}

/// Where a [`LifecycleFault`] happens: to the controller and all ports, or to one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    fault: LifecycleFault,
    port: Option<u8>,
}

impl From<LifecycleFault> for Trouble {
    fn from(fault: LifecycleFault) -> Self {
        Trouble { fault, port: None }
    }
}

impl Trouble {
    /// Whether it is `fault` of `port`, or of the controller.
    pub(crate) fn is(&self, fault: LifecycleFault, port: Option<u8>) -> bool {
        self.fault == fault && (self.port.is_none() || self.port == port)
    }
}

/// Commands that a rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    port: Option<u8>,
    command: Option<AtaCommand>,
    lba: Option<u64>,
    data_only: bool,
}

impl Commands {
    /// Every command.
    pub const fn any() -> Self {
        Commands { port: None, command: None, lba: None, data_only: false }
    }

    /// Commands with this code.
    pub const fn code(command: AtaCommand) -> Self {
        Commands { command: Some(command), ..Commands::any() }
    }

    /// Commands that read, write, trim or flush.
    pub const fn io() -> Self {
        Commands { data_only: true, ..Commands::any() }
    }

    /// Only on this port.
    #[must_use]
    pub const fn on_port(mut self, port: u8) -> Self {
        self.port = Some(port);
        self
    }

    /// Only reads and writes that include this block.
    #[must_use]
    pub const fn at_lba(mut self, lba: u64) -> Self {
        self.lba = Some(lba);
        self
    }

    /// `range` is the first block and the number of blocks.
    pub(crate) fn matches(&self, port: u8, command: AtaCommand, range: Option<(u64, u64)>) -> bool {
        let within = |lba| range.is_some_and(|(start, blocks)| (start..start + blocks).contains(&lba));
        self.port.is_none_or(|only| only == port)
            && self.command.is_none_or(|only| only == command)
            && self.lba.is_none_or(within)
            && (!self.data_only || is_io(command))
    }
}

impl fmt::Display for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "port {port}")?,
            None => f.write_str("any port")?,
        }
        if self.data_only {
            f.write_str(", I/O")?;
        }
        if let Some(command) = self.command {
            write!(f, ", {command}")?;
        }
        match self.lba {
            Some(lba) => write!(f, ", block {lba}"),
            None => Ok(()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_apart() {
        let things = [
            (1, AtaCommand::READ_DMA, Some((0, 7))),
            (1, AtaCommand::READ_DMA, Some((7, 1))),
            (3, AtaCommand::FLUSH_CACHE, None),
            (3, AtaCommand::IDENTIFY_DEVICE, None),
        ];
        let matches =
            |only: Commands| things.map(|(port, command, range)| only.matches(port, command, range));
        assert_eq!(matches(Commands::any()), [true; 4]);
        assert_eq!(matches(Commands::code(AtaCommand::READ_DMA)), [true, true, false, false]);
        assert_eq!(matches(Commands::io().on_port(3)), [false, false, true, false]);
        assert_eq!(matches(Commands::any().at_lba(7)), [false, true, false, false]);
    }

    #[test]
    fn trouble_of_one_port_is_not_that_of_others() {
        let fault = LifecycleFault::NoLink;
        assert!(Trouble::from(fault).is(fault, None) && Trouble::from(fault).is(fault, Some(2)));
        assert!(fault.on_port(2).is(fault, Some(2)) && !fault.on_port(2).is(fault, Some(1)));
        assert!(!fault.on_port(2).is(LifecycleFault::NeverReady, Some(2)));
    }
}
