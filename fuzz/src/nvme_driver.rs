//! nvmed on a controller that lies.

use std::{sync::atomic::Ordering, time::Duration};

use model_nvme::{Config, Handle, HostMemoryWishes, Latency, NamespaceConfig, Nvme, PowerCut, random_faults};
use nvmed::{NvmeController, Options};
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
    let config = config(&script);
    let (nvme, model) = Nvme::new(config);
    let (device, tampered) = Hostile::new(nvme, Input::new(device));
    let host = Host::new(Box::new(device));
    if script.byte() % 4 == 3 {
        model.set_faults(random_faults(script.long()));
        tampered.store(true, Ordering::Relaxed);
    }
    let start = host.now();
    let attached = NvmeController::attach(host.function(), options(&script));
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
    let namespaces = vec![
        NamespaceConfig::new(1 << 16, 9),
        NamespaceConfig::new(1 << 10, 12),
        NamespaceConfig { metadata: 8, ..NamespaceConfig::new(1 << 10, 9) },
    ];
    let host_memory = if choice & 1 != 0 {
        HostMemoryWishes { preferred: 64, minimum: 8, descriptor_minimum: 2, descriptors: 4 }
    } else {
        HostMemoryWishes::default()
    };
    let jitter = if choice & 2 != 0 { Duration::from_micros(100) } else { Duration::ZERO };
    Config {
        sgl: choice & 4 != 0,
        write_cache: choice & 8 == 0,
        apst: choice & 16 == 0,
        queues: u16::from(choice >> 5) + 1,
        host_memory,
        namespaces,
        latency: Latency { jitter, ..Latency::default() },
        seed: choice.into(),
        ..Config::default()
    }
}

fn options(script: &Input) -> Options {
    let choice = script.byte();
    let interrupts = match choice % 3 {
        0 => InterruptKind::MsiX,
        1 => InterruptKind::Msi,
        _ => InterruptKind::Intx,
    };
    Options {
        queues: u16::from(choice >> 4 & 3) + 1,
        queue_depth: 8,
        polled: choice & 64 != 0,
        interrupts,
        admin_timeout: Duration::from_millis(100),
        command_timeout: Duration::from_millis(100),
        ..Options::default()
    }
}

/// Something happens to the controller from outside.
fn disturb(model: &Handle, script: &Input) -> Disturbance {
    match script.byte() % 8 {
        0 => model.resize(1, u64::from(script.word())),
        1 => model.remove_namespace(2),
        2 => model.add_namespace(5, NamespaceConfig::new(script.long(), script.byte() % 16)),
        3 => model.set_temperature(script.word()),
        other => {
            match other {
                4 => model.fail(),
                5 => model.set_removed(script.byte().is_multiple_of(2)),
                6 => model.power_cut(PowerCut::Torn),
                _ => return Disturbance::Connected(script.byte().is_multiple_of(2)),
            }
            return Disturbance::Improper;
        }
    }
    Disturbance::Proper
}
