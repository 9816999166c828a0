//! Taking a controller over, and what keeps the driver from it.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::time::Duration;

use driver_block::{Controller, HardwareQueue, WriteCache};
use model_nvme::{Action, Commands, Config, FaultPlan, Latency, LifecycleFault, NamespaceConfig, Rule};
use nvme_spec::{AdminOpcode, Status};
use nvmed::{NamespaceError, NvmeController, Options};
use redox_driver_sys::{irq::InterruptKind, model::DmaMode};
use support::{Bench, Driven, options};

#[test]
fn a_namespace_becomes_a_disk() {
    let bench = Bench::new(Config::default());
    let controller = bench.attach(options());
    let disks = controller.disks();
    let [disk] = &disks[..] else { panic!("{disks:?}") };
    assert_eq!((disk.id.0, disk.blocks, disk.limits.block_size), (1, 1 << 20, 512));
    assert_eq!((disk.model.as_str(), disk.serial.as_str()), ("Modelled NVMe Controller", "RB0001"));
    assert_eq!(disk.limits.max_transfer, 4096 << 5, "MDTS");
    assert_eq!(disk.limits.write_cache, WriteCache::Volatile { fua: true });
    assert_eq!(controller.name(), "pci-0000-00-04.0-nvme");
    bench.assert_clean();
}

#[test]
fn one_queue_per_vector_that_is_left_over() {
    for (vectors, granted, wanted, expected, shared) in [
        (33, 32, 4, 4, false),
        (3, 32, 4, 2, false),
        (2, 32, 4, 1, false),
        (1, 32, 4, 1, true),
        (33, 2, 4, 2, false),
    ] {
        let bench = Bench::new(Config { msix_vectors: vectors, queues: granted, ..Config::default() });
        let mut controller = bench.attach(Options { queues: wanted, ..options() });
        assert_eq!(controller.interrupt_kind(), InterruptKind::MsiX);
        assert_eq!(controller.take_queues().len(), expected, "{vectors} vectors, {granted} granted");
        assert_eq!(bench.model.io_queues(), (expected, expected));
        assert_eq!(controller.shares_interrupt(), shared);
        bench.assert_clean();
    }
}

#[test]
fn each_queue_has_its_processor() {
    let bench = Bench::new(Config::default());
    let _controller = bench.attach(Options { queues: 4, ..options() });
    // The first vector is that of the admin queue, which belongs to nobody.
    assert_eq!(bench.host.processors(), [None, Some(0), Some(1), Some(2), Some(3)]);
}

#[test]
fn falls_back_to_msi_and_the_pin() {
    for (refused, expected) in
        [(InterruptKind::MsiX, InterruptKind::Msi), (InterruptKind::Msi, InterruptKind::Intx)]
    {
        let bench = Bench::new(Config::default());
        bench.host.refuse_interrupts(refused);
        let mut driven = Driven::new(&bench, options());
        assert_eq!(driven.controller.interrupt_kind(), expected);
        assert_eq!(driven.controller.shares_interrupt(), expected == InterruptKind::Intx);
        let segment = driven.segment(0, 4096);
        assert_eq!(driven.read(&bench, 0, 8, &[segment]), Ok(()));
        let interrupt = driven.queues[0].interrupt().unwrap();
        assert!(interrupt.take().unwrap() > 0, "{expected}");
        bench.assert_clean();
    }
}

#[test]
fn polled_queues_have_no_interrupt() {
    let bench = Bench::new(Config::default());
    let mut driven = Driven::new(&bench, Options { polled: true, ..options() });
    let before = bench.model.statistics().interrupts;
    let segment = driven.segment(0, 4096);
    assert_eq!(driven.read(&bench, 0, 8, &[segment]), Ok(()));
    assert!(driven.queues[0].interrupt().is_none());
    assert_eq!(bench.model.statistics().interrupts, before);
    bench.assert_clean();
}

#[test]
fn honours_queue_limits_stride_and_page_size() {
    for (mqes, stride, mpsmin) in [(1, 0, 0), (7, 2, 0), (63, 5, 0), (1023, 0, 1), (1023, 1, 4)] {
        let config = Config { mqes, doorbell_stride: stride, mpsmin, mdts: 2, ..Config::default() };
        let bench = Bench::new(config);
        let mut driven = Driven::new(&bench, Options { queue_depth: 1000, ..options() });
        assert_eq!(driven.queues[0].depth(), mqes.min(1000));
        let max = driven.controller.disks()[0].limits.max_transfer;
        assert_eq!(max, 4096 << mpsmin << 2);
        let data = support::pattern(max as usize, 1);
        driven.buffer.copy_from(0, &data).unwrap();
        let segment = driven.segment(0, max);
        assert_eq!(driven.write(&bench, 16, max / 512, &[segment]), Ok(()));
        assert_eq!(bench.model.read(1, 16, u64::from(max / 512)), data);
        bench.assert_clean();
    }
}

