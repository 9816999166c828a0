//! The daemon's socket, with clients of redox-driver-sys and a modelled unit.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    io::Write,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use amd_vi_spec::{DeviceId, ivrs::Ivrs};
use iommu_protocol::{Device, MOST_BYTES, MapFlags, MapPiece, Request};
use iommud::{
    Error,
    linux::Server,
    service::{Limits, Options, Service, System},
    table::PageSizes,
    unit::{Unclaimed, Unit, UnitFirmware, UnitOptions},
};
use model_amd_vi::{Config, Machine};
use redox_driver_sys::{
    dma::{DmaAllocator, DmaPages},
    iommu::{Client, ClientError},
    packet,
    shared::SharedMemory,
};
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};

const DEVICE: DeviceId = DeviceId(0x20);
const NAME: Device = Device { segment: 0, function: DEVICE.0 };

/// Takes whatever descriptor comes for a page of memory, and for a device.
struct Credulous(DmaAllocator);

impl System for Credulous {
    fn adopt(&self, _: BorrowedFd<'_>, _: u64) -> iommud::Result<DmaPages> {
        self.0.adopt(&SharedMemory::new(4096).unwrap()).map_err(Error::Memory)
    }
    fn allocate(&self, _: u64) -> iommud::Result<(DmaPages, OwnedFd)> {
        Err(Error::Unsupported("allocation"))
    }
    fn check_holder(&self, _: BorrowedFd<'_>, _: Device) -> iommud::Result<()> {
        Ok(())
    }
}

fn service(machine: &Machine) -> Service {
    let firmware = UnitFirmware::units(&Ivrs::parse(&machine.ivrs()).unwrap()).remove(0);
    let (memory, clock) = (machine.memory().allocator(), machine.clock());
    let registers = machine.registers(firmware.base).unwrap();
    let unit = Unit::new(&registers, &memory, &clock, firmware, UnitOptions::default()).unwrap();
    let options = Options { unclaimed: Unclaimed::Block, limits: Limits::default(), sizes: PageSizes::ALL };
    let system = Box::new(Credulous(memory.clone()));
    Service::new(vec![unit], memory, clock, system, options).unwrap()
}

/// A daemon in a thread, until the pipe that is returned is written to.
fn daemon(path: &Path, machine: &Machine) -> (std::io::PipeWriter, JoinHandle<()>) {
    let (stop, stopper) = std::io::pipe().unwrap();
    let server = Server::new(path).unwrap();
    let machine = machine.clone();
    let thread = std::thread::spawn(move || {
        let mut service = service(&machine);
        server.serve(&mut service, stop.as_fd()).unwrap();
        assert_eq!(service.clients(), 0);
    });
    (stopper, thread)
}

/// A client whose device reaches a page: the connection, and the page's address.
fn driver(path: &Path) -> (Client, u64) {
    let null = std::fs::File::open("/dev/null").unwrap();
    let mut client = Client::connect(path).unwrap();
    let domain = client.create_domain().unwrap();
    let memory = client.import(null.as_fd()).unwrap();
    let flags = MapFlags::READ | MapFlags::WRITE;
    let piece = MapPiece { memory: memory.memory, flags, offset: 0, len: memory.len, align: 0, address: 0 };
    let address = client.map(domain, u64::MAX, &[piece]).unwrap()[0].address;
    client.free(memory.memory).unwrap();
    client.assign(domain, NAME, null.as_fd()).unwrap();
    (client, address)
}

