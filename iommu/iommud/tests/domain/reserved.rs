//! Memory that firmware reserves in a domain.

use amd_vi_spec::{DomainId, PHYSICAL_BITS};
use iommud::{
    Error,
    domain::Domain,
    table::{Access, PageSizes, PageTable},
    unit::ReservedMemory,
};
use redox_driver_sys::model::Memory;

use crate::scale::Nobody;

fn both(start: u64, last: u64) -> ReservedMemory {
    ReservedMemory { start, last, read: true, write: true }
}

#[test]
fn what_failed_for_want_of_memory_leaves_no_hole() {
    let memory = Memory::new();
    // All that it has are 128 pages, each with one behind it that is not used.
    let narrow = memory.allocator().with_address_bits(21);
    let mut domain = Domain::new(DomainId(1), &narrow, 39, PageSizes::ALL).unwrap();
    // On both sides of a border: two tables on each.
    let range = both((1 << 30) - 0x1000, (1 << 30) + 0xfff);
    let mut held = Vec::new();
    held.extend(std::iter::from_fn(|| narrow.allocate(4096).ok()));
    assert!(held.len() > 100);
    for _ in 0..4 {
        let error = domain.reserve(range, &mut Nobody).unwrap_err();
        assert!(matches!(error, Error::Memory(_)), "{error}");
        assert_eq!(domain.tables(), 1, "nothing is left of the attempt");
        held.pop();
    }
    domain.reserve(range, &mut Nobody).unwrap();
    assert_eq!(domain.tables(), 5);
    domain.reserve(range, &mut Nobody).unwrap();
    assert_eq!(domain.tables(), 5);
}

#[test]
fn the_ends_of_what_can_be_are_known() {
    let memory = Memory::new().allocator();
    let mut domain = Domain::new(DomainId(1), &memory, 64, PageSizes::ALL).unwrap();
    let end = 1 << PHYSICAL_BITS;
    for beyond in [both(end - 0x1000, end + 0xfff), both(u64::MAX - 0xfff, u64::MAX), both(0, u64::MAX)] {
        let error = domain.reserve(beyond, &mut Nobody).unwrap_err();
        assert!(matches!(error, Error::Invalid { value, .. } if value == beyond.last), "{error}");
    }
    assert_eq!(domain.tables(), 1);
    domain.reserve(both(end - 0x1000, end - 1), &mut Nobody).unwrap();
    // Below the lowest address nothing is given out.
    domain.reserve(both(0, 0xfff), &mut Nobody).unwrap();
    let mut small = Domain::new(DomainId(2), &memory, 39, PageSizes::ALL).unwrap();
    assert!(small.reserve(both(1 << 39, (1 << 39) + 0xfff), &mut Nobody).is_err());
}

#[test]
fn a_table_leads_up_to_the_last_page() {
    let memory = Memory::new().allocator();
    let mut table = PageTable::new(&memory, 6, PageSizes::ALL).unwrap();
    let access = Access { read: true, write: false };
    table.map(u64::MAX - 0x1fff, u64::MAX - 0x1fff, 0x2000, access).unwrap();
    assert!(table.translate(u64::MAX).is_some());
}

#[test]
fn what_is_reserved_for_less_is_in_the_way() {
    let memory = Memory::new().allocator();
    let mut domain = Domain::new(DomainId(1), &memory, 39, PageSizes::ALL).unwrap();
    let read = ReservedMemory { write: false, ..both(0x8000_1000, 0x8000_1fff) };
    domain.reserve(read, &mut Nobody).unwrap();
    let error = domain.reserve(both(0x8000_0000, 0x8000_2fff), &mut Nobody).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    domain.reserve(ReservedMemory { write: false, ..both(0x8000_0000, 0x8000_2fff) }, &mut Nobody).unwrap();
}
