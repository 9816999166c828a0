//! Each fault does what it says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Queue, Rig, blocks, command};
use model_nvme::{Action, Commands, Config, FaultPlan, Rule, random_faults};
use nvme_spec::{AdminOpcode, Cns, CompletionEntry, IdentifyController, NvmOpcode, Status, ascii};

/// A rig on which `action` strikes the first read, and the completions that came of two reads.
fn two_reads(action: Action) -> (Rig, Queue, [u16; 2], Vec<CompletionEntry>) {
    let mut rig = Rig::new(Config::default());
    let mut queue = rig.queue(1, 16, 1);
    rig.interrupts[1].take().unwrap();
    let buffer = rig.buffer(512);
    rig.handle.set_faults(FaultPlan::new(0).rule(Rule::only(Commands::io(NvmOpcode::READ), action).nth(1)));
    let cids = [0, 1].map(|lba| rig.submit(&mut queue, blocks(NvmOpcode::READ, 1, lba, 1, &buffer)));
    rig.host.advance(Duration::from_millis(50));
    let mut done = Vec::new();
    while let Some(entry) = queue.take() {
        done.push(entry);
    }
    assert_eq!(rig.handle.statistics().faults, 1);
    (rig, queue, cids, done)
}

fn cids(done: &[CompletionEntry]) -> Vec<u16> {
    done.iter().map(|entry| entry.cid).collect()
}

#[test]
fn completions_get_lost_late_doubled_and_reordered() {
    let (_, _, [_, second], done) = two_reads(Action::Drop);
    assert_eq!(cids(&done), [second]);
    let (rig, _, [_, second], done) = two_reads(Action::Hang);
    assert_eq!((cids(&done), rig.handle.outstanding()), (vec![second], 1));
    let (_, _, [first, second], done) = two_reads(Action::Delay(Duration::from_millis(5)));
    assert_eq!(cids(&done), [second, first]);
    let (_, _, [first, second], done) = two_reads(Action::Duplicate);
    assert_eq!(cids(&done), [first, first, second]);
    let (_, _, [first, second], done) = two_reads(Action::Reorder);
    assert_eq!(cids(&done), [second, first]);
}

#[test]
fn a_reordered_completion_does_not_wait_for_ever() {
    let mut rig = Rig::new(Config::default());
    let mut queue = rig.queue(1, 16, 1);
    rig.handle.set_faults(FaultPlan::new(0).rule(Rule::only(Commands::any_io(), Action::Reorder)));
    let start = rig.host.now();
    assert_eq!(rig.status(&mut queue, command(NvmOpcode::FLUSH.0, 1, None)), Status::SUCCESS);
    assert!(rig.host.now().since(start) >= Duration::from_millis(10));
}

#[test]
fn completions_get_corrupted() {
    let (_, _, [first, second], done) = two_reads(Action::CorruptCid(0x8000));
    assert_eq!(cids(&done), [first ^ 0x8000, second]);
    let (_, _, _, done) = two_reads(Action::CorruptSqid(6));
    assert_eq!((done[0].sqid, done[1].sqid), (7, 1));
    let (_, _, _, done) = two_reads(Action::CorruptSqHead(0x100));
    assert_eq!((done[0].sqhd, done[1].sqhd), (0x102, 2));
    let (_, queue, _, done) = two_reads(Action::WrongPhase);
    assert_eq!(done, []);
    assert!(!queue.cq.read(0).status.phase() && queue.cq.read(1).status.phase());
    let (_, _, _, done) = two_reads(Action::Fail(Status::UNRECOVERED_READ_ERROR, true));
    assert_eq!((done[0].status.status(), done[0].status.dnr()), (Status::UNRECOVERED_READ_ERROR, true));
    assert!(done[1].status.status().is_success());
    let (_, _, _, done) = two_reads(Action::Fail(Status::NAMESPACE_NOT_READY, false));
    assert!(!done[0].status.dnr());
}

#[test]
fn interrupts_get_lost_or_come_for_nothing() {
    let (rig, ..) = two_reads(Action::LoseInterrupt);
    assert_eq!(rig.interrupts[1].take().unwrap(), 1);
    let (rig, ..) = two_reads(Action::SpuriousInterrupt);
    assert_eq!(rig.interrupts[1].take().unwrap(), 3);
}

#[test]
fn the_controller_fails_or_goes_away() {
    let (rig, _, _, done) = two_reads(Action::Fatal);
    assert!(done.is_empty() && rig.csts().cfs());
    let (rig, _, _, done) = two_reads(Action::Remove);
    assert_eq!((done.len(), u32::from(rig.csts())), (0, u32::MAX));
}

#[test]
fn wild_accesses_are_noticed_by_the_machine() {
    for (action, write) in [(Action::WildRead(0x6666_0000), false), (Action::WildWrite(0x6666_0000), true)] {
        let (rig, _, _, done) = two_reads(action);
        assert_eq!(done.len(), 2);
        let faults = rig.host.take_faults();
        assert_eq!(
            faults.iter().map(|fault| (fault.addr, fault.write)).collect::<Vec<_>>(),
            [(0x6666_0000, write)]
        );
    }
}

#[test]
fn data_turn_to_garbage() {
    let mut rig = Rig::new(Config::default());
    rig.handle.set_faults(
        FaultPlan::new(5).rule(Rule::only(Commands::admin(AdminOpcode::IDENTIFY), Action::Garbage).times(1)),
    );
    let garbage: IdentifyController = rig.identify(Cns::CONTROLLER.0, 0).unwrap();
    let proper: IdentifyController = rig.identify(Cns::CONTROLLER.0, 0).unwrap();
    assert_ne!(zerocopy::IntoBytes::as_bytes(&garbage), zerocopy::IntoBytes::as_bytes(&proper));
    assert_eq!(ascii(&proper.sn), "RB0001");
}

#[test]
fn a_random_plan_replays() {
    let run = |seed| {
        let mut rig = Rig::new(Config::default());
        let mut queue = rig.queue(1, 64, 1);
        rig.handle.set_faults(random_faults(seed));
        let buffer = rig.buffer(512);
        let mut seen = Vec::new();
        for lba in 0..2000 {
            rig.submit(&mut queue, blocks(NvmOpcode::READ, 1, lba, 1, &buffer));
            rig.host.advance(Duration::from_millis(1));
            while let Some(entry) = queue.take() {
                rig.doorbell(1, true, queue.head);
                seen.push((rig.host.now(), entry));
            }
        }
        (seen, rig.handle.statistics(), rig.host.take_faults())
    };
    for seed in 0..8 {
        let (first, second) = (run(seed), run(seed));
        assert_eq!(first, second, "{}", random_faults(seed));
    }
    assert_ne!(run(1).0, run(2).0);
}
