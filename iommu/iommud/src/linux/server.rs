//! The socket, and those who are connected.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use iommu_protocol::MOST_BYTES;
use redox_driver_sys::{event::EventQueue, packet, time::Clock};
use rustix::{
    fs::{Mode, chmod},
    io::Errno,
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen,
        socket_with, sockopt::socket_peercred,
    },
    process::geteuid,
};

use crate::service::{Caller, ClientId, Service};

/// Connections at a time.
pub(super) const MOST_CLIENTS: u32 = 64;
/// How long it takes until another attempt to accept a client, if nobody else wants anything.
const BACK_OFF: Duration = Duration::from_millis(10);
/// How often events are looked for.
const EVENTS: Duration = Duration::from_millis(50);
/// Tokens of the event queue; clients' are their ids, which begin at 2.
const LISTENER: u64 = 0;
const SIGNALS: u64 = 1;
const FIRST_CLIENT: ClientId = 2;

/// The socket cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Another daemon serves it.
    #[error("{0}: another daemon serves it")]
    Served(PathBuf),
    /// It cannot be made.
    #[error("{step} {path}")]
    Socket {
        /// What was attempted.
        step: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// Waiting failed.
    #[error("wait for clients")]
    Wait(#[from] redox_driver_sys::Error),
}

/// A socket with clients.
#[derive(Debug)]
pub struct Server {
    listener: OwnedFd,
    path: PathBuf,
    events: EventQueue,
    clients: BTreeMap<ClientId, OwnedFd>,
    next: ClientId,
    /// Where requests are received.
    buffer: Vec<u8>,
    /// The system had no descriptor or memory for another client.
    short: bool,
}

fn new_socket(flags: SocketFlags) -> rustix::io::Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC | flags, None)
}

impl Server {
    /// Makes the socket, in place of one that nobody serves any more. Root alone may connect.
    ///
    /// # Errors
    /// When it is served, or cannot be made.
    pub fn new(path: &Path) -> Result<Self, ServerError> {
        let failed = |step| {
            move |source: Errno| ServerError::Socket { step, path: path.to_path_buf(), source: source.into() }
        };
        let address = SocketAddrUnix::new(path).map_err(failed("name a socket"))?;
        let probe = new_socket(SocketFlags::empty()).map_err(failed("make a socket for"))?;
        if connect(&probe, &address).is_ok() {
            return Err(ServerError::Served(path.to_path_buf()));
        }
        match rustix::fs::unlink(path) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(failed("remove")(error)),
        }
        let listener = new_socket(SocketFlags::NONBLOCK).map_err(failed("make a socket for"))?;
        bind(&listener, &address).map_err(failed("bind"))?;
        chmod(path, Mode::RUSR | Mode::WUSR).map_err(failed("set the mode of"))?;
        listen(&listener, 16).map_err(failed("listen at"))?;
        let mut events = EventQueue::new(&Clock::monotonic())?;
        events.add_fd(listener.as_fd(), LISTENER)?;
        Ok(Server {
            listener,
            path: path.to_path_buf(),
            events,
            clients: BTreeMap::new(),
            next: FIRST_CLIENT,
            buffer: vec![0; MOST_BYTES],
            short: false,
        })
    }

    /// Serves until `signals` becomes readable. Then the socket is removed; clients that are left are disconnected.
    ///
    /// # Errors
    /// [`ServerError::Wait`]; the end is the same.
    pub fn serve(mut self, service: &mut Service, signals: BorrowedFd<'_>) -> Result<(), ServerError> {
        let result = self.wait(service, signals);
        // Before the service goes, and with it the memory that devices of clients reach.
        self.end(service);
        result
    }

    /// Answers clients until `signals` becomes readable.
    fn wait(&mut self, service: &mut Service, signals: BorrowedFd<'_>) -> Result<(), ServerError> {
        self.events.add_fd(signals, SIGNALS)?;
        let mut ready = Vec::new();
        let mut looked = Instant::now();
        loop {
            ready.clear();
            self.events.wait(EVENTS, &mut ready)?;
            // Each client that is ready has one request answered, so that none keeps others waiting.
            for &token in &ready {
                match token {
                    LISTENER => self.accept(service),
                    SIGNALS => return Ok(()),
                    client => self.answer(service, client),
                }
            }
            if self.short && ready == [LISTENER] {
                // Who waits to be accepted keeps the queue ready: without descriptors this would spin.
                std::thread::sleep(BACK_OFF);
            }
            if looked.elapsed() >= EVENTS {
                service.take_events();
                looked = Instant::now();
            }
        }
    }

    fn end(mut self, service: &mut Service) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            log::warn!("{} stays: {error}", self.path.display());
        }
        for (id, _) in std::mem::take(&mut self.clients) {
            service.disconnect(id);
        }
    }

    fn accept(&mut self, service: &mut Service) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = match accept_with(&self.listener, flags) {
            Ok(socket) => socket,
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return,
            Err(error) => {
                if !std::mem::replace(&mut self.short, true) {
                    log::warn!("clients wait, since none can be accepted: {error}");
                }
                return;
            }
        };
        if std::mem::take(&mut self.short) {
            log::info!("clients are accepted again");
        }
        if self.clients.len() >= MOST_CLIENTS as usize {
            log::warn!("a client is turned away: there are {MOST_CLIENTS}");
            return;
        }
        let (id, name, administrator) = match socket_peercred(&socket) {
            Ok(peer) => (self.next, format!("process {}", peer.pid.as_raw_nonzero()), peer.uid == geteuid()),
            Err(_) => return,
        };
        if let Err(error) = self.events.add_fd(socket.as_fd(), id) {
            log::warn!("{name} is turned away: {error}");
            return;
        }
        self.next += 1;
        log::debug!("{name} has connected");
        service.connect(id, Caller { name, administrator });
        self.clients.insert(id, socket);
    }

    fn answer(&mut self, service: &mut Service, id: ClientId) {
        let Some(socket) = self.clients.get(&id) else { return };
        let goes_on = match packet::receive(socket, &mut self.buffer) {
            Ok((0, _)) => false,
            Ok((len, descriptor)) => {
                let reply = service.handle(id, &self.buffer[..len], descriptor);
                reply.is_some_and(|(bytes, descriptor)| {
                    // A client that does not take its replies has no room for another.
                    packet::send(socket, &bytes, descriptor.as_ref().map(AsFd::as_fd)).is_ok()
                })
            }
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        if !goes_on {
            // Closed after everything is done: whoever waits for that sees the end of the connection.
            service.disconnect(id);
            self.clients.remove(&id);
        }
    }
}
