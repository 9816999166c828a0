//! The loop that starts the daemons, watches them, and stops them in order.

use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    time::{Duration, Instant},
};

use common::signals::Signals;
use pcid_config::Config;
use redox_driver_sys::{error::chain, pci::PciAddress};
use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    process::{Pid, WaitOptions, getpid, waitpid},
};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};

use crate::{
    bind, pci,
    plan::{self, Candidate, Refusal},
    roots::Roots,
    service::{Bounds, Service, State},
    status::{Publisher, Record},
};

/// The key of the signals among those of the daemons, which count from 1.
const SIGNALS: u64 = 0;
/// Events taken at once.
const EVENTS: usize = 64;

/// What the supervisor is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The kernel's file systems.
    pub roots: Roots,
    /// Where the pcid.d files are.
    pub config_dirs: Vec<PathBuf>,
    /// Where programs without a directory are.
    pub drivers: PathBuf,
    /// The functions to look at; all where there are none.
    pub devices: Vec<PciAddress>,
    /// The bounds of a daemon's life.
    pub bounds: Bounds,
    /// Whether functions stay with vfio-pci at the end.
    pub keep: bool,
}

impl Options {
    /// Looks at all functions that are to be looked at.
    ///
    /// # Errors
    /// When sysfs has no list of PCI functions, or not one of the devices asked for.
    pub fn plan(&self, config: &Config, taken: &BTreeMap<u32, PciAddress>) -> io::Result<Vec<Candidate>> {
        let mut functions = pci::enumerate(&self.roots)?;
        for device in &self.devices {
            if !functions.iter().any(|function| function.address == *device) {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("{device}: no such PCI function"),
                ));
            }
        }
        if !self.devices.is_empty() {
            functions.retain(|function| self.devices.contains(&function.address));
        }
        Ok(plan::plan(functions, config, &self.roots, &self.drivers, taken))
    }
}

/// All daemons.
pub struct Supervisor {
    options: Options,
    services: BTreeMap<u64, Service>,
    next: u64,
    epoll: OwnedFd,
    signals: Signals,
    shutdown: bool,
    status: Publisher,
}