#[test]
fn controllers_that_cannot_be_spoken_with_are_refused_by_what_they_want() {
    let refusals = [
        (Config { mpsmin: 5, mpsmax: 5, ..Config::default() }, "memory pages of 2^17 bytes"),
        (Config { mpsmin: 2, mpsmax: 1, ..Config::default() }, "memory pages of 2^14 bytes"),
        (Config { sqes: (7, 7), ..Config::default() }, "submission queue entries of 2^7 to 2^7 bytes"),
        (Config { cqes: (5, 6), ..Config::default() }, "completion queue entries of 2^5 to 2^6 bytes"),
    ];
    for (config, reason) in refusals {
        let bench = Bench::new(config);
        let error = NvmeController::attach(bench.host.function(), options()).err().unwrap().to_string();
        assert!(error.contains(reason), "{error}");
        assert!(!bench.host.bus_master());
    }
    // Larger entries may be allowed as well.
    let bench = Bench::new(Config { sqes: (6, 9), cqes: (4, 7), ..Config::default() });
    assert_eq!(bench.attach(options()).disks().len(), 1);
    bench.assert_clean();
}

#[test]
fn a_controller_that_was_left_running_is_stopped_first() {
    let bench = Bench::new(Config::default());
    let controller = bench.attach(options());
    // A process that dies without a word: nothing is dropped.
    std::mem::forget(controller);
    assert!(bench.model.is_ready());
    let again = bench.attach(options());
    assert_eq!(again.disks().len(), 1);
    bench.assert_clean();
}

#[test]
fn dropping_stops_the_controller_and_its_dma() {
    let bench = Bench::new(Config::default());
    drop(bench.attach(options()));
    assert!(!bench.model.is_ready());
    assert!(!bench.host.bus_master());
    assert_eq!(bench.host.mapped_bytes(), 0);
    bench.assert_clean();
}

#[test]
fn the_wait_for_ready_is_bounded_by_cap_to() {
    for (fault, step) in [
        (LifecycleFault::NeverReady, "enable the controller"),
        (LifecycleFault::FatalOnEnable, "enable the controller"),
    ] {
        let bench =
            Bench::faulty(Config { timeout: 6, ..Config::default() }, FaultPlan::new(0).lifecycle(fault));
        let start = bench.host.now();
        let error = bench.try_attach(options()).err().unwrap();
        assert!(error.to_string().contains(step), "{error}");
        // Setting up may disable once more.
        assert!(bench.host.now().since(start) < Duration::from_millis(2 * 6 * 500 + 100));
        assert!(!bench.host.bus_master());
    }
}

#[test]
fn a_slow_controller_is_given_its_time() {
    let latency = Latency { enable: Duration::from_millis(2900), ..Latency::default() };
    let bench = Bench::new(Config { timeout: 6, latency, ..Config::default() });
    bench.attach(options());
    // CAP.TO of 0 stands for the unit.
    let latency = Latency { enable: Duration::from_millis(400), ..Latency::default() };
    let bench = Bench::new(Config { timeout: 0, latency, ..Config::default() });
    bench.attach(options());
}

#[test]
fn refused_namespaces_are_named_and_the_others_served() {
    let bench = Bench::new(Config {
        namespaces: vec![
            NamespaceConfig::new(0, 9),
            NamespaceConfig { metadata: 8, ..NamespaceConfig::new(1 << 16, 12) },
            NamespaceConfig::new(1 << 10, 14),
            NamespaceConfig::new(1 << 16, 12),
            NamespaceConfig { read_only: true, ..NamespaceConfig::new(77, 9) },
        ],
        ..Config::default()
    });
    let controller = bench.attach(options());
    let disks = controller.disks();
    let found: Vec<_> = disks.iter().map(|d| (d.id.0, d.limits.block_size, d.limits.read_only)).collect();
    assert_eq!(found, [(4, 4096, false), (5, 512, true)]);
    let refused = controller.refused_namespaces();
    assert!(matches!(refused[0], NamespaceError::Empty { nsid: 1 }), "{refused:?}");
    assert!(matches!(refused[1], NamespaceError::Metadata { nsid: 2, bytes: 8, .. }), "{refused:?}");
    assert!(matches!(refused[2], NamespaceError::BlockSize { nsid: 3, shift: 14, .. }), "{refused:?}");
    assert_eq!(refused[0].to_string(), "namespace 1 has 0 blocks");
}

