//! The process that clients talk to, and the life of the driver behind it.
//!
//! The server outlives its drivers. When one dies, its device is kept from reaching memory, a new one is started, and
//! what the dead one left unanswered is done again: each request of a client is answered exactly once, and none waits for
//! ever. See `docs/driver-lifecycle.md`.

// The one system call that starts a driver.
#![allow(unsafe_code, reason = "fork")]

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use common::daemon::Termination;
use redox_driver_sys::{
    event::EventQueue,
    process::{Child, End},
    scheme::{Answer, SchemeRequest},
    shared::SharedMemory,
    time::{Clock, Time},
};

pub use super::link::driving::{Driving, drive};
use super::{
    DiskScheme,
    carrier::Carried,
    link::{
        ServerEnds,
        carrier::LinkCarrier,
        control::{FromDriver, Messages, ToDriver},
        ends,
    },
};
use crate::error::BlockError;

/// The handle that paths are opened from.
pub const ROOT: usize = super::handles::ROOT;

const SOCKET: u64 = 0;
const BELL: u64 = 1;
const DRIVER: u64 = 2;
const TERMINATION: u64 = 3;
/// How often deadlines are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Shortest wait for the next driver's turn.
const SOON: Duration = Duration::from_millis(1);
/// How often a server that always has something to do goes on without asking what else there is.
const MOST_SKIPPED: u32 = 16;
/// How long a driver that has closed its ends may take to be gone by itself.
const LAST_BREATH: Duration = Duration::from_secs(2);
/// How long a killed process may take to be gone.
const KILL: Duration = Duration::from_secs(10);

/// Where requests come from and answers go: the socket of a Redox scheme.
pub trait RequestSource {
    /// Readable when there are requests.
    fn as_fd(&self) -> BorrowedFd<'_>;

    /// Appends requests that are there; whether there may be more.
    ///
    /// # Errors
    /// What the OS answers. The server ends.
    fn read(&mut self, requests: &mut Vec<SchemeRequest>) -> redox_driver_sys::Result<bool>;

    /// Gives answers to those who asked, and forgets them.
    ///
    /// # Errors
    /// What the OS answers. The server ends.
    fn write(&mut self, answers: &mut Vec<Answer>) -> redox_driver_sys::Result<()>;
}

/// What starts drivers.
pub trait Launcher {
    /// Attaches to the device and [serves](drive) the link. Runs in the driver's process, which exits with the result:
    /// 0 when it was told to end.
    fn drive(&mut self, driving: Driving) -> u8;

    /// Keeps the device of a dead driver from reaching memory. Runs in the server.
    ///
    /// # Errors
    /// What the OS answers.
    fn stop_dma(&mut self) -> redox_driver_sys::Result<()>;
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Attaching to the device.
    pub start: Duration,
    /// Anything that a driver was asked for. It is ended when it takes longer.
    pub piece: Duration,
    /// Being without a driver, until requests fail instead of waiting for one.
    pub absence: Duration,
    /// Between two drivers that did nothing before they died, in the beginning and in the end: it doubles each time.
    pub pause: (Duration, Duration),
    /// Finishing what was asked for when the server is told to end.
    pub drain: Duration,
    /// A driver's end when it is told to.
    pub stop: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            start: Duration::from_secs(120),
            piece: Duration::from_secs(180),
            absence: Duration::from_secs(60),
            pause: (Duration::from_millis(100), Duration::from_secs(10)),
            drain: Duration::from_secs(30),
            stop: Duration::from_secs(150),
        }
    }
}

/// Why a server ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The OS refuses something.
    #[error("{step}")]
    Os {
        /// What was being done.
        step: &'static str,
        /// What it answered.
        #[source]
        source: io::Error,
    },
    /// The boundary refuses something.
    #[error(transparent)]
    Boundary(#[from] redox_driver_sys::Error),
    /// The first driver ended before it served anything. It has said why.
    #[error("the driver {0}")]
    Driver(End),
    /// The scheme could not be shown.
    #[error("show the scheme")]
    Register(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The driver did not end in order when it was told to.
    #[error("the driver did not end in order: it {0}")]
    Unclean(End),
}

/// What has become of clients' wish for a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inspection {
    None,
    /// The next driver that serves is asked.
    Wanted,
    /// The driver was asked.
    Asked,
}