fn soon(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !is() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn drivers_come_and_go() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("iommud.sock");
    let machine = Machine::new([Config::default()]);
    let (mut stopper, thread) = daemon(&path, &machine);
    assert!(Server::new(&path).unwrap_err().to_string().contains("another daemon"));
    let writes = |address| machine.dma_write(DEVICE, address, b"data").is_ok();

    let (mut client, address) = driver(&path);
    assert!(writes(address) && !writes(address + 4096));
    soon("an event is told", || !client.events().unwrap().1.is_empty());
    let text = client.inspect().unwrap();
    assert!(text.contains("devices: 00:04.0") && text.contains("IO_PAGE_FAULT: 00:04.0"), "{text}");
    let mut other = Client::connect(&path).unwrap();
    let domain = other.create_domain().unwrap();
    let busy = other.assign(domain, NAME, std::io::stderr().as_fd()).unwrap_err();
    assert!(
        matches!(busy, ClientError::Refused { ref source, .. } if source.raw_os_error() == Some(16)),
        "{busy}"
    );
    drop(client);
    soon("the device of a client that left is blocked", || !writes(address));
    let (client, address) = driver(&path);
    assert!(writes(address));

    stopper.write_all(b"x").unwrap();
    thread.join().unwrap();
    assert!(!path.exists() && !writes(address), "all is blocked at the end");
    drop(client);
    assert_eq!(machine.handle(0).unwrap().take_violations(), []);
}

#[test]
fn whoever_floods_or_babbles_keeps_nobody_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("iommud.sock");
    let machine = Machine::new([Config::default()]);
    let (mut stopper, thread) = daemon(&path, &machine);
    // Sends and does not read, until the socket is full.
    let flooder = Client::connect(&path).unwrap();
    let flags = rustix::fs::fcntl_getfl(&flooder).unwrap();
    rustix::fs::fcntl_setfl(&flooder, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    let request = Request::Query.encode(1);
    let sent = (0..100_000).take_while(|_| packet::send(&flooder, &request, None).is_ok()).count();
    assert!(sent > 0);
    let babbler = Client::connect(&path).unwrap();
    packet::send(&babbler, b"?", None).unwrap();
    let mut answer = vec![0; MOST_BYTES];
    let ended = packet::receive(&babbler, &mut answer);
    assert!(ended.map_or(true, |(len, _)| len == 0));
    let crowd: Vec<Client> = (0..100).filter_map(|_| Client::connect(&path).ok()).collect();
    drop(crowd);
    let (mut client, address) = driver(&path);
    assert!(machine.dma_write(DEVICE, address, b"data").is_ok());
    assert!(client.inspect().unwrap().contains("unit 0"));
    stopper.write_all(b"x").unwrap();
    thread.join().unwrap();
}

#[test]
fn a_server_that_cannot_wait_ends_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("iommud.sock");
    let server = Server::new(&path).unwrap();
    let mut service = service(&Machine::new([Config::default()]));
    // No file of a directory can be waited for.
    let file = tempfile::tempfile().unwrap();
    let error = server.serve(&mut service, file.as_fd()).unwrap_err();
    assert!(matches!(error, iommud::linux::ServerError::Wait(_)), "{error}");
    assert!(!path.exists(), "nobody serves it any more");
}

const CHILD: &str = "IOMMUD_TEST_WITHOUT_DESCRIPTORS";

/// Limits are those of a process: this is run again in one of its own.
#[test]
fn without_descriptors_clients_wait_and_nothing_spins() {
    if std::env::var_os(CHILD).is_some() {
        return without_descriptors();
    }
    let name = "without_descriptors_clients_wait_and_nothing_spins";
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn without_descriptors() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("iommud.sock");
    let (mut stopper, thread) = daemon(&path, &Machine::new([Config::default()]));
    // Kept, so that its descriptor is not free for the next one.
    let mut first = Client::connect(&path).unwrap();
    first.create_domain().unwrap();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..limit }).unwrap();
    let mut taken: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    // For one end of a connection.
    taken.pop();
    let mut client = Client::connect(&path).unwrap();
    let used = || Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap();
    let before = used();
    std::thread::sleep(Duration::from_secs(1));
    assert!(used() - before < Duration::from_millis(100), "{:?} in a second", used() - before);
    drop(taken);
    client.create_domain().unwrap();
    first.create_domain().unwrap();
    stopper.write_all(b"x").unwrap();
    thread.join().unwrap();
}
