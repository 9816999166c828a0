//! What a controller counts.

use std::collections::BTreeMap;

use ahci_spec::AtaCommand;

/// What happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// HBA resets.
    pub resets: u64,
    /// COMRESETs, by port.
    pub comresets: BTreeMap<u8, u64>,
    /// Interrupts that were sent.
    pub interrupts: u64,
    /// Commands that were fetched, by code.
    pub commands: BTreeMap<AtaCommand, u64>,
    /// Queued writes with FUA, and WRITE DMA FUA EXT.
    pub fua_writes: u64,
    /// Most commands that were outstanding on one port.
    pub most_outstanding: usize,
    /// Most devices of one port multiplier that had commands at the same time.
    pub most_devices: usize,
    /// Transitions of a link into a power state.
    pub link_sleeps: u64,
}

impl Statistics {
    /// Commands with `command`.
    pub fn command(&self, command: AtaCommand) -> u64 {
        self.commands.get(&command).copied().unwrap_or(0)
    }

    /// COMRESETs of `port`.
    pub fn comresets(&self, port: u8) -> u64 {
        self.comresets.get(&port).copied().unwrap_or(0)
    }
}
