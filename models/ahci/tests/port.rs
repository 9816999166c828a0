//! The model by hand: what a port does, and what it does not forgive.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use ahci_spec::{
    AtaCommand, CommandHeader, HeaderFlags, HostToDevice, Identify, PrdtEntry, TABLE_PRDT, device,
    registers::{
        ABAR, GHC, IS, PX_CI, PX_CLB, PX_CMD, PX_FB, PX_IE, PX_IS, PX_SACT, PX_SCTL, PX_SERR, PX_SIG,
        PX_SSTS, PX_TFD, PxIs, PxSsts, SIG_ATA, port,
    },
};
use model_ahci::{Action, Ahci, Commands, Config, DiskConfig, FaultPlan, Handle, Rule, Violation};
use redox_driver_sys::{
    dma::DmaBuffer,
    mmio::{Mmio, ReadWrite},
    model::Host,
    pci::PciFunction,
};

const FRE: u32 = 1 << 4;
const SUD: u32 = 1 << 1;
const ST: u32 = 1;
const LIST: usize = 0;
const FISES: u32 = 4096;
const TABLE: usize = 8192;
const DATA: usize = 16384;

struct Bench {
    host: Host,
    model: Handle,
    bar: Mmio,
    memory: DmaBuffer,
    _function: PciFunction,
}

impl Bench {
    fn new(config: Config) -> Self {
        let (ahci, model) = Ahci::new(config);
        let host = Host::new(Box::new(ahci));
        let function = host.function();
        function.set_bus_master(true).unwrap();
        let bar = function.map_bar(ABAR).unwrap();
        let memory = function.dma().unwrap().allocate(1 << 16).unwrap();
        host.advance(Duration::from_millis(100));
        Bench { host, model, bar, memory, _function: function }
    }

    fn read(&self, offset: u64) -> u32 {
        self.bar.register::<u32, ReadWrite>(offset).unwrap().read()
    }

    fn write(&self, offset: u64, value: u32) {
        self.bar.register::<u32, ReadWrite>(offset).unwrap().write(value);
    }

    fn port(&self, register: u64) -> u32 {
        self.read(port(0) + register)
    }

    fn set_port(&self, register: u64, value: u32) {
        self.write(port(0) + register, value);
    }

    /// Lets port 0 run.
    fn start(&self) {
        let base = u32::try_from(self.memory.addr().get()).unwrap();
        self.set_port(PX_CLB, base);
        self.set_port(PX_FB, base + FISES);
        self.set_port(PX_SERR, u32::MAX);
        self.set_port(PX_CMD, FRE | SUD);
        self.set_port(PX_CMD, FRE | SUD | ST);
    }

    fn command(&self, slot: u32, fis: HostToDevice, bytes: u32) {
        let base = self.memory.addr().get();
        let table = TABLE + slot as usize * 256;
        let header = CommandHeader {
            flags: HeaderFlags::new().with_cfl(5),
            prdtl: 1,
            ctba: base + table as u64,
            ..CommandHeader::default()
        };
        self.memory.write(LIST + slot as usize * 32, header).unwrap();
        self.memory.write(table, fis).unwrap();
        self.memory.write(table + TABLE_PRDT, PrdtEntry::new(base + DATA as u64, bytes)).unwrap();
    }

    fn queued(&self, slot: u32, lba: u64) {
        let fis = HostToDevice {
            device: device::LBA,
            count: u16::try_from(slot << 3).unwrap(),
            ..HostToDevice::command(AtaCommand::READ_FPDMA_QUEUED, 0)
        };
        self.command(slot, fis.with_lba(lba).with_feature(1), 512);
    }
}

#[test]
fn a_disk_says_what_it_is() {
    let bench = Bench::new(Config::default());
    assert_eq!(PxSsts::from(bench.port(PX_SSTS)), PxSsts::new().with_det(3).with_spd(3).with_ipm(1));
    assert_eq!((bench.port(PX_SIG), bench.port(PX_TFD)), (SIG_ATA, 0x0150));
    bench.start();
    bench.command(0, HostToDevice::command(AtaCommand::IDENTIFY_DEVICE, 0), 512);
    bench.set_port(PX_CI, 1);
    assert_eq!(bench.port(PX_CI), 1);
    bench.host.advance(Duration::from_millis(1));
    assert_eq!(bench.port(PX_CI), 0);
    let identify: Identify = bench.memory.read(DATA).unwrap();
    assert!(identify.is_intact() && identify.has_ncq());
    assert_eq!((identify.blocks(), identify.serial().as_str()), (1 << 20, "RB0001"));
    assert_eq!(bench.model.take_violations(), []);
}

