//! Taking a device over, and what keeps the driver from it.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use driver_block::{Controller, HardwareQueue, WriteCache};
use model_virtio::{
    Action, Blk, BlkConfig, FaultPlan, LifecycleFault, Requests, Rule, TransportConfig, Virtio,
};
use redox_driver_sys::{
    irq::InterruptKind,
    model::{DmaMode, Host},
};
use support::{Bench, Driven, options, transport};
use virtio_blkd::{BlkController, Options};
use virtio_core::Features;
use virtio_spec::blk::{BlkFeatures, RequestStatus, RequestType};

#[test]
fn a_device_is_a_disk() {
    let config =
        BlkConfig { block_size: 4096, physical_block_exp: 1, opt_io_size: 16, ..BlkConfig::default() };
    let bench = Bench::new(TransportConfig::default(), config);
    let controller = bench.attach(options());
    let disks = controller.disks();
    let [disk] = &disks[..] else { panic!("{disks:?}") };
    assert_eq!((disk.id.0, disk.blocks), (0, 1 << 17));
    assert_eq!(disk.serial, "RB-virtio-0001");
    let limits = &disk.limits;
    assert_eq!((limits.block_size, limits.physical_block_size), (4096, 8192));
    assert_eq!((limits.optimal_io_size, limits.max_segments, limits.max_transfer), (65_536, 126, 1 << 20));
    assert_eq!(limits.write_cache, WriteCache::Volatile { fua: false });
    assert!(!limits.read_only);
    assert_eq!(controller.name(), "pci-0000-00-04.0_virtio_blk");
    bench.assert_clean();
}

#[test]
fn a_transitional_device_is_driven_as_a_modern_one() {
    let bench = Bench::new(
        TransportConfig { transitional: true, ..TransportConfig::default() },
        BlkConfig::default(),
    );
    assert_eq!(bench.host.function().ids().unwrap().device, 0x1001);
    let mut driven = Driven::new(&bench, options());
    let segment = driven.segment(0, 512);
    driven.read(&bench, 0, 1, &[segment]).unwrap();
    bench.assert_clean();
}

#[test]
fn inspect_tells_what_is_known() {
    let bench = Bench::new(transport(Features::RING_PACKED, Features::empty()), BlkConfig::default());
    let mut controller = bench.attach(options());
    let report = controller.inspect();
    for line in [
        "  serial            RB-virtio-0001",
        "  queues            2, packed, of 32 entries",
        "  not used          secure-erase ring-reset",
        "  interrupts        MSI-X",
        "  reserved blocks   normal: less than 80 % are used",
        "  wear of SLC       10 to 20 %",
        "  wear of MLC       20 to 30 %",
        "  blocks            1048576 of 512 bytes, 4096 physical",
        "  write cache       write-back",
    ] {
        assert!(report.lines().any(|found| found == line), "{line:?} is not in\n{report}");
    }
    bench.assert_clean();
}

#[test]
fn what_is_not_offered_is_not_used() {
    let config = BlkConfig { features: BlkFeatures::empty(), ..BlkConfig::default() };
    let minimal = Features::VERSION_1 | Features::ACCESS_PLATFORM;
    let bench = Bench::new(TransportConfig { features: minimal, ..TransportConfig::default() }, config);
    let mut driven = Driven::new(&bench, Options { write_cache: Some(false), ..options() });
    assert_eq!(driven.controller.features(), minimal);
    assert_eq!(driven.queues.len(), 1);
    let limits = driven.controller.disks()[0].limits.clone();
    assert_eq!((limits.max_segments, limits.max_discard_blocks, limits.max_write_zeroes_blocks), (1, 0, 0));
    assert_eq!((limits.write_cache, limits.block_size), (WriteCache::None, 512));
    let segment = driven.segment(0, 4096);
    driven.write(&bench, 0, 8, &[segment]).unwrap();
    assert_eq!(bench.model.dirty_sectors(), 0, "without a flush, a write is on the medium at once");
    assert!(!driven.controller.inspect().contains("lifetime, as of"), "{}", driven.controller.inspect());
    bench.assert_clean();
}

#[test]
fn options_leave_features_out() {
    let bench = Bench::new(
        transport(Features::RING_PACKED | Features::IN_ORDER, Features::empty()),
        BlkConfig::default(),
    );
    let controller = bench.attach(Options { packed: false, indirect: false, event_idx: false, ..options() });
    let ring = Features::RING_PACKED | Features::INDIRECT_DESC | Features::EVENT_IDX | Features::IN_ORDER;
    assert_eq!(controller.features() & ring, Features::empty());
    drop(controller);
    let controller = bench.attach(Options { in_order: true, ..options() });
    assert_eq!(controller.features() & ring, ring);
    bench.assert_clean();
}

