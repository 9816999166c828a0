//! The server: one model, one guest.

use std::{
    fs::File,
    io,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redox_driver_sys::model::{Bus, Device};
use vfio_bindings::bindings::vfio::VFIO_PCI_CONFIG_REGION_INDEX;
use vfio_user::{DmaMapFlags, DmaUnmapFlags, ServerBackend};

use crate::{
    function::Function,
    memory::Access,
    regions::{interrupts, regions},
};

/// The server cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The socket cannot be made.
    #[error("cannot listen at {path}")]
    Listen {
        /// Its path.
        path: String,
        /// What was wrong.
        #[source]
        source: vfio_user::Error,
    },
    /// The conversation broke off.
    #[error("the guest's vfio-user connection broke")]
    Connection(#[source] vfio_user::Error),
}

/// Looks at a model after something happened to it: a register access, or time that passed.
pub type Observer = Box<dyn FnMut() + Send>;

/// Waits for one guest at a socket.
pub struct Server {
    server: vfio_user::Server,
    shared: Shared,
}

/// Makes a server look whether its model has something to do. Never waits for a server: observers may have those of others.
#[derive(Clone, Default)]
pub struct Waker(Arc<(Mutex<bool>, Condvar)>);

impl Waker {
    /// Something was done to the model, and it may have something to do.
    pub fn wake(&self) {
        let (touched, condition) = &*self.0;
        *touched.lock().unwrap_or_else(PoisonError::into_inner) = true;
        condition.notify_one();
    }

    /// Waits until it was woken since it waited last, or the time is over.
    fn wait(&self, pause: Duration) {
        let (touched, condition) = &*self.0;
        let touched = touched.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = condition.wait_timeout_while(touched, pause, |touched| !*touched);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

struct Shared {
    state: Mutex<State>,
    waker: Waker,
    over: AtomicBool,
}

struct State {
    function: Function,
    observers: Vec<Observer>,
}

/// How long the model sleeps when it has nothing to do.
const IDLE: Duration = Duration::from_secs(1);

impl Server {
    /// Listens at `path`.
    ///
    /// # Errors
    /// [`ServeError::Listen`].
    pub fn listen(path: &Path, mut device: Box<dyn Device>) -> Result<Self, ServeError> {
        let config = device.config();
        let server = vfio_user::Server::new(path, true, interrupts(config), regions(config))
            .map_err(|source| ServeError::Listen { path: path.display().to_string(), source })?;
        let state = State { function: Function::new(device), observers: Vec::new() };
        let shared =
            Shared { state: Mutex::new(state), waker: Waker::default(), over: AtomicBool::new(false) };
        Ok(Server { server, shared })
    }

    /// Has `observer` called whenever something happened to the model. It must not wait for a server.
    pub fn observe(&self, observer: impl FnMut() + Send + 'static) {
        self.shared.lock().observers.push(Box::new(observer));
    }

    /// What wakes this server.
    pub fn waker(&self) -> Waker {
        self.shared.waker.clone()
    }

    /// Serves the first guest that connects until it disconnects.
    ///
    /// # Errors
    /// [`ServeError::Connection`].
    pub fn serve(&self) -> Result<(), ServeError> {
        std::thread::scope(|scope| {
            scope.spawn(|| self.shared.live());
            let served = self.server.run(&mut Guest(&self.shared)).map_err(ServeError::Connection);
            self.shared.over.store(true, Ordering::Relaxed);
            self.shared.waker.wake();
            served
        })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass for the model. Between two turns the guest's accesses come.
    fn live(&self) {
        while !self.over.load(Ordering::Relaxed) {
            let mut state = self.lock();
            let next = state.function.run();
            state.observe();
            let now = state.function.machine.now();
            drop(state);
            self.waker.wait(next.map_or(IDLE, |next| next.since(now).min(IDLE)));
        }
    }

    fn touch<R>(&self, work: impl FnOnce(&mut Function) -> R) -> R {
        let mut state = self.lock();
        let done = work(&mut state.function);
        state.observe();
        drop(state);
        self.waker.wake();
        done
    }
}

impl State {
    fn observe(&mut self) {
        self.observers.iter_mut().for_each(|observer| observer());
    }
}

/// The guest, as vfio-user speaks for it.
struct Guest<'a>(&'a Shared);

impl ServerBackend for Guest<'_> {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> io::Result<()> {
        self.0.touch(|function| {
            if region == VFIO_PCI_CONFIG_REGION_INDEX {
                function.read_config(offset, data);
            } else {
                let bar = bar(function, region, offset, data.len())?;
                function.read_bar(bar, offset, data);
            }
            Ok(())
        })
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.touch(|function| {
            if region == VFIO_PCI_CONFIG_REGION_INDEX {
                function.write_config(offset, data);
            } else {
                let bar = bar(function, region, offset, data.len())?;
                function.write_bar(bar, offset, data);
            }
            Ok(())
        })
    }

    fn dma_map(
        &mut self,
        flags: DmaMapFlags,
        offset: u64,
        address: u64,
        size: u64,
        file: Option<File>,
    ) -> io::Result<()> {
        let Some(file) = file else {
            // Firmware's flash, for one. Memory without share=on comes so, too.
            log::debug!("{size:#x} bytes at {address:#x} come without a file: the device cannot reach them");
            return Ok(());
        };
        let access =
            Access { read: flags.contains(DmaMapFlags::READ), write: flags.contains(DmaMapFlags::WRITE) };
        let mapped =
            self.0.touch(|function| function.machine.memory.map(address, size, access, file, offset));
        mapped.map_err(|error| {
            log::warn!("{error}");
            error.into()
        })
    }

    fn dma_unmap(&mut self, flags: DmaUnmapFlags, address: u64, size: u64) -> io::Result<()> {
        self.0.touch(|function| {
            if flags.contains(DmaUnmapFlags::UNMAP_ALL) {
                function.machine.memory.clear();
            } else {
                function.machine.memory.unmap(address, size);
            }
        });
        Ok(())
    }

    fn reset(&mut self) -> io::Result<()> {
        self.0.touch(Function::reset);
        Ok(())
    }

    fn set_irqs(
        &mut self,
        index: u32,
        flags: u32,
        start: u32,
        count: u32,
        files: Vec<File>,
    ) -> io::Result<()> {
        self.0.touch(|function| function.machine.interrupts.set(index, flags, start, count, files))
    }
}

/// The BAR that an access is inside of.
fn bar(function: &mut Function, region: u32, offset: u64, len: usize) -> io::Result<u8> {
    let bar = u8::try_from(region).unwrap_or(u8::MAX);
    let size = function.device.config().bar_len(bar);
    if offset.checked_add(len as u64).is_some_and(|end| end <= size) {
        return Ok(bar);
    }
    let text = format!("{len} bytes at {offset:#x} are not inside of region {region}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}
