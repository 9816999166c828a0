//! `cargo xtask redox network`: our network drivers under Redox's own network stack.

mod peer;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, ValueEnum};

use self::peer::Peer;
use super::image::{Driver, Recipe, Service};
use super::parts::{Parts, System};
use super::programs::{self, NET_CHECK, Program};
use super::subject::Subject;
use crate::demo::report::{Environment, Section};
use crate::demo::{Expected, Plan, always, finish, judge, ours, print};
use crate::progress::Step;
use crate::rig::run::Outcome;
use crate::rig::{self, Guest, Qemu};

/// What the user asked for.
#[derive(Debug, Args)]
pub(super) struct Request {
    /// Controllers to try; all of them when none is named
    #[arg(value_enum, value_name = "CONTROLLER")]
    controllers: Vec<Controller>,
    /// Try them on upstream's driver instead of ours, leaving out what only ours has
    #[arg(long)]
    upstream: bool,
    #[command(flatten)]
    parts: Parts,
    #[command(flatten)]
    rig: rig::Options,
}

/// A network controller that QEMU has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Controller {
    /// Intel 82540EM: e1000d
    #[value(name = "82540em")]
    I82540Em,
    /// Intel 82574L: e1000d. Upstream has no driver for it
    #[value(name = "82574l")]
    I82574L,
    /// A virtio network device: virtio-netd
    VirtioNet,
}

/// PCI slot of the controller.
const SLOT: u8 = 6;
/// What is moved each way.
const BYTES: u32 = 64 << 20;
/// Capacity of a disk that nobody reads.
const DISK: u64 = 1 << 30;
/// Longest time of a boot with everything that it checks.
const DEADLINE: Duration = Duration::from_secs(600);

const CHECKS: &[Expected] = &[
    ours("the scheme tells address, MTU and link"),
    always("a DHCP lease"),
    always("64 MiB arrive as they were sent"),
    always("64 MiB are sent as they should arrive"),
    ours("the driver has counted them"),
];

impl Controller {
    const ALL: [Controller; 3] = [Controller::I82540Em, Controller::I82574L, Controller::VirtioNet];

    fn plan(self) -> Plan {
        let (name, title) = match self {
            Controller::I82540Em => ("redox-82540em", "82540EM: Redox's network stack on the driver"),
            Controller::I82574L => ("redox-82574l", "82574L: Redox's network stack on the driver"),
            Controller::VirtioNet => ("redox-virtio-net", "virtio: Redox's network stack on the driver"),
        };
        Plan { name, title, script: "", build: |guest| Ok(guest), checks: CHECKS, curves: &[] }
    }

    fn program(self) -> Program {
        let name = match self {
            Controller::I82540Em | Controller::I82574L => "e1000d",
            Controller::VirtioNet => "virtio-netd",
        };
        Program { package: name, name }
    }

    /// QEMU's model, and how our driver calls the kind of device.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Controller::I82540Em => ("e1000", "e1000"),
            Controller::I82574L => ("e1000e", "e1000"),
            Controller::VirtioNet => ("virtio-net-pci", "virtio_net"),
        }
    }

    fn has_upstream(self) -> bool {
        self != Controller::I82574L
    }
}

/// Everything that boots need.
struct Bench<'a> {
    qemu: &'a Qemu,
    system: &'a System,
    net_check: &'a Path,
    target: &'a Path,
    upstream: bool,
}

/// Boots a guest for each controller and writes the report.
///
/// # Errors
/// When something is missing. Failed checks end it with a failure status.
pub(super) fn run(request: &Request, target: &Path) -> Result<ExitCode> {
    let upstream = request.upstream;
    let mut controllers = request.controllers.clone();
    if controllers.is_empty() {
        controllers = Controller::ALL.to_vec();
    }
    controllers.retain(|controller| !upstream || controller.has_upstream());
    let system = request.parts.system()?;
    let mut wanted = vec![NET_CHECK];
    if !upstream {
        wanted.extend(controllers.iter().map(|controller| controller.program()));
    }
    let built = programs::obtain(&request.parts, &request.rig, target, &wanted)?;
    let [net_check, drivers @ ..] = &built[..] else { return Ok(ExitCode::FAILURE) };
    let qemu = rig::emulator(&request.rig, target)?;
    let mut environment = Environment::new(
        "Red Bear drivers under Redox's network stack",
        &qemu,
        request.parts.programs.is_some(),
    );
    environment
        .add("Under test", if upstream { "upstream's driver (a trial of the checks)" } else { "ours" });
    environment.add("Redox's kernel", &system.kernel.display().to_string());
    environment.add("Redox's base", &system.base.display().to_string());
    let bench = Bench { qemu: &qemu, system: &system, net_check, target, upstream };
    let mut sections: Vec<Section> = Vec::new();
    for (index, &controller) in controllers.iter().enumerate() {
        let plan = controller.plan();
        println!("\n{} — guest {}", plan.title, plan.name);
        let started = Instant::now();
        let result = bench.boot(controller, drivers.get(index).map(AsRef::as_ref));
        sections.push(judge(controller.program().name, &plan, upstream, result, started.elapsed()));
    }
    finish(&target.join("redox/network"), &environment, &sections)
}

impl Bench<'_> {
    fn boot(&self, controller: Controller, driver: Option<&Path>) -> Result<Outcome> {
        let mut guest = Guest::from_disk(self.qemu, &rig::runs(self.target), controller.plan().name)?;
        let root = guest.directory().join("root.img");
        let peer = Peer::listen(BYTES)?;
        let (model, kind) = controller.names();
        let step = Step::begin("make the disk");
        let mut arguments: Vec<String> = [
            ("--scheme", format!("network.pci-0000-00-{SLOT:02x}.0_{kind}")),
            // QEMU's user network has the host there.
            ("--peer", format!("10.0.2.2:{}", peer.port())),
            ("--bytes", BYTES.to_string()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
        if self.upstream {
            arguments.push("--upstream".to_owned());
        }
        let recipe = Recipe {
            system: self.system,
            driver: Driver::Upstream,
            arguments: &[],
            later: driver.map(|program| (controller.program(), program)),
            services: vec![Service { program: self.net_check, arguments, daemon: false }],
        };
        recipe.make(&self.target.join("redox"), &root)?;
        step.done("made");
        guest = guest.disk_at("root", &root).null_disk("data", DISK);
        guest = Subject::Nvmed.with_disks(guest, "root", "data").processors(2).deadline(DEADLINE);
        let device = format!("{model},netdev=net,addr={SLOT},romfile=");
        guest.argument("-netdev", "user,id=net").device(&device).run(&mut print)
    }
}
