//! Enabling, resetting, shutting down, pulling out.

mod common;

use std::time::Duration;

use common::Rig;
use model_nvme::{Config, FaultPlan, LifecycleFault, StuckBits, Violation};
use nvme_spec::registers::{ACQ, AQA, ASQ, Aqa, CAP, CC, CSTS, Cc, Csts, NSSR, NSSR_RESET, VS, Vs};

#[test]
fn a_controller_tells_what_it_can() {
    let config = Config { mqes: 511, timeout: 7, doorbell_stride: 2, mpsmax: 1, ..Config::default() };
    let rig = Rig::new(config);
    let cap = rig.cap();
    assert_eq!((cap.mqes(), cap.to(), cap.dstrd(), cap.mpsmin(), cap.mpsmax()), (511, 7, 2, 0, 1));
    assert!(cap.cqr() && cap.nssrs() && cap.css() == 1);
    assert_eq!(rig.register::<Vs>(VS).read(), Vs::version(1, 4));
    // The halves of a 64-bit register are where they belong.
    let whole = u64::from(cap);
    assert_eq!(u64::from(rig.read32(CAP)) | u64::from(rig.read32(CAP + 4)) << 32, whole);
    assert_eq!(rig.handle.take_violations(), []);
}

#[test]
fn it_becomes_ready_after_a_while_and_stops_after_a_while() {
    let mut rig = Rig::disabled(Config::default(), None);
    rig.configure(Rig::cc());
    assert!(!rig.csts().rdy());
    rig.host.advance(Duration::from_millis(1));
    assert!(!rig.csts().rdy());
    rig.host.advance(Duration::from_millis(2));
    assert!(rig.csts().rdy());
    rig.configure(Cc::new());
    assert!(rig.csts().rdy());
    rig.disable();
    assert_eq!(rig.register::<u64>(ASQ).read(), rig.admin.sq.addr().get(), "the admin queue registers stay");
    rig.enable();
    assert_eq!(rig.handle.statistics().enables, 2);
    assert_eq!(rig.handle.take_violations(), []);
}

#[test]
fn enabling_before_it_stopped_is_noticed() {
    let rig = Rig::new(Config::default());
    rig.configure(Cc::new());
    rig.configure(Rig::cc());
    assert!(rig.csts().cfs());
    assert_eq!(rig.handle.take_violations(), [Violation::EnabledTooEarly]);
}

#[test]
fn a_configuration_that_it_does_not_support_is_fatal() {
    let wrong = |change: fn(&Rig) -> Cc| {
        let rig = Rig::disabled(Config::default(), None);
        let cc = change(&rig);
        rig.configure(cc);
        rig.host.advance(Duration::from_secs(1));
        assert!(rig.csts().cfs() && !rig.csts().rdy());
        assert!(matches!(rig.handle.take_violations()[..], [Violation::Configuration { .. }]));
    };
    wrong(|_| Rig::cc().with_mps(5));
    wrong(|_| Rig::cc().with_css(6));
    wrong(|_| Rig::cc().with_css(3));
    wrong(|_| Rig::cc().with_ams(1));
    wrong(|rig| {
        rig.write32(AQA, Aqa::new().with_acqs(7).into());
        Rig::cc()
    });
    wrong(|rig| {
        rig.write32(AQA, Aqa::new().with_asqs(7).into());
        Rig::cc()
    });
    // Aligned to 4 KiB, but not to the memory page of CC.MPS.
    wrong(|rig| {
        rig.register::<u64>(ACQ).write(0x1000);
        Rig::cc().with_mps(1)
    });
}

#[test]
fn the_admin_queue_cannot_be_moved_while_enabled() {
    let rig = Rig::new(Config::default());
    let before = rig.register::<u64>(ASQ).read();
    rig.register::<u64>(ASQ).write(0x5000);
    rig.write32(ASQ + 4, 1);
    rig.write32(AQA, 0);
    assert_eq!(rig.register::<u64>(ASQ).read(), before);
    let offsets = [ASQ, ASQ + 4, AQA].map(|offset| Violation::AdminQueueWhileEnabled { offset });
    assert_eq!(rig.handle.take_violations(), offsets);
    rig.configure(Rig::cc().with_mps(1));
    assert_eq!(rig.register::<Cc>(CC).read(), Rig::cc());
    assert_eq!(rig.handle.take_violations(), [Violation::ConfigurationWhileEnabled]);
}