#[test]
fn one_queue_per_vector_that_is_left_over() {
    for (vectors, offered, wanted, expected, shared) in [
        (33, 8, 4, 4, false),
        (3, 8, 4, 2, false),
        (2, 8, 4, 1, false),
        (1, 8, 4, 1, true),
        (33, 2, 4, 2, false),
    ] {
        let transport = TransportConfig { msix_vectors: vectors, ..TransportConfig::default() };
        let bench = Bench::new(transport, BlkConfig { queues: offered, ..BlkConfig::default() });
        let mut driven = Driven::new(&bench, Options { queues: wanted, ..options() });
        assert_eq!(driven.controller.interrupt_kind(), InterruptKind::MsiX);
        assert_eq!(driven.queues.len(), expected, "{vectors} vectors, {offered} queues");
        assert_eq!(driven.controller.shares_interrupt(), shared);
        assert_eq!(driven.controller.interrupt().is_none(), shared);
        // The last queue is announced as well as the first.
        let segment = driven.segment(0, 512);
        let queue = driven.queues.pop().unwrap();
        driven.queues.insert(0, queue);
        driven.queues[0].interrupt().unwrap().take().unwrap();
        driven.read(&bench, 0, 1, &[segment]).unwrap();
        assert!(driven.queues[0].interrupt().unwrap().take().unwrap() > 0);
        bench.assert_clean();
    }
}

#[test]
fn falls_back_to_the_pin() {
    for polled in [false, true] {
        let bench = Bench::usual();
        bench.host.refuse_interrupts(InterruptKind::Msi);
        let mut driven = Driven::new(&bench, Options { polled, ..options() });
        assert_eq!(driven.controller.interrupt_kind(), InterruptKind::Intx);
        assert_eq!(driven.controller.shares_interrupt(), !polled);
        let segment = driven.segment(0, 4096);
        for round in 0..3 {
            driven.read(&bench, 0, 8, &[segment]).unwrap();
            let interrupt = driven.queues[0].interrupt();
            assert_eq!(interrupt.is_none(), polled);
            if let Some(interrupt) = interrupt {
                assert!(interrupt.take().unwrap() > 0, "round {round}");
                interrupt.rearm().unwrap();
                assert_eq!(interrupt.take().unwrap(), 0, "the pin fell when its reason was read");
            }
        }
        // A change of the configuration comes by the same pin.
        bench.model.resize(5000);
        bench.host.advance(std::time::Duration::from_millis(1));
        driven.queues[0].reap(&mut Vec::new()).unwrap();
        let mut events = Vec::new();
        driven.controller.poll(bench.host.now(), &mut events).unwrap();
        assert_eq!(events.len(), 1, "{events:?}");
        if polled {
            let interrupt = driven.controller.interrupt().unwrap();
            interrupt.take().unwrap();
            interrupt.rearm().unwrap();
            assert_eq!(interrupt.take().unwrap(), 0, "the pin fell when its reason was read");
        }
        bench.assert_clean();
    }
}

#[test]
fn a_queue_may_be_tiny() {
    for (size, features, depth) in [
        (2, Features::INDIRECT_DESC, 2),
        (1, Features::INDIRECT_DESC | Features::RING_PACKED, 1),
        (4, Features::empty(), 1),
        (3, Features::RING_PACKED, 1),
        (1024, Features::INDIRECT_DESC, 32),
    ] {
        let config = TransportConfig {
            queue_size: size,
            ..transport(features, (Features::INDIRECT_DESC | Features::RING_PACKED) - features)
        };
        let bench = Bench::new(config, BlkConfig::default());
        let mut driven = Driven::new(&bench, options());
        assert_eq!(driven.queues[0].depth(), depth, "{size} {features:?}");
        let segment = driven.segment(0, 512);
        for _ in 0..10 {
            driven.read(&bench, 1, 1, &[segment]).unwrap();
        }
        bench.assert_clean();
    }
}

fn refused(transport: TransportConfig, config: BlkConfig) -> String {
    let bench = Bench::new(transport, config);
    let error = bench.try_attach(options()).err().unwrap();
    assert!(!bench.host.bus_master(), "bus mastering is on after {error}");
    assert!(!bench.model.is_started(), "the device runs after {error}");
    assert_eq!(bench.host.mapped_bytes(), 0, "memory stays mapped after {error}");
    error.to_string()
}

