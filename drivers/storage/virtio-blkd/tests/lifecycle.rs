//! Changes, resets and the end.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::time::Duration;

use driver_block::{
    BlockError, Command, Completed, Controller, ControllerEvent, DiskId, HardwareQueue, LbaRange,
    LocalEngine, Operation, QueueOptions, RecoveryPolicy, Segments, WriteCache,
};
use model_virtio::{Action, BlkConfig, FaultPlan, LifecycleFault, Requests, Rule, TransportConfig};
use support::{Bench, Driven, all_rings, options, pattern};
use virtio_blkd::{IoQueue, Options};
use virtio_core::{Chain, Features, QueueOptions as RingOptions, Transport};
use virtio_spec::blk::{BlkFeatures, RequestType};

const RANGE: [LbaRange; 1] = [LbaRange { lba: 0, blocks: 8 }];

fn poll(driven: &mut Driven, bench: &Bench) -> Vec<ControllerEvent> {
    bench.host.advance(Duration::from_millis(1));
    let mut events = Vec::new();
    driven.controller.poll(bench.host.now(), &mut events).unwrap();
    events
}

fn submit(driven: &mut Driven, tag: u16) {
    let segment = driven.segment(0, 4096);
    let command = Command {
        operation: Operation::Read,
        disk: DiskId(0),
        fua: false,
        ranges: &RANGE,
        segments: &[segment],
    };
    driven.queues[0].submit(tag, &command).unwrap();
    driven.queues[0].commit();
}

fn reap(queue: &mut IoQueue) -> Vec<Completed> {
    let mut completed = Vec::new();
    queue.reap(&mut completed).unwrap();
    completed
}

