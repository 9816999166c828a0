//! A machine whose unit is driven by hand: registers, rings and tables are written as the specification says.
#![allow(dead_code, clippy::unwrap_used, reason = "each test crate uses its part")]

use amd_vi_spec::{
    Command, Control, DeviceId, DeviceTableEntry, Event, EventLogEntry,
    registers::{self, DeviceTableBase, RingBase, Status},
};
use model_amd_vi::{Config, Handle, Machine};
use redox_driver_sys::{
    dma::{DmaAllocator, DmaSlice},
    mmio::{Mmio, ReadWrite},
};

pub(crate) const DEVICE: DeviceId = DeviceId(0x20);
pub(crate) const OTHER: DeviceId = DeviceId(0x28);

pub(crate) struct Bench {
    pub(crate) machine: Machine,
    pub(crate) unit: Handle,
    pub(crate) memory: DmaAllocator,
    pub(crate) registers: Mmio,
    pub(crate) devices: DmaSlice<DeviceTableEntry>,
    pub(crate) commands: DmaSlice<Command>,
    pub(crate) events: DmaSlice<EventLogEntry>,
    pub(crate) store: DmaSlice<u64>,
    tail: usize,
}

impl Bench {
    /// A unit with tables and rings, not yet enabled.
    pub(crate) fn new(config: Config) -> Self {
        let base = config.base;
        let machine = Machine::new([config]);
        let memory = machine.memory().allocator();
        let bench = Bench {
            unit: machine.handle(0).unwrap(),
            registers: machine.registers(base).unwrap(),
            devices: memory.allocate_slice(1 << 16).unwrap(),
            commands: memory.allocate_slice(256).unwrap(),
            events: memory.allocate_slice(256).unwrap(),
            store: memory.allocate_slice(1).unwrap(),
            machine,
            memory,
            tail: 0,
        };
        let frame = |address: u64| address >> 12;
        let table = DeviceTableBase::new().with_frame(frame(bench.devices.addr().get())).with_size(511);
        bench.write(registers::DEVICE_TABLE_BASE, table.into());
        for (register, address) in
            [(registers::COMMAND_BASE, bench.commands.addr()), (registers::EVENT_BASE, bench.events.addr())]
        {
            bench.write(
                register,
                RingBase::new().with_frame(frame(address.get())).with_log2_entries(8).into(),
            );
        }
        bench
    }

    pub(crate) fn enabled(config: Config) -> Self {
        let bench = Bench::new(config);
        bench.control(|control| control);
        bench
    }

    /// Enables everything, and what `more` adds.
    pub(crate) fn control(&self, more: impl FnOnce(Control) -> Control) {
        let control = Control::new().with_cmd_buf_en(true).with_event_log_en(true).with_event_int_en(true);
        let control = control.with_com_wait_int_en(true).with_iommu_en(true);
        self.write(registers::CONTROL, more(control).into());
    }

    pub(crate) fn write(&self, register: u64, value: u64) {
        self.registers.register::<u64, ReadWrite>(register).unwrap().write(value);
    }

    pub(crate) fn read(&self, register: u64) -> u64 {
        self.registers.register::<u64, ReadWrite>(register).unwrap().read()
    }

    pub(crate) fn status(&self) -> Status {
        Status::from(self.read(registers::STATUS))
    }

    /// Gives the unit commands.
    pub(crate) fn submit(&mut self, commands: &[Command]) {
        for &command in commands {
            self.commands.write(self.tail, command);
            self.tail = (self.tail + 1) % self.commands.len();
        }
        self.write(registers::COMMAND_TAIL, 16 * self.tail as u64);
    }

    /// Takes the events that were logged.
    pub(crate) fn events(&self) -> Vec<Event> {
        let (mut head, tail) = (self.read(registers::EVENT_HEAD), self.read(registers::EVENT_TAIL));
        let mut events = Vec::new();
        while head != tail {
            events.push(self.events.read(usize::try_from(head / 16).unwrap()).event());
            head = (head + 16) % 4096;
        }
        self.write(registers::EVENT_HEAD, head);
        events
    }

    pub(crate) fn set_device(&self, device: DeviceId, entry: DeviceTableEntry) {
        self.devices.write(device.0.into(), entry);
    }

    /// Nothing that the specification forbids was done.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.unit.take_violations(), []);
    }
}
