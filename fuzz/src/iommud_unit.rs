//! iommud's driver of a unit that lies.

use std::{sync::atomic::Ordering, time::Duration};

use amd_vi_spec::{DeviceId, DomainId, ivrs::Ivrs};
use iommud::unit::{InterruptTarget, Interrupts, Target, Unit, UnitFirmware, UnitOptions};
use model_amd_vi::{Config, Machine, Tables};

use crate::{Hostile, Input};

const MOST_STEPS: usize = 200;
/// A step waits at most for a batch and for a unit that is stopped, started and made to forget everything: each once, and some
/// waits for room in the ring.
const LONGEST_STEP: Duration = Duration::from_millis(120);
const TIMEOUT: Duration = Duration::from_millis(10);
const PAGES: u64 = 8;
const DEVICE: DeviceId = DeviceId(0x20);
const DOMAIN: DomainId = DomainId(3);

/// One run: the first half of `data` is what is asked of the driver, the second how the unit lies.
pub fn run(data: &[u8]) {
    let (script, lies) = data.split_at(data.len() / 2);
    let (script, lies) = (Input::new(script), Input::new(lies));
    let mut tampered = None;
    let config = Config { not_present_cached: script.byte() % 2 == 1, ..Config::default() };
    let base = config.base;
    let machine = Machine::with([config], |unit| {
        let (hostile, flag) = Hostile::new(unit, lies.clone());
        tampered = Some(flag);
        Box::new(hostile)
    });
    let (Some(tampered), Some(registers), Some(host), Some(model)) =
        (tampered, machine.registers(base), machine.host(0), machine.handle(0))
    else {
        return;
    };
    let Ok(ivrs) = Ivrs::parse(&machine.ivrs()) else { return };
    let memory = machine.memory().allocator();
    let Some(firmware) = UnitFirmware::units(&ivrs).pop() else { return };
    let options =
        UnitOptions { command_entries: 8, event_entries: 8, timeout: TIMEOUT, ..UnitOptions::default() };
    let Ok(mut unit) = Unit::new(&registers, &memory, &host.clock(), firmware, options) else { return };
    // Without INVALIDATE_IOMMU_ALL there are 196,608 commands in its place: too slow for a fuzzer.
    if !unit.capabilities().features.ia_sup() {
        return;
    }
    let (Ok(mut tables), Ok(page)) = (Tables::new(&memory, 3), memory.allocate(4096)) else { return };
    let enabled = unit.enable().is_ok();
    let _ = unit.set_device(DEVICE, Target::Domain { id: DOMAIN, root: tables.root(), levels: 3 });
    let mut mapped = [false; PAGES as usize];
    let mut synced = unit.sync().is_ok();
    let mut passes = false;
    for _ in 0..MOST_STEPS {
        if script.is_empty() {
            break;
        }
        let before = host.now();
        let at = u64::from(script.byte()) % PAGES;
        let index = u16::from(script.byte());
        match script.byte() % 16 {
            0..=5 => {
                let mapped = &mut mapped[at as usize];
                *mapped = !*mapped;
                let changed =
                    if *mapped { tables.map(at << 12, &page).map(drop) } else { tables.unmap(at << 12) };
                assert!(changed.is_ok());
                unit.invalidate(DOMAIN, at << 12, 4096, index % 2 == 1);
                synced = false;
            }
            6..=8 => synced = unit.sync().is_ok(),
            9 => drop(unit.drain_events(|event| assert!(!event.to_string().is_empty()))),
            10 => {
                let target = InterruptTarget {
                    destination: index.into(),
                    logical: at % 2 == 1,
                    vector: script.byte(),
                    arbitrated: false,
                };
                let _ = unit.map_interrupt(DEVICE, index, target);
            }
            11 => drop(unit.unmap_interrupt(DEVICE, index)),
            12 => drop(
                unit.set_interrupts(DEVICE, if at % 2 == 1 { Interrupts::Block } else { Interrupts::Pass }),
            ),
            13 => {
                let target = if at % 2 == 1 { Target::Pass } else { Target::Blocked };
                passes |= index == DEVICE.0 && target == Target::Pass;
                drop(unit.set_device(DeviceId(index), target));
                synced = false;
            }
            14 => {
                let _ = unit.suspend();
                if at % 2 == 1 {
                    model.power_cycle();
                }
                synced = unit.resume().is_ok();
            }
            _ => {
                let _ = machine.dma_write(DeviceId(index), at << 12, &[1]);
            }
        }
        assert!(host.now().since(before) < LONGEST_STEP, "a step took {:?}", host.now().since(before));
        if !tampered.load(Ordering::Relaxed) {
            assert!(enabled && unit.is_working());
            assert_eq!(model.take_violations(), []);
            for at in (0..PAGES).filter(|_| synced && !passes) {
                let reached = machine.dma_write(DEVICE, at << 12, &[1]).is_ok();
                assert!(!reached || mapped[at as usize], "page {at} is reached");
            }
        }
    }
    // A unit that tells the truth again can be had back, and then knows what it must.
    while !lies.is_empty() {
        lies.byte();
    }
    assert!(unit.resume().is_ok());
    for at in 0..PAGES {
        let reached = machine.dma_write(DEVICE, at << 12, &[1]).is_ok();
        assert!(!reached || mapped[at as usize] || passes, "page {at} is reached");
    }
    // A unit that is enabled keeps its memory for ever.
    assert!(unit.disable().is_ok());
}
