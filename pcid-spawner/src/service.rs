//! One daemon's life: started, ready, crashed, waiting, started again; finished; or stopped.

use std::{
    fmt,
    io::{self, PipeReader, Read},
    path::PathBuf,
    time::{Duration, Instant},
};

use pcid_config::DriverConfig;
use redox_driver_sys::error::chain;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, kill_process, kill_process_group, waitid,
    waitpid,
};

use crate::{
    backoff::{Backoff, Limits},
    launch::{self, Launched},
    pci::Function,
    roots::Roots,
};

/// A process that has been killed is gone at once, unless the kernel does not get it out of a system call.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// The bounds of a daemon's life.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From the start to readiness.
    pub ready: Duration,
    /// From SIGTERM to the end.
    pub stop: Duration,
    /// Between a crash and the next start.
    pub restart: Limits,
    /// Whether a crash ends it all.
    pub once: bool,
}

/// Where a daemon is in its life.
#[derive(Debug)]
pub enum State {
    /// Not running; to be started at this time.
    Waiting {
        /// When.
        until: Instant,
    },
    /// Running, not ready yet.
    Starting {
        /// The process.
        pid: Pid,
        /// Where readiness is said; none once the daemon has closed it.
        readiness: Option<PipeReader>,
        /// When it must be ready.
        until: Instant,
    },
    /// Ready.
    Running {
        /// The process.
        pid: Pid,
        /// Since when it has been ready.
        since: Instant,
    },
    /// Told to end, and killed if it does not.
    Stopping {
        /// The process.
        pid: Pid,
        /// When the next, stronger step is due.
        until: Instant,
        /// Whether it has been killed already.
        killed: bool,
    },
    /// Ended with exit code 0: nothing more to do.
    Finished,
    /// Given up.
    Failed,
}

impl State {
    /// One word for it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Starting { .. } => "starting",
            Self::Running { .. } => "running",
            Self::Stopping { .. } => "stopping",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }
}

/// One daemon and its function.
#[derive(Debug)]
pub struct Service {
    /// The function.
    pub function: Function,
    /// Its IOMMU group.
    pub group: u32,
    /// The daemon's program.
    pub program: PathBuf,
    /// The entry that names it.
    pub driver: DriverConfig,
    /// Whether the function was bound to vfio-pci by us, and is to be handed back.
    pub taken: bool,
    /// Where it is in its life.
    pub state: State,
    /// How often it has been started.
    pub starts: u32,
    /// How the last process ended, or why it could not be started.
    pub last_end: Option<String>,
    backoff: Backoff,
    bounds: Bounds,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.program.file_name().unwrap_or_default();
        write!(f, "{} {}", self.function.address, name.display())
    }
}

impl Service {
    /// A daemon to be started at `now`.
    pub fn new(
        function: Function,
        group: u32,
        program: PathBuf,
        driver: DriverConfig,
        taken: bool,
        bounds: Bounds,
        now: Instant,
    ) -> Self {
        Self {
            function,
            group,
            program,
            driver,
            taken,
            state: State::Waiting { until: now },
            starts: 0,
            last_end: None,
            backoff: Backoff::new(bounds.restart),
            bounds,
        }
    }

    /// Its process, while there is one.
    pub const fn pid(&self) -> Option<Pid> {
        match self.state {
            State::Starting { pid, .. } | State::Running { pid, .. } | State::Stopping { pid, .. } => {
                Some(pid)
            }
            State::Waiting { .. } | State::Finished | State::Failed => None,
        }
    }

