//! ahcid on a controller that lies.

use std::{sync::atomic::Ordering, time::Duration};

use ahci_spec::AtaError;
use ahcid::{AhciController, Coalescing, LinkPower, Options};
use model_ahci::{
    Action, Ahci, CdConfig, Config, DeviceConfig, DiskConfig, FaultPlan, Handle, Place, PowerCut, Rule,
};
use redox_driver_sys::{irq::InterruptKind, model::Host};

use crate::{
    clients,
    driver::{Disturbance, Driven, LONGEST_STEP},
    hostile::Hostile,
    input::Input,
};

/// One run: the first half of `data` says how the device lies, the second what the driver is asked to do.
pub fn run(data: &[u8]) {
    let (device, script) = data.split_at(data.len() / 2);
    let script = Input::new(script);
    let (ahci, model) = Ahci::new(config(&script));
    let (device, tampered) = Hostile::new(ahci, Input::new(device));
    let host = Host::new(Box::new(device));
    if script.byte() % 4 == 3 {
        model.set_faults(plan(&script));
        tampered.store(true, Ordering::Relaxed);
    }
    let start = host.now();
    let attached = AhciController::attach(host.function(), options(&script));
    assert!(host.now().since(start) < LONGEST_STEP, "attaching took {:?}", host.now().since(start));
    let connected = match attached {
        Ok(controller) => {
            let (dma, clock) = (controller.dma().clone(), controller.clock().clone());
            let disturb = |controller: &mut _, script: &Input| disturb(&model, controller, script);
            if script.byte() & 1 == 0 {
                Driven::new(host.clone(), controller, &dma, disturb, tampered.clone()).run(&script)
            } else {
                clients::run(&host, controller, (&dma, &clock), disturb, &script)
            }
        }
        Err(error) => {
            assert!(tampered.load(Ordering::Relaxed), "a proper controller was refused: {error:?}");
            true
        }
    };
    assert_eq!(host.mapped_bytes(), 0, "memory stays mapped");
    assert!(!connected || !host.bus_master(), "bus mastering stays on");
    if !tampered.load(Ordering::Relaxed) {
        assert_eq!(model.take_violations(), []);
        assert_eq!(host.take_faults(), []);
    }
}

fn config(script: &Input) -> Config {
    let choice = script.byte();
    let disk = |blocks, serial| DeviceConfig::Disk(DiskConfig::new(blocks, serial));
    let cd = DeviceConfig::Cd(CdConfig { blocks: Some(500), serial: "CD".to_string() });
    let mut devices = vec![Some(disk(1 << 16, "a")), None, Some(cd)];
    devices.push(Some(DeviceConfig::Disk(DiskConfig::old(1 << 10, "old"))));
    if choice & 1 != 0 {
        devices.push(Some(DeviceConfig::Multiplier(vec![
            Some(disk(1 << 10, "m0")),
            None,
            Some(disk(1 << 11, "m2")),
        ])));
    }
    Config {
        fbs: choice & 2 != 0,
        staggered: choice & 4 != 0,
        bios: choice & 8 != 0,
        device_sleep: choice & 16 != 0,
        slots: if choice & 32 != 0 { 32 } else { 4 },
        devices,
        seed: choice.into(),
        ..Config::default()
    }
}

/// Each kind of fault, now and then.
fn plan(script: &Input) -> FaultPlan {
    let actions = [
        Action::Drop,
        Action::Hang,
        Action::Fail(AtaError::from(script.byte())),
        Action::DeviceFault,
        Action::Duplicate,
        Action::Garbage,
        Action::GarbageLog,
        Action::ClearOthers(script.word().into()),
        Action::LoseInterrupt,
        Action::SpuriousInterrupt,
        Action::LinkError,
        Action::BusError,
        Action::LinkLoss,
        Action::Unplug,
        Action::WildWrite(script.long()),
    ];
    let chosen = script.word();
    let rules = (0..).zip(actions).filter(|(bit, _)| chosen & 1 << bit != 0);
    rules.fold(FaultPlan::new(script.long()), |plan, (_, action)| {
        plan.rule(Rule::new(action).probability(0.05))
    })
}

fn options(script: &Input) -> Options {
    let choice = script.byte();
    Options {
        queue_depth: choice % 32 + 1,
        ncq: choice & 32 == 0,
        polled: choice & 64 != 0,
        interrupts: if choice & 128 != 0 { InterruptKind::Intx } else { InterruptKind::Msi },
        command_timeout: Duration::from_millis(100),
        settle: Duration::from_millis(u64::from(script.byte()) * 4),
        link_power: [
            LinkPower::MaxPerformance,
            LinkPower::MediumPower,
            LinkPower::MinPower,
            LinkPower::DeviceSleep,
        ][script.below(4)],
        coalescing: (script.byte() & 1 != 0).then_some(Coalescing { completions: 3, delay_ms: 1 }),
        standby: script.byte() & 1 != 0,
    }
}

/// Something happens to the controller from outside.
fn disturb(model: &Handle, controller: &mut AhciController, script: &Input) -> Disturbance {
    let disk = |blocks: u64| DeviceConfig::Disk(DiskConfig::new(blocks, "plugged"));
    match script.byte() % 8 {
        0 => model.plug(script.byte() % 6, Some(disk(script.word().into()))),
        1 => model.plug(script.byte() % 6, None),
        2 => model.plug(Place { port: 4, pm_port: script.byte() % 4 }, Some(disk(1000))),
        3 => model.insert(2, script.byte().is_multiple_of(2).then(|| script.word().into())),
        4 => controller.set_link_power(LinkPower::MinPower),
        5 => controller.set_link_power(LinkPower::MaxPerformance),
        6 => {
            model.power_cut(PowerCut::Torn);
            return Disturbance::Improper;
        }
        _ => return Disturbance::Connected(script.byte().is_multiple_of(2)),
    }
    Disturbance::Proper
}
