//! Interrupt remapping.

use amd_vi_spec::{DeviceId, ExtendedFeatures};
use iommud::unit::{InterruptTarget, Interrupts, Message, UnitError, UnitOptions};
use model_amd_vi::{Config, Delivered};

use crate::support::{Bench, DEVICE, OTHER};

const TARGET: InterruptTarget =
    InterruptTarget { destination: 3, logical: false, vector: 0x55, arbitrated: false };

fn send(bench: &Bench, device: DeviceId, message: Message) -> Option<Delivered> {
    bench.machine.send(device, message.address, message.data)
}

/// Both formats.
fn benches() -> [Bench; 2] {
    let narrow = ExtendedFeatures::new().with_ia_sup(true);
    [Bench::new(Config { features: narrow, ..Config::default() }), Bench::new(Config::default())]
}

#[test]
fn an_interrupt_goes_where_it_was_mapped() {
    for mut bench in benches() {
        let raw = Message { address: 0xfee0_0000, data: 0x41 };
        assert!(send(&bench, DEVICE, raw).is_some(), "without a table they pass");
        let message = bench.unit.map_interrupt(DEVICE, 9, TARGET).unwrap();
        bench.unit.sync().unwrap();
        let arrived = Delivered { device: DEVICE, destination: 3, logical: false, vector: 0x55, mode: 0 };
        assert_eq!(send(&bench, DEVICE, message), Some(arrived));
        assert_eq!(send(&bench, DEVICE, raw), None, "what is not mapped is forged");
        assert!(bench.machine.dma_write(DEVICE, 0xfee0_0000, &0x41u32.to_le_bytes()).is_err());
        let logical = InterruptTarget { logical: true, arbitrated: true, ..TARGET };
        let message = bench.unit.map_interrupt(DEVICE, 0, logical).unwrap();
        bench.unit.sync().unwrap();
        assert_eq!(send(&bench, DEVICE, message), Some(Delivered { logical: true, mode: 1, ..arrived }));
        let mut events = 0;
        bench
            .unit
            .drain_events(|event| {
                assert_eq!(event.device(), Some(DEVICE));
                events += 1;
            })
            .unwrap();
        assert_eq!(events, 2);
        bench.assert_clean();
    }
}

#[test]
fn an_interrupt_that_is_unmapped_arrives_no_more() {
    for mut bench in benches() {
        let message = bench.unit.map_interrupt(DEVICE, 9, TARGET).unwrap();
        bench.unit.sync().unwrap();
        assert!(send(&bench, DEVICE, message).is_some());
        bench.unit.unmap_interrupt(DEVICE, 9).unwrap();
        bench.unit.sync().unwrap();
        assert_eq!(send(&bench, DEVICE, message), None);
        // Another may take its place.
        bench.unit.map_interrupt(DEVICE, 9, InterruptTarget { vector: 0x66, ..TARGET }).unwrap();
        bench.unit.sync().unwrap();
        assert_eq!(send(&bench, DEVICE, message).unwrap().vector, 0x66);
        bench.assert_clean();
    }
}

#[test]
fn a_device_without_a_table_may_be_blocked() {
    for mut bench in benches() {
        let message = bench.unit.map_interrupt(DEVICE, 9, TARGET).unwrap();
        bench.unit.map_interrupt(OTHER, 9, TARGET).unwrap();
        bench.unit.set_interrupts(DEVICE, Interrupts::Block).unwrap();
        assert_eq!(send(&bench, DEVICE, message), None);
        assert!(send(&bench, OTHER, message).is_some());
        bench.unit.set_interrupts(DEVICE, Interrupts::Pass).unwrap();
        assert_eq!(send(&bench, DEVICE, message).unwrap().vector, 9);
        // What was mapped before is gone.
        let other = bench.unit.map_interrupt(DEVICE, 1, TARGET).unwrap();
        bench.unit.sync().unwrap();
        assert!(send(&bench, DEVICE, other).is_some() && send(&bench, DEVICE, message).is_none());
        bench.assert_clean();
    }
}

#[test]
fn destinations_have_as_many_bits_as_the_format() {
    let far = InterruptTarget { destination: 0x1234_5678, ..TARGET };
    let mut x2apic = Bench::new(Config::default());
    let message = x2apic.unit.map_interrupt(DEVICE, 0, far).unwrap();
    x2apic.unit.sync().unwrap();
    assert_eq!(send(&x2apic, DEVICE, message).unwrap().destination, 0x1234_5678);
    let features = ExtendedFeatures::new().with_ia_sup(true).with_ga_sup(true);
    let wide = Bench::new(Config { features, ..Config::default() });
    let narrow = Bench::with(Config::default(), UnitOptions { x2apic: false, ..UnitOptions::default() });
    for mut bench in [wide, narrow] {
        let refused = bench.unit.map_interrupt(DEVICE, 0, far);
        assert!(matches!(refused, Err(UnitError::Interrupt { device: DEVICE, index: 0, .. })));
    }
}

#[test]
fn what_cannot_be_is_refused() {
    for mut bench in benches() {
        let vector = InterruptTarget { vector: 15, ..TARGET };
        assert!(bench.unit.map_interrupt(DEVICE, 0, vector).is_err());
        assert!(bench.unit.map_interrupt(DEVICE, 256, TARGET).is_err());
        assert!(bench.unit.map_interrupt(DeviceId(0x300), 0, TARGET).is_err());
        bench.unit.map_interrupt(DEVICE, 0, TARGET).unwrap();
        assert!(bench.unit.map_interrupt(DEVICE, 0, TARGET).is_err(), "in use");
        assert!(bench.unit.unmap_interrupt(DEVICE, 1).is_err());
        assert!(bench.unit.unmap_interrupt(DEVICE, 256).is_err());
        assert!(bench.unit.unmap_interrupt(OTHER, 0).is_err());
        assert!(bench.unit.set_interrupts(DeviceId(0x300), Interrupts::Pass).is_err());
        bench.unit.sync().unwrap();
        bench.assert_clean();
    }
}

#[test]
fn what_firmware_has_pass_passes() {
    let mut bench = Bench::new(Config::default());
    bench.unit.map_interrupt(DEVICE, 0, TARGET).unwrap();
    bench.unit.sync().unwrap();
    let nmi = Message { address: 0xfee0_0000, data: 4 << 8 };
    assert_eq!(send(&bench, DEVICE, nmi), None);
}
