//! The driver of one AMD-Vi unit.
//!
//! It knows registers, rings and tables of the unit; what a page table maps is its caller's. Sections are those of the AMD
//! I/O Virtualization Technology (IOMMU) Specification (48882), revision 3.x.
//!
//! What changes in tables is told to the unit by commands that are gathered; [`Unit::sync`] ends a batch with one
//! COMPLETION_WAIT and waits for it. Nothing that a device could have reached may be used for anything else before that
//! has succeeded.

mod commands;
mod devices;
mod error;
mod events;
mod firmware;
mod interrupts;
mod memory;
mod options;
mod power;
mod registers;

use std::collections::{BTreeMap, btree_map::Entry};

use amd_vi_spec::{Command, DeviceId, DomainId, Event};
use commands::CommandRing;
use devices::DeviceTable;
pub use devices::{NO_DOMAIN, Target};
pub use error::{Result, UnitError};
pub use events::Drained;
use events::EventLog;
pub use firmware::{ReservedMemory, UnitFirmware};
use interrupts::InterruptTable;
pub use interrupts::{InterruptTarget, Interrupts, MOST_INTERRUPTS, Message};
use memory::TableMemory;
pub use options::{Capabilities, IrteFormat, Unclaimed, UnitOptions};
use redox_driver_sys::{dma::DmaAllocator, mmio::Mmio, time::Clock};
use registers::Registers;

/// One unit. Its tables and rings are in memory that `memory` gives out under physical addresses.
pub struct Unit {
    firmware: UnitFirmware,
    options: UnitOptions,
    capabilities: Capabilities,
    registers: Registers,
    memory: TableMemory,
    devices: DeviceTable,
    commands: CommandRing,
    events: EventLog,
    interrupts: BTreeMap<DeviceId, InterruptTable>,
    state: State,
    statistics: UnitStatistics,
}

/// Whether the unit does what it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not enabled by us: it remembers nothing of ours.
    Disabled,
    Enabled,
    /// The machine is about to sleep.
    Suspended,
    /// Commands are no longer carried out.
    Failed,
}

/// What a unit was told, and told us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitStatistics {
    /// Batches of commands that were carried out.
    pub batches: u64,
    /// Times that the unit had to be started anew because it did not carry out a batch.
    pub restarts: u64,
    /// Events.
    pub events: u64,
    /// Times that the event log was full, so that events were lost.
    pub overflows: u64,
    /// Events that the unit told of and never wrote.
    pub missing_events: u64,
}

impl Unit {
    /// Looks at the unit that `firmware` names, whose registers are `registers`, and makes its tables: devices may what
    /// `options` say. The unit is not changed before [`enable`](Self::enable).
    ///
    /// A unit that is enabled already stays so at all times, with the formats that it has: nothing passes in between.
    ///
    /// # Errors
    /// When the unit is not there, or there is no memory.
    pub fn new(
        registers: &Mmio,
        memory: &DmaAllocator,
        clock: &Clock,
        firmware: UnitFirmware,
        options: UnitOptions,
    ) -> Result<Self> {
        let registers =
            Registers::new(registers, clock.clone()).map_err(UnitError::machine("map registers"))?;
        let capabilities = power::probe(&registers, &firmware, &options)?;
        let make = UnitError::machine("allocate tables");
        let mut memory = TableMemory::new(memory.clone());
        let mut build = || -> redox_driver_sys::Result<_> {
            Ok((
                DeviceTable::new(&mut memory, &firmware, options.unclaimed, capabilities.segments)?,
                CommandRing::new(&mut memory, UnitOptions::ring(options.command_entries), options.timeout)?,
                EventLog::new(&mut memory, UnitOptions::ring(options.event_entries))?,
            ))
        };
        let (devices, commands, events) = build().map_err(make)?;
        Ok(Unit {
            firmware,
            options,
            capabilities,
            registers,
            memory,
            devices,
            commands,
            events,
            interrupts: BTreeMap::new(),
            state: State::Disabled,
            statistics: UnitStatistics::default(),
        })
    }

    /// What firmware says of the unit.
    pub fn firmware(&self) -> &UnitFirmware {
        &self.firmware
    }

    /// What the unit can do.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// What was counted.
    pub fn statistics(&self) -> UnitStatistics {
        self.statistics
    }

    /// Whether the unit carries out commands.
    pub fn is_working(&self) -> bool {
        self.state == State::Enabled
    }

    /// The name under which requests of a device come: another's, for a device behind a bridge. Devices with the same one
    /// cannot be told apart.
    ///
    /// # Errors
    /// [`UnitError::NotBehind`].
    pub fn requester(&self, device: DeviceId) -> Result<DeviceId> {
        self.firmware.devices.requester(device).ok_or(UnitError::NotBehind { device })
    }

    /// Sets what `device`, and all with the same [requester](Self::requester), may reach. A device that reached something is
    /// blocked first, which waits for the unit. The new state holds at the latest when the next [`sync`](Self::sync)
    /// succeeds.
    ///
    /// # Errors
    /// [`UnitError::Levels`], [`UnitError::NotBehind`], or those of `sync`: the device is then blocked in the table, and what
    /// the unit remembers is unknown.
    pub fn set_device(&mut self, device: DeviceId, target: Target) -> Result<()> {
        self.set_requester(self.requester(device)?, target)
    }

