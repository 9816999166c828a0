//! Queues, Identify, logs and Abort.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use common::{PAGE, Rig, blocks, command, log_cdw10};
use model_nvme::{Action, Commands, Config, FaultPlan, NamespaceConfig, Rule, Violation};
use nvme_spec::{
    AbortCdw10, AdminOpcode, Cdw0, Cns, CreateCqCdw11, ErrorLogEntry, FeatureId, FirmwareSlotLog,
    IdentifierType, IdentifyCdw10, IdentifyController, IdentifyNamespace, LogPage, NamespaceIdentifiers,
    NamespaceList, NumberOfQueues, NvmOpcode, SmartLog, Status, SubmissionEntry, ascii,
};
use redox_driver_sys::irq::InterruptKind;

const PC: CreateCqCdw11 = CreateCqCdw11::new().with_pc(true);

#[test]
fn identify_tells_of_controller_and_namespaces() {
    let namespaces = vec![
        NamespaceConfig::new(1000, 9),
        NamespaceConfig::new(0, 12),
        NamespaceConfig { metadata: 8, read_only: true, boundary: 256, ..NamespaceConfig::new(77, 12) },
    ];
    let mut rig = Rig::new(Config { namespaces, mdts: 6, serial: "S1".into(), ..Config::default() });
    let controller: IdentifyController = rig.identify(Cns::CONTROLLER.0, 0).unwrap();
    assert_eq!(ascii(&controller.sn), "S1");
    assert_eq!((controller.mdts, controller.nn, controller.npss), (6, 16, 3));
    assert_eq!((controller.sqes.required(), controller.cqes.largest()), (6, 4));
    assert!(controller.vwc.present() && controller.oncs.write_zeroes());
    assert!(controller.psd[3].flags.nops());

    let first: IdentifyNamespace = rig.identify(Cns::NAMESPACE.0, 1).unwrap();
    assert_eq!((first.nsze, first.format().unwrap().lbads()), (1000, 9));
    let empty: IdentifyNamespace = rig.identify(Cns::NAMESPACE.0, 2).unwrap();
    assert_eq!((empty.nsze, empty.format().unwrap().lbads()), (0, 12));
    let third: IdentifyNamespace = rig.identify(Cns::NAMESPACE.0, 3).unwrap();
    assert_eq!(third.format().map(|format| (format.lbads(), format.ms())), Some((12, 8)));
    assert_eq!((third.nsattr, third.noiob), (1, 256));
    let inactive: IdentifyNamespace = rig.identify(Cns::NAMESPACE.0, 4).unwrap();
    assert_eq!((inactive.nsze, inactive.format()), (0, None));
    assert_eq!(
        rig.identify::<IdentifyNamespace>(Cns::NAMESPACE.0, 17).err(),
        Some(Status::INVALID_NAMESPACE)
    );
    assert_eq!(rig.identify::<IdentifyNamespace>(Cns::NAMESPACE.0, 0).err(), Some(Status::INVALID_NAMESPACE));

    let list = |list: NamespaceList| list.iter().collect::<Vec<_>>();
    assert_eq!(list(rig.identify(Cns::ACTIVE_NAMESPACES.0, 0).unwrap()), [1, 2, 3]);
    assert_eq!(list(rig.identify(Cns::ACTIVE_NAMESPACES.0, 2).unwrap()), [3]);
    assert_eq!(
        rig.identify::<NamespaceList>(Cns::ACTIVE_NAMESPACES.0, u32::MAX).err(),
        Some(Status::INVALID_NAMESPACE)
    );
    let raw: [u8; 4096] = rig.identify(Cns::NAMESPACE_IDENTIFIERS.0, 1).unwrap();
    let kinds: Vec<_> = NamespaceIdentifiers::of(&raw).map(|id| id.kind).collect();
    assert_eq!(kinds, [IdentifierType::NGUID, IdentifierType::EUI64]);
    assert_eq!(
        rig.identify::<[u8; 4096]>(Cns::NAMESPACE_IDENTIFIERS.0, 9).err(),
        Some(Status::INVALID_FIELD)
    );
    assert_eq!(rig.identify::<[u8; 4096]>(0x7f, 1).err(), Some(Status::INVALID_FIELD));
}