#[test]
fn queued_commands_complete_in_sact_and_interrupt() {
    let bench = Bench::new(Config::default());
    bench.write(GHC, 1 << 31 | 1 << 1);
    bench.start();
    bench.set_port(PX_IE, PxIs::new().with_sdbs(true).into());
    for slot in 0..4 {
        bench.queued(slot, u64::from(slot));
    }
    bench.set_port(PX_SACT, 0xf);
    bench.set_port(PX_CI, 0xf);
    assert_eq!((bench.port(PX_CI), bench.port(PX_SACT)), (0, 0xf), "the device took them all");
    bench.host.advance(Duration::from_millis(1));
    assert_eq!((bench.port(PX_SACT), bench.read(IS)), (0, 1));
    // IS stays while the port has something to say.
    bench.write(IS, 1);
    assert_eq!(bench.read(IS), 1);
    bench.set_port(PX_IS, u32::MAX);
    bench.write(IS, 1);
    assert_eq!(bench.read(IS), 0);
    assert_eq!(bench.model.take_violations(), []);
}

#[test]
fn an_error_stops_the_list_until_it_is_started_anew() {
    let bench = Bench::new(Config::default());
    let error = ahci_spec::AtaError::new().with_unc(true);
    bench
        .model
        .set_faults(FaultPlan::new(0).rule(Rule::only(Commands::any().at_lba(1), Action::Fail(error))));
    bench.start();
    for slot in 0..3 {
        bench.queued(slot, u64::from(slot));
    }
    bench.set_port(PX_SACT, 7);
    bench.set_port(PX_CI, 7);
    bench.host.advance(Duration::from_millis(1));
    assert!(PxIs::from(bench.port(PX_IS)).tfes());
    assert_eq!(bench.port(PX_SACT) & 2, 2, "what failed does not complete");
    // Nothing but the log is answered now.
    bench.set_port(PX_CMD, FRE | SUD);
    bench.host.advance(Duration::from_millis(1));
    assert_eq!((bench.port(PX_SACT), bench.port(PX_CMD) & 1 << 15), (0, 0));
    assert_eq!(bench.model.take_violations(), []);
}

#[test]
fn what_is_forbidden_is_noticed() {
    let bench = Bench::new(Config::default());
    bench.set_port(PX_CMD, SUD | ST);
    assert_eq!(bench.model.take_violations(), [Violation::StartedEarly { port: 0 }], "without FRE");
    let bench = Bench::new(Config::default());
    bench.set_port(PX_CI, 1);
    assert_eq!(bench.model.take_violations(), [Violation::IssuedStopped { port: 0 }]);
    bench.start();
    bench.set_port(PX_CLB, 0);
    assert_eq!(bench.model.take_violations(), [Violation::AddressChanged { port: 0 }]);
    bench.set_port(PX_SCTL, 1);
    bench.set_port(PX_SCTL, 0);
    let comreset = Violation::Comreset { port: 0 };
    assert_eq!(bench.model.take_violations(), [comreset, comreset], "while it runs, and too short");
    let bench = Bench::new(Config::default());
    bench.start();
    bench.queued(0, 0);
    bench.set_port(PX_CI, 1);
    assert_eq!(bench.model.take_violations(), [Violation::ActiveMismatch { port: 0, slot: 0 }]);
    let bench = Bench::new(Config { bios: true, ..Config::default() });
    bench.write(GHC, 1 << 31);
    assert_eq!(bench.model.take_violations(), [Violation::BeforeHandoff]);
}

#[test]
fn mixing_queued_and_other_commands_is_noticed() {
    let bench = Bench::new(Config::default());
    bench.start();
    bench.queued(0, 0);
    bench.command(1, HostToDevice::command(AtaCommand::FLUSH_CACHE_EXT, 0), 512);
    bench.set_port(PX_SACT, 1);
    bench.set_port(PX_CI, 3);
    assert!(bench.model.take_violations().contains(&Violation::MixedQueueing { port: 0 }));
}

#[test]
fn a_queue_depth_is_kept() {
    let disk = DiskConfig { queue_depth: 2, ..DiskConfig::new(100, "q") };
    let devices = vec![Some(model_ahci::DeviceConfig::Disk(disk))];
    let bench = Bench::new(Config { devices, ..Config::default() });
    bench.start();
    bench.queued(2, 0);
    bench.set_port(PX_SACT, 4);
    bench.set_port(PX_CI, 4);
    assert_eq!(bench.model.take_violations(), [Violation::QueueDepth { port: 0, tag: 2 }]);
}
