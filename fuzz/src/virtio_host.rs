//! The virtio model under a driver that does anything.

use std::time::Duration;

use model_virtio::{Action, Blk, BlkConfig, FaultPlan, PowerCut, Rule, TransportConfig, Virtio};
use redox_driver_sys::{irq::InterruptKind, mmio::ReadWrite, model::Host};
use virtio_core::Features;
use virtio_spec::pci::common;

use crate::input::Input;

const PAGES: usize = 16;
const PAGE: usize = 4096;
const SIZE: u16 = 16;
const NOTIFY_AT: u64 = 0x3000;
const MOST_STEPS: usize = 512;

/// One run: `data` are register accesses, what is in memory, and what happens meanwhile.
pub fn run(data: &[u8]) {
    let input = Input::new(data);
    let choice = input.byte();
    let mut features = TransportConfig::FEATURES | Features::NOTIFICATION_DATA;
    features.set(Features::RING_PACKED, choice & 1 != 0);
    features.set(Features::IN_ORDER, choice & 2 != 0);
    let config = TransportConfig { features, queue_size: 64, ..TransportConfig::default() };
    let (device, handle) = Virtio::new(config, Blk::new(BlkConfig::default()));
    let host = Host::new(Box::new(device));
    let function = host.function();
    let kind = if choice & 4 == 0 { InterruptKind::MsiX } else { InterruptKind::Intx };
    let interrupts = function.interrupts_up_to(4, kind);
    let (Ok(()), Ok(bar), Ok(dma)) = (function.set_bus_master(true), function.map_bar(4), function.dma())
    else {
        return;
    };
    let Ok(memory) = dma.allocate(PAGES * PAGE) else { return };
    let base = memory.addr().get();
    let write8 = |offset, value: u8| {
        drop(bar.register::<u8, ReadWrite>(offset).map(|register| register.write(value)));
    };
    let write16 = |offset, value: u16| {
        drop(bar.register::<u16, ReadWrite>(offset).map(|register| register.write(value)));
    };
    let write32 = |offset, value: u32| {
        drop(bar.register::<u32, ReadWrite>(offset).map(|register| register.write(value)));
    };
    #[allow(clippy::cast_possible_truncation, reason = "split into halves")]
    let start = |accepted: u64| {
        write8(common::DEVICE_STATUS, 0);
        host.advance(Duration::from_millis(1));
        write8(common::DEVICE_STATUS, 3);
        write32(common::DRIVER_FEATURE_SELECT, 0);
        write32(common::DRIVER_FEATURE, accepted as u32);
        write32(common::DRIVER_FEATURE_SELECT, 1);
        write32(common::DRIVER_FEATURE, (accepted >> 32) as u32);
        write8(common::DEVICE_STATUS, 11);
        for queue in 0..2u16 {
            write16(common::QUEUE_SELECT, queue);
            write16(common::QUEUE_SIZE, SIZE);
            write16(common::QUEUE_MSIX_VECTOR, queue + 1);
            for (area, offset) in
                (0u64..).zip([common::QUEUE_DESC, common::QUEUE_DRIVER, common::QUEUE_DEVICE])
            {
                let addr = base + (3 * u64::from(queue) + area) * PAGE as u64;
                write32(offset, addr as u32);
                write32(offset + 4, (addr >> 32) as u32);
            }
            write16(common::QUEUE_ENABLE, 1);
        }
        write8(common::DEVICE_STATUS, 15);
    };
    let everything = features.bits() | BlkConfig::FEATURES.bits();
    start(everything);
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        match input.byte() % 16 {
            0 => write8(u64::from(input.byte()) & 0x3f, input.byte()),
            1 => write16(u64::from(input.byte()) & 0x3e, input.word()),
            2 => write32(u64::from(input.byte()) & 0x3c, input.word().into()),
            3 => {
                let offset = (input.below(0x4000) & !3) as u64;
                drop(bar.register::<u32, ReadWrite>(offset).map(|register| register.read()));
            }
            4 => {
                let queue = u16::from(input.byte() % 4);
                write16(NOTIFY_AT + 4 * u64::from(queue), queue);
                write32(NOTIFY_AT + 4 * u64::from(queue), u32::from(queue) | u32::from(input.word()) << 16);
            }
            // Part of a ring. Small addresses lie in the memory.
            5..=8 => {
                let at = input.below(6) * PAGE + usize::from(input.byte()) * 2;
                drop(memory.write(at, input.word()));
            }
            9 | 10 => {
                let at = input.below(2) * 3 * PAGE + usize::from(input.byte() % 16) * 16;
                drop(memory.write(at, base + input.below(PAGES * PAGE) as u64));
                drop(memory.write(at + 8, u32::from(input.word())));
                drop(memory.write(at + 12, input.word()));
                drop(memory.write(at + 14, input.word()));
            }
            11 => host.advance(Duration::from_micros(input.word().into())),
            12 => handle.power_cut(PowerCut::Torn),
            13 => {
                let accepted = if input.byte().is_multiple_of(4) { input.long() } else { everything };
                start(accepted);
            }
            14 => {
                let actions =
                    [Action::Duplicate, Action::Reorder, Action::IndexJump(input.word()), Action::Hang];
                let rule = Rule::new(actions[input.below(actions.len())]).probability(0.5);
                handle.set_faults(FaultPlan::new(input.word().into()).rule(rule));
            }
            _ => handle.resize(input.word().into()),
        }
    }
    host.advance(Duration::from_secs(1));
    drop((interrupts, function));
    assert!(!host.bus_master());
}
