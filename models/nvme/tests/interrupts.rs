//! Interrupts, full queues, doorbells, asynchronous events.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Queue, Rig, blocks, command};
use model_nvme::{Config, Latency, NamespaceConfig, Violation};
use nvme_spec::{
    AdminOpcode, AsyncEvent, AsyncEventConfig, Cns, CriticalWarning, ErrorEvent, EventType, FeatureId,
    IdentifyNamespace, InterruptCoalescing, InterruptVectorConfig, LogPage, NamespaceList, NoticeEvent,
    NvmOpcode, SmartEvent, SmartLog, Status, TemperatureThreshold,
    registers::{INTMC, INTMS},
};
use redox_driver_sys::irq::InterruptKind;

fn rig(config: Config, kind: Option<InterruptKind>) -> (Rig, Queue) {
    let mut rig = Rig::disabled(config, kind);
    rig.enable();
    let vector = if kind == Some(InterruptKind::Intx) { 0 } else { 1 };
    let queue = rig.queue(1, 64, vector);
    for interrupt in &rig.interrupts {
        interrupt.take().unwrap();
        interrupt.rearm().unwrap();
    }
    (rig, queue)
}

#[test]
fn each_queue_has_its_message() {
    for kind in [InterruptKind::MsiX, InterruptKind::Msi] {
        let (mut rig, mut queue) = rig(Config::default(), Some(kind));
        let mut other = rig.queue(2, 16, 2);
        for interrupt in &rig.interrupts {
            interrupt.take().unwrap();
        }
        rig.status(&mut queue, command(NvmOpcode::FLUSH.0, 1, None));
        let taken: Vec<u64> = rig.interrupts.iter().map(|interrupt| interrupt.take().unwrap()).collect();
        assert_eq!(taken, [0, 1, 0, 0], "{kind}");
        rig.status(&mut other, command(NvmOpcode::FLUSH.0, 1, None));
        rig.admin(command(AdminOpcode::ABORT.0, 0, None));
        let taken: Vec<u64> = rig.interrupts.iter().map(|interrupt| interrupt.take().unwrap()).collect();
        assert_eq!(taken, [1, 0, 1, 0], "{kind}");
    }
}

#[test]
fn the_pin_is_up_until_every_entry_was_taken() {
    let (rig, mut queue) = rig(Config::default(), Some(InterruptKind::Intx));
    let pin = &rig.interrupts[0];
    rig.submit(&mut queue, command(NvmOpcode::FLUSH.0, 1, None));
    rig.submit(&mut queue, command(NvmOpcode::FLUSH.0, 1, None));
    rig.host.advance(Duration::from_millis(1));
    assert_eq!(pin.take().unwrap(), 1);
    pin.rearm().unwrap();
    assert_eq!(pin.take().unwrap(), 1, "still up");
    queue.take().unwrap();
    rig.doorbell(1, true, queue.head);
    pin.rearm().unwrap();
    assert_eq!(pin.take().unwrap(), 1, "one entry is left");
    queue.take().unwrap();
    rig.doorbell(1, true, queue.head);
    pin.rearm().unwrap();
    assert_eq!(pin.take().unwrap(), 0);
}

#[test]
fn masks_hold_interrupts_back() {
    for kind in [InterruptKind::Msi, InterruptKind::Intx] {
        let (rig, mut queue) = rig(Config::default(), Some(kind));
        let vector = if kind == InterruptKind::Msi { 1 } else { 0 };
        rig.write32(INTMS, 1 << vector);
        rig.write32(INTMS, 1 << 5);
        assert_eq!((rig.read32(INTMS), rig.read32(INTMC)), (1 << vector | 1 << 5, 1 << vector | 1 << 5));
        rig.submit(&mut queue, command(NvmOpcode::FLUSH.0, 1, None));
        rig.host.advance(Duration::from_millis(1));
        let interrupt = &rig.interrupts[vector];
        assert_eq!(interrupt.take().unwrap(), 0, "{kind}");
        rig.write32(INTMC, 1 << vector);
        assert_eq!(interrupt.take().unwrap(), 1, "{kind}: what came meanwhile is told");
        assert_eq!(rig.read32(INTMS), 1 << 5);
        assert_eq!(rig.handle.take_violations(), []);
    }
    let (rig, _) = rig(Config::default(), Some(InterruptKind::MsiX));
    rig.write32(INTMS, 1);
    assert_eq!(rig.handle.take_violations(), [Violation::MaskWithMsix]);
}

