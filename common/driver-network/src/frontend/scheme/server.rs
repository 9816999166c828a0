//! What clients of the scheme ask for.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use redox_driver_sys::{
    event::EventQueue,
    scheme::{Answer, Errno, OpenFlags, Operation, Reply, SchemeRequest},
};
use syscall::{data::Stat, flag::MODE_FILE};

use super::{
    node::{self, MAX_PATH, Node},
    port::SchemePort,
};
use crate::{
    address::MacAddress,
    device::NetDevice,
    engine::{Engine, EngineError, Event},
    error::NetError,
    headers::{ETHERNET, VLAN_TAG},
    settings::{Settings, Shape, WakeOn},
};

/// The handle that paths are opened from.
pub const ROOT: usize = 0;
/// Most requests that wait for a frame, or for room.
const MOST_WAITING: usize = 64;
/// Most handles at a time.
pub(super) const MOST_OPEN: usize = 1 << 12;
/// Longest text of a new MTU.
const NUMBER: usize = 16;

/// Something that is open.
#[derive(Debug)]
struct Handle {
    node: Node,
    /// What is read of a node that is no stream: as it was when it was opened.
    text: Vec<u8>,
    /// The client wants to be told when a frame can be read, and when one can be written.
    watches: (bool, bool),
}

/// The scheme of one device: what its clients have open, and what they wait for.
pub struct NetworkScheme<D: NetDevice> {
    name: String,
    engine: Engine<D, SchemePort>,
    handles: BTreeMap<usize, Handle>,
    next: usize,
    /// Reads that wait for a frame, and writes that wait for room.
    readers: VecDeque<SchemeRequest>,
    writers: VecDeque<SchemeRequest>,
    /// A write failed for want of room.
    wanted_room: bool,
    answers: Vec<Answer>,
    happened: Vec<Event>,
    /// The device did not come back with another shape: the next turn says so.
    failed: Option<EngineError>,
}

impl<D: NetDevice> NetworkScheme<D> {
    /// Serves a device that has one port.
    pub fn new(name: &str, engine: Engine<D, SchemePort>) -> Self {
        NetworkScheme {
            name: name.to_string(),
            engine,
            handles: BTreeMap::new(),
            next: ROOT + 1,
            readers: VecDeque::new(),
            writers: VecDeque::new(),
            wanted_room: false,
            answers: Vec::new(),
            happened: Vec::new(),
            failed: None,
        }
    }

    /// Has `events` report the device's interrupts.
    ///
    /// # Errors
    /// What the system answers.
    pub fn watch(&self, events: &mut EventQueue) -> redox_driver_sys::Result<()> {
        self.engine.watch(events)
    }

    /// What is to be written to the socket.
    pub fn answers(&mut self) -> &mut Vec<Answer> {
        &mut self.answers
    }