#[test]
fn a_refused_admin_command_is_named_with_its_status() {
    for (opcode, status) in [
        (AdminOpcode::IDENTIFY, Status::INTERNAL_ERROR),
        (AdminOpcode::CREATE_IO_CQ, Status::INVALID_QUEUE_SIZE),
        (AdminOpcode::CREATE_IO_SQ, Status::INVALID_QUEUE_ID),
    ] {
        let rule = Rule::only(Commands::admin(opcode), Action::Fail(status, true));
        let bench = Bench::faulty(Config::default(), FaultPlan::new(0).rule(rule));
        let error = bench.try_attach(options()).err().unwrap().to_string();
        assert!(error.contains(opcode.name().unwrap()) && error.contains(status.name().unwrap()), "{error}");
        assert!(!bench.host.bus_master());
    }
}

#[test]
fn an_admin_command_without_answer_ends_the_attempt_in_time() {
    for opcode in [AdminOpcode::IDENTIFY, AdminOpcode::CREATE_IO_SQ, AdminOpcode::SET_FEATURES] {
        for action in [Action::Hang, Action::Drop, Action::CorruptCid(0x8000), Action::WrongPhase] {
            let bench = Bench::faulty(
                Config::default(),
                FaultPlan::new(0).rule(Rule::only(Commands::admin(opcode), action)),
            );
            let start = bench.host.now();
            let error = bench.try_attach(options()).err().unwrap().to_string();
            assert!(error.contains("no completion within"), "{opcode} {action:?}: {error}");
            assert!(bench.host.now().since(start) < Duration::from_secs(15));
        }
    }
}

#[test]
fn optional_features_may_be_refused() {
    let mut config = Config { sgl: true, ..Config::default() };
    config.host_memory.preferred = 64;
    // The first Set Features is the number of queues, which is not optional.
    let mut plan = FaultPlan::new(0);
    for nth in 2..8 {
        let rule =
            Rule::only(Commands::admin(AdminOpcode::SET_FEATURES), Action::Fail(Status::INVALID_FIELD, true));
        plan = plan.rule(rule.nth(nth));
    }
    let rule = Rule::only(
        Commands::admin(AdminOpcode::ASYNC_EVENT_REQUEST),
        Action::Fail(Status::INVALID_OPCODE, true),
    );
    let bench = Bench::faulty(config, plan.rule(rule));
    let mut driven = Driven::new(&bench, options());
    assert_eq!(driven.controller.host_memory_bytes(), 0);
    let segment = driven.segment(0, 4096);
    assert_eq!(driven.read(&bench, 0, 8, &[segment]), Ok(()));
    bench.assert_clean();
}

#[test]
fn a_controller_without_the_nvm_command_set_is_refused() {
    let bench = Bench::new(Config { css: 1 << 7, ..Config::default() });
    let error = bench.try_attach(options()).err().unwrap().to_string();
    assert!(error.contains("CAP.CSS"), "{error}");
}

#[test]
fn another_kind_of_device_is_left_as_it_is() {
    let mut config = Config::default();
    (config.ids.class, config.ids.subclass, config.ids.interface) = (0x02, 0x00, 0x00);
    let bench = Bench::new(config);
    let error = bench.try_attach(options()).err().unwrap().to_string();
    assert!(error.contains("not an NVMe I/O controller") && error.contains("class 02.00.00"), "{error}");
    assert_eq!(bench.host.register_accesses(), 0);
}

#[test]
fn a_device_that_is_not_there_says_so() {
    let bench = Bench::new(Config::default());
    bench.host.set_connected(false);
    let error = bench.try_attach(options()).err().unwrap();
    let text = format!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string));
    assert!(text.contains("gone") || text.contains("all ones"), "{text}");
}

#[test]
fn narrow_dma_memory_needs_no_bouncing() {
    // Memory of the driver's own is always where the device reaches it.
    let bench = Bench::new(Config::default());
    let function = bench.host.function_with(DmaMode::Physical { memory_at: 1 << 40 });
    let controller = nvmed::NvmeController::attach(function, options()).unwrap();
    assert_eq!(controller.dma().bounce_statistics().bytes, 0);
    bench.assert_clean();
}