#[test]
fn coalescing_gathers_completions() {
    let (mut rig, mut queue) = rig(Config::default(), Some(InterruptKind::MsiX));
    let coalescing = InterruptCoalescing::new().with_threshold(3).with_time(10);
    assert_eq!(rig.set_feature(FeatureId::INTERRUPT_COALESCING, coalescing).status.status(), Status::SUCCESS);
    assert_eq!(rig.get_feature(FeatureId::INTERRUPT_COALESCING, 0).dw0, coalescing.into());
    let submit = |rig: &Rig, queue: &mut Queue, count| {
        for _ in 0..count {
            rig.submit(queue, command(NvmOpcode::FLUSH.0, 1, None));
        }
        rig.host.advance(Duration::from_micros(500));
    };
    submit(&rig, &mut queue, 3);
    assert_eq!(rig.interrupts[1].take().unwrap(), 0);
    submit(&rig, &mut queue, 1);
    assert_eq!(rig.interrupts[1].take().unwrap(), 1, "four are enough");
    submit(&rig, &mut queue, 1);
    assert_eq!(rig.interrupts[1].take().unwrap(), 0);
    rig.host.advance(Duration::from_millis(1));
    assert_eq!(rig.interrupts[1].take().unwrap(), 1, "a millisecond is long enough");

    let exempt = InterruptVectorConfig::new().with_vector(1).with_coalescing_disable(true);
    rig.set_feature(FeatureId::INTERRUPT_VECTOR_CONFIG, exempt);
    assert_eq!(rig.get_feature(FeatureId::INTERRUPT_VECTOR_CONFIG, 1).dw0, exempt.into());
    submit(&rig, &mut queue, 1);
    assert_eq!(rig.interrupts[1].take().unwrap(), 1);
}

#[test]
fn a_full_completion_queue_stalls_and_loses_nothing() {
    let (mut rig, mut queue) = rig(Config::default(), Some(InterruptKind::MsiX));
    let sq = rig.dma.allocate_slice(64).unwrap();
    let small = rig.buffer(4096);
    let cdw11 = nvme_spec::CreateCqCdw11::new().with_pc(true);
    assert_eq!(rig.create_cq(2, 4, small.addr().get(), cdw11), Status::SUCCESS);
    assert_eq!(rig.create_sq(2, 64, sq.addr().get(), 2), Status::SUCCESS);
    queue = Queue { id: 2, sq, cq: redox_driver_sys::dma::DmaSlice::new(small, 4).unwrap(), ..queue };
    queue.forget();
    let cids: Vec<u16> = (0..40).map(|_| rig.put(&mut queue, command(NvmOpcode::FLUSH.0, 1, None))).collect();
    rig.doorbell(2, false, queue.tail);
    rig.host.advance(Duration::from_millis(10));
    assert!(rig.handle.statistics().stalls > 0);
    let done: Vec<u16> = cids.iter().map(|_| rig.next(&mut queue).cid).collect();
    assert_eq!(done, cids);
    assert_eq!(rig.handle.take_violations(), []);
}

#[test]
fn commands_overtake_each_other_the_same_way_for_the_same_seed() {
    let order = |seed| {
        let latency = Latency { jitter: Duration::from_micros(500), ..Latency::default() };
        let (rig, mut queue) = rig(Config { latency, seed, ..Config::default() }, Some(InterruptKind::MsiX));
        let buffer = rig.buffer(512);
        for lba in 0..30 {
            rig.put(&mut queue, blocks(NvmOpcode::READ, 1, lba, 1, &buffer));
        }
        rig.doorbell(1, false, queue.tail);
        (0..30).map(|_| rig.next(&mut queue).cid).collect::<Vec<_>>()
    };
    let first = order(3);
    assert!(!first.is_sorted());
    assert_eq!(first, order(3));
    assert_ne!(first, order(4));
}

#[test]
fn invalid_doorbells_are_told_as_events() {
    let (mut rig, queue) = rig(Config::default(), Some(InterruptKind::MsiX));
    let request = command(AdminOpcode::ASYNC_EVENT_REQUEST.0, 0, None);
    let event = |info: ErrorEvent| {
        AsyncEvent::new()
            .with_event_type(EventType::ERROR.0)
            .with_info(info.0)
            .with_log_page(LogPage::ERROR_INFORMATION.0)
    };
    rig.submit_admin(request);
    rig.doorbell(9, false, 1);
    assert_eq!(AsyncEvent::from(rig.next_admin().dw0), event(ErrorEvent::INVALID_DOORBELL_REGISTER));
    rig.log::<[u8; 64]>(LogPage::ERROR_INFORMATION).unwrap();
    rig.submit_admin(request);
    rig.doorbell(1, false, 64);
    assert_eq!(AsyncEvent::from(rig.next_admin().dw0), event(ErrorEvent::INVALID_DOORBELL_VALUE));
    rig.doorbell(1, false, queue.tail);
    rig.doorbell(1, true, 1);
    let doorbell = |queue: u64, completion: u64| 0x1000 + 8 * queue + 4 * completion;
    assert_eq!(
        rig.handle.take_violations(),
        [
            Violation::DoorbellUnknown { offset: doorbell(9, 0) },
            Violation::DoorbellValue { offset: doorbell(1, 0), value: 64 },
            Violation::DoorbellValue { offset: doorbell(1, 0), value: queue.tail },
            Violation::DoorbellValue { offset: doorbell(1, 1), value: 1 },
        ]
    );
}

