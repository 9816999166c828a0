//! The threads themselves: how they start, wait and end.

use std::{
    io,
    os::fd::AsFd,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use redox_driver_sys::{event::EventQueue, time::Clock};

use super::{
    RuntimeEvent,
    mailbox::Mailbox,
    messages::{ToSupervisor, ToWorker},
    supervisor::Supervisor,
    worker::{IDLE, Worker},
};
use crate::{
    device::Controller,
    error::BlockError,
    frontend::QueueFrontend,
    queue::{BadLimits, Queue, QueueOptions},
    recovery::RecoveryPolicy,
    statistics::Statistics,
    waker::Waker,
};

/// Events that are kept for whoever listens; later ones are logged and dropped.
const EVENTS: usize = 64;
/// How often a controller without an interrupt is looked at.
const POLLED: Duration = Duration::from_millis(20);
/// How long a front end may take to be made.
const START: Duration = Duration::from_secs(60);
/// What the end may take beyond draining: gathering, flushing, shutting down.
const END: Duration = Duration::from_secs(120);

const MESSAGE: u64 = 0;
const INTERRUPT: u64 = 1;

/// How a [`Runtime`] behaves.
#[derive(Clone, Debug)]
pub struct RuntimeOptions {
    /// How its queues behave.
    pub queue: QueueOptions,
    /// When the controller is given up.
    pub recovery: RecoveryPolicy,
    /// How long outstanding requests may take when the runtime stops.
    pub drain: Duration,
}

/// Why a runtime did not start, or not stop orderly.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The OS refuses a thread or a descriptor.
    #[error("{step}: {source}")]
    Os {
        /// What was being done.
        step: &'static str,
        /// What the OS answered.
        source: io::Error,
    },
    /// A disk cannot be served.
    #[error(transparent)]
    Limits(#[from] BadLimits),
    /// There must be one front end for each queue.
    #[error("{frontends} front ends for {queues} hardware queues")]
    Count {
        /// Front ends given.
        frontends: usize,
        /// Hardware queues given.
        queues: usize,
    },
    /// A front end could not be made.
    #[error("front end of queue {queue}: {source}")]
    Frontend {
        /// The queue's number.
        queue: usize,
        /// Why not.
        source: io::Error,
    },
    /// A thread did not do in time what it was told.
    #[error("{0} did not end in time")]
    Stuck(&'static str),
    /// The device did not end orderly.
    #[error("ending the device: {0}")]
    Device(BlockError),
}

/// A running controller. Dropping it stops it as [`stop`](Self::stop) does.
pub struct Runtime<C: Controller> {
    supervisor: Mailbox<ToSupervisor<C::Queue>>,
    workers: Vec<Mailbox<ToWorker<C::Queue>>>,
    threads: Vec<JoinHandle<()>>,
    events: Receiver<RuntimeEvent>,
    /// How it ended.
    ended: Receiver<Result<(), BlockError>>,
    drain: Duration,
    stopped: bool,
}

impl<C: Controller + 'static> Runtime<C>
where
    C::Queue: 'static,
{
    /// Starts serving. `queues` are those that the controller has handed out, in their order; each gets the front end
    /// that the function at its place makes, on the thread of the queue.
    ///
    /// # Errors
    /// What is in the way. Threads that were started have ended, and the controller is gone.
    pub fn start<F, B>(
        controller: C,
        queues: Vec<C::Queue>,
        clock: &Clock,
        options: &RuntimeOptions,
        frontends: Vec<B>,
    ) -> Result<Self, RuntimeError>
    where
        F: QueueFrontend,
        B: FnOnce() -> io::Result<F> + Send + 'static,
    {
        let count = queues.len();
        if frontends.len() != count {
            return Err(RuntimeError::Count { frontends: frontends.len(), queues: count });
        }
        let os = |step| move |source| RuntimeError::Os { step, source };
        let (events_in, events) = mpsc::sync_channel(EVENTS);
        let (ended_in, ended) = mpsc::channel();
        let (ready_in, ready) = mpsc::channel();
        let supervisor = Mailbox::new().map_err(os("make a waker"))?;
        let disks = controller.disks();
        let poke = controller.shares_interrupt();
        let mut runtime = Runtime {
            supervisor: supervisor.clone(),
            workers: Vec::new(),
            threads: Vec::new(),
            events,
            ended,
            drain: options.drain,
            // Until there is a thread to be told.
            stopped: true,
        };
        let mut prepared = Vec::new();
        for hardware in queues {
            let mut queue = Queue::new(hardware, options.queue.clone());
            for disk in &disks {
                queue.set_disk(disk)?;
            }
            let inbox = Mailbox::new().map_err(os("make a waker"))?;
            runtime.workers.push(inbox.clone());
            prepared.push((queue, inbox));
        }
        let end = Supervisor::new(
            controller,
            clock,
            runtime.workers.clone(),
            supervisor.clone(),
            (options.queue.clone(), options.recovery, options.drain),
            events_in,
        );
        let (waker, time) = (supervisor.waker().clone(), clock.clone());
        let thread = thread::Builder::new()
            .name("controller".into())
            .spawn(move || {
                // Nobody listens when the runtime was dropped in a hurry.
                let _ = ended_in.send(supervise(end, &waker, &time));
            })
            .map_err(os("start the controller's thread"))?;
        runtime.threads.push(thread);
        runtime.stopped = false;
        let parts = prepared.into_iter().zip(frontends).enumerate();
        for (number, ((queue, inbox), make)) in parts {
            let at = u16::try_from(number).unwrap_or(u16::MAX);
            let (ready, time, drain) = (ready_in.clone(), clock.clone(), options.drain);
            let supervisor = supervisor.clone();
            let thread = thread::Builder::new()
                .name(format!("queue {number}"))
                .spawn(move || {
                    let mut worker = Worker::new(at, queue, inbox, supervisor, poke, drain);
                    let outcome = make().map(|frontend| worker.serve(frontend));
                    let _ = ready.send((number, outcome));
                    worker.run(&time);
                })
                .map_err(os("start a queue's thread"))?;
            runtime.threads.push(thread);
        }
        let by = Instant::now() + START;
        for _ in 0..count {
            match ready.recv_timeout(by.saturating_duration_since(Instant::now())) {
                Ok((_, Ok(()))) => {}
                Ok((queue, Err(source))) => return Err(RuntimeError::Frontend { queue, source }),
                Err(_) => return Err(RuntimeError::Stuck("making the front ends")),
            }
        }
        Ok(runtime)
    }

    /// What happens to the controller.
    pub fn events(&self) -> &Receiver<RuntimeEvent> {
        &self.events
    }

    /// What all queues counted; `None` if one does not answer within `timeout`.
    pub fn statistics(&self, timeout: Duration) -> Option<Statistics> {
        let (sender, receiver) = mpsc::channel();
        for worker in &self.workers {
            worker.post(ToWorker::Report(sender.clone()));
        }
        let by = Instant::now() + timeout;
        let mut sum = Statistics::default();
        for _ in &self.workers {
            sum += &receiver.recv_timeout(by.saturating_duration_since(Instant::now())).ok()?;
        }
        Some(sum)
    }

    /// What the controller reports of itself; `None` if it does not within `timeout`.
    pub fn inspect(&self, timeout: Duration) -> Option<String> {
        let (sender, receiver) = mpsc::channel();
        self.supervisor.post(ToSupervisor::Inspect(sender));
        receiver.recv_timeout(timeout).ok()
    }

    /// Takes no more requests, finishes those that are there, flushes, and shuts the controller down.
    ///
    /// # Errors
    /// What did not end orderly. Whatever happened, the device is off, unless a thread is stuck.
    pub fn stop(mut self) -> Result<(), RuntimeError> {
        self.end()
    }
}

impl<C: Controller> Runtime<C> {
    fn end(&mut self) -> Result<(), RuntimeError> {
        if std::mem::replace(&mut self.stopped, true) {
            return Ok(());
        }
        self.supervisor.post(ToSupervisor::Stop);
        let result = match self.ended.recv_timeout(self.drain + END) {
            Ok(result) => result.map_err(RuntimeError::Device),
            Err(RecvTimeoutError::Timeout) => Err(RuntimeError::Stuck("the controller's thread")),
            Err(RecvTimeoutError::Disconnected) => Err(RuntimeError::Stuck("the device")),
        };
        for thread in self.threads.drain(..) {
            // The last message of a thread comes shortly before its end.
            let by = Instant::now() + IDLE;
            while !thread.is_finished() && Instant::now() < by {
                thread::sleep(Duration::from_millis(1));
            }
            if !thread.is_finished() {
                return result.and(Err(RuntimeError::Stuck("a thread")));
            }
            if thread.join().is_err() {
                return result.and(Err(RuntimeError::Stuck("a thread that panicked")));
            }
        }
        result
    }
}

impl<C: Controller> Drop for Runtime<C> {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            log::error!("{error}");
        }
    }
}

