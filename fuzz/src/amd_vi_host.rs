//! The IOMMU model under a host that does anything: registers, rings, and every kind of table in memory that is written at
//! any time.

use std::time::Duration;

use amd_vi_spec::{
    Control, DeviceId, PageEntry,
    registers::{self, DeviceTableBase, RingBase},
};
use model_amd_vi::{Action, Config, FaultPlan, LifecycleFault, Machine, Rule, Table, WalkFault, walk};
use redox_driver_sys::mmio::ReadWrite;

use crate::input::Input;

/// Memory that the unit reaches, in which all its tables are.
const PAGES: usize = 16;
const PAGE: usize = 4096;
const MOST_STEPS: usize = 512;

/// One run: `data` are register accesses, what is in memory, and what devices do meanwhile.
pub fn run(data: &[u8]) {
    let input = Input::new(data);
    let mut config =
        Config { not_present_cached: input.byte() % 2 == 1, iotlb_entries: 16, ..Config::default() };
    config.command_time = Duration::from_nanos(u64::from(input.byte()) * 10);
    let base = config.base;
    let machine = Machine::new([config]);
    let (Some(registers), Some(host), Some(model)) =
        (machine.registers(base), machine.host(0), machine.handle(0))
    else {
        return;
    };
    let Ok(memory) = machine.memory().allocator().allocate(PAGES * PAGE) else { return };
    let start = memory.addr().get();
    let write = |offset: u64, value: u64| {
        if let Ok(register) = registers.register::<u64, ReadWrite>(offset) {
            register.write(value);
        }
    };
    let frame = |page: u64| (start >> 12) + page;
    write(registers::DEVICE_TABLE_BASE, DeviceTableBase::new().with_frame(frame(0)).into());
    write(registers::COMMAND_BASE, RingBase::new().with_frame(frame(1)).with_log2_entries(8).into());
    write(registers::EVENT_BASE, RingBase::new().with_frame(frame(2)).with_log2_entries(8).into());
    let control = Control::new().with_iommu_en(true).with_cmd_buf_en(true).with_event_log_en(true);
    write(registers::CONTROL, control.with_ga_en(input.byte() % 2 == 1).into());
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        let device = DeviceId(u16::from(input.byte() % 128));
        match input.byte() % 16 {
            0 => write(u64::from(input.byte()) << 3, input.long()),
            1 => write(0x2000 | u64::from(input.byte() % 16) << 3, input.word().into()),
            2 => {
                let offset = input.below(0x4000) as u64;
                drop(registers.register::<u32, ReadWrite>(offset).map(|register| register.read()));
            }
            3 => write(registers::CONTROL, input.long()),
            // Entries whose address, if small, lies in the memory.
            4..=8 => {
                let mut entry = input.long();
                let pages = entry >> 12 & 0xff_ffff_ffff;
                if pages < PAGES as u64 {
                    entry = entry & !(0xff_ffff_ffff << 12) | frame(pages) << 12;
                }
                drop(memory.write(input.below(PAGES * PAGE / 8) * 8, entry));
            }
            9 => drop(memory.write(PAGE + input.below(256) * 16 + 7, input.byte())),
            10 => host.advance(Duration::from_micros(input.word().into())),
            11 => drop(machine.send(device, 0xfee0_0000 | u64::from(input.word()), input.word().into())),
            12 => {
                let fault = match input.byte() % 4 {
                    0 => FaultPlan::new(0).rule(Rule::new(Action::Hang).times(1)),
                    1 => FaultPlan::new(0).lifecycle_times(LifecycleFault::PageTableError, 3),
                    2 => FaultPlan::new(0)
                        .rule(Rule::new(Action::SpuriousEvent(input.long(), input.long())).times(9)),
                    _ => FaultPlan::new(0),
                };
                model.set_faults(fault);
            }
            13 => {
                let _ = machine.dma_write(device, address(&input, start), &[input.byte(); 8]);
            }
            14 => {
                let _ = machine.dma_read(device, address(&input, start), &mut [0; 64]);
            }
            _ => walked(&input, &memory, start),
        }
    }
    host.advance(Duration::from_secs(1));
}

/// A small address, a physical one or any.
fn address(input: &Input, start: u64) -> u64 {
    match input.byte() % 3 {
        0 => u64::from(input.word()) << (input.byte() % 48),
        1 => start + u64::from(input.word()),
        _ => input.long(),
    }
}

/// A walk of the same memory: as long as it may be, and no page but one that covers the address.
fn walked(input: &Input, memory: &redox_driver_sys::dma::DmaBuffer, start: u64) {
    let level = input.byte() % 6 + 1;
    let table =
        Table { address: start + u64::from(input.byte() % 16) * 4096, level, read: true, write: true };
    let address = address(input, start);
    let (mut fetched, mut levels) = (0, Vec::new());
    let fetch = |place: u64| {
        fetched += 1;
        memory.read::<u64>(usize::try_from(place.checked_sub(start)?).ok()?).ok()
    };
    let result = walk(table, address, fetch, |table| levels.push(table.level));
    assert!(fetched <= level.into() && levels.is_sorted_by(|above, below| above > below));
    match result {
        Ok(page) => {
            assert!(page.range.start() <= address && address <= page.range.last());
            assert!(page.target % page.range.bytes() == 0 && page.target < 1 << 52);
            assert!(page.entries.is_power_of_two() && page.entries <= 256);
        }
        Err(WalkFault::Unreadable(place)) => {
            assert!(
                memory.read::<u64>(usize::try_from(place.wrapping_sub(start)).unwrap_or(usize::MAX)).is_err()
            );
        }
        Err(_) => {}
    }
    // Every bit pattern is an entry.
    let entry = PageEntry::from(input.long());
    let _ = (entry.target(level), entry.has_reserved_bits(), entry.is_table());
}
