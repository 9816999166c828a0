//! A network stack (smoltcp) in this process, on top of a device.

use std::{
    cell::{RefCell, RefMut},
    rc::Rc,
};

use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet},
    phy::{ChecksumCapabilities, Device, DeviceCapabilities, FaultInjector, Medium, RxToken, TxToken},
    socket::{icmp, tcp},
    time::{Duration, Instant},
    wire::{EthernetAddress, Icmpv4Packet, Icmpv4Repr, IpAddress, IpCidr, Ipv4Address},
};

use super::MailPort;
use crate::{address::MacAddress, device::NetDevice, engine::Engine, packet::TxOffload};

/// Time that passes between two looks at everything.
const STEP: Duration = Duration::from_micros(500);
/// The most that any of the conversations here may take.
const PATIENCE: Duration = Duration::from_secs(120);
const PORT: u16 = 7;
/// Bytes of a conversation that have not come back yet.
const ON_THE_WAY: usize = 48 << 10;

/// What the stack stands on.
pub trait Nic {
    /// Lets the device and its driver do what there is to do.
    fn run(&mut self);
    /// Takes a frame to be sent.
    fn send(&mut self, frame: Vec<u8>);
    /// A frame that was received.
    fn receive(&mut self) -> Option<Vec<u8>>;
}

/// A driver's device, served by the framework.
pub struct Served<D: NetDevice>(pub Engine<D, MailPort>);

impl<D: NetDevice> Nic for Served<D> {
    fn run(&mut self) {
        let mut events = Vec::new();
        // A test has no interrupts to wait for: it looks as if each had come.
        let all: Vec<u64> = (0..u64::from(self.0.device().capabilities().queues)).collect();
        for _ in 0..4 {
            self.0.turn(&all, &mut events).expect("the device is well");
        }
    }

    fn send(&mut self, frame: Vec<u8>) {
        if let Some(port) = self.0.ports_mut().first_mut() {
            port.outbox.push_back((frame, TxOffload::default()));
        }
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        let (frame, _) = self.0.ports_mut().first_mut()?.inbox.pop_front()?;
        Some(frame)
    }
}

/// What smoltcp calls a device.
struct Adapter<N> {
    nic: Rc<RefCell<N>>,
    mtu: usize,
}

struct Incoming(Vec<u8>);
struct Outgoing<N>(Rc<RefCell<N>>);

impl RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, work: F) -> R {
        work(&self.0)
    }
}

impl<N: Nic> TxToken for Outgoing<N> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, work: F) -> R {
        let mut frame = vec![0; len];
        let result = work(&mut frame);
        self.0.borrow_mut().send(frame);
        result
    }
}

impl<N: Nic> Device for Adapter<N> {
    type RxToken<'a>
        = Incoming
    where
        N: 'a;
    type TxToken<'a>
        = Outgoing<N>
    where
        N: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Incoming, Outgoing<N>)> {
        let frame = self.nic.borrow_mut().receive()?;
        Some((Incoming(frame), Outgoing(self.nic.clone())))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outgoing<N>> {
        Some(Outgoing(self.nic.clone()))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu + 14;
        capabilities.checksum = ChecksumCapabilities::default();
        capabilities
    }
}

/// The way between stack and device.
enum Path<N: Nic> {
    Clean(Adapter<N>),
    Faulty(Box<FaultInjector<Adapter<N>>>),
}

/// A station: a device with a network stack on it. Its address is 10.0.0.`number`.
pub struct Station<N: Nic> {
    interface: Interface,
    nic: Rc<RefCell<N>>,
    device: Path<N>,
    sockets: SocketSet<'static>,
    number: u8,
    mtu: usize,
}

impl<N: Nic> Station<N> {
    /// The station with this hardware address.
    pub fn new(nic: N, address: MacAddress, number: u8, mtu: u16) -> Self {
        let mtu = usize::from(mtu);
        let nic = Rc::new(RefCell::new(nic));
        let mut device = Adapter { nic: nic.clone(), mtu };
        let config = Config::new(EthernetAddress(address.0).into());
        let mut interface = Interface::new(config, &mut device, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(ip(number), 24)).expect("there is room for an address");
        });
        Station { interface, nic, device: Path::Clean(device), sockets: SocketSet::new(vec![]), number, mtu }
    }

    /// Has this share of packets (of at most 1,536 bytes, others do not go through), in percent, lost and damaged, each way.
    pub fn set_faults(&mut self, lost: u8, damaged: u8) {
        let adapter = Adapter { nic: self.nic.clone(), mtu: self.mtu };
        let mut injector = FaultInjector::new(adapter, 0x5eed);
        injector.set_drop_chance(lost);
        injector.set_corrupt_chance(damaged);
        self.device = Path::Faulty(Box::new(injector));
    }

    /// What the stack stands on.
    pub fn nic(&self) -> RefMut<'_, N> {
        self.nic.borrow_mut()
    }

    fn poll(&mut self, now: Instant) {
        self.nic().run();
        match &mut self.device {
            Path::Clean(device) => self.interface.poll(now, device, &mut self.sockets),
            Path::Faulty(device) => self.interface.poll(now, &mut **device, &mut self.sockets),
        };
        self.nic().run();
    }

    fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }
}

fn ip(number: u8) -> IpAddress {
    IpAddress::Ipv4(Ipv4Address::new(10, 0, 0, number))
}

/// Lets both stations work until `done`, or for too long.
fn until<A: Nic, B: Nic>(
    one: &mut Station<A>,
    other: &mut Station<B>,
    now: &mut Instant,
    mut done: impl FnMut(&mut Station<A>, &mut Station<B>, Instant) -> bool,
) {
    let end = *now + PATIENCE;
    while !done(one, other, *now) {
        assert!(*now < end, "nothing comes of it within {PATIENCE}");
        one.poll(*now);
        other.poll(*now);
        *now += STEP;
    }
}

