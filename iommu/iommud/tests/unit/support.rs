//! A machine with the driver on its first unit.

use amd_vi_spec::{DeviceId, DomainId, ivrs::Ivrs};
use iommud::unit::{Result, Target, Unit, UnitFirmware, UnitOptions};
use model_amd_vi::{Config, Handle, Machine, Tables};
use redox_driver_sys::{
    dma::{DmaAllocator, DmaBuffer},
    model::DmaFault,
    time::Time,
};

/// Devices behind the unit.
pub(crate) const DEVICE: DeviceId = DeviceId(0x20);
pub(crate) const OTHER: DeviceId = DeviceId(0x28);
pub(crate) const DOMAIN: DomainId = DomainId(7);

pub(crate) struct Bench {
    // Before the machine, so that it goes first.
    pub(crate) unit: Unit,
    pub(crate) model: Handle,
    pub(crate) memory: DmaAllocator,
    pub(crate) machine: Machine,
}

impl Bench {
    /// With an enabled unit.
    pub(crate) fn new(config: Config) -> Self {
        Self::with(config, UnitOptions::default())
    }

    /// With an enabled unit.
    pub(crate) fn with(config: Config, options: UnitOptions) -> Self {
        let mut bench = Self::disabled(config, options);
        bench.unit.enable().unwrap();
        bench
    }

    pub(crate) fn disabled(config: Config, options: UnitOptions) -> Self {
        let machine = Machine::new([config]);
        let unit = attach(&machine, 0, options).unwrap();
        Bench { unit, model: machine.handle(0).unwrap(), memory: machine.memory().allocator(), machine }
    }

    pub(crate) fn now(&self) -> Time {
        self.machine.clock().now()
    }

    /// A page table with one page at `address`, and the page.
    pub(crate) fn page_at(&self, address: u64) -> (Tables, DmaBuffer) {
        let mut tables = Tables::new(&self.memory, 4).unwrap();
        let page = self.memory.allocate(4096).unwrap();
        tables.map(address, &page).unwrap();
        (tables, page)
    }

    /// Gives a device what a page table of 4 levels maps, and waits for it.
    pub(crate) fn assign(&mut self, device: DeviceId, tables: &Tables) {
        self.unit.set_device(device, domain(tables)).unwrap();
        self.unit.sync().unwrap();
    }

    pub(crate) fn write(&self, device: DeviceId, address: u64) -> Result<(), DmaFault> {
        self.machine.dma_write(device, address, b"data")
    }

    /// Nothing that the specification forbids was done.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.model.take_violations(), []);
    }
}

/// The driver of unit number `unit`, which is not enabled.
pub(crate) fn attach(machine: &Machine, unit: usize, options: UnitOptions) -> Result<Unit> {
    let firmware = UnitFirmware::units(&Ivrs::parse(&machine.ivrs()).unwrap()).remove(unit);
    let registers = machine.registers(firmware.base).unwrap();
    let clock = machine.host(unit).unwrap().clock();
    Unit::new(&registers, &machine.memory().allocator(), &clock, firmware, options)
}

pub(crate) fn domain(tables: &Tables) -> Target {
    Target::Domain { id: DOMAIN, root: tables.root(), levels: 4 }
}
