//! Giving up what a daemon no longer needs once it has its device.
//!
//! On Redox the process enters the null namespace: it can open nothing any more. On Linux it becomes an ordinary user
//! without capabilities that can gain none ([`Policy::user`], [`Policy::keep`]), sees only the paths it names
//! (landlock), and cannot start programs, trace, mount, load modules or open sockets (seccomp).
//!
//! Each step is taken as far as the system allows; what was achieved is logged and returned. On Linux all but seccomp
//! bind the calling thread and the threads it starts later, so call this before the daemon starts threads.

use std::{fmt, path::PathBuf};

#[cfg(target_os = "linux")]
mod capabilities;
#[cfg(target_os = "linux")]
mod landlock;
#[cfg(target_os = "linux")]
mod seccomp;

#[cfg(target_os = "linux")]
pub use rustix::thread::CapabilitySet;

/// The user and group `nobody` and `nogroup` of every Linux distribution.
#[cfg(target_os = "linux")]
const NOBODY: u32 = 65534;

/// What the daemon still needs.
#[derive(Clone, Debug)]
pub struct Policy {
    readable: Vec<PathBuf>,
    writable: Vec<PathBuf>,
    #[cfg(target_os = "linux")]
    keep: CapabilitySet,
    #[cfg(target_os = "linux")]
    user: Option<(u32, u32)>,
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy {
    /// Nothing: no path, no capability, and on Linux the user `nobody`.
    pub fn new() -> Self {
        Self {
            readable: Vec::new(),
            writable: Vec::new(),
            #[cfg(target_os = "linux")]
            keep: CapabilitySet::empty(),
            #[cfg(target_os = "linux")]
            user: Some((NOBODY, NOBODY)),
        }
    }

    /// `path`, and everything below it, can still be read. No effect on Redox, where what is needed later has to be
    /// opened before.
    #[must_use]
    pub fn readable(mut self, path: impl Into<PathBuf>) -> Self {
        self.readable.push(path.into());
        self
    }

    /// `path`, and everything below it, can still be read, written and controlled with `ioctl`. No effect on Redox.
    #[must_use]
    pub fn writable(mut self, path: impl Into<PathBuf>) -> Self {
        self.writable.push(path.into());
        self
    }

    /// These capabilities stay, such as `SYS_ADMIN` for ublk's control commands, or `IPC_LOCK` for VFIO maps beyond the
    /// limit of locked memory.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn keep(mut self, capabilities: CapabilitySet) -> Self {
        self.keep |= capabilities;
        self
    }

    /// Become this user and group if the process is root; `None` stays root, without its capabilities.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn user(mut self, user: Option<(u32, u32)>) -> Self {
        self.user = user;
        self
    }

    /// Gives up the rest, and logs what was achieved: as information if everything was, as a warning otherwise.
    pub fn restrict(&self) -> Restricted {
        let restricted = self.steps();
        if restricted.is_complete() {
            log::info!("privileges dropped: {restricted}");
        } else {
            log::warn!("privileges dropped in part: {restricted}");
        }
        restricted
    }

    #[cfg(target_os = "linux")]
    fn steps(&self) -> Restricted {
        let mut steps = Vec::new();
        // Whatever is kept back below, no program started later can regain it; landlock and seccomp require it of
        // a process without CAP_SYS_ADMIN.
        let no_new_privs = rustix::thread::set_no_new_privs(true);
        steps.push(Step::new(
            "no new privileges",
            no_new_privs.map(|()| "on".to_owned()).map_err(|error| error.to_string()),
        ));
        // Paths are opened while they can be; the file system is closed last but one, the system calls last.
        steps.push(Step::new("bounding set", capabilities::bound(self.keep)));
        steps.push(Step::new("user", capabilities::become_user(self.user, self.keep)));
        steps.push(Step::new("capabilities", capabilities::keep_only(self.keep)));
        steps.push(Step::new("landlock", landlock::restrict(&self.readable, &self.writable)));
        steps.push(Step::new("seccomp", seccomp::restrict()));
        Restricted { steps }
    }

    #[cfg(target_os = "redox")]
    fn steps(&self) -> Restricted {
        let _ = (&self.readable, &self.writable);
        let entered = libredox::call::setrens(0, 0);
        let result = entered.map(|_| "null".to_owned()).map_err(|error| error.to_string());
        Restricted { steps: vec![Step::new("namespace", result)] }
    }
}

/// What was achieved, step by step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restricted {
    /// The steps in the order they were taken.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was restricted.
    pub what: &'static str,
    /// How far, or why not at all.
    pub result: Result<String, String>,
}

impl Step {
    fn new(what: &'static str, result: Result<String, String>) -> Self {
        Self { what, result }
    }
}

impl Restricted {
    /// Whether every step was taken.
    pub fn is_complete(&self) -> bool {
        self.steps.iter().all(|step| step.result.is_ok())
    }
}

impl fmt::Display for Restricted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match &step.result {
                Ok(how) => write!(f, "{comma}{} {how}", step.what)?,
                Err(why) => write!(f, "{comma}{} UNCHANGED ({why})", step.what)?,
            }
        }
        Ok(())
    }
}