#[test]
fn queue_creation_is_checked() {
    let mut rig = Rig::new(Config { queues: 4, mqes: 63, msix_vectors: 5, ..Config::default() });
    let base = rig.buffer(8192).addr().get();
    for (id, size, base, cdw11, expected) in [
        (0, 16, base, PC, Status::INVALID_QUEUE_ID),
        (5, 16, base, PC, Status::INVALID_QUEUE_ID),
        (1, 1, base, PC, Status::INVALID_QUEUE_SIZE),
        (1, 65, base, PC, Status::INVALID_QUEUE_SIZE),
        (1, 16, base, CreateCqCdw11::new(), Status::INVALID_FIELD),
        (1, 16, base + 64, PC, Status::INVALID_PRP_OFFSET),
        (1, 16, base, PC.with_ien(true).with_iv(5), Status::INVALID_INTERRUPT_VECTOR),
        (1, 16, base, PC.with_ien(true).with_iv(4), Status::SUCCESS),
        (1, 16, base, PC, Status::INVALID_QUEUE_ID),
    ] {
        assert_eq!(rig.create_cq(id, size, base, cdw11), expected, "completion queue {id} of {size}");
    }
    let base = base + PAGE;
    for (id, size, cqid, expected) in [
        (0, 16, 1, Status::INVALID_QUEUE_ID),
        (5, 16, 1, Status::INVALID_QUEUE_ID),
        (1, 16, 0, Status::INVALID_QUEUE_ID),
        (1, 16, 9, Status::INVALID_QUEUE_ID),
        (1, 16, 2, Status::INVALID_CQ),
        (1, 65, 1, Status::INVALID_QUEUE_SIZE),
        (1, 1, 1, Status::INVALID_QUEUE_SIZE),
        (1, 16, 1, Status::SUCCESS),
        (1, 16, 1, Status::INVALID_QUEUE_ID),
    ] {
        assert_eq!(
            rig.create_sq(id, size, base, cqid),
            expected,
            "submission queue {id} of {size} on {cqid}"
        );
    }
    assert_eq!(rig.handle.io_queues(), (1, 1));
    for (opcode, id, expected) in [
        (AdminOpcode::DELETE_IO_CQ, 0, Status::INVALID_QUEUE_ID),
        (AdminOpcode::DELETE_IO_CQ, 2, Status::INVALID_QUEUE_ID),
        (AdminOpcode::DELETE_IO_CQ, 1, Status::INVALID_QUEUE_DELETION),
        (AdminOpcode::DELETE_IO_SQ, 0, Status::INVALID_QUEUE_ID),
        (AdminOpcode::DELETE_IO_SQ, 2, Status::INVALID_QUEUE_ID),
        (AdminOpcode::DELETE_IO_SQ, 1, Status::SUCCESS),
        (AdminOpcode::DELETE_IO_CQ, 1, Status::SUCCESS),
    ] {
        assert_eq!(rig.delete(opcode, id), expected, "{opcode} {id}");
    }
    assert_eq!(rig.handle.io_queues(), (0, 0));
}

#[test]
fn one_vector_is_all_that_the_pin_has() {
    let mut rig = Rig::disabled(Config::default(), Some(InterruptKind::Intx));
    rig.enable();
    let base = rig.buffer(4096).addr().get();
    let cdw11 = PC.with_ien(true).with_iv(1);
    assert_eq!(rig.create_cq(1, 16, base, cdw11), Status::INVALID_INTERRUPT_VECTOR);
    assert_eq!(rig.create_cq(1, 16, base, cdw11.with_iv(0)), Status::SUCCESS);
}

#[test]
fn the_number_of_queues_is_negotiated_before_there_are_any() {
    let mut rig = Rig::new(Config { queues: 4, ..Config::default() });
    let wanted = |sq, cq| NumberOfQueues::new().with_submission(sq).with_completion(cq);
    let done = rig.set_feature(FeatureId::NUMBER_OF_QUEUES, wanted(63, 1));
    assert_eq!(NumberOfQueues::from(done.dw0), wanted(3, 1));
    let base = rig.buffer(4096).addr().get();
    assert_eq!(rig.create_cq(3, 16, base, PC), Status::INVALID_QUEUE_ID);
    assert_eq!(rig.create_cq(2, 16, base, PC), Status::SUCCESS);
    let again = rig.set_feature(FeatureId::NUMBER_OF_QUEUES, wanted(0, 0));
    assert_eq!(again.status.status(), Status::SEQUENCE_ERROR);
    let invalid = rig.set_feature(FeatureId::NUMBER_OF_QUEUES, wanted(u16::MAX, 0));
    assert_eq!(invalid.status.status(), Status::INVALID_FIELD);
}