/// A driver that lives, as far as is known.
struct Running {
    child: Child,
    ends: ServerEnds,
    messages: Messages,
    started: Time,
    attached: bool,
    /// Pieces that had been answered when it was started.
    answered_before: u64,
}

/// The server of one controller's disks.
pub struct Server<S, L> {
    name: String,
    scheme: DiskScheme<LinkCarrier>,
    /// `None` in a driver's process, which has no use for it.
    source: Option<S>,
    launcher: L,
    queues: u16,
    clock: Clock,
    patience: Patience,
    termination: Termination,
    /// What there is to wait for; made anew when the driver changes.
    events: Option<EventQueue>,
    /// Turns since it was waited.
    skipped: u32,
    driver: Option<Running>,
    /// How the last one ended.
    last_end: Option<End>,
    /// Whether there ever was one that served.
    served: bool,
    /// Drivers that died one after the other without having done anything.
    idle_deaths: u32,
    inspection: Inspection,
    /// When deadlines were looked at.
    looked_at: Time,
    /// Since when there is no driver that serves.
    absent_since: Option<Time>,
    /// When the next driver is due.
    retry_at: Time,
    requests: Vec<SchemeRequest>,
    carried: Vec<Carried<super::link::Range>>,
    /// Drivers started so far.
    generation: u64,
}

impl<S, L> std::fmt::Debug for Server<S, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<S: RequestSource, L: Launcher> Server<S, L> {
    /// A server of the scheme `name` whose drivers serve at most `queues` hardware queues. `data` is the memory for what
    /// is on its way. It ends when `termination` is requested.
    pub fn new(
        name: &str,
        (source, launcher): (S, L),
        (queues, data): (u16, SharedMemory),
        clock: &Clock,
        patience: Patience,
        termination: Termination,
    ) -> Self {
        Server {
            name: name.to_string(),
            scheme: DiskScheme::new(name, LinkCarrier::new(data, queues)),
            source: Some(source),
            launcher,
            queues,
            clock: clock.clone(),
            patience,
            termination,
            events: None,
            skipped: 0,
            driver: None,
            last_end: None,
            served: false,
            idle_deaths: 0,
            inspection: Inspection::None,
            looked_at: Time::default(),
            absent_since: None,
            retry_at: Time::default(),
            requests: Vec::new(),
            carried: Vec::new(),
            generation: 0,
        }
    }

    /// What it was made of.
    pub fn into_parts(self) -> (Option<S>, L) {
        (self.source, self.launcher)
    }

    /// Serves until the process is told to end, then finishes what was asked for, and has the driver end in order.
    /// `register` is called once the first driver serves and the partitions of its disks are known: it shows the scheme.
    ///
    /// # Safety
    /// The calling thread is the only one of this process, as [`Child::fork`] asks.
    ///
    /// # Errors
    /// What kept it from serving, or ended it.
    pub unsafe fn run(
        &mut self,
        register: impl FnOnce(&S) -> Result<(), Box<dyn std::error::Error + Send + Sync>>,
    ) -> Result<(), ServerError> {
        let mut register = Some(register);
        let mut ready = Vec::new();
        let mut ending: Option<Time> = None;
        loop {
            let now = self.clock.coarse();
            self.scheme.carrier_mut().set_now(now);
            if ready.contains(&TERMINATION) && self.termination.requested() && ending.is_none() {
                log::info!("{}: ending", self.name);
                ending = Some(now.plus(self.patience.drain));
            }
            if ending.is_none() && register.is_none() && ready.contains(&SOCKET) {
                self.take_requests()?;
            }
            self.take_answers(now);
            if ready.contains(&DRIVER) {
                self.take_messages(now);
            }
            self.give_answers()?;
            // SAFETY: as the caller says.
            unsafe { self.look_after_driver(now) }?;
            if let Some(by) = ending
                && (register.is_some() || self.scheme.is_idle() || now >= by)
            {
                return self.end();
            }
            if self.served
                && self.scheme.is_settled()
                && let (Some(register), Some(source)) = (register.take(), &self.source)
            {
                register(source).map_err(ServerError::Register)?;
            }
            ready.clear();
            self.wait(now, &mut ready)?;
        }
    }

    fn take_requests(&mut self) -> Result<(), ServerError> {
        loop {
            let source = self.source.as_mut();
            let more = source.map_or(Ok(false), |source| source.read(&mut self.requests))?;
            self.scheme.requests(self.requests.drain(..));
            if !more {
                return Ok(());
            }
        }
    }