    /// When [`Service::tick`] has something to do.
    pub const fn due(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until } | State::Starting { until, .. } | State::Stopping { until, .. } => {
                Some(until)
            }
            State::Running { .. } | State::Finished | State::Failed => None,
        }
    }

    /// Does what is due at `now`.
    pub fn tick(&mut self, now: Instant, roots: &Roots) {
        if self.due().is_none_or(|due| due > now) {
            return;
        }
        match self.state {
            State::Waiting { .. } => self.start(now, roots),
            State::Starting { .. } => {
                log::error!("{self} is not ready after {:?}", self.bounds.ready);
                self.last_end = Some(format!("not ready after {:?}", self.bounds.ready));
                self.stop(now);
            }
            State::Stopping { pid, killed: false, .. } => {
                log::warn!("{self} does not end {:?} after SIGTERM: killed", self.bounds.stop);
                self.kill(pid, now);
            }
            State::Stopping { killed: true, .. } => {
                log::error!("{self} does not end {KILL_LIMIT:?} after SIGKILL: given up");
                self.last_end = Some("cannot be killed".to_owned());
                self.state = State::Failed;
            }
            State::Running { .. } | State::Finished | State::Failed => {}
        }
    }

    fn start(&mut self, now: Instant, roots: &Roots) {
        if !self.function.path.exists() {
            log::error!("{self}: the function is gone");
            self.last_end = Some("the function is gone".to_owned());
            self.state = State::Failed;
            return;
        }
        self.starts = self.starts.saturating_add(1);
        match launch::launch(&self.program, &self.driver, self.function.address, self.group, roots) {
            Ok(Launched { pid, readiness }) => {
                log::info!("{self} started, process {}", pid.as_raw_nonzero());
                let until = later(now, self.bounds.ready);
                self.state = State::Starting { pid, readiness: Some(readiness), until };
            }
            Err(error) => {
                let error = chain(&error);
                log::error!("{self}: {error}");
                self.crashed(error, Duration::ZERO, now);
            }
        }
    }

    /// Looks whether the daemon has said that it is ready.
    pub fn readable(&mut self, now: Instant) {
        let State::Starting { pid, readiness: Some(pipe), .. } = &mut self.state else { return };
        let pid = *pid;
        match pipe.read(&mut [0]) {
            Ok(1..) => {
                self.state = State::Running { pid, since: now };
                log::info!("{self} is ready");
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Ok(0) | Err(_) => {
                if let State::Starting { readiness, .. } = &mut self.state {
                    *readiness = None;
                }
                log::warn!("{self} will not say when it is ready");
            }
        }
    }

    /// Tells the daemon to end, if it runs and has not been told yet.
    pub fn stop(&mut self, now: Instant) {
        let (State::Starting { pid, .. } | State::Running { pid, .. }) = self.state else { return };
        if let Err(error) = kill_process(pid, Signal::TERM) {
            log::debug!("{self}: SIGTERM: {error}");
        }
        self.state = State::Stopping { pid, until: later(now, self.bounds.stop), killed: false };
    }

    /// Kills the daemon that is being stopped, without waiting any longer.
    pub fn hurry(&mut self, now: Instant) {
        if let State::Stopping { pid, killed: false, .. } = self.state {
            self.kill(pid, now);
        }
    }

    fn kill(&mut self, pid: Pid, now: Instant) {
        if let Err(error) = kill_process_group(pid, Signal::KILL) {
            log::debug!("{self}: SIGKILL: {error}");
        }
        self.state = State::Stopping { pid, until: later(now, KILL_LIMIT), killed: true };
    }

    /// Reaps the daemon's process if it has ended. `shutdown` says whether everything is being stopped.
    ///
    /// # Errors
    /// As the system answers.
    pub fn reap(&mut self, shutdown: bool, now: Instant) -> rustix::io::Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if waitid(WaitId::Pid(pid), peek)?.is_none() {
            return Ok(());
        }
        // While the process is not reaped its number is its own. What it left behind in its process group must end
        // with it: it would keep the device.
        if let Err(error) = kill_process_group(pid, Signal::KILL) {
            log::trace!("{self}: process group: {error}");
        }
        if let Some((_, status)) = waitpid(Some(pid), WaitOptions::NOHANG)? {
            self.ended(status, shutdown, now);
        }
        Ok(())
    }

    fn ended(&mut self, status: WaitStatus, shutdown: bool, now: Instant) {
        let ready = match self.state {
            State::Running { since, .. } => now.saturating_duration_since(since),
            _ => Duration::ZERO,
        };
        let end = describe_end(status);
        if shutdown {
            log::info!("{self} stopped: {end}");
            self.last_end = Some(end);
            self.state = State::Finished;
        } else if let (State::Stopping { .. }, Some(why)) = (&self.state, self.last_end.take()) {
            // Stopped because it was not ready in time, which says more than how it ended.
            self.crashed(why, ready, now);
        } else if status.exit_status() == Some(0) {
            log::info!("{self} finished");
            self.last_end = Some(end);
            self.state = State::Finished;
        } else {
            log::error!("{self} crashed: {end}");
            self.crashed(end, ready, now);
        }
    }

    fn crashed(&mut self, why: String, ready: Duration, now: Instant) {
        self.last_end = Some(why);
        if self.bounds.once {
            self.state = State::Failed;
            return;
        }
        let pause = self.backoff.after_crash(ready);
        log::info!("{self} is started again in {pause:?}");
        self.state = State::Waiting { until: later(now, pause) };
    }
}

/// No duration that can be given on the command line is too long for the clock; if one were, never would be right, and
/// a day is as good.
fn later(now: Instant, duration: Duration) -> Instant {
    now.checked_add(duration).or_else(|| now.checked_add(Duration::from_secs(86_400))).unwrap_or(now)
}

fn describe_end(status: WaitStatus) -> String {
    if let Some(code) = status.exit_status() {
        return format!("exit code {code}");
    }
    let Some(number) = status.terminating_signal() else { return format!("wait status {status:?}") };
    match signal_hook::low_level::signal_name(number) {
        Some(name) => format!("killed by {name}"),
        None => format!("killed by signal {number}"),
    }
}
