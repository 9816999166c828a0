//! Features, power states and the host memory buffer.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use common::{PAGE, Queue, Rig, blocks, command};
use model_nvme::{Config, HostMemoryWishes, Violation};
use nvme_spec::{
    AdminOpcode, ApstEntry, ApstTable, Arbitration, FeatureCdw10, FeatureId, FeatureSelect, HmbDescriptor,
    HostMemoryBuffer, NvmOpcode, PowerManagement, Status, SubmissionEntry, Timestamp, VolatileWriteCache,
};
use redox_driver_sys::dma::DmaBuffer;

#[test]
fn features_keep_their_value_until_a_reset() {
    let mut rig = Rig::new(Config::default());
    let arbitration = Arbitration::new().with_burst(3).with_low(9);
    rig.set_feature(FeatureId::ARBITRATION, arbitration);
    assert_eq!(rig.get_feature(FeatureId::ARBITRATION, 0).dw0, arbitration.into());
    let select = |sel: FeatureSelect| SubmissionEntry {
        cdw10: FeatureCdw10::new().with_fid(FeatureId::ARBITRATION.0).with_sel(sel.0).into(),
        ..command(AdminOpcode::GET_FEATURES.0, 0, None)
    };
    let default = Arbitration::new().with_burst(7);
    assert_eq!(rig.admin(select(FeatureSelect::DEFAULT)).dw0, default.into());
    assert_eq!(rig.admin(select(FeatureSelect::SAVED)).dw0, default.into());
    assert_eq!(rig.admin(select(FeatureSelect::CAPABILITIES)).dw0, 1 << 2);
    assert_eq!(rig.admin_status(select(FeatureSelect(6))), Status::INVALID_FIELD);
    rig.disable();
    rig.enable();
    assert_eq!(rig.get_feature(FeatureId::ARBITRATION, 0).dw0, default.into());
    assert_eq!(rig.set_feature(FeatureId(0xd0), 1u32).status.status(), Status::INVALID_FIELD);
    let save = FeatureCdw10::new().with_fid(FeatureId::ARBITRATION.0).with_sv(true).into();
    let save = SubmissionEntry { cdw10: save, ..command(AdminOpcode::SET_FEATURES.0, 0, None) };
    assert_eq!(rig.admin_status(save), Status::FEATURE_NOT_SAVEABLE);
}

#[test]
fn what_is_not_there_has_no_feature() {
    let mut rig = Rig::new(Config { write_cache: false, apst: false, ..Config::default() });
    for id in [
        FeatureId::VOLATILE_WRITE_CACHE,
        FeatureId::AUTONOMOUS_POWER_STATE_TRANSITION,
        FeatureId::HOST_MEMORY_BUFFER,
    ] {
        assert_eq!(rig.get_feature(id, 0).status.status(), Status::INVALID_FIELD, "{id}");
        assert_eq!(rig.set_feature(id, 1u32).status.status(), Status::INVALID_FIELD, "{id}");
    }
    let mut rig = Rig::new(Config::default());
    assert_eq!(rig.get_feature(FeatureId::VOLATILE_WRITE_CACHE, 0).dw0, 1);
    rig.set_feature(FeatureId::VOLATILE_WRITE_CACHE, VolatileWriteCache::new());
    assert!(!rig.handle.write_cache_enabled());
}

#[test]
fn the_time_goes_on() {
    let mut rig = Rig::new(Config::default());
    let buffer = rig.buffer(4096);
    buffer.write(0, Timestamp::at(1_700_000_000_123)).unwrap();
    let cdw10 = FeatureCdw10::new().with_fid(FeatureId::TIMESTAMP.0).into();
    let set = SubmissionEntry { cdw10, ..command(AdminOpcode::SET_FEATURES.0, 0, Some(&buffer)) };
    assert_eq!(rig.admin_status(set), Status::SUCCESS);
    rig.host.advance(Duration::from_secs(2));
    let get = SubmissionEntry { cdw10, ..command(AdminOpcode::GET_FEATURES.0, 0, Some(&buffer)) };
    assert_eq!(rig.admin_status(get), Status::SUCCESS);
    let stamp: Timestamp = buffer.read(0).unwrap();
    assert_eq!((stamp.as_millis(), stamp.attributes), (1_700_000_002_123, 0b10));
}

fn set_transitions(rig: &mut Rig, on: bool, table: ApstTable) -> Status {
    let buffer = rig.buffer(4096);
    buffer.write(0, table).unwrap();
    rig.admin_status(SubmissionEntry {
        cdw10: FeatureCdw10::new().with_fid(FeatureId::AUTONOMOUS_POWER_STATE_TRANSITION.0).into(),
        cdw11: on.into(),
        ..command(AdminOpcode::SET_FEATURES.0, 0, Some(&buffer))
    })
}

