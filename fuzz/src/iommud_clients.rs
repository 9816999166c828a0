//! iommud's clients: messages that are any bytes, and requests for what is theirs and what is not. Whatever they ask for, a
//! device reaches memory of the client that it is assigned to, or none.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
};

use amd_vi_spec::ivrs::Ivrs;
use iommu_protocol::*;
use iommud::{
    Error,
    service::{Caller, ClientId, Limits, Options, Service, System},
    table::PageSizes,
    unit::{Unclaimed, Unit, UnitFirmware, UnitOptions},
};
use model_amd_vi::{Config, Machine};
use redox_driver_sys::{
    dma::{DmaAllocator, DmaPages},
    model::Iommu,
    shared::SharedMemory,
};

use crate::Input;

const CLIENTS: u64 = 3;
const PAGE: u64 = 4096;
/// Pages of a memory object.
const PAGES: u64 = 8;
const MOST_STEPS: usize = 300;
/// Where small addresses are.
const LOWEST: u64 = 1 << 32;

/// Whose request is being answered, and whose each page of memory is.
#[derive(Clone, Default)]
struct Ledger {
    current: Rc<Cell<ClientId>>,
    owners: Rc<RefCell<BTreeMap<u64, ClientId>>>,
}

struct Fake {
    memory: DmaAllocator,
    ledger: Ledger,
}

impl Fake {
    fn pages(&self, len: u64) -> iommud::Result<DmaPages> {
        let len = usize::try_from(len).map_err(|_| Error::Unusable("too long".into()))?;
        let shared = SharedMemory::new(len).map_err(Error::Memory)?;
        let pages = self.memory.adopt(&shared).map_err(Error::Memory)?;
        for offset in (0..pages.len()).step_by(PAGE as usize) {
            for segment in pages.segments(offset, 1).into_iter().flatten() {
                self.ledger.owners.borrow_mut().insert(segment.addr.get(), self.ledger.current.get());
            }
        }
        Ok(pages)
    }
}

impl System for Fake {
    fn adopt(&self, _: BorrowedFd<'_>, most: u64) -> iommud::Result<DmaPages> {
        if most < PAGES * PAGE {
            return Err(Error::Unusable("too long".into()));
        }
        self.pages(PAGES * PAGE)
    }
    fn allocate(&self, len: u64) -> iommud::Result<(DmaPages, OwnedFd)> {
        Ok((self.pages(len)?, descriptor().ok_or_else(|| Error::Unusable("no descriptor".into()))?))
    }
    /// Each client holds the device of its number.
    fn check_holder(&self, _: BorrowedFd<'_>, device: Device) -> iommud::Result<()> {
        if device == device_of(self.ledger.current.get()) {
            return Ok(());
        }
        Err(Error::Denied("not held".into()))
    }
}

fn descriptor() -> Option<OwnedFd> {
    std::io::stderr().as_fd().try_clone_to_owned().ok()
}

fn device_of(client: ClientId) -> Device {
    Device { segment: 0, function: 0x20 + 8 * u16::try_from(client).unwrap_or(0) }
}

/// One run: `data` is what clients and devices do.
pub fn run(data: &[u8]) {
    let input = Input::new(data);
    let config = Config { not_present_cached: input.byte() % 2 == 1, ..Config::default() };
    let machine = Machine::new([config]);
    let Ok(ivrs) = Ivrs::parse(&machine.ivrs()) else { return };
    let Some(firmware) = UnitFirmware::units(&ivrs).pop() else { return };
    let (memory, clock) = (machine.memory().allocator(), machine.clock());
    let (Some(registers), Some(model)) = (machine.registers(firmware.base), machine.handle(0)) else {
        return;
    };
    let Ok(unit) = Unit::new(&registers, &memory, &clock, firmware, UnitOptions::default()) else { return };
    let ledger = Ledger::default();
    let fake = Fake { memory: memory.clone(), ledger: ledger.clone() };
    let limits = Limits { domains: 3, mappings: 12, objects: 4, bytes: 40 * PAGE };
    let options = Options { unclaimed: Unclaimed::Block, limits, sizes: PageSizes::ALL };
    let Ok(mut service) = Service::new(vec![unit], memory, clock, Box::new(fake), options) else { return };
    let connect = |service: &mut Service, id| {
        service.connect(id, Caller { name: format!("client {id}"), administrator: id == 0 });
    };
    for id in 0..CLIENTS {
        connect(&mut service, id);
    }
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        let client = u64::from(input.byte()) % CLIENTS;
        ledger.current.set(client);
        let request = match input.byte() % 32 {
            0 => {
                let bytes: Vec<u8> = (0..input.below(100)).map(|_| input.byte()).collect();
                service.handle(client, &bytes, descriptor());
                continue;
            }
            1 => {
                service.disconnect(client);
                connect(&mut service, client);
                assert!(reached(&machine, device_of(client)).is_none(), "a device of a client that is gone");
                continue;
            }
            2..=9 => {
                judge(&machine, &ledger, client, LOWEST + u64::from(input.byte()) * PAGE);
                judge(&machine, &ledger, client, input.long());
                continue;
            }
            how => request(&input, how),
        };
        let id = input.byte().into();
        let mut bytes = request.encode(id);
        if input.byte() >= 250 {
            let at = input.below(bytes.len());
            bytes[at] ^= 1 << (input.byte() % 8);
        }
        let with = (input.byte() < 250).then(descriptor).flatten();
        let reply = service.handle(client, &bytes, with);
        if let Some((reply, _)) = reply {
            assert!(reply.len() <= MOST_BYTES);
        }
        for client in 0..CLIENTS {
            for page in 0..4 {
                judge(&machine, &ledger, client, LOWEST + page * PAGE);
            }
        }
    }
    for id in 0..CLIENTS {
        service.disconnect(id);
        assert!(reached(&machine, device_of(id)).is_none());
    }
    assert_eq!(model.take_violations(), []);
    // A unit that is enabled keeps its memory for ever.
    assert!(service.disable().is_ok());
}

