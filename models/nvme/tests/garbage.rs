//! Whatever the host does, the model neither panics nor works without end.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use common::{PAGE, Rig};
use model_nvme::{Config, HostMemoryWishes, Latency, NamespaceConfig, PowerCut, Statistics, random_faults};
use nvme_spec::{
    AdminOpcode, Cdw0, CreateCqCdw11, CreateQueueCdw10, CreateSqCdw11, FeatureCdw10, FeatureId,
    HmbDescriptor, HostMemoryBuffer, SubmissionEntry,
    registers::{ACQ, AQA, ASQ, Aqa, CC},
};
use proptest::prelude::*;
use redox_driver_sys::{dma::DmaBuffer, irq::InterruptKind};

/// Memory that the controller may reach: queues in the first 12 pages, data and lists everywhere.
const PAGES: usize = 64;
/// The first page without a queue.
const DATA_PAGE: u64 = 12;

#[derive(Clone, Debug)]
enum Step {
    Write32(u64, u32),
    Write64(u64, u64),
    Read(u64),
    Doorbell(u16, bool, u32),
    Admin(Command),
    Io(u16, Command),
    Scribble(usize, Vec<u8>),
    Advance(u64),
    Disable,
    Resize(u32, u64),
    PowerCut(bool),
    Faults(u64),
    HostMemory(u32),
    Restart,
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
    let data = DATA_PAGE..PAGES as u64 - 5;
    prop_oneof![
        6 => data.clone().prop_map(|page| page * PAGE),
        2 => (DATA_PAGE * PAGE / 4..data.end * PAGE / 4).prop_map(|at| at * 4),
        1 => (0..PAGES as u64 * PAGE).boxed(),
        1 => any::<u64>(),
    ]
}

