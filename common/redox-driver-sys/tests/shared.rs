//! Memory of several processes: accesses stay inside, and a device reaches what it adopted for as long as it may.

mod common;

use std::sync::{Arc, Mutex, atomic::Ordering};

use common::{copy, host, started};
use redox_driver_sys::{
    Error,
    dma::PAGE_SIZE,
    model::{DmaFault, DmaMode},
    scheme::{Errno, SchemeRequest},
    shared::SharedMemory,
};
use syscall::schemev2::{Opcode, Sqe};

#[test]
fn accesses_stay_inside() {
    let memory = SharedMemory::new(PAGE_SIZE - 1).unwrap();
    assert_eq!((memory.len(), memory.is_empty()), (PAGE_SIZE, false));
    let last = memory.word(PAGE_SIZE - 4).unwrap();
    last.store(0x1122_3344, Ordering::Relaxed);
    let mut bytes = [9; 6];
    memory.copy_out(PAGE_SIZE - 6, &mut bytes).unwrap();
    assert_eq!(bytes, [0, 0, 0x44, 0x33, 0x22, 0x11]);
    let array = memory.array::<[u64; 2]>(PAGE_SIZE - 32, 2).unwrap();
    array.write(0, [1, 2]);
    assert_eq!(array.read(0), [1, 2]);
    assert_eq!(array.read(1), [0, 0x1122_3344_0000_0000]);
    let refused = [
        memory.word(PAGE_SIZE).map(drop),
        memory.word(2).map(drop),
        memory.word(usize::MAX).map(drop),
        memory.array::<u64>(4, 1).map(drop),
        memory.array::<u64>(PAGE_SIZE - 8, 2).map(drop),
        memory.array::<u64>(0, usize::MAX / 4).map(drop),
        memory.copy_in(1, &[0; PAGE_SIZE]),
        memory.copy_out(usize::MAX, &mut [0; 2]),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(Error::OutOfBounds { region: 4096, .. })), "{refused:?}");
    }
    assert!(SharedMemory::new(usize::MAX).is_err());
    // What was taken from it keeps it.
    drop(memory);
    assert_eq!(last.load(Ordering::Relaxed), 0x1122_3344);
}

#[test]
#[should_panic(expected = "index 2 of 2 shared elements")]
fn an_index_is_checked() {
    SharedMemory::new(64).unwrap().array::<u64>(0, 2).unwrap().read(2);
}

#[test]
fn a_device_reaches_what_it_adopted() {
    for mode in [DmaMode::Iommu, DmaMode::Physical { memory_at: 1 << 32 }] {
        let host = host();
        let (function, registers) = started(host.function_with(mode));
        let dma = function.dma().unwrap();
        let memory = SharedMemory::new(4 * PAGE_SIZE).unwrap();
        let pages = dma.adopt(&memory).unwrap();
        assert_eq!((pages.len(), pages.is_empty()), (4 * PAGE_SIZE, false));
        let all: Vec<_> = pages.segments(0, 4 * 4096).unwrap().collect();
        assert_eq!(all.len(), 1, "one mapping");
        memory.copy_in(4090, b"across pages").unwrap();
        let at = |offset| pages.segments(offset, 12).unwrap().next().unwrap().addr.get();
        assert_eq!(copy(&host, &registers, at(4090), at(10_000), 12), []);
        let mut bytes = [0; 14];
        memory.copy_out(9_999, &mut bytes).unwrap();
        assert_eq!(&bytes, b"\0across pages\0");

        let (from, to) = (at(4090), at(10_000));
        let other = pages.clone();
        drop(pages);
        assert_eq!(copy(&host, &registers, from, to, 12), []);
        drop(other);
        let faults = copy(&host, &registers, from, to, 12);
        assert_eq!(faults, [DmaFault { addr: from, len: 12, write: false }]);
        assert!(dma.with_address_bits(8).adopt(&memory).is_err());
    }
}

#[test]
fn clients_buffers_are_copied_within_their_bounds() {
    let memory = SharedMemory::new(PAGE_SIZE).unwrap();
    memory.copy_in(100, b"from the disk").unwrap();
    let request = |opcode: Opcode, bytes: &Arc<Mutex<Vec<u8>>>| {
        let sqe = Sqe { opcode: opcode as u8, tag: 1, ..Sqe::default() };
        SchemeRequest::of_test(&sqe, bytes.clone())
    };
    let bytes = Arc::new(Mutex::new(b"to the disk".to_vec()));
    let write = request(Opcode::Write, &bytes);
    write.load_shared(3, &memory, 4092, 4).unwrap();
    let mut copied = [0; 4];
    memory.copy_out(4092, &mut copied).unwrap();
    assert_eq!(&copied, b"the ");
    assert_eq!(write.load_shared(3, &memory, 4093, 4), Err(Errno::FAULT));
    assert_eq!(write.load_shared(8, &memory, 0, 4), Err(Errno::FAULT));
    assert_eq!(write.store_shared(0, &memory, 0, 4), Err(Errno::BADF));
    let read = request(Opcode::Read, &bytes);
    read.store_shared(2, &memory, 105, 8).unwrap();
    assert_eq!(*bytes.lock().unwrap(), b"tothe diskk");
    assert_eq!(read.store_shared(0, &memory, 4090, 8), Err(Errno::FAULT));
    assert_eq!(read.store_shared(4, &memory, 0, 8), Err(Errno::FAULT));
    assert_eq!(read.load_shared(0, &memory, 0, 1), Err(Errno::BADF));
}