impl<C: Controller> std::fmt::Debug for Runtime<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("queues", &self.workers.len()).finish_non_exhaustive()
    }
}

/// The controller's thread.
fn supervise<C: Controller>(
    mut supervisor: Supervisor<C>,
    waker: &Waker,
    clock: &Clock,
) -> Result<(), BlockError> {
    // Made at once: later the thread may open nothing any more.
    let mut events = EventQueue::new(clock);
    let mut ready = Vec::new();
    loop {
        let interrupted = ready.drain(..).filter(|&token| token == INTERRUPT).count() != 0;
        if interrupted {
            with_interrupt(&supervisor, "taking", |interrupt| interrupt.take().map(drop));
        }
        if let Some(result) = supervisor.turn(clock.now()) {
            return result;
        }
        if interrupted {
            with_interrupt(&supervisor, "rearming", redox_driver_sys::irq::Interrupt::rearm);
        }
        if std::mem::take(&mut supervisor.interrupt_changed) {
            if let Ok(queue) = &mut events
                && let Err(error) = watch(&supervisor, waker, queue)
            {
                events = Err(error);
            }
            if let Err(error) = &events {
                log::error!("waiting for the controller: {error}; polling instead");
            }
        }
        let announced = supervisor
            .controller()
            .is_none_or(|c| c.shares_interrupt() || c.is_called() || c.interrupt().is_some());
        let patience = if announced { IDLE } else { POLLED };
        let waited = events.as_mut().map(|events| events.wait(patience, &mut ready));
        if !matches!(waited, Ok(Ok(()))) {
            clock.sleep(POLLED);
        }
    }
}

/// Has `events` watch what the controller's thread waits for. An interrupt that a queue's thread takes is not among it.
fn watch<C: Controller>(
    supervisor: &Supervisor<C>,
    waker: &Waker,
    events: &mut EventQueue,
) -> redox_driver_sys::Result<()> {
    events.clear();
    events.add_fd(waker.as_fd(), MESSAGE)?;
    if let Some(controller) = supervisor.controller()
        && !controller.shares_interrupt()
        && let Some(interrupt) = controller.interrupt()
    {
        events.add_interrupt(interrupt, INTERRUPT)?;
    }
    Ok(())
}

fn with_interrupt<C: Controller>(
    supervisor: &Supervisor<C>,
    what: &str,
    work: impl Fn(&redox_driver_sys::irq::Interrupt) -> redox_driver_sys::Result<()>,
) {
    if let Some(Err(error)) = supervisor.controller().and_then(Controller::interrupt).map(work) {
        log::error!("{what} the controller's interrupt: {error}");
    }
}
