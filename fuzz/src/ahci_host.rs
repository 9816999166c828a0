//! The AHCI model under a host that does anything.

use std::time::Duration;

use ahci_spec::registers::{GHC, PX_CI, PX_CLB, PX_CMD, PX_FB, PX_FBS, PX_IE, PX_SACT, PX_SCTL, port};
use model_ahci::{Action, Ahci, CdConfig, Config, DeviceConfig, DiskConfig, FaultPlan, PowerCut, Rule};
use redox_driver_sys::{irq::InterruptKind, mmio::ReadWrite, model::Host};

use crate::input::Input;

/// Memory that the controller reaches.
const PAGES: usize = 24;
const PAGE: usize = 4096;
const MOST_STEPS: usize = 512;
const PORTS: u8 = 3;

/// One run: `data` are register accesses, commands and what happens meanwhile.
pub fn run(data: &[u8]) {
    let input = Input::new(data);
    let disk = || DeviceConfig::Disk(DiskConfig { queued_trim: true, ..DiskConfig::new(5000, "d") });
    let cd = DeviceConfig::Cd(CdConfig { blocks: Some(100), serial: "c".to_string() });
    let multiplier = DeviceConfig::Multiplier(vec![Some(disk()), None, Some(disk())]);
    let devices = vec![Some(disk()), Some(cd), Some(multiplier)];
    let config = Config { devices, fbs: true, device_sleep: true, ports: 7, ..Config::default() };
    let (ahci, handle) = Ahci::new(config);
    let host = Host::new(Box::new(ahci));
    let function = host.function();
    let kinds = [InterruptKind::Msi, InterruptKind::Intx];
    let interrupts = function.interrupts_up_to(1, kinds[input.below(2)]);
    let (Ok(()), Ok(bar), Ok(dma)) = (function.set_bus_master(true), function.map_bar(5), function.dma())
    else {
        return;
    };
    let Ok(memory) = dma.allocate(PAGES * PAGE) else { return };
    let base = memory.addr().get();
    let write = |offset: u64, value: u32| {
        if let Ok(register) = bar.register::<u32, ReadWrite>(offset) {
            register.write(value);
        }
    };
    // Each port's list is a page, and the FISes the next one; tables follow.
    let start = || {
        host.advance(Duration::from_millis(100));
        write(GHC, 1 << 31 | 1 << 1);
        for number in 0..PORTS {
            let at = port(number);
            let list = base + u64::from(number) * 2 * PAGE as u64;
            write(at + PX_CLB, u32::try_from(list).unwrap_or(0));
            write(at + PX_FB, u32::try_from(list).unwrap_or(0) + PAGE as u32);
            write(at + PX_IE, u32::MAX);
            write(at + PX_CMD, 1 << 4 | 1 << 1);
            write(at + PX_CMD, 1 << 4 | 1 << 1 | 1);
        }
    };
    start();
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        let at = port(input.byte() % PORTS);
        match input.byte() % 16 {
            0 => write(u64::from(input.word() % 0x280) & !3, u32::from(input.word()) << (input.byte() % 17)),
            1 => write(at + (u64::from(input.byte()) & 0x7c), u32::from(input.word()) << (input.byte() % 17)),
            2 => {
                let offset = (input.below(0x300) & !3) as u64;
                let _ = bar.register::<u32, ReadWrite>(offset).map(|register| register.read());
            }
            // A command in a slot: header, FIS, one PRD.
            3..=8 => {
                let slot = usize::from(input.byte() % 8);
                let list = ((at - port(0)) / 0x80) as usize * 2 * PAGE;
                let table = 8 * PAGE + slot * 512;
                let flags =
                    5 | u32::from(input.byte() & 0xe0) | u32::from(input.byte() & 0xf) << 12 | 1 << 16;
                drop(memory.write(list + slot * 32, flags));
                drop(memory.write(list + slot * 32 + 8, base + table as u64));
                let mut fis = [0u8; 20];
                fis[0] = 0x27;
                fis[1] = 0x80 | input.byte() & 0x8f;
                fis[2] = [
                    0x60, 0x61, 0x64, 0xec, 0xa1, 0xa0, 0x25, 0x35, 0x06, 0x2f, 0xb0, 0xea, 0xef, 0xe4, 0xe8,
                ][input.below(15)];
                fis[7] = 0x40;
                fis[12] = u8::try_from(slot << 3).unwrap_or(0);
                for _ in 0..input.byte() % 8 {
                    fis[usize::from(input.byte() % 20)] = input.byte();
                }
                drop(memory.write(table, fis));
                for byte in 0..4 {
                    drop(memory.write(table + 0x40 + byte, input.byte()));
                }
                drop(memory.write(table + 0x80, base + 16 * PAGE as u64 + u64::from(input.word())));
                drop(memory.write(table + 0x8c, u32::from(input.word())));
                if input.byte() & 1 != 0 {
                    write(at + PX_SACT, 1 << slot);
                }
                write(at + PX_CI, 1 << slot);
            }
            9 => drop(memory.write(input.below(PAGES * PAGE / 8) * 8, input.long())),
            10 => host.advance(Duration::from_micros(input.word().into())),
            11 => {
                write(at + PX_CMD, 1 << 4);
                host.advance(Duration::from_millis(1));
                write(at + PX_SCTL, 1);
                host.advance(Duration::from_millis(2));
                write(at + PX_SCTL, 0);
                start();
            }
            12 => handle.power_cut(if input.byte() & 1 == 0 { PowerCut::Lost } else { PowerCut::Torn }),
            13 => {
                write(GHC, 1 << 31 | 1);
                host.advance(Duration::from_millis(5));
                start();
            }
            14 => {
                let actions =
                    [Action::Drop, Action::LinkLoss, Action::Duplicate, Action::Garbage, Action::BusError];
                let rule = Rule::new(actions[input.below(5)]).probability(0.2);
                handle.set_faults(FaultPlan::new(input.word().into()).rule(rule));
            }
            _ => {
                write(at + PX_FBS, input.word().into());
                handle.plug(input.byte() % PORTS, (input.byte() & 1 != 0).then(disk));
            }
        }
    }
    host.advance(Duration::from_secs(1));
    drop((interrupts, function));
    assert!(!host.bus_master());
}