    /// Takes what the driver has answered.
    fn take_answers(&mut self, now: Time) {
        let broken = self.scheme.carrier_mut().collect(&mut self.carried).is_err();
        if !self.carried.is_empty() {
            self.scheme.carried(self.carried.drain(..));
        }
        if broken {
            self.bury("its answers make no sense", now);
        }
    }

    fn give_answers(&mut self) -> Result<(), ServerError> {
        if self.scheme.take_inspection() {
            self.inspection = Inspection::Wanted;
        }
        if let (Inspection::Wanted, Some(Running { attached: true, ends, .. })) =
            (self.inspection, &self.driver)
            && ToDriver::Inspect.send(&ends.to_driver).is_ok()
        {
            self.inspection = Inspection::Asked;
        }
        self.scheme.carrier_mut().commit();
        let answers = self.scheme.answers();
        if let (false, Some(source)) = (answers.is_empty(), &mut self.source) {
            source.write(answers)?;
        }
        Ok(())
    }

    fn take_messages(&mut self, now: Time) {
        let mut messages = Vec::new();
        let Some(driver) = &mut self.driver else { return };
        let open = driver.messages.read(&driver.ends.from_driver, &mut messages);
        for message in messages {
            self.message(message);
        }
        let Some(driver) = &mut self.driver else { return };
        match open {
            Ok(true) => {}
            Ok(false) => {
                // It is ending by itself, and how it does is worth knowing.
                let _ = driver.child.wait(LAST_BREATH);
                self.bury("it is gone", now);
            }
            Err(error) => self.bury(&error.to_string(), now),
        }
    }

    fn message(&mut self, message: FromDriver) {
        match message {
            FromDriver::Attached { queues, disks } => {
                let Some(driver) = &mut self.driver else { return };
                if std::mem::replace(&mut driver.attached, true) || queues == 0 {
                    return;
                }
                self.absent_since = None;
                self.served = true;
                self.scheme.carrier_mut().attach(&mut driver.ends, queues);
                log::info!(
                    "{}: driver {} serves {} disks by {queues} queues",
                    self.name,
                    driver.child.id(),
                    disks.len()
                );
                self.scheme.set_disks(disks);
                self.scheme.queues_changed();
            }
            FromDriver::DiskChanged(disk) => {
                log::info!("{}: disk {} has {} blocks", self.name, disk.id, disk.blocks);
                self.scheme.set_disk(disk);
            }
            FromDriver::DiskRemoved(disk) => {
                log::info!("{}: disk {disk} is gone", self.name);
                self.scheme.remove_disk(disk);
            }
            FromDriver::Report(report) => {
                let Some(driver) = &self.driver else { return };
                let (process, started) = (driver.child.id(), self.generation);
                let report = format!("{report}process: {process}\ndrivers started: {started}\n");
                self.inspection = Inspection::None;
                self.scheme.inspected(&report);
            }
        }
    }

    /// Ends what is left of the driver, and prepares for the next one.
    fn bury(&mut self, why: &str, now: Time) {
        let Some(mut driver) = self.driver.take() else { return };
        self.events = None;
        if self.inspection == Inspection::Asked {
            self.inspection = Inspection::Wanted;
        }
        let (name, pid) = (&self.name, driver.child.id());
        match driver.child.kill(KILL) {
            Ok(end) => {
                log::warn!("{name}: driver {pid}: {why}; it {end}");
                self.last_end = Some(end);
            }
            Err(error) => log::error!("{name}: driver {pid}: {why}; {error}"),
        }
        // Before anything of its memory can be used for something else.
        if let Err(error) = self.launcher.stop_dma() {
            log::error!("{}: the device may still reach memory until it is reset: {error}", self.name);
        }
        let carrier = self.scheme.carrier_mut();
        carrier.detach();
        let pause = if carrier.answered() > driver.answered_before {
            self.idle_deaths = 0;
            Duration::ZERO
        } else {
            let (first, longest) = self.patience.pause;
            let pause = first.saturating_mul(1 << self.idle_deaths.min(16)).min(longest);
            self.idle_deaths += 1;
            pause
        };
        self.retry_at = now.plus(pause);
        self.absent_since.get_or_insert(now);
    }