#[test]
fn a_disk_grows_and_shrinks_while_it_is_served() {
    let bench = Bench::usual();
    let mut driven = Driven::new(&bench, options());
    assert_eq!(poll(&mut driven, &bench), []);
    let interrupt = driven.controller.interrupt().unwrap();
    assert_eq!(interrupt.take().unwrap(), 0);
    for sectors in [1 << 21, 1000] {
        bench.model.resize(sectors);
        bench.host.advance(Duration::from_millis(1));
        assert_eq!(driven.controller.interrupt().unwrap().take().unwrap(), 1, "a change is announced");
        let events = poll(&mut driven, &bench);
        let [ControllerEvent::DiskChanged(disk)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((disk.id.0, disk.blocks), (0, sectors));
        assert_eq!(driven.controller.disks(), std::slice::from_ref(disk));
    }
    assert_eq!(poll(&mut driven, &bench), []);
    bench.assert_clean();
}

#[test]
fn a_change_is_noticed_without_its_interrupt() {
    let bench = Bench::usual();
    let mut driven = Driven::new(&bench, options());
    // The machine is not told; the generation is different all the same.
    bench.model.resize(4096);
    let mut events = Vec::new();
    driven.controller.poll(bench.host.now(), &mut events).unwrap();
    assert_eq!(events.len(), 1, "{events:?}");
}

#[test]
fn a_disk_that_becomes_another_one_is_no_longer_served() {
    let bench = Bench::usual();
    let mut driven = Driven::new(&bench, options());
    bench.model.resize(0);
    assert_eq!(poll(&mut driven, &bench), [ControllerEvent::DiskRemoved(DiskId(0))]);
    assert_eq!(driven.controller.disks(), []);
    bench.model.resize(800);
    assert!(
        matches!(&poll(&mut driven, &bench)[..], [ControllerEvent::DiskChanged(disk)] if disk.blocks == 800)
    );
    bench.model.change(|config| config.block_size = 4096);
    assert_eq!(poll(&mut driven, &bench), [ControllerEvent::DiskRemoved(DiskId(0))]);
    bench.assert_clean();
}

#[test]
fn a_cache_that_changes_is_noticed() {
    let features = BlkConfig::FEATURES;
    let bench = Bench::new(TransportConfig::default(), BlkConfig { features, ..BlkConfig::default() });
    let mut driven = Driven::new(&bench, Options { write_cache: Some(false), ..options() });
    assert_eq!(driven.controller.disks()[0].limits.write_cache, WriteCache::None);
    bench.model.change(|config| config.opt_io_size = 7);
    let events = poll(&mut driven, &bench);
    assert!(
        matches!(&events[..], [ControllerEvent::DiskChanged(disk)] if disk.limits.optimal_io_size == 3584)
    );
}

#[test]
fn a_device_that_needs_a_reset_is_reset() {
    for config in all_rings() {
        let bench = Bench::new(config, BlkConfig::default());
        let mut driven = Driven::new(&bench, Options { in_order: true, ..options() });
        bench.model.write(0, &pattern(4096, 1));
        submit(&mut driven, 0);
        bench.model.need_reset();
        let events = poll(&mut driven, &bench);
        assert_eq!(events, [ControllerEvent::ResetNeeded("DEVICE_NEEDS_RESET".to_string())]);
        let queues = std::mem::take(&mut driven.queues);
        driven.queues = driven.controller.reset(queues).unwrap();
        assert_eq!(driven.controller.resets(), 1);
        assert_eq!(reap(&mut driven.queues[0]), [], "what was in flight is forgotten");
        submit(&mut driven, 0);
        bench.host.advance(Duration::from_millis(1));
        assert_eq!(reap(&mut driven.queues[0]), [Completed { tag: 0, result: Ok(()) }]);
        let mut read = vec![0; 4096];
        driven.buffer.copy_to(0, &mut read).unwrap();
        assert_eq!(read, pattern(4096, 1));
        bench.assert_clean();
    }
}

/// The block layer's whole way: a request that hangs, no abort, a reset, the request again.
#[test]
fn a_request_that_hangs_is_carried_out_after_a_reset() {
    let bench = Bench::usual();
    let controller = bench.attach(Options { command_timeout: Duration::from_secs(2), ..options() });
    bench.model.set_faults(
        FaultPlan::new(1).rule(Rule::only(Requests::of_kind(RequestType::IN.0), Action::Hang).nth(1)),
    );
    bench.model.write(8, &pattern(512, 9));
    let buffer = controller.dma().allocate(4096).unwrap();
    let clock = controller.clock().clone();
    let timeout = controller.command_timeout();
    let options = QueueOptions::new(16, timeout);
    let mut engine = LocalEngine::new(controller, &clock, &options, RecoveryPolicy::default()).unwrap();
    let segments = Segments::from_slice(&[buffer.segment(0, 512).unwrap()]);
    engine.read(DiskId(0), 8, 1, segments, Duration::from_secs(30)).unwrap();
    let mut read = vec![0; 512];
    buffer.copy_to(0, &mut read).unwrap();
    assert_eq!(read, pattern(512, 9));
    assert_eq!(engine.controller().unwrap().resets(), 1);
    engine.shutdown(Duration::from_secs(10)).unwrap();
    bench.assert_clean();
}

#[test]
fn a_removed_device_is_gone() {
    let bench = Bench::usual();
    let mut driven = Driven::new(&bench, options());
    submit(&mut driven, 0);
    bench.model.set_removed(true);
    bench.host.advance(Duration::from_millis(1));
    let mut events = Vec::new();
    assert_eq!(driven.controller.poll(bench.host.now(), &mut events), Err(BlockError::Gone));
    let queues = std::mem::take(&mut driven.queues);
    let before = bench.host.now();
    assert_eq!(driven.controller.reset(queues).err(), Some(BlockError::Gone));
    assert!(bench.host.now().since(before) < Duration::from_secs(1), "nobody waits for what is gone");
    drop(driven);
    assert!(!bench.host.bus_master());
}

#[test]
fn a_reset_that_fails_leaves_the_device_off() {
    for fault in [LifecycleFault::NeverReset, LifecycleFault::RefuseFeatures] {
        let bench = Bench::usual();
        let mut driven = Driven::new(&bench, options());
        bench.model.set_faults(FaultPlan::new(1).lifecycle(fault));
        let queues = std::mem::take(&mut driven.queues);
        assert!(driven.controller.reset(queues).is_err(), "{fault:?}");
        assert!(!bench.host.bus_master(), "{fault:?}");
        assert!(!bench.model.is_started(), "{fault:?}");
    }
}

#[test]
fn a_device_with_other_features_after_a_reset_is_not_believed() {
    let bench = Bench::usual();
    let mut driven = Driven::new(&bench, options());
    bench.model.change(|config| config.features -= BlkFeatures::FLUSH);
    let queues = std::mem::take(&mut driven.queues);
    assert_eq!(driven.controller.reset(queues).err(), Some(BlockError::Gone));
    assert!(!bench.host.bus_master());
}

/// Found by fuzzing: a device that had shrunk to nothing was given up at its next reset.
#[test]
fn a_device_of_no_size_survives_a_reset_and_comes_back() {
    let bench = Bench::usual();
    let mut driven = Driven::new(&bench, options());
    bench.model.resize(0);
    let queues = std::mem::take(&mut driven.queues);
    driven.queues = driven.controller.reset(queues).unwrap();
    assert_eq!(poll(&mut driven, &bench), [ControllerEvent::DiskRemoved(DiskId(0))]);
    bench.model.resize(800);
    assert!(
        matches!(&poll(&mut driven, &bench)[..], [ControllerEvent::DiskChanged(disk)] if disk.blocks == 800)
    );
    submit(&mut driven, 0);
    bench.host.advance(Duration::from_millis(1));
    assert_eq!(reap(&mut driven.queues[0]), [Completed { tag: 0, result: Ok(()) }]);
    bench.assert_clean();
}

#[test]
fn the_end_is_quiet() {
    let bench = Bench::usual();
    let mut driven = Driven::new(&bench, options());
    submit(&mut driven, 0);
    driven.shutdown().unwrap();
    assert!(!bench.host.bus_master());
    assert!(!bench.model.is_started());
    assert_eq!(bench.host.mapped_bytes(), 0);
    bench.host.advance(Duration::from_secs(1));
    bench.assert_clean();
}

/// What is only dropped stops, too: before its memory is given back.
#[test]
fn a_controller_that_is_dropped_stops_its_device() {
    let bench = Bench::usual();
    let mut driven = Driven::new(&bench, options());
    submit(&mut driven, 0);
    let Driven { controller, queues, buffer } = driven;
    drop(controller);
    assert!(!bench.host.bus_master());
    assert!(!bench.model.is_started());
    drop((queues, buffer));
    bench.host.advance(Duration::from_secs(1));
    bench.assert_clean();
}

/// A queue by itself, by the means of virtio-core: virtio-blkd resets the whole device.
#[test]
fn a_queue_is_reset_by_itself() {
    for config in all_rings() {
        let bench = Bench::new(config, BlkConfig::default());
        let mut transport = Transport::attach(bench.host.function(), 2).unwrap();
        let wanted =
            Features::RING_PACKED | Features::EVENT_IDX | Features::INDIRECT_DESC | Features::RING_RESET;
        transport.negotiate(wanted).unwrap();
        let options = RingOptions { chains: 4, descriptors: 3, vector: None, interrupts: false };
        let mut queue = transport.queue(0, &options).unwrap();
        transport.start();
        let memory = transport.dma().allocate(4096).unwrap();
        let ask = |queue: &mut virtio_core::VirtQueue| {
            memory.write(0, [RequestType::GET_ID.0, 0, 0, 0]).unwrap();
            let header = [memory.segment(0, 16).unwrap()];
            let data = [memory.segment(16, 20).unwrap(), memory.segment(36, 1).unwrap()];
            queue.add(&Chain { readable: [&header, &[]], writable: [&data, &[]] }, 3).unwrap();
            queue.commit();
            bench.host.advance(Duration::from_millis(1));
            queue.pop().unwrap()
        };
        assert_eq!(ask(&mut queue).unwrap().token, 3);
        bench.model.set_faults(FaultPlan::new(1).rule(Rule::new(Action::Drop).nth(1)));
        assert_eq!(ask(&mut queue), None);
        assert_eq!(queue.outstanding(), 1);
        transport.reset_queue(&mut queue).unwrap();
        assert_eq!(queue.outstanding(), 0);
        assert_eq!(bench.model.statistics().queue_resets, 1);
        assert_eq!(ask(&mut queue).unwrap().token, 3);
        bench.model.set_faults(FaultPlan::new(1).lifecycle(LifecycleFault::NeverResetQueue));
        let error = transport.reset_queue(&mut queue).unwrap_err();
        assert!(error.is_timeout(), "{error}");
        bench.assert_clean();
    }
}