#[test]
fn between_doorbells_there_is_none() {
    let (mut rig, mut queue) = rig(Config { doorbell_stride: 2, ..Config::default() }, None);
    assert_eq!(rig.status(&mut queue, command(NvmOpcode::FLUSH.0, 1, None)), Status::SUCCESS);
    rig.submit_admin(command(AdminOpcode::ASYNC_EVENT_REQUEST.0, 0, None));
    rig.write32(0x1004, 1);
    assert_eq!(rig.handle.take_violations(), [Violation::DoorbellUnknown { offset: 0x1004 }]);
    assert_eq!(AsyncEvent::from(rig.next_admin().dw0).info(), ErrorEvent::INVALID_DOORBELL_REGISTER.0);
}

#[test]
fn a_namespace_that_changes_is_told_once_until_the_list_was_read() {
    let (mut rig, _) = rig(Config::default(), Some(InterruptKind::MsiX));
    let request = command(AdminOpcode::ASYNC_EVENT_REQUEST.0, 0, None);
    let cids = [rig.submit_admin(request), rig.submit_admin(request)];
    rig.handle.resize(1, 500);
    rig.host.advance(Duration::from_millis(1));
    assert!(rig.admin.take().is_none(), "nobody asked for namespace notices");
    rig.set_feature(FeatureId::ASYNC_EVENT_CONFIG, AsyncEventConfig::new().with_namespace(true));
    rig.handle.resize(1, 700);
    rig.handle.add_namespace(3, NamespaceConfig::new(10, 12));
    let done = rig.next_admin();
    let event = AsyncEvent::from(done.dw0);
    assert_eq!(
        (done.cid, event.kind(), NoticeEvent(event.info())),
        (cids[0], EventType::NOTICE, NoticeEvent::NAMESPACE_CHANGED)
    );
    assert_eq!(event.log_page(), LogPage::CHANGED_NAMESPACE_LIST.0);
    rig.handle.remove_namespace(3);
    rig.host.advance(Duration::from_millis(1));
    assert!(rig.admin.take().is_none(), "masked until the log is read");
    let list: NamespaceList = rig.log(LogPage::CHANGED_NAMESPACE_LIST).unwrap();
    assert_eq!(list.iter().collect::<Vec<_>>(), [1, 3]);
    let identify: IdentifyNamespace = rig.identify(Cns::NAMESPACE.0, 1).unwrap();
    assert_eq!(identify.nsze, 700);
    rig.handle.resize(1, 800);
    assert_eq!(rig.next_admin().cid, cids[1]);
    let list: NamespaceList = rig.log(LogPage::CHANGED_NAMESPACE_LIST).unwrap();
    assert_eq!(list.iter().collect::<Vec<_>>(), [1], "reading cleared it");
}

#[test]
fn critical_warnings_are_told() {
    let (mut rig, _) = rig(Config::default(), Some(InterruptKind::MsiX));
    let request = command(AdminOpcode::ASYNC_EVENT_REQUEST.0, 0, None);
    rig.submit_admin(request);
    let all = AsyncEventConfig::new().with_smart(0x1f);
    rig.set_feature(FeatureId::ASYNC_EVENT_CONFIG, all);
    rig.handle.set_critical_warning(CriticalWarning::new().with_spare(true));
    let event = AsyncEvent::from(rig.next_admin().dw0);
    assert_eq!((event.kind(), SmartEvent(event.info())), (EventType::SMART, SmartEvent::SPARE));
    let log: SmartLog = rig.log(LogPage::SMART).unwrap();
    assert!(log.critical_warning.spare());
    // A threshold below the temperature warns, too.
    rig.submit_admin(request);
    rig.set_feature(FeatureId::TEMPERATURE_THRESHOLD, TemperatureThreshold::new().with_kelvin(320));
    rig.handle.set_temperature(321);
    let event = AsyncEvent::from(rig.next_admin().dw0);
    assert_eq!(SmartEvent(event.info()), SmartEvent::TEMPERATURE);
    assert_eq!(rig.get_feature(FeatureId::TEMPERATURE_THRESHOLD, 0).dw0, 320);
}

#[test]
fn only_so_many_event_requests_at_a_time_and_abort_takes_one_back() {
    let (mut rig, _) = rig(Config { event_limit: 1, ..Config::default() }, None);
    let request = command(AdminOpcode::ASYNC_EVENT_REQUEST.0, 0, None);
    let first = rig.submit_admin(request);
    rig.submit_admin(request);
    assert_eq!(rig.admin_status(request), Status::AER_LIMIT_EXCEEDED);
    let mut abort = command(AdminOpcode::ABORT.0, 0, None);
    abort.cdw10 = nvme_spec::AbortCdw10::new().with_cid(first).into();
    let abort = rig.submit_admin(abort);
    let done = rig.next_admin();
    assert_eq!((done.cid, done.status.status()), (first, Status::ABORT_REQUESTED));
    let done = rig.next_admin();
    assert_eq!((done.cid, done.dw0), (abort, 0));
}
