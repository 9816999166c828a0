//! Gives a function to vfio-pci, and back to whoever the kernel thinks should have it.
//!
//! `driver_override` names the only driver that may have the function, so that neither our nor anybody else's probing
//! hands it to another one in between (sysfs-bus-pci(5) of the kernel's ABI documentation).

use std::{
    io,
    path::PathBuf,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use redox_driver_sys::pci::PciAddress;

use crate::{
    pci::Function,
    roots::{Roots, link_name, write_value},
};

/// The kernel's driver that hands functions to user space.
pub const VFIO_PCI: &str = "vfio-pci";

/// How long the kernel may take to unbind or bind. A driver whose device does not answer can take its time.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a driver may take to appear after the kernel has said that it probed: asynchronous probing is allowed.
const PROBE: Duration = Duration::from_secs(5);
const INTERVAL: Duration = Duration::from_millis(5);

/// A function could not be given to a driver.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of sysfs could not be written.
    #[error("cannot {step}")]
    Sysfs {
        /// What was attempted.
        step: &'static str,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The kernel said nothing, but the driver is another one.
    #[error("is bound to {found} instead of {wanted}")]
    Driver {
        /// Who should have it.
        wanted: &'static str,
        /// Who has it.
        found: String,
    },
    /// The kernel does not come back.
    #[error("the kernel did not {step} within {LIMIT:?}")]
    Stuck {
        /// What was attempted.
        step: &'static str,
    },
}

/// Gives `function` to vfio-pci. Says whether anything had to be changed for that; what was changed is undone when
/// a later step fails.
///
/// # Errors
/// The step that failed.
pub fn take(function: &Function, roots: &Roots) -> Result<bool, Error> {
    if function.driver().as_deref() == Some(VFIO_PCI) {
        return Ok(false);
    }
    let sysfs = Sysfs::new(function, roots);
    bounded("bind the function to vfio-pci", move || {
        sysfs.take().inspect_err(|_| {
            // What led here is worth more than what comes on top.
            if let Err(error) = sysfs.give_back() {
                log::error!("{}: {error}", sysfs.address);
            }
        })
    })?;
    Ok(true)
}

/// Gives `function` back: clears the override, unbinds it from vfio-pci and has the kernel look for a driver.
///
/// # Errors
/// The step that failed.
pub fn give_back(function: &Function, roots: &Roots) -> Result<(), Error> {
    let sysfs = Sysfs::new(function, roots);
    bounded("hand the function back", move || sysfs.give_back())
}

/// Waits for `work`, which the kernel may keep for ever, no longer than the limit.
fn bounded<T: Send + 'static>(
    step: &'static str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (sender, receiver) = mpsc::sync_channel(1);
    // Where nobody listens any more, the result is of no use to anybody.
    let worker = thread::Builder::new().name("bind".to_owned()).spawn(move || sender.send(work()).ok());
    worker.map_err(|source| Error::Sysfs { step: "start a thread", source })?;
    receiver.recv_timeout(LIMIT).unwrap_or(Err(Error::Stuck { step }))
}

struct Sysfs {
    address: PciAddress,
    function: PathBuf,
    probe: PathBuf,
}

impl Sysfs {
    fn new(function: &Function, roots: &Roots) -> Self {
        let Function { address, path, .. } = function;
        Self { address: *address, function: path.clone(), probe: roots.sys.join("bus/pci/drivers_probe") }
    }

    fn driver(&self) -> Option<String> {
        link_name(&self.function.join("driver"))
    }

    fn take(&self) -> Result<(), Error> {
        self.set_override(VFIO_PCI)?;
        self.unbind()?;
        self.probe()?;
        if self.comes_to(|driver| driver == Some(VFIO_PCI)) {
            return Ok(());
        }
        let found = self.driver().unwrap_or_else(|| "no driver".to_owned());
        Err(Error::Driver { wanted: VFIO_PCI, found })
    }

    fn give_back(&self) -> Result<(), Error> {
        self.set_override("")?;
        if self.driver().as_deref() == Some(VFIO_PCI) {
            self.unbind()?;
        }
        if self.driver().is_none() {
            self.probe()?;
        }
        // That no driver wants it is no failure.
        Ok(())
    }

    fn set_override(&self, driver: &str) -> Result<(), Error> {
        // An empty line clears it.
        write_value(&self.function.join("driver_override"), &format!("{driver}\n"))
            .map_err(|source| Error::Sysfs { step: "set driver_override", source })
    }

    fn unbind(&self) -> Result<(), Error> {
        if self.driver().is_none() {
            return Ok(());
        }
        write_value(&self.function.join("driver/unbind"), &format!("{}\n", self.address))
            .map_err(|source| Error::Sysfs { step: "unbind the driver", source })?;
        if self.comes_to(|driver| driver.is_none()) {
            return Ok(());
        }
        Err(Error::Driver { wanted: "no driver", found: self.driver().unwrap_or_default() })
    }

    fn probe(&self) -> Result<(), Error> {
        write_value(&self.probe, &format!("{}\n", self.address))
            .map_err(|source| Error::Sysfs { step: "have drivers probe the function", source })
    }

    /// Whether the driver becomes what `wanted` says in time.
    fn comes_to(&self, wanted: impl Fn(Option<&str>) -> bool) -> bool {
        let end = Instant::now().checked_add(PROBE);
        loop {
            if wanted(self.driver().as_deref()) {
                return true;
            }
            if end.is_none_or(|end| Instant::now() >= end) {
                return false;
            }
            thread::sleep(INTERVAL);
        }
    }
}
