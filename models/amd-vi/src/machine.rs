//! A machine with IOMMUs.

use std::sync::{Arc, Mutex};

use amd_vi_spec::{DeviceId, INTERRUPT_ADDRESSES, PAGE_SIZE};
use redox_driver_sys::{
    irq::Interrupt,
    mmio::Mmio,
    model::{Device, DmaFault, Host, Iommu, Memory},
    pci::PciAddress,
    time::Clock,
};

use crate::{
    config::Config,
    core::Core,
    device::{AmdVi, lock},
    firmware,
    handle::Handle,
    interrupt::Delivered,
};

/// Memory, one or more units, and what is behind them. Clones are the same machine.
///
/// Each unit has a time of its own; a driver of several is given the clock of the [first](Self::clock).
#[derive(Clone, Debug)]
pub struct Machine {
    memory: Memory,
    units: Arc<[Unit]>,
    ivrs: Arc<[u8]>,
}

#[derive(Debug)]
struct Unit {
    config: Config,
    host: Host,
    core: Arc<Mutex<Core>>,
}

impl Machine {
    /// A machine with a unit for each of `configs`.
    pub fn new(configs: impl IntoIterator<Item = Config>) -> Self {
        Self::with(configs, |unit| Box::new(unit))
    }

    /// The same, with what `wrap` makes of each unit between it and its driver.
    pub fn with(
        configs: impl IntoIterator<Item = Config>,
        mut wrap: impl FnMut(AmdVi) -> Box<dyn Device>,
    ) -> Self {
        let memory = Memory::new();
        let configs: Vec<Config> = configs.into_iter().collect();
        let ivrs = firmware::ivrs(&configs).into();
        let units = configs.into_iter().map(|config| {
            let core = Arc::new(Mutex::new(Core::new(config.clone())));
            let host = Host::platform(wrap(AmdVi::new(core.clone())), &memory);
            Unit { config, host, core }
        });
        Machine { units: units.collect(), memory, ivrs }
    }

    /// Physical memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The ACPI table that tells of the units.
    pub fn ivrs(&self) -> Vec<u8> {
        self.ivrs.to_vec()
    }

    /// The registers at a physical address; `None`: no unit has them there.
    pub fn registers(&self, base: u64) -> Option<Mmio> {
        let unit = self.units.iter().find(|unit| unit.config.base == base)?;
        unit.host.registers(0).ok()
    }

    /// The time of the first unit; without units it stands still.
    pub fn clock(&self) -> Clock {
        self.units.first().map_or_else(Clock::monotonic, |unit| unit.host.clock())
    }

    /// The machine's side of unit number `unit`, to let time pass and count accesses to registers.
    pub fn host(&self, unit: usize) -> Option<&Host> {
        self.units.get(unit).map(|unit| &unit.host)
    }

    /// The hand on unit number `unit`.
    pub fn handle(&self, unit: usize) -> Option<Handle> {
        self.units.get(unit).map(|unit| Handle(unit.core.clone()))
    }

    /// The interrupt of unit number `unit`.
    pub fn interrupt(&self, unit: usize) -> Option<Interrupt> {
        self.units.get(unit)?.host.messages(1).pop()
    }

    /// Puts another model into the machine as `device`. In its [`Host`] time is its own.
    pub fn attach(&self, model: Box<dyn Device>, device: DeviceId) -> Host {
        let address = PciAddress::new(0, device.bus(), device.device(), device.function());
        // Every DeviceID is an address.
        let address = address.unwrap_or_else(|_| unreachable!("{device}"));
        Host::behind(model, &self.memory, Arc::new(self.clone()), address)
    }

    /// One read of `device` by DMA.
    ///
    /// # Errors
    /// The fault, when it was blocked, or met no memory.
    pub fn dma_read(&self, device: DeviceId, addr: u64, target: &mut [u8]) -> Result<(), DmaFault> {
        let fault = DmaFault { addr, len: target.len(), write: false };
        let mut at = addr;
        let mut rest = target;
        while !rest.is_empty() {
            let (piece, next) = rest.split_at_mut(to_end(at).min(rest.len()));
            let place = self.translate(device.0, at, false).ok_or(fault)?;
            self.memory.read(place, piece).map_err(|_| fault)?;
            at = at.wrapping_add(piece.len() as u64);
            rest = next;
        }
        Ok(())
    }

    /// One write of `device` by DMA. A write of 4 bytes to the addresses of interrupts is one.
    ///
    /// # Errors
    /// The fault, when it was blocked, or met no memory; what goes before in the same access may have been written.
    pub fn dma_write(&self, device: DeviceId, addr: u64, source: &[u8]) -> Result<(), DmaFault> {
        let fault = DmaFault { addr, len: source.len(), write: true };
        if let (true, &[a, b, c, d]) = (INTERRUPT_ADDRESSES.contains(&addr), source) {
            let data = u32::from_le_bytes([a, b, c, d]);
            return self.send(device, addr, data).map(drop).ok_or(fault);
        }
        let mut at = addr;
        let mut rest = source;
        while !rest.is_empty() {
            let (piece, next) = rest.split_at(to_end(at).min(rest.len()));
            let place = self.translate(device.0, at, true).ok_or(fault)?;
            self.memory.write(place, piece).map_err(|_| fault)?;
            at = at.wrapping_add(piece.len() as u64);
            rest = next;
        }
        Ok(())
    }

    /// One interrupt message of `device`; `None`: it was blocked.
    pub fn send(&self, device: DeviceId, addr: u64, data: u32) -> Option<Delivered> {
        let (unit, requester) = self.route(device)?;
        unit.host.with_device(|_, bus| lock(&unit.core).message(bus, requester, addr, data))
    }

    /// The unit that a device is behind, and under which name; `None`: none, so that nothing of it passes.
    fn route(&self, device: DeviceId) -> Option<(&Unit, DeviceId)> {
        let unit = self.units.iter().find(|unit| unit.config.devices.contains(&device))?;
        let alias = unit.config.aliases.iter().rev().find(|(devices, _)| devices.contains(&device));
        Some((unit, alias.map_or(device, |(_, name)| *name)))
    }
}

impl Iommu for Machine {
    fn translate(&self, requester: u16, addr: u64, write: bool) -> Option<u64> {
        let (unit, requester) = self.route(DeviceId(requester))?;
        unit.host.with_device(|_, bus| lock(&unit.core).translate(bus, requester, addr, write))
    }

    fn message(&self, requester: u16, addr: u64, data: u32) -> bool {
        self.send(DeviceId(requester), addr, data).is_some()
    }
}

/// Bytes up to the end of a page.
fn to_end(addr: u64) -> usize {
    usize::try_from(PAGE_SIZE - addr % PAGE_SIZE).unwrap_or(1)
}