/// Has `one` ask the other for an echo with each number of bytes of data in `sizes`, and compares what comes back.
///
/// # Panics
/// An answer does not come, or has changed.
pub fn ping<A: Nic, B: Nic>(one: &mut Station<A>, other: &mut Station<B>, sizes: &[usize]) {
    const IDENT: u16 = 0x5eed;
    let buffer = |len| icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; len]);
    let room = 4 * (one.mtu + 64);
    let socket = one.sockets.add(icmp::Socket::new(buffer(room), buffer(room)));
    one.sockets.get_mut::<icmp::Socket<'_>>(socket).bind(icmp::Endpoint::Ident(IDENT)).expect("bind");
    let mut now = Instant::ZERO;
    for (sequence, &size) in (0..).zip(sizes) {
        let data: Vec<u8> = (0..size).map(|at| pattern(at, u64::from(sequence))).collect();
        let request = Icmpv4Repr::EchoRequest { ident: IDENT, seq_no: sequence, data: &data };
        let target = ip(other.number);
        let mut asked = None;
        until(one, other, &mut now, |one, _, now| {
            let socket = one.sockets.get_mut::<icmp::Socket<'_>>(socket);
            // Like ping(8), once a second until an answer comes: the first may be lost while addresses are asked for.
            if asked.is_none_or(|at| now - at > Duration::from_secs(1)) {
                asked = Some(now);
                let bytes = socket.send(request.buffer_len(), target).expect("room for a request");
                let checksums = ChecksumCapabilities::default();
                request.emit(&mut Icmpv4Packet::new_unchecked(bytes), &checksums);
            }
            let Ok((bytes, _)) = socket.recv() else { return false };
            let packet = Icmpv4Packet::new_checked(bytes).expect("a packet");
            match Icmpv4Repr::parse(&packet, &ChecksumCapabilities::default()) {
                Ok(Icmpv4Repr::EchoReply { seq_no, data: answer, .. }) if seq_no == sequence => {
                    assert_eq!(answer, data, "{size} bytes");
                    true
                }
                _ => false,
            }
        });
    }
    one.sockets.remove(socket);
}

/// Has `one` send `len` bytes by TCP, the other send them back, and compares them; `between` is called again and again meanwhile, with the number
/// of bytes that have come back.
///
/// # Panics
/// They do not come back, or have changed.
pub fn tcp_echo<A: Nic, B: Nic>(
    one: &mut Station<A>,
    other: &mut Station<B>,
    len: usize,
    mut between: impl FnMut(usize),
) {
    let (client, server) = (one.sockets.add(socket()), other.sockets.add(socket()));
    other.tcp(server).listen(PORT).expect("listen");
    let target = ip(other.number);
    let context = one.interface.context();
    one.sockets.get_mut::<tcp::Socket<'_>>(client).connect(context, (target, PORT), 49_152).expect("connect");
    let (mut sent, mut back, mut now) = (0, 0, Instant::ZERO);
    let mut chunk = vec![0; 4096];
    until(one, other, &mut now, |one, other, _| {
        send_back(other.tcp(server));
        let client = one.tcp(client);
        // smoltcp takes no acknowledgement from a segment for whose data it has no room: whoever fills both windows waits for ever.
        while client.can_send() && sent < len && sent - back < ON_THE_WAY {
            let end = chunk.len().min(len - sent);
            for (at, byte) in chunk.iter_mut().take(end).enumerate() {
                *byte = pattern(sent + at, 0);
            }
            sent += client.send_slice(chunk.get(..end).unwrap_or_default()).expect("send");
        }
        while client.can_recv() {
            let count = client.recv_slice(&mut chunk).expect("receive");
            for byte in chunk.iter().take(count) {
                assert_eq!(*byte, pattern(back, 0), "byte {back}");
                back += 1;
            }
        }
        between(back);
        back == len
    });
    one.tcp(client).abort();
    other.tcp(server).abort();
    one.poll(now);
    other.poll(now);
    one.sockets.remove(client);
    other.sockets.remove(server);
}

/// A station that sends back what a client elsewhere sends it by TCP, in real time.
pub struct EchoServer<N: Nic> {
    station: Station<N>,
    socket: SocketHandle,
    started: std::time::Instant,
}

impl<N: Nic> EchoServer<N> {
    /// A server at port 7 of a station.
    ///
    /// # Panics
    /// The station's stack is full.
    pub fn new(mut station: Station<N>) -> Self {
        let socket = station.sockets.add(socket());
        station.tcp(socket).listen(PORT).expect("listen");
        EchoServer { station, socket, started: std::time::Instant::now() }
    }

    /// Does what there is to do now.
    ///
    /// # Panics
    /// The stack breaks its promises.
    pub fn step(&mut self) {
        let now = i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.station.poll(Instant::from_micros(now));
        send_back(self.station.tcp(self.socket));
        self.station.poll(Instant::from_micros(now));
    }
}

fn socket() -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; 65_535]);
    tcp::Socket::new(buffer(), buffer())
}

/// Sends back what has come, as far as there is room.
fn send_back(server: &mut tcp::Socket<'_>) {
    let mut chunk = [0; 4096];
    while server.can_recv() && server.send_capacity() - server.send_queue() >= chunk.len() {
        let count = server.recv_slice(&mut chunk).expect("receive");
        server.send_slice(chunk.get(..count).unwrap_or_default()).expect("send back");
    }
}

/// The byte at a place of the data of a conversation.
fn pattern(at: usize, seed: u64) -> u8 {
    let mixed = (at as u64 ^ seed << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed.to_le_bytes()[7]
}
