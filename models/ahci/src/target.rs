//! What is at the other end of a link.

use ahci_spec::registers::{SIG_ATA, SIG_ATAPI};
use redox_driver_sys::model::Bus;

use crate::{
    cd::Cd,
    command::{Command, Failure, Outcome},
    config::DeviceConfig,
    disk::Disk,
    fault::Faults,
    pmp::Multiplier,
    transfer::Transfer,
};

/// A device.
#[derive(Debug)]
pub(crate) enum Target {
    Disk(Box<Disk>),
    Cd(Box<Cd>),
    Multiplier(Box<Multiplier>),
}

impl Target {
    pub(crate) fn new(config: DeviceConfig) -> Self {
        match config {
            DeviceConfig::Disk(config) => Target::Disk(Box::new(Disk::new(config))),
            DeviceConfig::Cd(config) => Target::Cd(Box::new(Cd::new(config))),
            DeviceConfig::Multiplier(ports) => Target::Multiplier(Box::new(Multiplier::new(ports))),
        }
    }

    /// The device that commands for port `pm_port` of a multiplier reach. A device that is no multiplier takes all.
    pub(crate) fn behind(&mut self, pm_port: u8) -> Option<&mut Target> {
        match self {
            Target::Multiplier(multiplier) => multiplier.behind(pm_port),
            _ => Some(self),
        }
    }

    /// As [`behind`](Self::behind), whatever the link does.
    pub(crate) fn at(&mut self, pm_port: u8) -> Option<&mut Target> {
        match self {
            Target::Multiplier(multiplier) => multiplier.at(pm_port),
            _ => Some(self),
        }
    }

    /// What a software reset answers, or COMRESET for port 0.
    pub(crate) fn signature(&self, pm_port: u8) -> Option<u32> {
        match self {
            Target::Disk(_) => Some(SIG_ATA),
            Target::Cd(_) => Some(SIG_ATAPI),
            Target::Multiplier(multiplier) => multiplier.signature(pm_port),
        }
    }

    /// Highest speed of the link.
    pub(crate) fn speed(&self) -> u8 {
        match self {
            Target::Disk(disk) => disk.config.speed,
            Target::Cd(_) => 1,
            Target::Multiplier(_) => 2,
        }
    }

    /// Whether a transfer at `speed` has CRC errors.
    pub(crate) fn is_unstable_at(&self, speed: u8) -> bool {
        matches!(self, Target::Disk(disk) if speed > disk.config.stable_speed)
    }

    /// Queue depth; 0 without NCQ.
    pub(crate) fn queue_depth(&self) -> u8 {
        match self {
            Target::Disk(disk) => disk.config.queue_depth,
            _ => 0,
        }
    }

    /// A hard or soft reset.
    pub(crate) fn reset(&mut self) {
        match self {
            Target::Disk(disk) => disk.reset(),
            Target::Cd(cd) => cd.reset(),
            Target::Multiplier(multiplier) => multiplier.reset(),
        }
    }

    /// Does a command.
    pub(crate) fn execute(
        &mut self,
        bus: &mut dyn Bus,
        command: &Command,
        transfer: &mut Transfer,
        faults: &mut Faults,
    ) -> Result<Outcome, Failure> {
        match self {
            Target::Disk(disk) => disk.execute(bus, command, transfer, faults),
            Target::Cd(cd) => cd.execute(bus, command, transfer, faults),
            Target::Multiplier(multiplier) => multiplier.execute(command),
        }
    }

    /// A queued command failed: the others are aborted, and nothing else is done until the log is read.
    pub(crate) fn queued_failed(&mut self, command: &Command, failure: Failure) {
        if let Target::Disk(disk) = self {
            disk.queued_failed(command, failure);
        }
    }
}
