//! Linux: disks as block devices of the kernel, through ublk.
//!
//! A ublk device has as many queues as the controller has hardware queues, and the thread of a hardware queue serves its
//! queue of *every* disk in one io_uring, together with the hardware's interrupt. See `docs/ublk.md`.
//!
//! [`Ublk::new`] looks for what an earlier daemon left and gives one [`QueueSeed`] for each hardware queue, from which
//! the queue's thread grows its [`UblkQueue`]. When the threads run, [`Ublk::start`] shows the disks to the system.
//! [`Ublk::stop`] takes them away again, or leaves them to the next daemon, and has to return before the threads end.

mod changes;
mod control;
mod control_thread;
mod device;
mod error;
mod found;
mod identity;
mod names;
mod parameters;
mod plan;
mod server;
#[allow(unsafe_code, reason = "system calls that the compiler cannot check; nothing else is in there")]
mod sys;
mod sysfs;
mod translate;
mod uapi;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, mpsc::sync_channel},
    thread::JoinHandle,
};

use redox_driver_sys::{dma::DmaAllocator, pci::PciAddress};

use self::{changes::Changes, control_thread::Caretaker};
pub use self::{
    error::{DeviceNumber, UblkError},
    parameters::Unservable,
    plan::Buffers,
    server::{QueueSeed, UblkQueue},
};
use crate::device::Disk;

/// What becomes of the devices when the daemon ends orderly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExit {
    /// They are removed, except those that somebody holds: these stay, as with [`Keep`](Self::Keep).
    #[default]
    Remove,
    /// They stay, and what uses them waits for the next daemon.
    Keep,
}

/// How disks are served.
#[derive(Clone, Debug)]
pub struct UblkOptions {
    /// The controller's name, for the names of its disks.
    pub controller: String,
    /// Where the controller is: by this, the next daemon finds its devices.
    pub address: PciAddress,
    /// Where the memory for the data of requests comes from.
    pub memory: DmaAllocator,
    /// How much memory that is.
    pub buffers: Buffers,
    /// What becomes of the devices at the end.
    pub on_exit: OnExit,
    /// A directory for links by the controllers' names, if they are wanted.
    pub names: Option<PathBuf>,
}

impl UblkOptions {
    /// Where links to the disks are by default.
    pub const NAMES: &str = "/run/red-bear";

    /// Beneath which directories, beside [`names`](Self::names), files are written once [`Ublk::new`] has returned: device
    /// nodes, and the attributes of request queues. All of them belong to root.
    pub const WRITABLE: [&str; 2] = ["/dev", "/sys/devices/virtual"];

    /// The usual options.
    pub fn new(controller: impl Into<String>, address: PciAddress, memory: DmaAllocator) -> Self {
        UblkOptions {
            controller: controller.into(),
            address,
            memory,
            buffers: Buffers::default(),
            on_exit: OnExit::default(),
            names: Some(Self::NAMES.into()),
        }
    }
}

/// The disks of one controller as ublk devices.
pub struct Ublk {
    changes: Arc<Changes>,
    idle: Option<Caretaker>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Ublk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ublk").field("started", &self.thread.is_some()).finish_non_exhaustive()
    }
}

impl Ublk {
    /// Prepares to serve the disks of a controller with `queues` hardware queues.
    ///
    /// # Errors
    /// There is no ublk, or it is too old, or what it says of its devices cannot be read.
    pub fn new(options: UblkOptions, queues: usize) -> Result<(Self, Vec<QueueSeed>), UblkError> {
        let changes = Arc::new(Changes::new(queues));
        let mut threads = Vec::with_capacity(queues);
        let mut seeds = Vec::with_capacity(queues);
        for index in 0..queues {
            let (mailbox, seed) = QueueSeed::new(index, changes.clone()).map_err(|source| {
                UblkError::Step { device: DeviceNumber(None), step: "making an eventfd", source }
            })?;
            threads.push(mailbox);
            seeds.push(seed);
        }
        let idle = Some(Caretaker::new(options, threads)?);
        Ok((Ublk { changes, idle, thread: None }, seeds))
    }

    /// Shows `disks` to the system and follows their changes from then on. The queues' threads must run.
    ///
    /// Returns when every disk was tried, with what went wrong: the others are served all the same.
    ///
    /// # Errors
    /// The thread that looks after the devices could not be started.
    pub fn start(&mut self, disks: Vec<Disk>) -> std::io::Result<Vec<UblkError>> {
        let Some(mut caretaker) = self.idle.take() else { return Ok(Vec::new()) };
        let changes = self.changes.clone();
        let (started, outcome) = sync_channel(1);
        let thread = std::thread::Builder::new().name("ublk".into()).spawn(move || {
            let errors = caretaker.begin(&disks);
            let _ = started.send(errors);
            caretaker.run(&changes);
        })?;
        self.thread = Some(thread);
        // Every step of it has its deadline.
        Ok(outcome.recv().unwrap_or_default())
    }

    /// Ends: removes the devices or leaves them, as the options say. The queues' threads must run until it returns.
    pub fn stop(&mut self) {
        self.changes.end();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the thread that looks after the ublk devices has failed");
        }
    }
}

impl Drop for Ublk {
    fn drop(&mut self) {
        self.stop();
    }
}
