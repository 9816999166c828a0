//! A service in this process.

use std::{
    cell::RefCell,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
};

use amd_vi_spec::{DeviceId, ivrs::Ivrs};
use iommu_protocol::*;
use iommud::{
    Error,
    service::{Caller, Limits, Options, Service, System},
    table::PageSizes,
    unit::{Unclaimed, Unit, UnitFirmware, UnitOptions},
};
use model_amd_vi::{Config, Machine};
use redox_driver_sys::{
    dma::{DmaAllocator, DmaPages},
    shared::SharedMemory,
};

pub(crate) const DEVICE: DeviceId = DeviceId(0x20);
pub(crate) const OTHER: DeviceId = DeviceId(0x28);

/// Every descriptor is memory of 16 pages, and shows that the caller holds what the test says.
struct Fake {
    memory: DmaAllocator,
    holds: Rc<RefCell<Option<DeviceId>>>,
    last: Rc<RefCell<Option<SharedMemory>>>,
}

impl System for Fake {
    fn adopt(&self, _: BorrowedFd<'_>, most: u64) -> iommud::Result<DmaPages> {
        if most < 16 * 4096 {
            return Err(Error::Unusable("too long".into()));
        }
        let shared = SharedMemory::new(16 * 4096).unwrap();
        *self.last.borrow_mut() = Some(shared.clone());
        self.memory.adopt(&shared).map_err(Error::Memory)
    }
    fn allocate(&self, len: u64) -> iommud::Result<(DmaPages, OwnedFd)> {
        let shared = SharedMemory::new(usize::try_from(len).unwrap()).unwrap();
        Ok((self.memory.adopt(&shared).map_err(Error::Memory)?, descriptor()))
    }
    fn check_holder(&self, _: BorrowedFd<'_>, device: Device) -> iommud::Result<()> {
        if *self.holds.borrow() == Some(DeviceId(device.function)) {
            return Ok(());
        }
        Err(Error::Denied("not held".into()))
    }
}

pub(crate) fn descriptor() -> OwnedFd {
    std::io::stderr().as_fd().try_clone_to_owned().unwrap()
}

pub(crate) struct Bench {
    pub(crate) service: Service,
    pub(crate) machine: Machine,
    pub(crate) holds: Rc<RefCell<Option<DeviceId>>>,
    /// What was imported last.
    pub(crate) last: Rc<RefCell<Option<SharedMemory>>>,
}

pub(crate) fn limits() -> Limits {
    Limits { domains: 2, mappings: 8, objects: 4, bytes: 42 * 4096 }
}

impl Bench {
    pub(crate) fn new(config: Config) -> Self {
        Self::on(Machine::new([config])).unwrap()
    }

    /// With all units of a machine.
    pub(crate) fn on(machine: Machine) -> iommud::Result<Self> {
        Self::with(machine, Unclaimed::Block)
    }

    /// The same, where devices that nobody has claimed may what `unclaimed` says.
    pub(crate) fn with(machine: Machine, unclaimed: Unclaimed) -> iommud::Result<Self> {
        let memory = machine.memory().allocator();
        let firmware = UnitFirmware::units(&Ivrs::parse(&machine.ivrs()).unwrap());
        let units = firmware.into_iter().enumerate().map(|(n, firmware)| {
            let registers = machine.registers(firmware.base).unwrap();
            let clock = machine.host(n).unwrap().clock();
            let options = UnitOptions { unclaimed, ..UnitOptions::default() };
            Unit::new(&registers, &memory, &clock, firmware, options).unwrap()
        });
        let holds = Rc::new(RefCell::new(Some(DEVICE)));
        let last = Rc::new(RefCell::new(None));
        let fake = Fake { memory: memory.clone(), holds: holds.clone(), last: last.clone() };
        let options = Options { unclaimed, limits: limits(), sizes: PageSizes::ALL };
        let service =
            Service::new(units.collect(), memory.clone(), machine.clock(), Box::new(fake), options)?;
        let mut bench = Bench { service, machine, holds, last };
        for id in 1..=2 {
            let caller = Caller { name: format!("client {id}"), administrator: id == 1 };
            bench.service.connect(id, caller);
        }
        Ok(bench)
    }

    /// The reply to a request, with a descriptor beside it.
    pub(crate) fn ask(&mut self, client: u64, request: &Request) -> Result<Vec<u8>, i32> {
        let (reply, _) = self.service.handle(client, &request.encode(7), Some(descriptor())).unwrap();
        parse_reply(&reply, 7).unwrap()?;
        Ok(reply)
    }

    pub(crate) fn domain(&mut self, client: u64) -> Result<u32, i32> {
        let reply = self.ask(client, &Request::CreateDomain(CreateDomain::default()))?;
        Ok(parse_reply(&reply, 7).unwrap().unwrap().body::<DomainHandle>().unwrap().domain)
    }

    pub(crate) fn import(&mut self, client: u64) -> Result<u32, i32> {
        let reply = self.ask(client, &Request::Import)?;
        Ok(parse_reply(&reply, 7).unwrap().unwrap().body::<MemoryHandle>().unwrap().memory)
    }

    pub(crate) fn assign(&mut self, client: u64, domain: u32, device: DeviceId) -> Result<(), i32> {
        let device = Device { segment: 0, function: device.0 };
        self.ask(client, &Request::Assign(Assign { domain, device })).map(drop)
    }

    pub(crate) fn map(&mut self, client: u64, domain: u32, pieces: &[MapPiece]) -> Result<Vec<Range>, i32> {
        let request = Request::Map { domain, mask: u64::MAX, pieces: pieces.to_vec() };
        let reply = self.ask(client, &request)?;
        Ok(parse_reply(&reply, 7).unwrap().unwrap().list(pieces.len()).unwrap())
    }

    pub(crate) fn unmap(&mut self, client: u64, domain: u32, ranges: &[Range]) -> Result<(), i32> {
        self.ask(client, &Request::Unmap { domain, ranges: ranges.to_vec() }).map(drop)
    }

    pub(crate) fn events(&mut self, client: u64) -> (u64, Vec<EventInfo>) {
        let drain = Request::DrainEvents(DrainEvents { most: 1000, reserved: 0 });
        let reply = self.ask(client, &drain).unwrap();
        let report = parse_reply(&reply, 7).unwrap().unwrap();
        let (drained, events) = report.body_and_list(|drained: &Drained| drained.events).unwrap();
        (drained.lost, events)
    }

    pub(crate) fn writes(&self, device: DeviceId, address: u64) -> bool {
        self.machine.dma_write(device, address, b"data").is_ok()
    }

    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.machine.handle(0).unwrap().take_violations(), []);
    }
}

pub(crate) fn piece(memory: u32, page: u64, pages: u64, flags: MapFlags) -> MapPiece {
    MapPiece { memory, flags, offset: page * 4096, len: pages * 4096, align: 0, address: 0 }
}

pub(crate) const BOTH: MapFlags = MapFlags::READ.union(MapFlags::WRITE);
