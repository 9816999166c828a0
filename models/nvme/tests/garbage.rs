//! Whatever the host does, the model neither panics nor works without end.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use common::{PAGE, Rig};
use model_nvme::{Config, FaultPlan, HostMemoryWishes, Latency, PowerCut};
use nvme_spec::{
    SubmissionEntry,
    registers::{ACQ, ASQ, CC},
};
use proptest::prelude::*;
use redox_driver_sys::irq::InterruptKind;

#[derive(Clone, Debug)]
enum Step {
    Write32(u64, u32),
    Write64(u64, u64),
    Read(u64),
    Doorbell(u16, bool, u32),
    Admin(Command),
    Io(Command),
    Scribble(usize, Vec<u8>),
    Advance(u64),
    Enable,
    Disable,
    Resize(u32, u64),
    PowerCut(bool),
    Faults(u64),
    Reset,
}

#[derive(Clone, Debug)]
struct Command {
    opcode: u8,
    cid: u16,
    psdt: u8,
    nsid: u32,
    pointers: [u64; 3],
    cdw: [u32; 6],
}

/// Small numbers, powers of two and anything.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![0..20u32, (0..32u32).prop_map(|shift| 1 << shift), Just(u32::MAX), any::<u32>()]
}

/// Addresses in the arena (as offsets, made absolute later) and anything.
fn pointer() -> impl Strategy<Value = u64> {
    prop_oneof![8 => (0..16u64 * PAGE / 8).prop_map(|at| at * 8), 8 => (0..16u64).prop_map(|page| page * PAGE), 1 => any::<u64>()]
}

fn commands(opcodes: &'static [u8]) -> impl Strategy<Value = Command> {
    let opcode = prop_oneof![9 => proptest::sample::select(opcodes), 1 => any::<u8>()];
    let nsid = prop_oneof![9 => 0..4u32, 1 => number()];
    let cdw10 = prop_oneof![
        number(),
        (0..16u32, 0..70u32).prop_map(|(low, high)| low | high << 16),
        (0..16u32).prop_map(|low| low | 0x3ff << 16)
    ];
    let cdw11 = prop_oneof![number(), (0..6u32, 0..6u32).prop_map(|(low, high)| low | 1 | high << 16)];
    (
        opcode,
        any::<u16>(),
        prop_oneof![9 => Just(0u8), 3 => 1..4u8],
        nsid,
        [pointer(), pointer(), pointer()],
        cdw10,
        cdw11,
        [number(), number(), number(), number()],
    )
        .prop_map(|(opcode, cid, psdt, nsid, pointers, cdw10, cdw11, [a, b, c, d])| Command {
            opcode,
            cid,
            psdt,
            nsid,
            pointers,
            cdw: [cdw10, cdw11, a, b, c, d],
        })
}

fn step() -> impl Strategy<Value = Step> {
    const ADMIN: &[u8] = &[0, 1, 1, 2, 4, 5, 5, 6, 8, 9, 9, 10, 12];
    const NVM: &[u8] = &[0, 1, 2, 5, 8, 9];
    prop_oneof![
        2 => (0..0x20u64, number()).prop_map(|(at, value)| Step::Write32(at * 4, value)),
        1 => (0..0x10u64, any::<u64>()).prop_map(|(at, value)| Step::Write64(at * 8, value)),
        2 => (0..0x1000u64).prop_map(|at| Step::Read(at * 4)),
        6 => (0..8u16, any::<bool>(), 0..40u32).prop_map(|(queue, head, value)| Step::Doorbell(queue, head, value)),
        1 => (any::<u16>(), any::<bool>(), number()).prop_map(|(queue, head, value)| Step::Doorbell(queue % 512, head, value)),
        12 => commands(ADMIN).prop_map(Step::Admin),
        12 => commands(NVM).prop_map(Step::Io),
        3 => (0..16usize * 4096, proptest::collection::vec(any::<u8>(), 1..64)).prop_map(|(at, bytes)| Step::Scribble(at, bytes)),
        6 => (0..3_000_000u64).prop_map(Step::Advance),
        2 => Just(Step::Enable),
        1 => Just(Step::Disable),
        1 => (0..4u32, prop_oneof![0..100u64, any::<u64>()]).prop_map(|(nsid, blocks)| Step::Resize(nsid, blocks)),
        1 => any::<bool>().prop_map(Step::PowerCut),
        1 => any::<u64>().prop_map(Step::Faults),
        1 => Just(Step::Reset),
    ]
}