    /// Lets packets go both ways; as [`Engine::turn`]. The second value says whether interrupts are to be [watched](Self::watch) anew.
    ///
    /// # Errors
    /// The device is given up.
    pub fn turn(&mut self, ready: &[u64]) -> Result<(Duration, bool), EngineError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let patience = self.engine.turn(ready, &mut self.happened)?;
        let reset = self.happened.contains(&Event::Reset);
        for event in self.happened.drain(..) {
            if let Event::Link(link) = event {
                log::info!("{}: link {link}", self.name);
            }
        }
        self.settle();
        Ok((patience, reset))
    }

    /// Ends orderly. Who waits is told that the device is gone.
    ///
    /// # Errors
    /// What the device did not confirm.
    pub fn shutdown(mut self, drain: Duration, wake_on: WakeOn) -> (Vec<Answer>, Result<(), NetError>) {
        let waiting: Vec<_> = self.readers.drain(..).chain(self.writers.drain(..)).collect();
        for request in waiting {
            self.answer(request, Err(Errno::NODEV));
        }
        (self.answers, self.engine.shutdown(drain, wake_on))
    }

    /// Does what a client asks for, or keeps it until it can be done.
    pub fn request(&mut self, request: SchemeRequest) {
        let result = match request.operation() {
            Operation::Open { directory, flags, user } => {
                let reply = match self.open(&request, directory, flags, user) {
                    Ok(handle) => Reply::Opened { handle },
                    Err(error) => Reply::Failed(error),
                };
                self.answers.push(request.answer(reply));
                return;
            }
            Operation::Read { handle, offset } => match self.handles.get(&handle).map(|open| open.node) {
                Some(Node::Frames) => return self.read_frame(request),
                Some(_) => self.read_text(&request, handle, offset),
                None => Err(Errno::BADF),
            },
            Operation::Write { handle, .. } => match self.handles.get(&handle).map(|open| open.node) {
                Some(Node::Frames) => return self.write_frame(request),
                Some(Node::Mac) => self.write_mac(&request),
                Some(Node::Mtu) => self.write_mtu(&request),
                Some(_) => Err(Errno::INVAL),
                None => Err(Errno::BADF),
            },
            Operation::Events { handle, read, write } => self.events(handle, read, write),
            Operation::Size { handle } => self.handle(handle).map(|open| open.text.len()),
            Operation::Stat { handle } => self.stat(&request, handle),
            Operation::Path { handle } => self.path(&request, handle),
            Operation::Sync { handle } | Operation::Control { handle } => self.handle(handle).map(|_| 0),
            Operation::Close { handle } => {
                self.handles.remove(&handle);
                return;
            }
            Operation::Cancel { tag } => return self.cancel(tag),
            Operation::Notice => return,
            _ => Err(Errno::OPNOTSUPP),
        };
        self.answer(request, result);
    }

    fn answer(&mut self, request: SchemeRequest, result: Result<usize, Errno>) {
        self.answers.push(request.answer(result.into()));
    }

    fn handle(&self, handle: usize) -> Result<&Handle, Errno> {
        self.handles.get(&handle).ok_or(Errno::BADF)
    }

    fn port(&mut self) -> Result<&mut SchemePort, Errno> {
        self.engine.ports_mut().first_mut().ok_or(Errno::NODEV)
    }

    fn open(
        &mut self,
        request: &SchemeRequest,
        directory: usize,
        flags: OpenFlags,
        user: u32,
    ) -> Result<usize, Errno> {
        if directory != ROOT || user != 0 {
            return Err(Errno::ACCESS);
        }
        if flags.directory() {
            return Err(Errno::NOTDIR);
        }
        if self.handles.len() >= MOST_OPEN {
            return Err(Errno::NFILE);
        }
        let mut path = [0; MAX_PATH];
        let path = path.get_mut(..request.len()).ok_or(Errno::NOENT)?;
        request.load(0, path)?;
        let node = std::str::from_utf8(path).ok().and_then(Node::parse).ok_or(Errno::NOENT)?;
        let device = self.engine.device();
        let text = match node {
            Node::Frames => Vec::new(),
            Node::Mac => device.settings().address.0.to_vec(),
            Node::Mtu => node::mtu(device.shape()).into_bytes(),
            Node::Link => node::link(device.link()).into_bytes(),
            Node::Offload => {
                node::offload(device.capabilities().features, device.settings().features).into_bytes()
            }
            Node::Stats => self.engine.statistics().into_bytes(),
        };
        let handle = self.next;
        self.next += 1;
        self.handles.insert(handle, Handle { node, text, watches: (false, false) });
        Ok(handle)
    }

    fn read_text(&self, request: &SchemeRequest, handle: usize, offset: u64) -> Result<usize, Errno> {
        let text = &self.handle(handle)?.text;
        let rest = usize::try_from(offset).ok().and_then(|offset| text.get(offset..)).unwrap_or_default();
        let rest = rest.get(..request.len()).unwrap_or(rest);
        request.store(0, rest).map(|()| rest.len())
    }

    fn read_frame(&mut self, request: SchemeRequest) {
        // Those who came before go first.
        if self.readers.is_empty()
            && let Some(result) = self.take_frame(&request)
        {
            return self.answer(request, result);
        }
        if request.is_nonblocking() || self.readers.len() >= MOST_WAITING {
            return self.answer(request, Err(Errno::AGAIN));
        }
        self.readers.push_back(request);
    }

    /// The result of a read, if there is one already.
    fn take_frame(&mut self, request: &SchemeRequest) -> Option<Result<usize, Errno>> {
        if request.is_empty() {
            return Some(Ok(0));
        }
        let port = self.port().ok()?;
        let len = port.inbox.front()?.len();
        if len > request.len() {
            return Some(Err(Errno::MSGSIZE));
        }
        let frame = port.inbox.pop_front()?;
        let stored = request.store(0, &frame).map(|()| len);
        port.give(frame);
        Some(stored)
    }

    fn write_frame(&mut self, request: SchemeRequest) {
        if self.writers.is_empty()
            && let Some(result) = self.put_frame(&request)
        {
            return self.answer(request, result);
        }
        if request.is_nonblocking() || self.writers.len() >= MOST_WAITING {
            self.wanted_room = true;
            return self.answer(request, Err(Errno::AGAIN));
        }
        self.writers.push_back(request);
    }

    /// The result of a write, if there is one already.
    fn put_frame(&mut self, request: &SchemeRequest) -> Option<Result<usize, Errno>> {
        let (len, mtu) = (request.len(), usize::from(self.engine.device().shape().mtu));
        if len < ETHERNET {
            return Some(Err(Errno::INVAL));
        }
        if len > mtu + ETHERNET + VLAN_TAG {
            return Some(Err(Errno::MSGSIZE));
        }
        let port = self.port().ok().filter(|port| port.has_room())?;
        let mut frame = port.take(len);
        let loaded = request.load(0, &mut frame);
        match loaded {
            Ok(()) => port.outbox.push_back(frame),
            Err(_) => port.give(frame),
        }
        Some(loaded.map(|()| len))
    }

    fn write_mac(&mut self, request: &SchemeRequest) -> Result<usize, Errno> {
        let mut address = [0; 6];
        if request.len() != address.len() {
            return Err(Errno::INVAL);
        }
        request.load(0, &mut address)?;
        let settings = Settings { address: MacAddress(address), ..self.engine.device().settings().clone() };
        self.engine.configure(&settings).map(|()| address.len()).map_err(errno)
    }

    fn write_mtu(&mut self, request: &SchemeRequest) -> Result<usize, Errno> {
        let mut text = [0; NUMBER];
        let text = text.get_mut(..request.len()).ok_or(Errno::INVAL)?;
        request.load(0, text)?;
        let number = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
        let shape = Shape { mtu: number.ok_or(Errno::INVAL)?, ..self.engine.device().shape() };
        match self.engine.reshape(shape, &mut self.happened) {
            Ok(result) => result.map(|()| request.len()).map_err(errno),
            Err(error) => {
                self.failed = Some(error);
                Err(Errno::IO)
            }
        }
    }

    /// What can be done with a handle now, and from now on the client is told.
    fn events(&mut self, handle: usize, read: bool, write: bool) -> Result<usize, Errno> {
        let port = self.port()?;
        let (readable, writable) = (!port.inbox.is_empty(), port.has_room());
        let open = self.handles.get_mut(&handle).ok_or(Errno::BADF)?;
        if open.node != Node::Frames {
            // Always.
            return Ok(usize::from(read) | usize::from(write) << 1);
        }
        open.watches = (read, write);
        // Who finds no room waits for it without a write that fails.
        self.wanted_room |= write && !writable;
        Ok(usize::from(read && readable) | usize::from(write && writable) << 1)
    }

    fn stat(&mut self, request: &SchemeRequest, handle: usize) -> Result<usize, Errno> {
        let open = self.handle(handle)?;
        let mode = match open.node {
            Node::Frames | Node::Mac | Node::Mtu => 0o600,
            Node::Link | Node::Stats | Node::Offload => 0o400,
        };
        let stat = Stat {
            st_mode: MODE_FILE | mode,
            st_size: open.text.len() as u64,
            st_nlink: 1,
            ..Stat::default()
        };
        request.store(0, &stat).map(|()| 0)
    }

    /// The path in the form that file systems and libraries know: the scheme, a colon, the node.
    fn path(&self, request: &SchemeRequest, handle: usize) -> Result<usize, Errno> {
        let path = format!("{}:{}", self.name, self.handle(handle)?.node.path());
        let path = path.as_bytes();
        let path = path.get(..request.len()).unwrap_or(path);
        request.store(0, path).map(|()| path.len())
    }

    fn cancel(&mut self, tag: u32) {
        let remove = |waiting: &mut VecDeque<SchemeRequest>| {
            let at = waiting.iter().position(|request| request.tag() == tag)?;
            waiting.remove(at)
        };
        if let Some(request) = remove(&mut self.readers).or_else(|| remove(&mut self.writers)) {
            self.answer(request, Err(Errno::INTR));
        }
    }

    /// Answers those who waited for what there is now, and tells those who want to know.
    fn settle(&mut self) {
        while let Some(request) = self.readers.pop_front() {
            match self.take_frame(&request) {
                Some(result) => self.answer(request, result),
                None => {
                    self.readers.push_front(request);
                    break;
                }
            }
        }
        while let Some(request) = self.writers.pop_front() {
            match self.put_frame(&request) {
                Some(result) => self.answer(request, result),
                None => {
                    self.writers.push_front(request);
                    break;
                }
            }
        }
        let Ok(port) = self.port() else { return };
        let readable = std::mem::take(&mut port.news) && !port.inbox.is_empty();
        let writable = port.has_room() && std::mem::take(&mut self.wanted_room);
        for (handle, open) in &self.handles {
            let (read, write) = (open.watches.0 && readable, open.watches.1 && writable);
            if read || write {
                self.answers.push(Answer::event(*handle, read, write));
            }
        }
    }
}

fn errno(error: NetError) -> Errno {
    Errno::from_raw_os_error(error.errno())
}