fn commands(opcodes: &'static [u8]) -> impl Strategy<Value = Command> {
    let opcode = prop_oneof![9 => proptest::sample::select(opcodes), 1 => any::<u8>()];
    let nsid = prop_oneof![12 => 1..4u32, 1 => number()];
    let cdw10 = prop_oneof![
        number(),
        0..1000u32,
        (0..16u32, 0..70u32).prop_map(|(low, high)| low | high << 16),
        (0..16u32).prop_map(|low| low | 0x3ff << 16)
    ];
    let cdw11 = prop_oneof![3 => Just(0u32), 1 => number(), 1 => (0..6u32, 0..6u32).prop_map(|(low, high)| low | 1 | high << 16)];
    (
        opcode,
        any::<u16>(),
        prop_oneof![9 => Just(0u8), 3 => 1..4u8],
        nsid,
        [pointer(), pointer(), pointer()],
        cdw10,
        cdw11,
        (prop_oneof![9 => 0..32u32, 1 => number()], number(), number(), number()),
    )
        .prop_map(|(opcode, cid, psdt, nsid, pointers, cdw10, cdw11, (a, b, c, d))| Command {
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
        1 => (0..0x20u64, number()).prop_map(|(at, value)| Step::Write32(at * 4, value)),
        1 => (0..0x10u64, any::<u64>()).prop_map(|(at, value)| Step::Write64(at * 8, value)),
        2 => (0..0x1000u64).prop_map(|at| Step::Read(at * 4)),
        1 => (0..8u16, any::<bool>(), 0..40u32).prop_map(|(queue, head, value)| Step::Doorbell(queue, head, value)),
        1 => (any::<u16>(), any::<bool>(), number()).prop_map(|(queue, head, value)| Step::Doorbell(queue % 512, head, value)),
        12 => commands(ADMIN).prop_map(Step::Admin),
        20 => (1..5u16, commands(NVM)).prop_map(|(queue, command)| Step::Io(queue, command)),
        3 => (0..PAGES * 4096, proptest::collection::vec(any::<u8>(), 1..64)).prop_map(|(at, bytes)| Step::Scribble(at, bytes)),
        6 => (0..3_000_000u64).prop_map(Step::Advance),
        1 => Just(Step::Disable),
        1 => (0..4u32, prop_oneof![1 => 0..100u64, 4 => Just(1 << 50), 1 => any::<u64>()]).prop_map(|(nsid, blocks)| Step::Resize(nsid, blocks)),
        1 => any::<bool>().prop_map(Step::PowerCut),
        1 => any::<u64>().prop_map(Step::Faults),
        2 => (0..6u32).prop_map(Step::HostMemory),
        3 => Just(Step::Restart),
    ]
}

const ENTRIES: u32 = 16;

/// The host's view of a queue in the arena: completions in page `2 * id`, commands in the page after it. Wrong after a
/// reset, a power cut or a corrupt doorbell, which is as good as anything.
#[derive(Clone, Copy)]
struct View {
    tail: u32,
    head: u32,
    phase: bool,
}

const FRESH: View = View { tail: 0, head: 0, phase: true };

struct Garbage {
    rig: Rig,
    arena: DmaBuffer,
    views: [View; 6],
}

impl Garbage {
    fn new(kind: Option<InterruptKind>) -> Self {
        let config = Config {
            sgl: true,
            namespaces: vec![
                NamespaceConfig::new(1 << 50, 9),
                NamespaceConfig { metadata: 8, ..NamespaceConfig::new(1 << 50, 12) },
                NamespaceConfig { metadata: 8, extended: true, ..NamespaceConfig::new(1 << 50, 9) },
            ],
            queues: 5,
            mqes: 31,
            host_memory: HostMemoryWishes { preferred: 8, minimum: 1, ..HostMemoryWishes::default() },
            latency: Latency { jitter: Duration::from_micros(200), ..Latency::default() },
            ..Config::default()
        };
        let rig = Rig::disabled(config, kind);
        let arena = rig.buffer(PAGES * 4096);
        let mut garbage = Garbage { rig, arena, views: [FRESH; 6] };
        garbage.enable();
        garbage
    }

    /// Sets up the admin queue, and I/O queues 1 to 4 as well as the controller lets it.
    fn enable(&mut self) {
        self.views = [FRESH; 6];
        self.arena.fill(0, 12 * 4096, 0).unwrap();
        let attributes = Aqa::new().with_asqs(15).with_acqs(15);
        self.rig.write32(AQA, attributes.into());
        self.rig.register::<u64>(ACQ).write(self.page(0));
        self.rig.register::<u64>(ASQ).write(self.page(1));
        self.rig.write32(CC, Rig::cc().into());
        self.rig.host.advance(Duration::from_millis(3));
        for id in 1..5 {
            let create = |opcode: AdminOpcode, page, cdw11| SubmissionEntry {
                cdw10: CreateQueueCdw10::new().with_qid(id).with_qsize(15).into(),
                cdw11,
                dptr: [self.page(page), 0],
                ..common::command(opcode.0, 0, None)
            };
            let cq = CreateCqCdw11::new().with_pc(true).with_ien(true).into();
            let sq = CreateSqCdw11::new().with_pc(true).with_cqid(id).into();
            let cq = create(AdminOpcode::CREATE_IO_CQ, 2 * usize::from(id), cq);
            let sq = create(AdminOpcode::CREATE_IO_SQ, 2 * usize::from(id) + 1, sq);
            for entry in [cq, sq] {
                self.submit(0, entry);
                self.rig.host.advance(Duration::from_millis(1));
                self.reap();
            }
        }
    }

    fn page(&self, page: usize) -> u64 {
        self.arena.addr().get() + page as u64 * PAGE
    }

    fn submit(&mut self, id: u16, entry: SubmissionEntry) {
        let view = &mut self.views[usize::from(id)];
        self.arena.write((2 * usize::from(id) + 1) * 4096 + view.tail as usize * 64, entry).unwrap();
        view.tail = (view.tail + 1) % ENTRIES;
        self.rig.doorbell(id, false, view.tail);
    }

    fn reap(&mut self) {
        for (id, view) in (0u16..).zip(&mut self.views) {
            let before = view.head;
            for _ in 0..ENTRIES {
                let at = usize::from(id) * 2 * 4096 + view.head as usize * 16;
                if (self.arena.read::<u16>(at + 14).unwrap() & 1 != 0) != view.phase {
                    break;
                }
                view.head = (view.head + 1) % ENTRIES;
                view.phase ^= view.head == 0;
            }
            if view.head != before {
                self.rig.doorbell(id, true, view.head);
            }
        }
    }

    fn entry(&self, command: &Command) -> SubmissionEntry {
        let base = self.page(0);
        let absolute = |pointer: u64| if pointer < PAGES as u64 * PAGE { base + pointer } else { pointer };
        let [mptr, first, second] = command.pointers.map(absolute);
        let [cdw10, cdw11, cdw12, cdw13, cdw14, cdw15] = command.cdw;
        SubmissionEntry {
            cdw0: Cdw0::new().with_opcode(command.opcode).with_psdt(command.psdt).with_cid(command.cid),
            nsid: command.nsid,
            cdw2: 0,
            cdw3: 0,
            mptr,
            dptr: [first, second],
            cdw10,
            cdw11,
            cdw12,
            cdw13,
            cdw14,
            cdw15,
        }
    }

    fn step(&mut self, step: Step) {
        let rig = &self.rig;
        match step {
            Step::Write32(offset, value) => rig.write32(offset, value),
            Step::Write64(offset, value) => rig.register::<u64>(offset & !7).write(value),
            Step::Read(offset) => drop(rig.read32(offset)),
            Step::Doorbell(queue, head, value) => rig.doorbell(queue, head, value),
            Step::Admin(command) => self.submit(0, self.entry(&command)),
            Step::Io(queue, command) => self.submit(queue, self.entry(&command)),
            Step::Scribble(at, bytes) => {
                let len = bytes.len().min(self.arena.len() - at);
                self.arena.copy_from(at, &bytes[..len]).unwrap();
            }
            Step::Advance(nanos) => {
                rig.host.advance(Duration::from_nanos(nanos));
                self.reap();
            }
            Step::Restart => {
                rig.function.reset().unwrap();
                rig.function.set_bus_master(true).unwrap();
                self.enable();
            }
            // The last pages, through a list in the page before them.
            Step::HostMemory(count) => {
                let list = PAGES - 5;
                for page in 0..4 {
                    let descriptor =
                        HmbDescriptor { address: self.page(list + 1 + page), pages: 1, reserved: 0 };
                    self.arena.write(list * 4096 + page * 16, descriptor).unwrap();
                }
                let entry = SubmissionEntry {
                    cdw10: FeatureCdw10::new().with_fid(FeatureId::HOST_MEMORY_BUFFER.0).into(),
                    cdw11: HostMemoryBuffer::new().with_enable(count != 0).into(),
                    cdw12: count,
                    cdw13: u32::try_from(self.page(list)).unwrap(),
                    cdw15: count,
                    ..common::command(AdminOpcode::SET_FEATURES.0, 0, None)
                };
                self.submit(0, entry);
            }
            Step::Disable => rig.write32(CC, 0),
            Step::Resize(nsid, blocks) => rig.handle.resize(nsid, blocks),
            Step::PowerCut(torn) => rig.handle.power_cut(if torn { PowerCut::Torn } else { PowerCut::Lost }),
            Step::Faults(seed) => rig.handle.set_faults(random_faults(seed)),
        }
    }
}

fn run(steps: Vec<Step>, kind: Option<InterruptKind>) -> (Statistics, usize) {
    let mut garbage = Garbage::new(kind);
    for step in steps {
        garbage.step(step);
    }
    // Time passes to the end: a model that had work without end would not return.
    garbage.rig.host.advance(Duration::from_secs(1));
    (garbage.rig.handle.statistics(), garbage.rig.host.take_faults().len())
}

const KINDS: [Option<InterruptKind>; 4] =
    [None, Some(InterruptKind::MsiX), Some(InterruptKind::Msi), Some(InterruptKind::Intx)];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_the_host_does_breaks_the_model(
        steps in proptest::collection::vec(step(), 1..300),
        kind in proptest::sample::select(&KINDS[..]),
    ) {
        run(steps, kind);
    }
}

/// The garbage is not all refused at the door.
#[test]
fn garbage_gets_to_the_medium() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let steps = proptest::collection::vec(step(), 300);
    let (mut read, mut written, mut host_memory, mut faults, mut errors) = (0, 0, 0, 0, 0);
    for _ in 0..50 {
        let steps = steps.new_tree(&mut runner).unwrap().current();
        let (counted, strays) = run(steps, KINDS[1]);
        read += counted.bytes_read;
        written += counted.bytes_written;
        host_memory += counted.host_memory_checks;
        errors += counted.errors;
        faults += strays;
    }
    assert!(read > 20_000 && written > 20_000, "{read} bytes read, {written} written");
    assert!(host_memory > 50 && faults > 20 && errors > 500, "{host_memory} {faults} {errors}");
}