fn run(steps: Vec<Step>, kind: Option<InterruptKind>) {
    let config = Config {
        sgl: true,
        queues: 5,
        mqes: 31,
        host_memory: HostMemoryWishes { preferred: 8, minimum: 1, ..HostMemoryWishes::default() },
        latency: Latency { jitter: Duration::from_micros(200), ..Latency::default() },
        ..Config::default()
    };
    let rig = Rig::disabled(config, kind);
    let arena = rig.buffer(16 * 4096);
    let base = arena.addr().get();
    let absolute = |pointer: u64| if pointer < 16 * PAGE { base + pointer } else { pointer };
    rig.register::<u64>(ASQ).write(base);
    rig.register::<u64>(ACQ).write(base + PAGE);
    rig.enable();
    let (mut admin_tail, mut io_tail) = (0u32, 0u32);
    for step in steps {
        match step {
            Step::Write32(offset, value) => rig.write32(offset, value),
            Step::Write64(offset, value) => rig.register::<u64>(offset & !7).write(value),
            Step::Read(offset) => drop(rig.read32(offset)),
            Step::Doorbell(queue, head, value) => rig.doorbell(queue, head, value),
            Step::Admin(command) | Step::Io(command) if command.opcode == 0xff => {
                rig.doorbell(0, false, command.nsid);
            }
            Step::Admin(command) => {
                arena.write(admin_tail as usize * 64, entry(&command, absolute)).unwrap();
                admin_tail = (admin_tail + 1) % 32;
                rig.doorbell(0, false, admin_tail);
            }
            Step::Io(command) => {
                // I/O queues were created on whatever page of the arena: the command is put into several.
                for page in 2..6 {
                    arena.write(page * 4096 + io_tail as usize * 64, entry(&command, absolute)).unwrap();
                }
                io_tail = (io_tail + 1) % 16;
                for queue in 1..5 {
                    rig.doorbell(queue, false, io_tail);
                }
            }
            Step::Scribble(at, bytes) => {
                let len = bytes.len().min(arena.len() - at);
                arena.copy_from(at, &bytes[..len]).unwrap();
            }
            Step::Advance(nanos) => rig.host.advance(Duration::from_nanos(nanos)),
            Step::Enable => rig.write32(CC, Rig::cc().into()),
            Step::Disable => rig.write32(CC, 0),
            Step::Resize(nsid, blocks) => rig.handle.resize(nsid, blocks),
            Step::PowerCut(torn) => rig.handle.power_cut(if torn { PowerCut::Torn } else { PowerCut::Lost }),
            Step::Faults(seed) => rig.handle.set_faults(FaultPlan::random(seed)),
            Step::Reset => {
                rig.function.reset().unwrap();
                rig.function.set_bus_master(true).unwrap();
                rig.register::<u64>(ASQ).write(base);
                rig.register::<u64>(ACQ).write(base + PAGE);
                rig.write32(nvme_spec::registers::AQA, 0x1f_001f);
                (admin_tail, io_tail) = (0, 0);
            }
        }
    }
    // Time passes to the end: a model that had work without end would not return.
    rig.host.advance(Duration::from_secs(1));
}

fn entry(command: &Command, absolute: impl Fn(u64) -> u64) -> SubmissionEntry {
    let [mptr, first, second] = command.pointers.map(absolute);
    let [cdw10, cdw11, cdw12, cdw13, cdw14, cdw15] = command.cdw;
    SubmissionEntry {
        cdw0: nvme_spec::Cdw0::new()
            .with_opcode(command.opcode)
            .with_psdt(command.psdt)
            .with_cid(command.cid),
        nsid: command.nsid,
        cdw2: 0,
        cdw3: 0,
        mptr,
        dptr: [first, second],
        cdw10,
        cdw11,
        cdw12: cdw12 & 0xffff_007f,
        cdw13,
        cdw14,
        cdw15,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_the_host_does_breaks_the_model(
        steps in proptest::collection::vec(step(), 1..200),
        kind in proptest::sample::select(&[None, Some(InterruptKind::MsiX), Some(InterruptKind::Msi), Some(InterruptKind::Intx)][..]),
    ) {
        run(steps, kind);
    }
}
