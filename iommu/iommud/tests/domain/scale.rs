//! Many mappings.

use std::{sync::Arc, time::Instant};

use amd_vi_spec::DomainId;
use iommud::{
    Result,
    domain::{Domain, Invalidate, Memory as Object, Piece},
    table::{Access, PageSizes},
};
use redox_driver_sys::{model::Memory, shared::SharedMemory};

/// No unit.
pub(crate) struct Nobody;

impl Invalidate for Nobody {
    fn invalidate(&mut self, _: DomainId, _: u64, _: u64, _: bool) {}
    fn invalidate_domain(&mut self, _: DomainId) {}
    fn remembers_absence(&self) -> bool {
        false
    }
    fn sync(&mut self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_million_mappings_slow_nothing_down_and_waste_no_tables() {
    const MILLION: usize = 1_000_000;
    let memory = Memory::new();
    let allocator = memory.allocator();
    let pages = allocator.adopt(&SharedMemory::new(4096).unwrap()).unwrap();
    let mut domain = Domain::new(DomainId(1), &allocator, 39, PageSizes::ALL).unwrap();
    let piece = Piece {
        memory: Object { handle: 1, pages: Arc::new(pages) },
        offset: 0,
        len: 4096,
        access: Access { read: true, write: true },
        align: 0,
        fixed: None,
        guard: false,
    };
    let list = vec![piece; 250];
    let mut ranges = Vec::with_capacity(MILLION);
    let mut times = Vec::new();
    while ranges.len() < MILLION {
        let started = Instant::now();
        ranges.extend(domain.map(&list, u64::MAX, &mut Nobody).unwrap());
        times.push(started.elapsed());
    }
    // Medians, since the machine has other things to do as well.
    let median = |times: &[std::time::Duration]| {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    };
    let (first, last) = (median(&times[..400]), median(&times[times.len() - 400..]));
    assert!(last < first * 2, "{first:?} for 250 mappings at first, {last:?} at last");
    let least = MILLION.div_ceil(512);
    assert!(domain.tables() * 10 <= least * 11, "{} tables, of {least}", domain.tables());
    for part in ranges.chunks(250) {
        domain.unmap(part, &mut Nobody).unwrap();
    }
    assert_eq!((domain.tables(), domain.mappings()), (1, 0));
}