    /// Starts a driver when there is none, and ends one that takes too long.
    ///
    /// # Safety
    /// As [`run`](Self::run).
    unsafe fn look_after_driver(&mut self, now: Time) -> Result<(), ServerError> {
        if let Some(driver) = &self.driver {
            // Time is coarse: most turns, nothing can have become late. The record is long.
            if std::mem::replace(&mut self.looked_at, now) == now {
                return Ok(());
            }
            let late = |since: Time, patience| now.since(since) > patience;
            if !driver.attached && late(driver.started, self.patience.start) {
                self.bury("it does not attach", now);
            } else if self.scheme.carrier().oldest().is_some_and(|since| late(since, self.patience.piece)) {
                self.bury("it does not answer", now);
            }
        }
        if let Some(since) = self.absent_since
            && now.since(since) > self.patience.absence
        {
            self.scheme.carrier_mut().refuse(BlockError::TimedOut);
            if std::mem::replace(&mut self.inspection, Inspection::None) != Inspection::None {
                self.scheme.inspected("there is no driver at present\n");
            }
        }
        if self.driver.is_some() || now < self.retry_at {
            return Ok(());
        }
        match self.last_end {
            // A device that cannot be driven at all is no reason to try for ever.
            Some(end) if !self.served => Err(ServerError::Driver(end)),
            // SAFETY: as the caller says.
            _ => unsafe { self.start(now) },
        }
    }

    /// # Safety
    /// As [`run`](Self::run).
    unsafe fn start(&mut self, now: Time) -> Result<(), ServerError> {
        let os = |step| move |source| ServerError::Os { step, source };
        let (server, driver) = ends(self.queues).map_err(os("make lanes"))?;
        self.generation += 1;
        self.events = None;
        let data = self.scheme.carrier().data().clone();
        let (source, launcher) = (&mut self.source, &mut self.launcher);
        let mut server = Some(server);
        let parts = &mut server;
        // SAFETY: as the caller says.
        let child = unsafe {
            Child::fork(|| {
                // So that each side notices when the other one is gone.
                *parts = None;
                *source = None;
                launcher.drive(Driving::new(driver, data))
            })
        }?;
        let Some(ends) = server else { return Ok(()) };
        let answered_before = self.scheme.carrier().answered();
        self.driver = Some(Running {
            child,
            ends,
            messages: Messages::default(),
            started: now,
            attached: false,
            answered_before,
        });
        Ok(())
    }

    /// Waits until there is something to do.
    fn wait(&mut self, now: Time, ready: &mut Vec<u64>) -> Result<(), ServerError> {
        let asleep = self.scheme.carrier().sleep();
        if !asleep {
            self.scheme.carrier().wake();
            self.skipped += 1;
            if self.skipped < MOST_SKIPPED {
                return Ok(());
            }
        }
        self.skipped = 0;
        let timeout = match &self.driver {
            _ if !asleep => Duration::ZERO,
            Some(_) => LOOK,
            None => self.retry_at.since(now).clamp(SOON, LOOK),
        };
        if self.events.is_none() {
            let mut events = EventQueue::new(&self.clock)?;
            events.add_fd(self.termination.as_fd(), TERMINATION)?;
            if let Some(source) = &self.source {
                events.add_fd(source.as_fd(), SOCKET)?;
            }
            if let Some(driver) = &self.driver {
                events.add_fd(driver.ends.alarm.as_fd(), BELL)?;
                events.add_fd(driver.ends.from_driver.as_fd(), DRIVER)?;
            }
            self.events = Some(events);
        }
        if let Some(events) = &mut self.events {
            events.wait(timeout, ready)?;
        }
        self.scheme.carrier().wake();
        if let (true, Some(driver)) = (ready.contains(&BELL), &mut self.driver) {
            driver.ends.alarm.heard();
        }
        Ok(())
    }

    /// Has the driver end in order.
    fn end(&mut self) -> Result<(), ServerError> {
        let Some(mut driver) = self.driver.take() else { return Ok(()) };
        // One that does not listen is noticed below.
        let _ = ToDriver::Stop.send(&driver.ends.to_driver);
        let end = match driver.child.wait(self.patience.stop)? {
            Some(end) => end,
            None => driver.child.kill(KILL)?,
        };
        self.launcher.stop_dma()?;
        if end == End::Exited(0) { Ok(()) } else { Err(ServerError::Unclean(end)) }
    }
}