    /// The same for a [requester](Self::requester) itself, which firmware need not name as a device: a bridge whose name the
    /// requests behind it carry.
    ///
    /// # Errors
    /// As [`set_device`](Self::set_device).
    pub fn set_requester(&mut self, requester: DeviceId, target: Target) -> Result<()> {
        if let Target::Domain { levels, .. } = target
            && !(1..=self.capabilities.levels).contains(&levels)
        {
            return Err(UnitError::Levels { levels, most: self.capabilities.levels });
        }
        // The unit may read an entry in parts: none of the old one must meet one of the new.
        let old = self.devices.read(requester).paging;
        if old.ir() || old.iw() {
            self.devices.block(requester);
            self.push(Command::invalidate_devtab_entry(requester));
            self.sync()?;
        }
        self.devices.set_target(requester, target);
        self.push(Command::invalidate_devtab_entry(requester));
        Ok(())
    }

    /// The unit forgets `len` bytes of a domain from the I/O virtual address `start` on; with `tables`, also the tables that
    /// led there, as it must when such a table is taken away or replaced. Only [`sync`](Self::sync) waits for it.
    #[inline]
    pub fn invalidate(&mut self, domain: DomainId, start: u64, len: u64, tables: bool) {
        if self.state == State::Enabled {
            self.commands.invalidate_pages(&self.registers, domain, start, len, tables);
        }
    }

    /// The unit forgets everything of a domain.
    pub fn invalidate_domain(&mut self, domain: DomainId) {
        if self.state == State::Enabled {
            self.commands.invalidate_domain(&self.registers, domain);
        }
    }

    /// Waits until the unit has done everything that it was told: afterwards it remembers nothing of what was invalidated.
    /// A unit that does not is started anew once, which makes it forget everything.
    ///
    /// # Errors
    /// [`UnitError::Failed`], or why it could not be started: see there.
    #[inline]
    pub fn sync(&mut self) -> Result<()> {
        match self.state {
            State::Enabled => {}
            State::Failed => return Err(UnitError::Failed { step: "wait for commands" }),
            State::Suspended => return Err(UnitError::Suspended),
            State::Disabled => return Ok(()),
        }
        match self.commands.finish(&self.registers) {
            Ok(()) => {
                self.statistics.batches += 1;
                Ok(())
            }
            Err(error) => self.restart(&error),
        }
    }

    /// Takes the events that the unit has logged, oldest first. A log that was full is started anew.
    ///
    /// # Errors
    /// When the unit is gone, or the log could not be started anew.
    pub fn drain_events(&mut self, sink: impl FnMut(Event)) -> Result<Drained> {
        if matches!(self.state, State::Disabled | State::Suspended) {
            return Ok(Drained::default());
        }
        let drained = self.events.drain(&self.registers, sink)?;
        self.statistics.events += drained.events as u64;
        self.statistics.missing_events += drained.missing as u64;
        if drained.overflow {
            self.statistics.overflows += 1;
            self.restart_events()?;
        }
        Ok(drained)
    }

    /// Has interrupt `index` of `device` go to `target`. From the first on none of the device's arrives that is not mapped.
    /// It holds at the latest when the next [`sync`](Self::sync) succeeds.
    ///
    /// # Errors
    /// [`UnitError::Interrupt`], [`UnitError::NotBehind`], or no memory.
    pub fn map_interrupt(
        &mut self,
        device: DeviceId,
        index: u16,
        target: InterruptTarget,
    ) -> Result<Message> {
        let requester = self.requester(device)?;
        let table = match self.interrupts.entry(requester) {
            Entry::Occupied(table) => table.into_mut(),
            Entry::Vacant(place) => {
                let table = InterruptTable::new(&mut self.memory, self.capabilities.interrupts);
                place.insert(table.map_err(UnitError::machine("allocate an interrupt table"))?)
            }
        };
        let message = table.map(device, index, target)?;
        let entry = table.entry();
        if self.devices.set_interrupts(requester, entry) {
            self.push(Command::invalidate_devtab_entry(requester));
        }
        self.push(Command::invalidate_interrupt_table(requester));
        Ok(message)
    }

    /// Interrupt `index` of `device` arrives no more, when the next [`sync`](Self::sync) has succeeded.
    ///
    /// # Errors
    /// [`UnitError::Interrupt`] when it is not mapped, [`UnitError::NotBehind`].
    pub fn unmap_interrupt(&mut self, device: DeviceId, index: u16) -> Result<()> {
        let requester = self.requester(device)?;
        if !self.interrupts.get(&requester).is_some_and(|table| table.unmap(index)) {
            return Err(UnitError::Interrupt { device, index, reason: "it is not mapped" });
        }
        self.push(Command::invalidate_interrupt_table(requester));
        Ok(())
    }

    /// Unmaps all interrupts of `device`, sets what becomes of them, and waits for the unit.
    ///
    /// # Errors
    /// [`UnitError::NotBehind`], or those of [`sync`](Self::sync).
    pub fn set_interrupts(&mut self, device: DeviceId, interrupts: Interrupts) -> Result<()> {
        let requester = self.requester(device)?;
        if self.devices.set_interrupts(requester, interrupts.entry()) {
            self.push(Command::invalidate_devtab_entry(requester));
        }
        if let Some(table) = self.interrupts.get(&requester) {
            table.clear();
        }
        self.push(Command::invalidate_interrupt_table(requester));
        self.sync()
    }

    fn push(&mut self, command: Command) {
        if self.state == State::Enabled {
            self.commands.push(&self.registers, command);
        }
    }
}

impl Drop for Unit {
    /// What the unit may still read is never given back.
    fn drop(&mut self) {
        if self.state != State::Disabled {
            self.memory.leak();
        }
    }
}
