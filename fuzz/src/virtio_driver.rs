//! virtio-blkd on a device that lies.

use std::{sync::atomic::Ordering, time::Duration};

use model_virtio::{
    Action, Blk, BlkConfig, FaultPlan, Handle, Latency, PowerCut, Rule, TransportConfig, Virtio,
};
use redox_driver_sys::{irq::InterruptKind, model::Host};
use virtio_blkd::{BlkController, Options};
use virtio_core::Features;
use virtio_spec::blk::BlkFeatures;

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
    let (transport, config) = config(&script);
    let (virtio, model) = Virtio::new(transport, Blk::new(config));
    let (device, tampered) = Hostile::new(virtio, Input::new(device));
    let host = Host::new(Box::new(device));
    if script.byte() % 4 == 3 {
        model.set_faults(faults(&script));
        tampered.store(true, Ordering::Relaxed);
    }
    let start = host.now();
    let attached = BlkController::attach(host.function(), options(&script));
    assert!(host.now().since(start) < LONGEST_STEP, "attaching took {:?}", host.now().since(start));
    let connected = match attached {
        Ok(controller) => {
            let (dma, clock) = (controller.dma().clone(), controller.clock().clone());
            let disturb = |_: &mut _, script: &Input| disturb(&model, script);
            if script.byte() & 1 == 0 {
                Driven::new(host.clone(), controller, &dma, disturb, tampered.clone()).run(&script)
            } else {
                clients::run(&host, controller, (&dma, &clock), disturb, &script)
            }
        }
        Err(error) => {
            assert!(tampered.load(Ordering::Relaxed), "a proper device was refused: {error:?}");
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

fn config(script: &Input) -> (TransportConfig, BlkConfig) {
    let choice = script.word();
    let bit = |bit: u32| choice & 1 << bit != 0;
    let mut features = TransportConfig::FEATURES;
    features.set(Features::RING_PACKED, bit(0));
    features.set(Features::INDIRECT_DESC, !bit(1));
    features.set(Features::EVENT_IDX, !bit(2));
    features.set(Features::IN_ORDER, bit(3));
    features.set(Features::NOTIFICATION_DATA, bit(4));
    let jitter = if bit(5) { Duration::from_micros(100) } else { Duration::ZERO };
    let transport = TransportConfig {
        features,
        queue_size: if bit(6) { 8 } else { 64 },
        latency: Latency { jitter, ..Latency::default() },
        seed: choice.into(),
        ..TransportConfig::default()
    };
    let mut features = BlkConfig::FEATURES;
    features.set(BlkFeatures::SIZE_MAX, bit(7));
    features.set(BlkFeatures::RO, bit(8));
    features.set(BlkFeatures::FLUSH, !bit(9));
    let queues = (choice >> 10 & 3) + 1;
    let block_size = if bit(12) { 4096 } else { 512 };
    (transport, BlkConfig { features, queues, block_size, ..BlkConfig::default() })
}

fn options(script: &Input) -> Options {
    let choice = script.byte();
    Options {
        queues: u16::from(choice >> 4 & 3) + 1,
        queue_depth: 8,
        polled: choice & 64 != 0,
        interrupts: if choice & 1 == 0 { InterruptKind::MsiX } else { InterruptKind::Intx },
        in_order: choice & 2 != 0,
        write_cache: (choice & 4 != 0).then_some(choice & 8 != 0),
        command_timeout: Duration::from_millis(100),
        ..Options::default()
    }
}

fn faults(script: &Input) -> FaultPlan {
    let actions = [
        Action::Drop,
        Action::Hang,
        Action::CorruptId(script.word().into()),
        Action::BadLength(script.word().into()),
        Action::IndexJump(script.word()),
        Action::Fail(script.byte()),
        Action::NoStatus,
        Action::Duplicate,
        Action::Reorder,
        Action::LoseInterrupt,
        Action::NeedsReset,
        Action::WildWrite(script.long()),
    ];
    let choice = script.word();
    let chosen = actions.into_iter().enumerate().filter(|(bit, _)| choice & 1 << bit != 0);
    chosen.fold(FaultPlan::new(choice.into()), |plan, (_, action)| {
        plan.rule(Rule::new(action).probability(0.05))
    })
}

/// Something happens to the device from outside.
fn disturb(model: &Handle<Blk>, script: &Input) -> Disturbance {
    match script.byte() % 8 {
        0 => model.resize(u64::from(script.word())),
        1 => model.change(|config| config.opt_io_size = script.word().into()),
        other => {
            match other {
                2 => model.change(|config| config.block_size = script.word().into()),
                3 => model.need_reset(),
                4 => model.set_removed(script.byte().is_multiple_of(2)),
                5 => model.power_cut(PowerCut::Torn),
                6 => model.change(|config| config.seg_max = script.byte().into()),
                _ => return Disturbance::Connected(script.byte().is_multiple_of(2)),
            }
            return Disturbance::Improper;
        }
    }
    Disturbance::Proper
}
