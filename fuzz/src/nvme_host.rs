//! The NVMe model under a host that does anything.

use std::time::Duration;

use model_nvme::{Config, HostMemoryWishes, Nvme, PowerCut, random_faults};
use nvme_spec::registers::{ACQ, AQA, ASQ, CC, Cc};
use redox_driver_sys::{irq::InterruptKind, mmio::ReadWrite, model::Host};

use crate::input::Input;

/// Memory that the controller reaches.
const PAGES: usize = 24;
const PAGE: usize = 4096;
const MOST_STEPS: usize = 512;

/// One run: `data` are register accesses, commands and what happens meanwhile.
pub fn run(data: &[u8]) {
    let input = Input::new(data);
    let host_memory = HostMemoryWishes { preferred: 8, minimum: 1, ..HostMemoryWishes::default() };
    let config = Config { sgl: true, queues: 3, mqes: 31, host_memory, ..Config::default() };
    let (nvme, handle) = Nvme::new(config);
    let host = Host::new(Box::new(nvme));
    let function = host.function();
    let kinds = [InterruptKind::MsiX, InterruptKind::Msi, InterruptKind::Intx];
    let interrupts = function.interrupts_up_to(4, kinds[input.below(3)]);
    let (Ok(()), Ok(bar), Ok(dma)) = (function.set_bus_master(true), function.map_bar(0), function.dma())
    else {
        return;
    };
    let Ok(memory) = dma.allocate(PAGES * PAGE) else { return };
    let base = memory.addr().get();
    let write32 = |offset: u64, value: u32| {
        if let Ok(register) = bar.register::<u32, ReadWrite>(offset) {
            register.write(value);
        }
    };
    let write64 = |offset: u64, value: u64| {
        if let Ok(register) = bar.register::<u64, ReadWrite>(offset) {
            register.write(value);
        }
    };
    let enable = || {
        write32(AQA, 0x001f_001f);
        write64(ASQ, base);
        write64(ACQ, base + PAGE as u64);
        write32(CC, Cc::new().with_en(true).with_iosqes(6).with_iocqes(4).into());
        host.advance(Duration::from_millis(3));
    };
    enable();
    let mut tails = [0u32; 4];
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        match input.byte() % 16 {
            0 => write32(u64::from(input.byte()) & !3, u32::from(input.word())),
            1 => write64(u64::from(input.byte()) & !7, input.long()),
            2 => {
                let offset = (input.below(0x4000) & !3) as u64;
                drop(bar.register::<u32, ReadWrite>(offset).map(|register| register.read()));
            }
            3 => write32(0x1000 + u64::from(input.byte() & 7) * 4, input.byte().into()),
            // A command: mostly zero, with some of its bytes set. Small addresses lie in the memory.
            4..=9 => {
                let queue = input.below(tails.len());
                let mut entry = [0u8; 64];
                entry[0] = input.byte();
                entry[2] = input.byte();
                entry[4] = 1;
                for _ in 0..input.byte() % 12 {
                    entry[usize::from(input.byte() % 64)] = input.byte();
                }
                for at in [16, 24, 32] {
                    let mut pointer = [0; 8];
                    pointer.copy_from_slice(&entry[at..at + 8]);
                    let pointer = u64::from_le_bytes(pointer);
                    if pointer < (PAGES * PAGE) as u64 {
                        entry[at..at + 8].copy_from_slice(&(base + pointer).to_le_bytes());
                    }
                }
                let at = queue * 2 * PAGE + tails[queue] as usize * 64;
                drop(memory.copy_from(at, &entry));
                tails[queue] = (tails[queue] + 1) % 32;
                write32(0x1000 + queue as u64 * 8, tails[queue]);
            }
            10 => {
                let at = input.below(PAGES * PAGE / 8) * 8;
                drop(memory.write(at, input.long()));
            }
            11 => host.advance(Duration::from_micros(input.word().into())),
            12 => {
                handle.power_cut(if input.byte().is_multiple_of(2) {
                    PowerCut::Lost
                } else {
                    PowerCut::Torn
                });
                tails = [0; 4];
                enable();
            }
            13 => {
                write32(CC, 0);
                host.advance(Duration::from_millis(3));
                tails = [0; 4];
                enable();
            }
            14 => handle.set_faults(random_faults(input.word().into())),
            _ => handle.resize(1, input.word().into()),
        }
    }
    host.advance(Duration::from_secs(1));
    drop((interrupts, function));
    assert!(!host.bus_master());
}
