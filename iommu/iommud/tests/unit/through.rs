//! Another model behind the unit: nvmed's DMA and its messages go through it.

use amd_vi_spec::{DomainId, Event, PageEntry};
use driver_block::Controller;
use iommud::unit::{InterruptTarget, Interrupts, Target};
use model_amd_vi::{Config, Tables};
use model_nvme::Nvme;
use nvmed::{NvmeController, Options};
use redox_driver_sys::model::Host;

use crate::support::{Bench, DEVICE, DOMAIN};

const LARGE_PAGE: u64 = 2 << 20;

fn nvme(bench: &Bench) -> Host {
    let (nvme, _) = Nvme::new(model_nvme::Config::default());
    bench.machine.attach(Box::new(nvme), DEVICE)
}

fn attach(host: &Host) -> Result<usize, nvmed::Error> {
    let options = Options { queues: 1, ..Options::default() };
    let function = host.function();
    assert_eq!(function.address().device(), DEVICE.device());
    NvmeController::attach(function, options).map(|controller| controller.disks().len())
}

/// The pages that a machine gives out first, under their own addresses.
fn identity(bench: &Bench) -> Tables {
    let mut tables = Tables::new(&bench.memory, 3).unwrap();
    for page in 0..64 {
        let address = page * LARGE_PAGE;
        tables.set(address, 2, PageEntry::page(address, true, true)).unwrap();
    }
    tables
}

#[test]
fn a_driver_gets_as_far_as_its_device_may_reach() {
    let mut bench = Bench::new(Config::default());
    let host = nvme(&bench);
    assert!(attach(&host).is_err(), "blocked");
    let mut strays = 0;
    bench
        .unit
        .drain_events(|event| {
            assert!(matches!(event, Event::IoPageFault { device: DEVICE, .. }), "{event}");
            strays += 1;
        })
        .unwrap();
    assert!(strays > 0 && !host.take_faults().is_empty());

    let tables = identity(&bench);
    let target = Target::Domain { id: DOMAIN, root: tables.root(), levels: 3 };
    bench.unit.set_device(DEVICE, target).unwrap();
    bench.unit.sync().unwrap();
    assert_eq!(attach(&host).unwrap(), 1);
    assert_eq!(host.take_faults(), []);
    assert!(bench.model.statistics().translations > 0);

    // With half of its memory read only it does not get far.
    let mut tables = Tables::new(&bench.memory, 3).unwrap();
    for page in 0..64 {
        tables.set(page * LARGE_PAGE, 2, PageEntry::page(page * LARGE_PAGE, true, false)).unwrap();
    }
    let target = Target::Domain { id: DomainId(8), root: tables.root(), levels: 3 };
    bench.unit.set_device(DEVICE, target).unwrap();
    bench.unit.sync().unwrap();
    assert!(attach(&host).is_err());
    bench.assert_clean();
}

#[test]
fn a_device_interrupts_as_far_as_it_may() {
    let mut bench = Bench::new(Config::default());
    let host = nvme(&bench);
    bench.unit.set_device(DEVICE, Target::Pass).unwrap();
    bench.unit.sync().unwrap();
    let message = |bench: &Bench, vector| {
        let before = bench.model.take_delivered().len();
        host.with_device(|_, bus| bus.message(vector));
        bench.model.take_delivered().len() > before
    };
    let function = host.function();
    function.set_bus_master(true).unwrap();
    let _vectors = function.interrupts(4).unwrap();
    assert!(message(&bench, 1));
    bench.unit.set_interrupts(DEVICE, Interrupts::Block).unwrap();
    assert!(!message(&bench, 1));
    let target = InterruptTarget { destination: 0, logical: false, vector: 0x30, arbitrated: false };
    bench.unit.map_interrupt(DEVICE, 1, target).unwrap();
    bench.unit.sync().unwrap();
    assert!(message(&bench, 1) && !message(&bench, 2));
    bench.assert_clean();
}