#[test]
fn deleting_a_submission_queue_ends_its_commands() {
    let mut rig = Rig::new(Config::default());
    let mut queue = rig.queue(1, 16, 1);
    let buffer = rig.buffer(512);
    rig.handle.set_faults(FaultPlan::new(0).rule(Rule::only(Commands::io(NvmOpcode::READ), Action::Hang)));
    let hung = [0, 1, 2].map(|lba| rig.submit(&mut queue, blocks(NvmOpcode::READ, 1, lba, 1, &buffer)));
    rig.host.advance(Duration::from_secs(1));
    assert!(queue.take().is_none());
    assert_eq!(rig.handle.outstanding(), 3);
    assert_eq!(rig.delete(AdminOpcode::DELETE_IO_SQ, 1), Status::SUCCESS);
    for cid in hung {
        let done = rig.next(&mut queue);
        assert_eq!((done.cid, done.status.status()), (cid, Status::ABORTED_SQ_DELETION));
    }
    assert_eq!(rig.handle.outstanding(), 0);
}

#[test]
fn abort_ends_a_hung_command_and_tells_of_one_it_does_not_find() {
    let mut rig = Rig::new(Config::default());
    let mut queue = rig.queue(1, 16, 1);
    let buffer = rig.buffer(512);
    rig.handle
        .set_faults(FaultPlan::new(0).rule(Rule::only(Commands::io(NvmOpcode::READ), Action::Hang).nth(1)));
    let cid = rig.submit(&mut queue, blocks(NvmOpcode::READ, 1, 0, 1, &buffer));
    let abort = |cid| SubmissionEntry {
        cdw10: AbortCdw10::new().with_sqid(1).with_cid(cid).into(),
        ..command(AdminOpcode::ABORT.0, 0, None)
    };
    assert_eq!(rig.admin(abort(cid)).dw0, 0);
    let done = rig.next(&mut queue);
    assert_eq!((done.cid, done.status.status()), (cid, Status::ABORT_REQUESTED));
    assert!(!done.status.dnr());
    assert_eq!(rig.admin(abort(cid)).dw0, 1);
    assert_eq!(rig.status(&mut queue, blocks(NvmOpcode::READ, 1, 0, 1, &buffer)), Status::SUCCESS);
    assert_eq!(rig.handle.statistics().aborted, 1);
}

#[test]
fn only_so_many_aborts_at_a_time() {
    let mut rig = Rig::new(Config { abort_limit: 1, ..Config::default() });
    for _ in 0..3 {
        rig.submit_admin(command(AdminOpcode::ABORT.0, 0, None));
    }
    let statuses = [(); 3].map(|()| rig.next_admin().status.status());
    assert_eq!(statuses, [Status::SUCCESS, Status::SUCCESS, Status::ABORT_LIMIT_EXCEEDED]);
}

#[test]
fn an_identifier_in_use_is_a_conflict() {
    let mut rig = Rig::new(Config::default());
    let mut queue = rig.queue(1, 16, 1);
    let buffer = rig.buffer(512);
    let cid = rig.put(&mut queue, blocks(NvmOpcode::READ, 1, 0, 1, &buffer));
    let mut second = blocks(NvmOpcode::READ, 1, 1, 1, &buffer);
    second.cdw0.set_cid(cid);
    queue.sq.write(queue.tail as usize, second);
    queue.tail += 1;
    rig.doorbell(1, false, queue.tail);
    assert_eq!(rig.next(&mut queue).status.status(), Status::SUCCESS);
    assert_eq!(rig.next(&mut queue).status.status(), Status::COMMAND_ID_CONFLICT);
    assert_eq!(rig.handle.take_violations(), [Violation::CommandId { sqid: 1, cid }]);
}

#[test]
fn commands_that_do_not_exist_are_refused() {
    let mut rig = Rig::new(Config { compare: false, ..Config::default() });
    let mut queue = rig.queue(1, 16, 1);
    assert_eq!(rig.admin_status(command(AdminOpcode::FORMAT_NVM.0, 1, None)), Status::INVALID_OPCODE);
    assert_eq!(rig.status(&mut queue, command(NvmOpcode::VERIFY.0, 1, None)), Status::INVALID_OPCODE);
    assert_eq!(rig.status(&mut queue, command(NvmOpcode::COMPARE.0, 1, None)), Status::INVALID_OPCODE);
    let mut fused = command(NvmOpcode::FLUSH.0, 1, None);
    fused.cdw0.set_fuse(1);
    assert_eq!(rig.status(&mut queue, fused), Status::INVALID_FIELD);
    let mut sgl = command(AdminOpcode::IDENTIFY.0, 1, None);
    sgl.cdw0.set_psdt(Cdw0::PSDT_SGL);
    assert_eq!(rig.admin_status(sgl), Status::INVALID_FIELD);
}

