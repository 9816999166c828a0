//! Several devices in one machine, with a model of an IOMMU before them.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::sync::{Arc, Mutex};

use common::{copier, copy, full_config, start, started};
use redox_driver_sys::{
    dma::{DmaBuffer, PAGE_SIZE},
    model::{DmaFault, Host, Iommu, Memory},
    pci::PciAddress,
};

/// Lets 00:04.0 reach the page at 0x1000 to 0x3000 there, and read only another; and remembers what it was asked.
#[derive(Default)]
struct Pages {
    frames: [u64; 3],
    messages: Mutex<Vec<(u16, u64, u32)>>,
}

const READ_ONLY: u64 = 3;

impl Iommu for Pages {
    fn translate(&self, requester: u16, addr: u64, write: bool) -> Option<u64> {
        let page = addr / PAGE_SIZE as u64;
        let frame = self.frames.get(usize::try_from(page.checked_sub(1)?).ok()?)?;
        let allowed = requester == 0x20 && !(write && page == READ_ONLY);
        allowed.then_some(frame + addr % PAGE_SIZE as u64)
    }

    fn message(&self, requester: u16, addr: u64, data: u32) -> bool {
        self.messages.lock().unwrap().push((requester, addr, data));
        data == 1
    }
}

/// The machine, what its pages are for as long as they live, the IOMMU and the device.
fn machine(address: PciAddress) -> (Memory, [DmaBuffer; 3], Arc<Pages>, Host) {
    let memory = Memory::new();
    let allocator = memory.allocator();
    assert!(!allocator.is_translated());
    // Neighbours for the device, but not in memory.
    let pages = [(); 3].map(|()| allocator.allocate(PAGE_SIZE).unwrap());
    let iommu =
        Arc::new(Pages { frames: pages.each_ref().map(|page| page.addr().get()), ..Pages::default() });
    let host = Host::behind(copier(full_config()), &memory, iommu.clone(), address);
    (memory, pages, iommu, host)
}

#[test]
fn dma_goes_where_the_iommu_says() {
    let (memory, _pages, iommu, host) = machine(PciAddress::new(0, 0, 4, 0).unwrap());
    let (_function, registers) = started(host.function());
    let text: Vec<u8> = (0..=255).collect();
    memory.write(iommu.frames[2] + 100, &text).unwrap();
    // Across the end of the first page, into the second.
    assert_eq!(copy(&host, &registers, 0x3064, 0x1fc0, 256), []);
    let mut bytes = [0; 256];
    memory.read(iommu.frames[0] + 0xfc0, &mut bytes[..0x40]).unwrap();
    memory.read(iommu.frames[1], &mut bytes[0x40..]).unwrap();
    assert_eq!(bytes[..], text);
    let blocked = |addr, write| [DmaFault { addr, len: 256, write }];
    assert_eq!(copy(&host, &registers, 0x3064, 0x3000, 256), blocked(0x3000, true), "read only");
    assert_eq!(copy(&host, &registers, 0x3064, 0x2fc0, 256), blocked(0x2fc0, true), "half of it read only");
    assert_eq!(copy(&host, &registers, 0x3fc0, 0x1000, 256), blocked(0x3fc0, false), "half of it nowhere");
    assert_eq!(
        copy(&host, &registers, iommu.frames[0], 0x1000, 256),
        blocked(iommu.frames[0], false),
        "physical"
    );
}

#[test]
fn a_device_has_a_name_of_its_own() {
    let (_memory, _pages, _iommu, host) = machine(PciAddress::new(0, 0, 5, 0).unwrap());
    let (function, registers) = started(host.function());
    assert_eq!(function.address().device(), 5);
    assert_eq!(copy(&host, &registers, 0x1000, 0x2000, 4), [DmaFault { addr: 0x1000, len: 4, write: false }]);
}

#[test]
fn messages_pass_as_well() {
    let (_memory, _pages, iommu, host) = machine(PciAddress::new(0, 0, 4, 0).unwrap());
    let (function, registers) = started(host.function());
    let vectors = function.interrupts(3).unwrap().into_vectors();
    for vector in 0..3 {
        start(&registers, 0x1000, 0x2000, 4, vector);
        host.advance(common::DELAY * 2);
    }
    let taken: Vec<u64> = vectors.iter().map(|vector| vector.take().unwrap()).collect();
    assert_eq!(taken, [0, 1, 0]);
    let asked: Vec<_> = iommu.messages.lock().unwrap().clone();
    assert_eq!(asked, [0, 1, 2].map(|data| (0x20, 0xfee0_0000, data)));
}

#[test]
fn a_device_of_the_platform_reaches_physical_memory() {
    let memory = Memory::new();
    let allocator = memory.allocator();
    let [source, target] = [7, 0].map(|byte| {
        let buffer = allocator.allocate(PAGE_SIZE).unwrap();
        buffer.fill(0, PAGE_SIZE, byte).unwrap();
        buffer
    });
    let host = Host::platform(copier(full_config()), &memory);
    let registers = host.registers(0).unwrap();
    let line = host.messages(1).pop().unwrap();
    assert_eq!(copy(&host, &registers, source.addr().get(), target.addr().get(), 16), []);
    assert_eq!((target.read::<u8>(15).unwrap(), target.read::<u8>(16).unwrap()), (7, 0));
    assert_eq!(line.take().unwrap(), 1);
    assert!(host.registers(3).is_err());
    // Memory that was given back is no memory.
    let gone = source.addr().get();
    drop(source);
    assert!(memory.read(gone, &mut [0]).is_err());
}