#[test]
fn unusable_devices_are_refused_in_one_line() {
    let usual = TransportConfig::default;
    assert_eq!(
        refused(TransportConfig { modern: false, transitional: true, ..usual() }, BlkConfig::default()),
        "no notification structure for virtio 1.x; legacy devices (QEMU: disable-modern=on) are not supported"
    );
    assert_eq!(
        refused(transport(Features::empty(), Features::ACCESS_PLATFORM), BlkConfig::default()),
        "the device does not offer VIRTIO_F_ACCESS_PLATFORM, so it goes around the IOMMU (QEMU: iommu_platform=on)"
    );
    assert_eq!(
        refused(transport(Features::empty(), Features::VERSION_1), BlkConfig::default()),
        "the device does not offer VIRTIO_F_VERSION_1"
    );
    assert_eq!(
        refused(usual(), BlkConfig { sectors: 0, ..BlkConfig::default() }),
        "it has 0 sectors, which make 0 blocks of 512 bytes"
    );
    assert_eq!(
        refused(usual(), BlkConfig { block_size: 8192, ..BlkConfig::default() }),
        "blocks of 8192 bytes are not supported"
    );
    assert_eq!(
        refused(
            TransportConfig { queue_size: 2, ..transport(Features::empty(), Features::INDIRECT_DESC) },
            BlkConfig::default()
        ),
        "queue 0 has 2 entries, and a request takes 3 without indirect descriptors"
    );
    assert_eq!(
        refused(TransportConfig { queue_size: 0, ..usual() }, BlkConfig::default()),
        "queue 0: there is none"
    );
    assert_eq!(
        refused(TransportConfig { queue_size: 24, ..usual() }, BlkConfig::default()),
        "queue 0: a size of 24 is not possible"
    );
    assert_eq!(
        refused(TransportConfig { vector_resources: 2, ..usual() }, BlkConfig::default()),
        "queue 1: no resources for its interrupt vector"
    );
}

/// Where nothing translates addresses a device may do without ACCESS_PLATFORM.
#[test]
fn without_an_iommu_access_platform_is_not_needed() {
    let (device, model) =
        Virtio::new(transport(Features::empty(), Features::ACCESS_PLATFORM), Blk::new(BlkConfig::default()));
    let host = Host::new(Box::new(device));
    let function = host.function_with(DmaMode::Physical { memory_at: 1 << 40 });
    let controller = BlkController::attach(function, options()).unwrap();
    assert!(!controller.features().contains(Features::ACCESS_PLATFORM));
    assert_eq!(model.take_violations(), []);
}

#[test]
fn a_device_that_misbehaves_at_the_start_is_refused() {
    let attach = |plan| {
        let bench = Bench::faulty(plan);
        let result = bench.try_attach(options());
        let error = result.err().map(|error| {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
            format!("{error}{}", source.unwrap_or_default())
        });
        assert!(error.is_none() || !bench.host.bus_master(), "{error:?}");
        error
    };
    let plan = || FaultPlan::new(1);
    let error = attach(plan().lifecycle(LifecycleFault::NeverReset)).unwrap();
    assert_eq!(error, "reset the device: device status = 0 did not happen within 10s");
    let error = attach(plan().lifecycle(LifecycleFault::RefuseFeatures)).unwrap();
    assert!(error.starts_with("the device does not take the features 0x"), "{error}");
    let error = attach(plan().rule(Rule::new(Action::Hang))).unwrap();
    assert_eq!(error, "VIRTIO_BLK_T_GET_ID (0x08): no completion within 10s");
    let error = attach(plan().rule(Rule::new(Action::BadLength(1)))).unwrap();
    assert!(
        error.starts_with("VIRTIO_BLK_T_GET_ID (0x08): the device claims to have written 22 bytes"),
        "{error}"
    );
    // One that only lacks a serial number is served.
    let bench =
        Bench::faulty(plan().rule(Rule::only(
            Requests::of_kind(RequestType::GET_ID.0),
            Action::Fail(RequestStatus::UNSUPP.0),
        )));
    assert_eq!(bench.attach(options()).disks()[0].serial, "");
}

/// A reset that fails once is followed by one of the function.
#[test]
fn a_stuck_device_is_reset_by_its_function() {
    let bench = Bench::faulty(FaultPlan::new(1).lifecycle_times(LifecycleFault::NeverReset, 1));
    let controller = bench.attach(options());
    assert_eq!(controller.disks().len(), 1);
    bench.assert_clean();
}

#[test]
fn another_device_is_refused() {
    let (device, _) = Virtio::new(TransportConfig::default(), Blk::new(BlkConfig::default()));
    let host = Host::new(Box::new(device));
    let function = host.function();
    let error = virtio_core::Transport::attach(function, 1).err().unwrap().to_string();
    assert_eq!(error, "not a virtio device of type 1: 1af4:1042 class 01.00.00 rev 01");
}