impl Supervisor {
    /// Receives signals from now on; no daemon is started yet.
    ///
    /// # Errors
    /// When the system gives no signals or no epoll.
    pub fn new(options: Options, status: Publisher) -> io::Result<Self> {
        let signals = Signals::new(&[SIGTERM, SIGINT, SIGHUP, SIGCHLD])?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &signals, epoll::EventData::new_u64(SIGNALS), epoll::EventFlags::IN)?;
        Ok(Self { options, services: BTreeMap::new(), next: 1, epoll, signals, shutdown: false, status })
    }

    /// Takes the functions that are claimed and can be taken. `ours` are those that an earlier run took and did not
    /// hand back.
    pub fn adopt(&mut self, candidates: Vec<Candidate>, ours: &[PciAddress]) {
        for Candidate { function, claim } in candidates {
            let Some(claim) = claim else { continue };
            if self.services.values().any(|service| service.function.address == function.address) {
                continue;
            }
            let was_ours = ours.contains(&function.address);
            let refusal = claim.refusal.filter(|refusal| !(was_ours && is_left_behind(refusal)));
            let (Some(group), None) = (claim.group, &refusal) else {
                if let Some(refusal) = refusal {
                    log::warn!("{} is left alone: {refusal}", function.address);
                }
                continue;
            };
            let bound = bind::take(&function, &self.options.roots);
            let taken = was_ours || matches!(bound, Ok(true));
            let driver = claim.entry.driver;
            let mut service = Service::new(
                function,
                group,
                claim.program,
                driver,
                taken,
                self.options.bounds,
                Instant::now(),
            );
            if let Err(error) = bound {
                let error = chain(&error);
                log::error!("{service}: {error}");
                service.last_end = Some(error);
                service.state = State::Failed;
            }
            self.services.insert(self.next, service);
            self.next = self.next.saturating_add(1);
        }
    }

    /// Runs until nothing is left to do, and says which daemons failed.
    ///
    /// # Errors
    /// When the system refuses to wait.
    pub fn run(&mut self) -> io::Result<Vec<String>> {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            self.advance();
            self.publish();
            if self.is_over() {
                break;
            }
            events.clear();
            let timeout = self.timeout();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let now = Instant::now();
            for event in &events {
                match event.data.u64() {
                    SIGNALS => self.take_signals(now),
                    key => self.readable(key, now),
                }
            }
        }
        if !self.options.bounds.once || self.shutdown {
            self.give_back();
        }
        self.publish();
        let failed = self.services.values().filter(|service| matches!(service.state, State::Failed));
        Ok(failed
            .map(|service| format!("{service}: {}", service.last_end.as_deref().unwrap_or("failed")))
            .collect())
    }

    /// Does what is due, and registers the pipes of daemons that have just been started.
    fn advance(&mut self) {
        let now = Instant::now();
        if self.shutdown {
            self.stop_next(now);
        }
        for (&key, service) in &mut self.services {
            let starts = service.starts;
            service.tick(now, &self.options.roots);
            if service.starts == starts {
                continue;
            }
            if let State::Starting { readiness: Some(pipe), .. } = &service.state {
                let data = epoll::EventData::new_u64(key);
                if let Err(error) = epoll::add(&self.epoll, pipe, data, epoll::EventFlags::IN) {
                    log::error!("{service}: cannot wait for readiness: {error}");
                }
            }
        }
    }

    /// Stops one daemon after the other, the last first: the next is told when the one before has ended.
    fn stop_next(&mut self, now: Instant) {
        for service in self.services.values_mut().rev() {
            match service.state {
                State::Starting { .. } | State::Running { .. } => return service.stop(now),
                State::Stopping { .. } => return,
                State::Waiting { .. } => service.state = State::Finished,
                State::Finished | State::Failed => {}
            }
        }
    }

    fn is_over(&self) -> bool {
        let mut states = self.services.values().map(|service| &service.state);
        if self.options.bounds.once && !self.shutdown {
            return !states.any(|state| {
                matches!(state, State::Waiting { .. } | State::Starting { .. } | State::Stopping { .. })
            });
        }
        states.all(|state| matches!(state, State::Finished | State::Failed))
    }

    fn timeout(&self) -> Option<Timespec> {
        let due = self.services.values().filter_map(Service::due).min()?;
        // A millisecond more than is left, so that it is due indeed when the wait ends.
        let left = due.saturating_duration_since(Instant::now()).saturating_add(Duration::from_millis(1));
        // What does not fit is as good as no timeout.
        Timespec::try_from(left).ok()
    }

    fn readable(&mut self, key: u64, now: Instant) {
        if let Some(service) = self.services.get_mut(&key) {
            service.readable(now);
        }
    }

    fn take_signals(&mut self, now: Instant) {
        for signal in self.signals.take() {
            match signal {
                SIGCHLD => self.reap(now),
                SIGHUP if !self.shutdown => self.rescan(),
                SIGTERM | SIGINT => {
                    if self.shutdown {
                        // Whoever asks twice is in a hurry.
                        self.services.values_mut().for_each(|service| service.hurry(now));
                    }
                    log::info!("stopping");
                    self.shutdown = true;
                }
                _ => {}
            }
        }
    }

    fn reap(&mut self, now: Instant) {
        for service in self.services.values_mut() {
            // What it said before it ended counts.
            service.readable(now);
            if let Err(error) = service.reap(self.shutdown, now) {
                log::error!("{service}: cannot wait for its process: {error}");
            }
        }
        // Orphans come to process 1, which must not let them pile up.
        while getpid() == Pid::INIT && self.reap_orphan() {}
    }

    fn reap_orphan(&self) -> bool {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        // One that belongs to a daemon is left for the next turn, where its process group is cared for.
        let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let ended = |pid| matches!(waitid(WaitId::Pid(pid), peek), Ok(Some(_)));
        if self.services.values().filter_map(Service::pid).any(ended) {
            return false;
        }
        matches!(waitpid(None, WaitOptions::NOHANG), Ok(Some(_)))
    }

    /// Reads the files again and looks for new functions. Daemons that run are left alone, those that ended or failed
    /// get another chance.
    fn rescan(&mut self) {
        log::info!("reading the pcid.d files again");
        let config = Config::load(&self.options.config_dirs);
        log_problems(&config);
        let over = |service: &Service| matches!(service.state, State::Finished | State::Failed);
        let ours: Vec<_> = self
            .services
            .values()
            .filter(|service| over(service) && service.taken)
            .map(|service| service.function.address)
            .collect();
        self.services.retain(|_, service| !over(service));
        let taken = self.services.values().map(|service| (service.group, service.function.address)).collect();
        match self.options.plan(&config, &taken) {
            Ok(candidates) => {
                let running =
                    self.services.values().map(|service| service.function.address).collect::<Vec<_>>();
                let new =
                    candidates.into_iter().filter(|new| !running.contains(&new.function.address)).collect();
                self.adopt(new, &ours);
            }
            Err(error) => log::error!("{error}"),
        }
    }

    /// Hands the functions back that were taken, the last first.
    fn give_back(&mut self) {
        for service in self.services.values_mut().rev().filter(|service| service.taken) {
            if self.options.keep {
                log::info!("{service}: stays bound to {}", bind::VFIO_PCI);
                continue;
            }
            match bind::give_back(&service.function, &self.options.roots) {
                Ok(()) => {
                    service.taken = false;
                    let driver = service.function.driver();
                    log::info!("{service}: handed back to {}", driver.as_deref().unwrap_or("no driver"));
                }
                Err(error) => log::error!("{service}: {}", chain(&error)),
            }
        }
    }

    fn publish(&mut self) {
        let records = self.services.values().map(Record::of).collect();
        self.status.publish(records);
    }
}

/// Whether a function that an earlier run took is refused only because its daemon outlived that run: it is started again
/// once that daemon has ended.
pub fn is_left_behind(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::GroupBusy { .. })
}

/// Logs what could not be used of the pcid.d files.
pub fn log_problems(config: &Config) {
    for problem in &config.problems {
        if problem.skipped {
            log::error!("{problem}; the file is left out");
        } else {
            log::warn!("{problem}");
        }
    }
}