fn request(input: &Input, how: u8) -> Request {
    let handle = |input: &Input| u32::from(input.byte() % 8);
    let range = |input: &Input| {
        let address = LOWEST + u64::from(input.byte()) * PAGE;
        Range { address: if input.byte() < 200 { address } else { input.long() }, len: length(input) }
    };
    let device = |input: &Input| device_of(u64::from(input.byte()) % (CLIENTS + 1));
    match how {
        10 => Request::Query,
        11 | 12 => {
            let bits = [0, 0, 39, 48, 32, 12, 64, 7];
            Request::CreateDomain(CreateDomain { address_bits: bits[input.below(8)], reserved: 0 })
        }
        13 => Request::DestroyDomain(DomainHandle { domain: handle(input), reserved: 0 }),
        14 => Request::Allocate(Allocate { len: length(input) }),
        15 | 16 => Request::Import,
        17 => Request::Free(MemoryHandle { memory: handle(input), reserved: 0, len: 0 }),
        18..=22 => {
            let pieces = (0..input.below(5)).map(|_| piece(input)).collect();
            let mask = if input.byte() < 230 { u64::MAX } else { input.long() };
            Request::Map { domain: handle(input), mask, pieces }
        }
        23 | 24 => {
            let ranges = (0..input.below(4)).map(|_| range(input)).collect();
            Request::Unmap { domain: handle(input), ranges }
        }
        25 => Request::Translate(Translate {
            domain: handle(input),
            reserved: 0,
            address: range(input).address,
        }),
        26 | 27 => Request::Assign(Assign { domain: handle(input), device: device(input) }),
        28 => Request::Unassign(Unassign { device: device(input), reserved: 0 }),
        29 => {
            let (index, vector) = (input.byte().into(), input.byte().into());
            let interrupt =
                MapInterrupt { device: device(input), index, vector, destination: 1, reserved: 0 };
            if index % 2 == 0 { Request::MapInterrupt(interrupt) } else { Request::UnmapInterrupt(interrupt) }
        }
        30 => Request::DrainEvents(DrainEvents { most: input.word().into(), reserved: 0 }),
        _ => Request::Inspect,
    }
}

fn length(input: &Input) -> u64 {
    match input.byte() {
        0..240 => u64::from(input.byte() % 10) * PAGE,
        _ => input.long(),
    }
}

fn piece(input: &Input) -> MapPiece {
    let flags = MapFlags::from_bits_retain(u32::from(input.byte() % 16));
    let address = if flags.contains(MapFlags::FIXED) { LOWEST + u64::from(input.byte()) * PAGE } else { 0 };
    MapPiece {
        memory: u32::from(input.byte() % 8),
        flags,
        offset: u64::from(input.byte() % 10) * PAGE,
        len: length(input),
        align: if input.byte() < 200 { 0 } else { 1 << (input.byte() % 64) },
        address,
    }
}

/// What a client's device reaches at an address must be that client's: only the client could have had it assigned.
fn judge(machine: &Machine, ledger: &Ledger, client: ClientId, address: u64) {
    for write in [false, true] {
        if let Some(place) = machine.translate(device_of(client).function, address, write) {
            let owner = ledger.owners.borrow().get(&(place & !(PAGE - 1))).copied();
            assert_eq!(owner, Some(client), "{address:#x} leads to {place:#x}");
        }
    }
}

/// An address that a device reaches.
fn reached(machine: &Machine, device: Device) -> Option<u64> {
    let mut addresses = (0..64).map(|page| LOWEST + page * PAGE);
    addresses.find(|&address| {
        machine.translate(device.function, address, false).is_some()
            || machine.translate(device.function, address, true).is_some()
    })
}