#[test]
fn logs_tell_of_errors_health_and_firmware() {
    let mut rig = Rig::new(Config { firmware: "7.1b".into(), error_log: 3, ..Config::default() });
    let mut queue = rig.queue(1, 16, 1);
    let buffer = rig.buffer(4096);
    for lba in 1..=6 {
        let done = rig.run(&mut queue, blocks(NvmOpcode::READ, 1, (1 << 20) + lba, 1, &buffer));
        assert!(done.status.more() && done.status.dnr());
    }
    let entries: [ErrorLogEntry; 5] = rig.log(LogPage::ERROR_INFORMATION).unwrap();
    assert_eq!(entries.map(|entry| entry.error_count), [6, 5, 4, 3, 0]);
    assert_eq!((entries[0].lba, entries[0].sqid, entries[0].nsid), ((1 << 20) + 6, 1, 1));
    assert_eq!(entries[0].status.status(), Status::LBA_OUT_OF_RANGE);

    assert_eq!(rig.status(&mut queue, blocks(NvmOpcode::WRITE, 1, 0, 8, &buffer)), Status::SUCCESS);
    let smart: SmartLog = rig.log(LogPage::SMART).unwrap();
    assert_eq!({ smart.error_log_entries }, [6, 0]);
    assert_eq!(({ smart.host_reads }, { smart.host_writes }), ([6, 0], [1, 0]));
    assert_eq!(({ smart.data_units_written }, { smart.temperature }), ([1, 0], 313));
    let firmware: FirmwareSlotLog = rig.log(LogPage::FIRMWARE_SLOT).unwrap();
    assert_eq!((firmware.active, ascii(&firmware.slots[0])), (1, "7.1b".to_string()));
    assert_eq!(rig.log::<[u8; 512]>(LogPage(0xc0)).err(), Some(Status::INVALID_LOG_PAGE));
}

#[test]
fn a_piece_of_a_log_can_be_read() {
    let mut rig = Rig::new(Config::default());
    let buffer = rig.buffer(4096);
    buffer.fill(0, 4096, 0xee).unwrap();
    let mut entry = command(AdminOpcode::GET_LOG_PAGE.0, 0, Some(&buffer));
    entry.cdw10 = log_cdw10(LogPage::SMART, 8);
    entry.cdw12 = 508;
    assert_eq!(rig.admin_status(entry), Status::SUCCESS);
    assert_eq!(buffer.read::<[u8; 12]>(0).unwrap(), [0, 0, 0, 0, 0, 0, 0, 0, 0xee, 0xee, 0xee, 0xee]);
    entry.cdw12 = 516;
    assert_eq!(rig.admin_status(entry), Status::INVALID_FIELD, "beyond the end");
    entry.cdw12 = 2;
    assert_eq!(rig.admin_status(entry), Status::INVALID_FIELD, "not a dword");
    entry.cdw12 = 0;
    entry.cdw11 = 0xffff;
    assert_eq!(rig.admin_status(entry), Status::INVALID_FIELD, "longer than MDTS");
    entry.cdw11 = 0;
    entry.nsid = 1;
    assert_eq!(rig.admin_status(entry), Status::INVALID_FIELD, "no SMART log of a namespace");
}

#[test]
fn data_that_cannot_be_written_fail_the_command() {
    let mut rig = Rig::new(Config::default());
    let mut entry = command(AdminOpcode::IDENTIFY.0, 1, None);
    entry.cdw10 = IdentifyCdw10::new().with_cns(Cns::CONTROLLER.0).into();
    entry.dptr = [0xdead_0000, 0];
    assert_eq!(rig.admin_status(entry), Status::DATA_TRANSFER_ERROR);
    assert_eq!(rig.host.take_faults().len(), 1);
    entry.dptr = [0xdead_0002, 0];
    assert_eq!(rig.admin_status(entry), Status::INVALID_PRP_OFFSET);
}

#[test]
fn a_queue_that_cannot_be_read_is_fatal() {
    let rig = Rig::disabled(Config::default(), None);
    rig.register::<u64>(nvme_spec::registers::ASQ).write(0xdead_0000);
    rig.enable();
    rig.doorbell(0, false, 1);
    assert!(rig.wait(|rig| rig.csts().cfs()));
    rig.doorbell(0, false, 2);
    assert_eq!(rig.handle.take_violations(), [], "a doorbell of a failed controller is no fault of the host");
}
