//! Memory that firmware has devices use, whoever drives them.

use amd_vi_spec::{DeviceId, ivrs::IvmdFlags};
use model_amd_vi::{Config, Machine, MemoryRange};
use redox_driver_sys::dma::DmaBuffer;

use crate::support::{Bench, DEVICE};

/// Addresses that a new machine gives out first.
const MEMORY: u64 = 0x10_0000;
const PAGE: u64 = 4096;

fn flags(read: bool, write: bool) -> IvmdFlags {
    IvmdFlags::new().with_unity(true).with_ir(read).with_iw(write)
}

fn range(device: DeviceId, flags: IvmdFlags, page: u64, pages: u64) -> MemoryRange {
    MemoryRange { devices: device..=device, flags, start: MEMORY + page * PAGE, length: pages * PAGE }
}

/// A machine, and the 8 pages of memory at [`MEMORY`].
fn machine(config: Config) -> (Machine, DmaBuffer) {
    let machine = Machine::new([config]);
    let memory = machine.memory().allocator().allocate(8 * 4096).unwrap();
    assert_eq!(memory.addr().get(), MEMORY);
    (machine, memory)
}

#[test]
fn a_bridge_that_firmware_does_not_name_reaches_its_devices_memory() {
    let (bridge, behind) = (DeviceId(0x300), DeviceId(0x123));
    let config = Config {
        aliases: vec![(DeviceId(0x100)..=DeviceId(0x1ff), bridge)],
        memory: vec![range(behind, flags(true, true), 0, 1)],
        ..Config::default()
    };
    let (machine, _memory) = machine(config);
    let mut bench = Bench::on(machine).unwrap();
    assert!(bench.writes(behind, MEMORY) && !bench.writes(behind, MEMORY + PAGE));
    assert!(!bench.writes(DEVICE, MEMORY));
    let domain = bench.domain(1).unwrap();
    *bench.holds.borrow_mut() = Some(behind);
    bench.assign(1, domain, behind).unwrap();
    assert!(bench.writes(behind, MEMORY) && !bench.writes(behind, MEMORY + PAGE));
    bench.assert_clean();
}