#[test]
fn an_idle_controller_goes_to_sleep_and_wakes_up() {
    let mut rig = Rig::new(Config::default());
    let mut queue = rig.queue(1, 16, 1);
    let mut table = ApstTable::default();
    let to = |state, ms| ApstEntry::new().with_power_state(state).with_idle_ms(ms);
    table.entries[0] = to(1, 100);
    assert_eq!(set_transitions(&mut rig, true, table), Status::INVALID_FIELD, "state 1 is operational");
    table.entries[0] = to(9, 100);
    assert_eq!(set_transitions(&mut rig, true, table), Status::INVALID_FIELD, "state 9 does not exist");
    table.entries[0] = to(2, 100);
    table.entries[2] = to(3, 1000);
    assert_eq!(set_transitions(&mut rig, true, table), Status::SUCCESS);
    assert_eq!(
        rig.get_feature(FeatureId::AUTONOMOUS_POWER_STATE_TRANSITION, 0).status.status(),
        Status::DATA_TRANSFER_ERROR
    );
    rig.host.take_faults();
    rig.host.advance(Duration::from_millis(90));
    assert_eq!(rig.handle.power_state(), 0);
    rig.host.advance(Duration::from_millis(20));
    assert_eq!(rig.handle.power_state(), 2);
    rig.host.advance(Duration::from_millis(1000));
    assert_eq!(rig.handle.power_state(), 3);
    let now = rig.get_feature(FeatureId::POWER_MANAGEMENT, 0).dw0;
    assert_eq!(PowerManagement::from(now).power_state(), 3, "admin commands do not wake it");
    let start = rig.host.now();
    assert_eq!(rig.status(&mut queue, command(NvmOpcode::FLUSH.0, 1, None)), Status::SUCCESS);
    assert!(rig.host.now().since(start) >= Duration::from_millis(40), "waking takes its time");
    assert_eq!(rig.handle.power_state(), 0);
    assert_eq!(rig.handle.statistics().idle_transitions, 2);
    assert_eq!(set_transitions(&mut rig, false, table), Status::SUCCESS);
    rig.host.advance(Duration::from_secs(10));
    assert_eq!(rig.handle.power_state(), 0);
}

#[test]
fn power_states_are_set_by_hand() {
    let mut rig = Rig::new(Config::default());
    let state = |state| PowerManagement::new().with_power_state(state);
    assert_eq!(rig.set_feature(FeatureId::POWER_MANAGEMENT, state(1)).status.status(), Status::SUCCESS);
    assert_eq!(rig.handle.power_state(), 1);
    assert_eq!(rig.set_feature(FeatureId::POWER_MANAGEMENT, state(4)).status.status(), Status::INVALID_FIELD);
    // I/O leaves a non-operational state for the last operational one.
    rig.set_feature(FeatureId::POWER_MANAGEMENT, state(3));
    let mut queue = rig.queue(1, 16, 1);
    rig.status(&mut queue, command(NvmOpcode::FLUSH.0, 1, None));
    assert_eq!(rig.handle.power_state(), 1);
}

struct Lent {
    list: DmaBuffer,
    areas: Vec<DmaBuffer>,
}

impl Lent {
    fn new(rig: &Rig, areas: u32, pages: u32) -> Self {
        let list = rig.buffer(4096);
        let areas: Vec<DmaBuffer> = (0..areas).map(|_| rig.buffer(pages as usize * 4096)).collect();
        for (at, area) in areas.iter().enumerate() {
            list.write(at * 16, HmbDescriptor { address: area.addr().get(), pages, reserved: 0 }).unwrap();
        }
        Lent { list, areas }
    }

    fn pages(&self) -> u32 {
        u32::try_from(self.areas.iter().map(DmaBuffer::len).sum::<usize>() / 4096).unwrap()
    }

    fn command(&self, returned: bool) -> SubmissionEntry {
        let list = self.list.addr().get();
        SubmissionEntry {
            cdw10: FeatureCdw10::new().with_fid(FeatureId::HOST_MEMORY_BUFFER.0).into(),
            cdw11: HostMemoryBuffer::new().with_enable(true).with_memory_return(returned).into(),
            cdw12: self.pages(),
            cdw13: u32::try_from(list & 0xffff_ffff).unwrap(),
            cdw14: u32::try_from(list >> 32).unwrap(),
            cdw15: u32::try_from(self.areas.len()).unwrap(),
            ..command(AdminOpcode::SET_FEATURES.0, 0, None)
        }
    }
}

fn with_host_memory() -> (Rig, Queue) {
    let host_memory = HostMemoryWishes { preferred: 64, minimum: 16, descriptor_minimum: 4, descriptors: 4 };
    let mut rig = Rig::new(Config { host_memory, ..Config::default() });
    let queue = rig.queue(1, 64, 1);
    (rig, queue)
}

