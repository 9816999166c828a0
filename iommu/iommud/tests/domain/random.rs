//! Random maps, unmaps and accesses of a device, with the unit in between.

use std::{collections::BTreeMap, sync::Arc};

use amd_vi_spec::{DeviceId, DomainId, ivrs::Ivrs};
use fastrand::Rng;
use iommu_protocol::{Range, errno};
use iommud::{
    Result,
    domain::{Domain, Invalidate, Memory as Object, Piece},
    table::{Access, PageSizes},
    unit::{Unit, UnitFirmware, UnitOptions},
};
use model_amd_vi::{Config, Machine};
use redox_driver_sys::{dma::DmaPages, shared::SharedMemory};

const DEVICE: DeviceId = DeviceId(0x20);
const PAGES: usize = 64;

struct One<'a>(&'a mut Unit);

impl Invalidate for One<'_> {
    fn invalidate(&mut self, domain: DomainId, start: u64, len: u64, tables: bool) {
        self.0.invalidate(domain, start, len, tables);
    }
    fn invalidate_domain(&mut self, domain: DomainId) {
        self.0.invalidate_domain(domain);
    }
    fn remembers_absence(&self) -> bool {
        self.0.capabilities().not_present_cached
    }
    fn sync(&mut self) -> Result<()> {
        Ok(self.0.sync()?)
    }
}

/// A mapped range, as the oracle has it.
#[derive(Debug)]
struct Mapped {
    len: u64,
    offset: u64,
    access: Access,
    guard: bool,
}

#[test]
fn ten_thousand_sequences_agree_with_an_oracle() {
    let machine = Machine::new([Config::default()]);
    let firmware = UnitFirmware::units(&Ivrs::parse(&machine.ivrs()).unwrap()).remove(0);
    let allocator = machine.memory().allocator();
    let registers = machine.registers(firmware.base).unwrap();
    let mut unit =
        Unit::new(&registers, &allocator, &machine.clock(), firmware, UnitOptions::default()).unwrap();
    unit.enable().unwrap();
    let shared = SharedMemory::new(PAGES * 4096).unwrap();
    let pages: Arc<DmaPages> = Arc::new(allocator.adopt(&shared).unwrap());
    let mut domain = Domain::new(DomainId(9), &allocator, 39, PageSizes::ALL).unwrap();
    unit.set_device(DEVICE, domain.target()).unwrap();
    unit.sync().unwrap();
    let seed = 4;
    let mut rng = Rng::with_seed(seed);
    let mut oracle: BTreeMap<u64, Mapped> = BTreeMap::new();
    let mut gone: Vec<u64> = Vec::new();
    let mut refused = 0;
    for step in 0..10_000u32 {
        match rng.u8(0..5) {
            0 if oracle.len() < 40 => {
                let len = rng.u64(1..9) * 4096;
                let offset = rng.u64(0..=(PAGES as u64 - len / 4096)) * 4096;
                let access = [(true, true), (true, false), (false, true)][rng.usize(0..3)];
                let access = Access { read: access.0, write: access.1 };
                let mask = if rng.bool() { 0xffff_ffff } else { u64::MAX };
                let memory = Object { handle: 1, pages: pages.clone() };
                let guard = rng.bool();
                let piece = Piece { memory, offset, len, access, align: 0, fixed: None, guard };
                let range = domain.map(&[piece], mask, &mut One(&mut unit)).unwrap()[0];
                oracle.insert(range.address, Mapped { len, offset, access, guard });
            }
            1 if !oracle.is_empty() => {
                let (&address, mapped) = oracle.iter().nth(rng.usize(0..oracle.len())).unwrap();
                let range = Range { address, len: mapped.len };
                domain.unmap(&[range], &mut One(&mut unit)).unwrap();
                oracle.remove(&address);
                gone.push(address);
            }
            2 if !oracle.is_empty() => {
                // Right behind something: nobody may be there, where a page is kept free.
                let (&address, mapped) = oracle.iter().nth(rng.usize(0..oracle.len())).unwrap();
                let (at, offset, access) = (address + mapped.len, 0, mapped.access);
                let memory = Object { handle: 1, pages: pages.clone() };
                let piece =
                    Piece { memory, offset, len: 4096, access, align: 0, fixed: Some(at), guard: false };
                let neighbour = domain.map(&[piece], u64::MAX, &mut One(&mut unit));
                let context = format!("seed {seed}, step {step}, {at:#x}: {neighbour:?}");
                match neighbour {
                    Ok(_) => {
                        assert!(!mapped.guard && !oracle.contains_key(&at), "{context}");
                        oracle.insert(at, Mapped { len: 4096, offset, access, guard: false });
                    }
                    Err(error) => {
                        assert_eq!(error.errno(), errno::EBUSY, "{context}");
                        refused += usize::from(mapped.guard);
                    }
                }
            }
            _ => {
                // Near something that is mapped, or was.
                let base = match gone.last() {
                    Some(&address) if rng.bool() => address,
                    _ => oracle.keys().nth(rng.usize(0..oracle.len().max(1))).copied().unwrap_or(0x10_0000),
                };
                let address = base + rng.u64(0..10) * 4096 + rng.u64(0..4000);
                let found = oracle.range(..=address).next_back();
                let found = found.filter(|(start, mapped)| address < *start + mapped.len);
                let expected = found.map(|(start, mapped)| (mapped.offset + address - start, mapped.access));
                let value = step.to_le_bytes();
                let context = format!("seed {seed}, step {step}, {address:#x}, {expected:?}");
                let written = machine.dma_write(DEVICE, address, &value).is_ok();
                assert_eq!(written, expected.is_some_and(|(_, access)| access.write), "{context}");
                let mut read = [0; 4];
                let was_read = machine.dma_read(DEVICE, address, &mut read).is_ok();
                assert_eq!(was_read, expected.is_some_and(|(_, access)| access.read), "{context}");
                if let Some((offset, _)) = expected {
                    let mut there = [0; 4];
                    shared.copy_out(usize::try_from(offset).unwrap(), &mut there).unwrap();
                    assert!(!written || there == value, "{context}");
                    assert!(!was_read || there == read, "{context}");
                }
            }
        }
    }
    assert!(refused > 100, "{refused} neighbours were refused");
    let everything: Vec<Range> =
        oracle.iter().map(|(&address, mapped)| Range { address, len: mapped.len }).collect();
    domain.unmap(&everything, &mut One(&mut unit)).unwrap();
    assert_eq!(domain.tables(), 1);
    assert_eq!(machine.handle(0).unwrap().take_violations(), []);
}