#[test]
fn accesses_that_the_registers_do_not_have_are_noticed() {
    let rig = Rig::new(Config::default());
    rig.write32(VS, 1);
    assert_eq!(rig.bar.register::<u16, redox_driver_sys::mmio::ReadOnly>(VS + 2).unwrap().read(), 1);
    rig.bar.register::<u8, redox_driver_sys::mmio::ReadWrite>(CC).unwrap().write(0);
    assert_eq!(
        rig.handle.take_violations(),
        [
            Violation::ReadOnlyWrite { offset: VS },
            Violation::RegisterWidth { offset: VS + 2, len: 2 },
            Violation::RegisterWidth { offset: CC, len: 1 }
        ]
    );
    assert!(rig.csts().rdy());
}

#[test]
fn shutdown_takes_its_time_and_needs_a_reset_afterwards() {
    let mut rig = Rig::new(Config::default());
    rig.configure(Rig::cc().with_shn(Cc::SHN_NORMAL));
    assert_eq!(rig.csts().shst(), Csts::SHST_OCCURRING);
    assert!(rig.wait(|rig| rig.csts().shst() == Csts::SHST_COMPLETE));
    assert_eq!(rig.handle.statistics().shutdowns, 1);
    rig.disable();
    assert_eq!(rig.csts().shst(), Csts::SHST_NORMAL);
    rig.enable();
}

#[test]
fn a_subsystem_reset_clears_every_register() {
    let rig = Rig::new(Config::default());
    rig.write32(NSSR, 1);
    assert!(rig.csts().rdy(), "only the magic number resets");
    rig.write32(NSSR, NSSR_RESET);
    assert_eq!(rig.csts(), Csts::new().with_nssro(true));
    assert_eq!(rig.read32(CC) | rig.read32(AQA) | rig.read32(ASQ), 0);
    rig.write32(CSTS, Csts::new().with_nssro(true).into());
    assert_eq!(rig.csts(), Csts::new());
}

#[test]
fn a_function_reset_clears_every_register() {
    let rig = Rig::new(Config::default());
    rig.function.reset().unwrap();
    assert_eq!(rig.read32(CC) | rig.read32(CSTS) | rig.read32(AQA) | rig.read32(ASQ), 0);
    assert!(!rig.handle.is_ready());
}

#[test]
fn a_removed_controller_reads_as_all_ones() {
    let rig = Rig::new(Config::default());
    rig.handle.set_removed(true);
    assert_eq!(rig.read32(CSTS), u32::MAX);
    assert_eq!(rig.register::<u64>(CAP).read(), u64::MAX);
    assert!(!rig.wait(|rig| rig.csts() != Csts::from(u32::MAX)));
    rig.handle.set_removed(false);
    assert_eq!(rig.csts(), Csts::new());
}

#[test]
fn lifecycle_faults_do_what_they_say() {
    let plan = |fault| FaultPlan::new(0).lifecycle_times(fault, 1);
    let mut rig = Rig::disabled(Config::default(), None);
    rig.handle.set_faults(plan(LifecycleFault::NeverReady));
    rig.configure(Rig::cc());
    assert!(!rig.wait(|rig| rig.csts().rdy()));
    rig.configure(Cc::new());
    rig.handle.set_faults(plan(LifecycleFault::FatalOnEnable));
    rig.host.advance(Duration::from_millis(10));
    rig.configure(Rig::cc());
    assert!(rig.csts().cfs());
    rig.disable();
    rig.enable();
    rig.handle.set_faults(plan(LifecycleFault::NeverShutDown));
    rig.configure(Rig::cc().with_shn(Cc::SHN_NORMAL));
    assert!(!rig.wait(|rig| rig.csts().shst() == Csts::SHST_COMPLETE));
    rig.handle.set_faults(plan(LifecycleFault::NeverDisabled));
    rig.configure(Cc::new());
    assert!(!rig.wait(|rig| !rig.csts().rdy()));
}

#[test]
fn stuck_bits_stick() {
    let rig = Rig::new(Config::default());
    rig.handle.set_faults(FaultPlan::new(0).stuck(StuckBits { offset: CSTS, ones: 1 << 1, zeroes: 1 }));
    assert_eq!(rig.csts(), Csts::new().with_cfs(true));
    rig.handle.set_faults(FaultPlan::new(0));
    assert_eq!(rig.csts(), Csts::new().with_rdy(true));
}