fn work(rig: &Rig, queue: &mut Queue, buffer: &DmaBuffer) {
    for lba in 0..50 {
        assert_eq!(rig.status(queue, blocks(NvmOpcode::READ, 1, lba, 1, buffer)), Status::SUCCESS);
    }
}

#[test]
fn the_host_memory_buffer_is_used_and_left_alone() {
    let (mut rig, mut queue) = with_host_memory();
    let buffer = rig.buffer(512);
    let lent = Lent::new(&rig, 4, 8);
    assert_eq!(rig.admin_status(lent.command(false)), Status::SUCCESS);
    assert!(rig.handle.host_memory_enabled());
    assert_eq!(rig.admin_status(lent.command(false)), Status::SEQUENCE_ERROR);
    work(&rig, &mut queue, &buffer);
    assert_eq!(rig.handle.statistics().host_memory_checks, 50);
    assert_ne!(lent.areas[3].read::<u64>(7 * 4096).unwrap(), 0, "every page is used");
    let off = rig.set_feature(FeatureId::HOST_MEMORY_BUFFER, HostMemoryBuffer::new());
    assert_eq!(off.status.status(), Status::SUCCESS);
    work(&rig, &mut queue, &buffer);
    assert_eq!(rig.handle.statistics().host_memory_checks, 50);
    // The same memory, returned as it was.
    assert_eq!(rig.admin_status(lent.command(true)), Status::SUCCESS);
    work(&rig, &mut queue, &buffer);
    rig.set_feature(FeatureId::HOST_MEMORY_BUFFER, HostMemoryBuffer::new());
    drop(lent);
    work(&rig, &mut queue, &buffer);
    assert_eq!(rig.handle.take_violations(), []);
    assert_eq!(rig.host.take_faults(), []);
}

#[test]
fn host_memory_that_is_changed_or_taken_away_is_noticed() {
    let (mut rig, mut queue) = with_host_memory();
    let buffer = rig.buffer(512);
    let mut lent = Lent::new(&rig, 4, 8);
    assert_eq!(rig.admin_status(lent.command(false)), Status::SUCCESS);
    let address = lent.areas[1].addr().get() + 3 * PAGE;
    lent.areas[1].write(3 * 4096, 1u64).unwrap();
    work(&rig, &mut queue, &buffer);
    assert_eq!(rig.handle.take_violations()[..1], [Violation::HostMemoryChanged { address }]);
    let address = lent.areas[0].addr().get();
    drop(lent.areas.remove(0));
    work(&rig, &mut queue, &buffer);
    assert!(rig.handle.take_violations().contains(&Violation::HostMemoryGone { address }));
    assert!(!rig.host.take_faults().is_empty());
    // A promise that is not kept.
    rig.set_feature(FeatureId::HOST_MEMORY_BUFFER, HostMemoryBuffer::new());
    let other = Lent::new(&rig, 4, 8);
    assert_eq!(rig.admin_status(other.command(true)), Status::SUCCESS);
    assert!(matches!(rig.handle.take_violations()[..], [Violation::HostMemoryChanged { .. }]));
}

#[test]
fn host_memory_that_does_not_fit_is_refused() {
    let (mut rig, _) = with_host_memory();
    let check = |rig: &mut Rig, areas, pages, change: fn(&mut SubmissionEntry)| {
        let lent = Lent::new(rig, areas, pages);
        let mut entry = lent.command(false);
        change(&mut entry);
        rig.admin_status(entry)
    };
    assert_eq!(check(&mut rig, 3, 5, |_| {}), Status::INVALID_FIELD, "smaller than HMMIN");
    assert_eq!(check(&mut rig, 5, 8, |_| {}), Status::INVALID_FIELD, "more than HMMAXD");
    assert_eq!(check(&mut rig, 4, 8, |entry| entry.cdw12 += 1), Status::INVALID_FIELD, "not the sum");
    assert_eq!(check(&mut rig, 4, 8, |entry| entry.cdw13 += 8), Status::INVALID_FIELD, "not aligned");
    assert_eq!(check(&mut rig, 4, 8, |entry| entry.cdw14 = 77), Status::DATA_TRANSFER_ERROR, "no list");
    let small = Lent::new(&rig, 4, 8);
    small
        .list
        .write(0, HmbDescriptor { address: small.areas[0].addr().get(), pages: 3, reserved: 0 })
        .unwrap();
    let entry = SubmissionEntry { cdw12: 27, ..small.command(false) };
    assert_eq!(rig.admin_status(entry), Status::INVALID_FIELD, "smaller than HMMINDS");
    let odd = Lent::new(&rig, 4, 8);
    odd.list.write(0, odd.areas[0].addr().get() + 512).unwrap();
    assert_eq!(rig.admin_status(odd.command(false)), Status::INVALID_FIELD, "not on a page");
    assert!(!rig.handle.host_memory_enabled());
}
