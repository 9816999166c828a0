//! Interrupt remapping.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use amd_vi_spec::{
    Command, DeviceTableEntry, DomainId, DteInterrupt, Event, InterruptControl, Irte32, Irte128, IrteHigh,
    IrteLow,
};
use model_amd_vi::{Config, Delivered, Violation};
use support::{Bench, DEVICE};

const MESSAGE: u64 = 0xfee0_0000;

fn remapped(bench: &Bench, table: u64, len: u8) -> DeviceTableEntry {
    let interrupt = DteInterrupt::new().with_valid(true).with_table(table).with_table_len(len);
    let interrupt = interrupt.with_control(InterruptControl::REMAP).with_nmi_pass(true);
    let entry = DeviceTableEntry { interrupt, ..DeviceTableEntry::blocked(DomainId(1)) };
    bench.set_device(DEVICE, entry);
    entry
}

#[test]
fn messages_pass_until_they_are_remapped() {
    let bench = Bench::new(Config::default());
    let line = Delivered { device: DEVICE, destination: 3, logical: true, vector: 0x41, mode: 0 };
    assert_eq!(bench.machine.send(DEVICE, 0xfee0_3004, 0x41), Some(line));
    bench.control(|control| control);
    assert_eq!(bench.machine.send(DEVICE, 0xfee0_3004, 0x41), Some(line));
    assert_eq!(bench.unit.take_delivered(), [line, line]);
}

#[test]
fn entries_of_32_bits() {
    let mut bench = Bench::enabled(Config::default());
    let table = bench.memory.allocate_slice::<Irte32>(32).unwrap();
    remapped(&bench, table.addr().get(), 5);
    assert_eq!(bench.machine.send(DEVICE, MESSAGE, 4), None);
    let entry = Irte32::new().with_remap_en(true).with_destination(2).with_vector(0x55).with_int_type(1);
    table.write(4, entry);
    assert_eq!(bench.machine.send(DEVICE, MESSAGE, 4), None, "stale");
    bench.submit(&[Command::invalidate_interrupt_table(DEVICE)]);
    let arrived = Delivered { device: DEVICE, destination: 2, logical: false, vector: 0x55, mode: 1 };
    assert_eq!(bench.machine.send(DEVICE, MESSAGE, 4), Some(arrived));
    // A forged message: DMA to the same place.
    bench.machine.dma_write(DEVICE, MESSAGE, &4u32.to_le_bytes()).unwrap();
    table.write(4, Irte32::new());
    assert_eq!(bench.machine.send(DEVICE, MESSAGE, 4), Some(arrived), "stale");
    bench.submit(&[Command::invalidate_interrupt_table(DEVICE)]);
    assert_eq!(bench.machine.send(DEVICE, MESSAGE, 4), None);
    assert_eq!(bench.machine.send(DEVICE, MESSAGE, 32), None, "beyond the table");
    let events = bench.events();
    assert_eq!(events.len(), 4);
    for event in events {
        let Event::IoPageFault { device: DEVICE, flags, .. } = event else { panic!("{event}") };
        assert!(flags.interrupt());
    }
    bench.assert_clean();
}

#[test]
fn entries_of_128_bits_reach_every_processor() {
    let bench = Bench::new(Config::default());
    bench.control(|control| control.with_ga_en(true).with_xt_en(true));
    let table = bench.memory.allocate_slice::<Irte128>(512).unwrap();
    remapped(&bench, table.addr().get(), 9);
    let low = IrteLow::new().with_remap_en(true).with_logical(true);
    let entry = Irte128 { low, high: IrteHigh::new().with_vector(0x99) }.with_destination(0x0102_0304);
    table.write(300, entry);
    // Bits 10:8 tell the delivery mode; bit 8 is in the index as well.
    let arrived =
        Delivered { device: DEVICE, destination: 0x0102_0304, logical: true, vector: 0x99, mode: 0 };
    assert_eq!(bench.machine.send(DEVICE, MESSAGE, 300), Some(arrived));
    table.write(1, Irte128 { low: low.with_guest_mode(true), ..entry });
    assert_eq!(bench.machine.send(DEVICE, MESSAGE, 1), None);
    assert_eq!(bench.unit.take_violations(), [Violation::InterruptEntry { device: DEVICE, index: 1 }]);
}

#[test]
fn other_kinds_of_interrupts_pass_as_the_device_table_says() {
    let bench = Bench::enabled(Config::default());
    remapped(&bench, 0, 5);
    let nmi = 4 << 8;
    assert_eq!(bench.machine.send(DEVICE, MESSAGE, nmi).unwrap().mode, 4);
    assert_eq!(bench.machine.send(DEVICE, MESSAGE, 5 << 8), None);
    assert_eq!(bench.machine.send(DEVICE, MESSAGE, 3 << 8), None);
    assert!(matches!(bench.events()[..], [Event::IoPageFault { .. }, Event::InvalidDeviceRequest { .. }]));
}

#[test]
fn unmapped_ones_can_be_ignored() {
    let bench = Bench::enabled(Config::default());
    let table = bench.memory.allocate_slice::<Irte32>(32).unwrap();
    table.write(1, Irte32::new().with_suppress_fault(true));
    let entry = remapped(&bench, table.addr().get(), 5);
    assert_eq!(bench.machine.send(DEVICE, MESSAGE, 1), None);
    assert_eq!(bench.events(), []);
    let other = amd_vi_spec::DeviceId(0x28);
    bench.set_device(
        other,
        DeviceTableEntry { interrupt: entry.interrupt.with_ignore_unmapped(true), ..entry },
    );
    assert_eq!(bench.machine.send(other, MESSAGE, 2), None);
    assert_eq!(bench.events(), []);
}
