//! The network stack of this machine's kernel, through a TAP interface, with smoltcp at the other end of the wire.
//!
//! In a network name space of its own: this very test again, started by unshare(1).
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    env,
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    os::fd::AsFd,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use driver_network::{
    Engine, Event, MacAddress, NetDevice,
    frontend::tap::{Interface, TapPort},
    testing::{EchoServer, Handle, MailPort, Served, Station, WireDevice, wire},
};
use redox_driver_sys::{event::EventQueue, time::Clock};

const INSIDE: &str = "RB_TAP_TEST";
const NAME: &str = "rbtest0";

#[test]
fn through_the_kernel() {
    if env::var_os(INSIDE).is_some() {
        return inside();
    }
    let unshare = |command: &mut Command| {
        command.args(["--user", "--map-root-user", "--net"]);
        command.output()
    };
    if !unshare(Command::new("unshare").arg("--mount")).is_ok_and(|_| possible()) {
        eprintln!("skipped: no name spaces, or no TAP, for this user");
        return;
    }
    let mut command = Command::new("unshare");
    command.env(INSIDE, "1");
    command.args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c"]);
    // The attributes of the new name space's interfaces.
    command.arg("mount -t sysfs sysfs /sys && exec \"$0\" --exact through_the_kernel --nocapture");
    let output = command.arg(env::current_exe().unwrap()).output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Whether this user can make what the test needs.
fn possible() -> bool {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "ip", "tuntap", "add", NAME, "mode", "tap"]);
    command.output().is_ok_and(|output| output.status.success())
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A daemon's loop, as far as it goes without a device of its own.
struct Daemon {
    engine: Engine<WireDevice, TapPort>,
    interface: Interface,
    clock: Clock,
}

impl Daemon {
    fn new(device: WireDevice) -> (Self, bool) {
        let (interface, taps, existed) = Interface::open(NAME, 1).unwrap();
        let ports = taps.into_iter().map(TapPort::new).collect();
        let clock = Clock::monotonic();
        let dma = device.dma();
        let engine = Engine::start(device, dma, clock.clone(), ports).unwrap();
        (Daemon { engine, interface, clock }, existed)
    }

    /// Serves until `done`, together with the station at the other end.
    fn serve(&mut self, station: &mut EchoServer<Served<WireDevice>>, done: &AtomicBool) {
        let mut events = EventQueue::new(&self.clock).unwrap();
        for port in self.engine.ports_mut() {
            events.add_fd(port.as_fd(), 1 << 20).unwrap();
        }
        let (mut ready, mut happened) = (vec![0], Vec::new());
        let end = Instant::now() + Duration::from_secs(60);
        while !done.load(Ordering::Relaxed) {
            assert!(Instant::now() < end, "nothing comes of it");
            self.engine.turn(&ready, &mut happened).unwrap();
            for event in happened.drain(..) {
                if let Event::Link(link) = event {
                    self.engine.ports_mut()[0].tap().set_carrier(link.is_up()).unwrap();
                }
            }
            station.step();
            ready.clear();
            events.wait(Duration::from_micros(200), &mut ready).unwrap();
            ready.push(0);
        }
    }
}

/// Has `work` done by a client in another thread while the daemon serves.
fn while_serving<T: Send>(
    daemon: &mut Daemon,
    station: &mut EchoServer<Served<WireDevice>>,
    work: impl FnOnce() -> T + Send,
) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let result = work();
            done.store(true, Ordering::Relaxed);
            result
        });
        daemon.serve(station, &done);
        worker.join().unwrap()
    })
}

fn carrier(up: bool) -> bool {
    let path = format!("/sys/class/net/{NAME}/carrier");
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        if std::fs::read_to_string(&path).is_ok_and(|text| text.trim() == if up { "1" } else { "0" }) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// Sends bytes to the echo server and compares what comes back.
fn converse(stream: &mut TcpStream, len: usize) {
    let sent: Vec<u8> = (0..len).map(|at| ((at / 251) ^ at).to_le_bytes()[0]).collect();
    let mut back = vec![0; 32 << 10];
    for part in sent.chunks(back.len()) {
        stream.write_all(part).unwrap();
        let back = &mut back[..part.len()];
        stream.read_exact(back).unwrap();
        assert!(*back == *part, "bytes have changed");
    }
}

fn inside() {
    let [device, other] = wire();
    let (hand, far): (Handle, MacAddress) = (device.handle(), other.settings().address);
    let clock = other.clock();
    let dma = other.dma();
    let far_engine = Engine::start(other, dma, clock, vec![MailPort::default()]).unwrap();
    let mut station = EchoServer::new(Station::new(Served(far_engine), far, 2, 1500));
    let (mut daemon, existed) = Daemon::new(device);
    assert!(!existed);
    daemon.engine.ports_mut()[0].tap().set_address([2, 0, 0, 0, 0, 7]).unwrap();
    daemon.interface.set_mtu(1400).unwrap();
    ip(&format!("address add 10.0.0.1/24 dev {NAME}"));
    ip(&format!("link set {NAME} up"));
    assert!(daemon.interface.take_changes());
    let state = daemon.interface.state().unwrap();
    assert_eq!((state.mtu, state.address), (1400, MacAddress([2, 0, 0, 0, 0, 7])));
    assert!(state.filter.multicast.iter().all(|group| group.is_multicast()) && !state.filter.promiscuous);
    // An interface that is up has joined the group of all stations.
    assert!(state.filter.multicast.contains(&MacAddress([1, 0, 0x5e, 0, 0, 1])), "{state:?}");
    ip(&format!("link set {NAME} promisc on"));
    assert!(daemon.interface.take_changes() && daemon.interface.state().unwrap().filter.promiscuous);

    let address: SocketAddr = "10.0.0.2:7".parse().unwrap();
    let mut stream = while_serving(&mut daemon, &mut station, || {
        assert!(carrier(true));
        let mut stream = TcpStream::connect(address).unwrap();
        converse(&mut stream, 256 << 10);
        stream
    });
    // The link goes and comes; the connection stays.
    while_serving(&mut daemon, &mut station, || {
        hand.set_link(false);
        assert!(carrier(false));
        hand.set_link(true);
        assert!(carrier(true));
        converse(&mut stream, 100_000);
    });
    // The daemon dies, and another one comes: interface, addresses and connection are still there.
    let (_, taps, _) = Interface::open("rbtest1", 1).unwrap();
    let mut change = |tap| drop(std::mem::replace(&mut daemon.engine.ports_mut()[0], TapPort::new(tap)));
    taps.into_iter().for_each(&mut change);
    assert!(carrier(false));
    let (_, taps, existed) = Interface::open(NAME, 1).unwrap();
    assert!(existed);
    taps.into_iter().for_each(&mut change);
    while_serving(&mut daemon, &mut station, || {
        converse(&mut stream, 256 << 10);
        // Nobody answers UDP there, but a frame that is longer than the device takes must do no harm.
        let socket = UdpSocket::bind("10.0.0.1:0").unwrap();
        assert!(socket.send_to(&[0; 1372], address).is_ok());
        converse(&mut stream, 1000);
    });
    assert_eq!(hand.stray_accesses(), 0);
}
