//! What Linux's drivers taught the model.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use e1000_spec::registers::{self as reg, Causes, Ctrl, Ivar, Rctl};
use model_e1000::{Config, E1000, Handle, Partner, Violation};
use redox_driver_sys::{
    mmio::{Mmio, ReadWrite},
    model::Host,
    pci::PciFunction,
};

struct Bench {
    host: Host,
    model: Handle,
    bar: Mmio,
    function: PciFunction,
}

impl Bench {
    fn new(chip: &str) -> Self {
        let (device, model) = E1000::new(Config::named(chip));
        let host = Host::new(Box::new(device));
        let function = host.function();
        function.set_bus_master(true).unwrap();
        let bar = function.map_bar(0).unwrap();
        Bench { host, model, bar, function }
    }

    fn read(&self, offset: u64) -> u32 {
        self.bar.register::<u32, ReadWrite>(offset).unwrap().read()
    }

    fn write(&self, offset: u64, value: impl Into<u32>) {
        self.bar.register::<u32, ReadWrite>(offset).unwrap().write(value.into());
    }
}

/// Or else a link that is told of is told of for ever.
#[test]
fn with_messages_a_look_at_the_causes_clears_them_if_they_may_interrupt() {
    let bench = Bench::new("82574L");
    let _vectors = bench.function.interrupts(3).unwrap();
    bench.write(reg::IVAR, Ivar::new().with_other(Ivar::VALID | 2));
    let other = Causes::new().with_other(true).into_bits();
    bench.write(reg::IMS, other);
    bench.write(reg::ICS, other | Causes::new().with_rxq0(true).into_bits());
    assert_eq!(bench.read(reg::ICR) & other, other);
    assert_eq!(bench.read(reg::ICR), 0);
    // What is masked stays for who unmasks it.
    bench.write(reg::ICS, Causes::new().with_rxq0(true));
    assert_ne!(bench.read(reg::ICR), 0);
    assert_ne!(bench.read(reg::ICR), 0);
}

/// Linux has an 82574 split large frames; into descriptors of 16 bytes that would go wrong.
#[test]
fn descriptors_that_it_does_not_have_are_left_alone() {
    let bench = Bench::new("82574L");
    bench.model.set_partner(Some(Partner::SWITCH), Duration::ZERO);
    bench.write(reg::CTRL, Ctrl::new().with_slu(true));
    bench.host.advance(Duration::from_secs(2));
    let rctl = Rctl::new().with_en(true).with_bam(true);
    bench.write(reg::RCTL, rctl.with_dtyp(1));
    assert_eq!(bench.model.take_violations(), [Violation::DescriptorType(1)]);
    bench.model.send(&[0xff; 60]);
    bench.host.advance(Duration::from_millis(1));
    assert_eq!(bench.read(e1000_spec::statistics::TPR), 0);
    bench.write(reg::RCTL, rctl);
    bench.model.send(&[0xff; 60]);
    bench.host.advance(Duration::from_millis(1));
    assert_eq!(bench.read(e1000_spec::statistics::TPR), 1);
}
