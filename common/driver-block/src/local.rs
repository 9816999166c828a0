//! A controller and all its queues on one thread: for tools, tests, fuzzing and measurements.

use std::time::Duration;

use redox_driver_sys::time::{Clock, Time};

use crate::{
    device::{Controller, ControllerEvent, Disk, DiskId, Operation, SubmitError},
    error::BlockError,
    queue::{BadLimits, Queue, QueueOptions},
    recovery::{Recovery, RecoveryPolicy, Step},
    request::{Completion, Expired, Rejected, Request, Segments},
    statistics::Statistics,
};

/// The cookie of the requests that wait for their answer. Nobody else may use it.
const OWN: u64 = u64::MAX;
/// How often the device is looked at while a request is waited for.
const INTERVAL: Duration = Duration::from_micros(20);

/// An answer, and the number of the queue that it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The queue's number.
    pub queue: u16,
    /// The answer.
    pub completion: Completion,
}

/// A controller with its queues. Nothing happens but in [`step`](Self::step) and the calls that wait.
pub struct LocalEngine<C: Controller> {
    /// `None` once it was shut down.
    controller: Option<C>,
    queues: Vec<Queue<C::Queue>>,
    clock: Clock,
    recovery: Recovery,
    disks: Vec<Disk>,
    events: Vec<ControllerEvent>,
    completions: Vec<Completion>,
    unclaimed: Vec<Answer>,
    own: Option<Completion>,
}

impl<C: Controller> LocalEngine<C> {
    /// Takes the controller's queues and disks over.
    ///
    /// # Errors
    /// A disk's limits contradict themselves. The controller was shut down.
    pub fn new(
        mut controller: C,
        clock: &Clock,
        options: &QueueOptions,
        policy: RecoveryPolicy,
    ) -> Result<Self, BadLimits> {
        let hardware = controller.take_queues();
        Self::from_parts(controller, hardware, clock, options, policy).map_err(
            |(bad, mut controller, hardware)| {
                if let Err(error) = controller.shutdown(hardware) {
                    log::warn!("shutting the controller down: {error}");
                }
                bad
            },
        )
    }

    /// As [`new`](Self::new), with hardware queues that the controller handed out before.
    ///
    /// # Errors
    /// A disk's limits contradict themselves; everything comes back.
    #[allow(clippy::type_complexity, reason = "the error is what was given, and why")]
    pub fn from_parts(
        controller: C,
        hardware: Vec<C::Queue>,
        clock: &Clock,
        options: &QueueOptions,
        policy: RecoveryPolicy,
    ) -> Result<Self, (BadLimits, C, Vec<C::Queue>)> {
        let disks = controller.disks();
        let mut queues: Vec<_> =
            hardware.into_iter().map(|hardware| Queue::new(hardware, options.clone())).collect();
        for queue in &mut queues {
            if let Some(bad) = disks.iter().find_map(|disk| queue.set_disk(disk).err()) {
                let hardware = queues.iter_mut().filter_map(Queue::take_hardware).collect();
                return Err((bad, controller, hardware));
            }
        }
        Ok(LocalEngine {
            recovery: Recovery::new(queues.len(), policy),
            controller: Some(controller),
            queues,
            clock: clock.clone(),
            disks,
            events: Vec::new(),
            completions: Vec::new(),
            unclaimed: Vec::new(),
            own: None,
        })
    }

    /// The controller, unless it was shut down.
    pub fn controller(&self) -> Option<&C> {
        self.controller.as_ref()
    }

    /// The controller, unless it was shut down: for commands that do not concern the queues.
    pub fn controller_mut(&mut self) -> Option<&mut C> {
        self.controller.as_mut()
    }

    /// The disks that are there now.
    pub fn disks(&self) -> &[Disk] {
        &self.disks
    }

    /// The queues, in their order.
    pub fn queues(&self) -> &[Queue<C::Queue>] {
        &self.queues
    }

    /// Where the recovery stands.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// What all queues counted.
    pub fn statistics(&self) -> Statistics {
        let mut sum = Statistics::default();
        for queue in &self.queues {
            sum += queue.statistics();
        }
        sum
    }

    /// Whether every request was answered.
    pub fn is_idle(&self) -> bool {
        self.unclaimed.is_empty() && self.queues.iter().all(Queue::is_idle)
    }

    /// Submits a request to queue number `queue`.
    ///
    /// # Errors
    /// As [`Queue::submit`]; also when there is no such queue, or the cookie is `u64::MAX`.
    #[allow(clippy::result_large_err, reason = "the request must come back without an allocation")]
    pub fn submit(&mut self, queue: u16, request: Request) -> Result<(), Rejected> {
        match self.queues.get_mut(usize::from(queue)) {
            Some(queue) if request.cookie != OWN => queue.submit(request),
            _ => Err(Rejected { reason: SubmitError::Refused(BlockError::Invalid), request }),
        }
    }

    /// Ends the batches of all queues.
    pub fn kick(&mut self) {
        let now = self.clock.now();
        for queue in &mut self.queues {
            queue.kick(now);
        }
    }

    /// Does all that can be done without waiting, and appends the answers.
    pub fn step(&mut self, answers: &mut Vec<Answer>) {
        answers.append(&mut self.unclaimed);
        let now = self.clock.now();
        for number in 0..self.queues.len() {
            let at = u16::try_from(number).unwrap_or(u16::MAX);
            let Some(queue) = self.queues.get_mut(number) else { break };
            // Nobody waits for interrupts here: it is looked whether there is something.
            queue.interrupted();
            let outcome = queue.poll(now, &mut self.completions);
            for completion in self.completions.drain(..) {
                if completion.cookie == OWN {
                    self.own = Some(completion);
                } else {
                    answers.push(Answer { queue: at, completion });
                }
            }
            if let Err(error) = outcome {
                log::warn!("queue {number}: {error}");
                let step = self.recovery.reset_needed(now);
                self.carry_out(step, now);
            }
            self.look_after_deadlines(at, now);
        }
        self.poll_controller(now);
    }

    fn look_after_deadlines(&mut self, at: u16, now: Time) {
        while let Some(expired) = self.queues.get_mut(usize::from(at)).and_then(|queue| queue.expired(now)) {
            let step = match expired {
                Expired::Abort { tag, handle } => {
                    log::warn!("queue {at}: command {tag} takes too long");
                    self.recovery.expired(at, handle)
                }
                Expired::Reset => self.recovery.reset_needed(now),
            };
            self.carry_out(step, now);
        }
    }

    fn poll_controller(&mut self, now: Time) {
        let Some(controller) = &mut self.controller else { return };
        let mut events = std::mem::take(&mut self.events);
        let outcome = controller.poll(now, &mut events);
        for event in events.drain(..) {
            match event {
                ControllerEvent::DiskChanged(disk) => self.disk_changed(disk),
                ControllerEvent::DiskRemoved(id) => {
                    self.disks.retain(|disk| disk.id != id);
                    self.queues.iter_mut().for_each(|queue| queue.remove_disk(id));
                }
                ControllerEvent::ResetNeeded(why) => {
                    log::warn!("the controller must be reset: {why}");
                    let step = self.recovery.reset_needed(now);
                    self.carry_out(step, now);
                }
            }
        }
        self.events = events;
        if let Err(error) = outcome {
            let step = self.recovery.gone(error);
            self.carry_out(step, now);
        }
    }

    fn disk_changed(&mut self, disk: Disk) {
        for queue in &mut self.queues {
            if let Err(error) = queue.set_disk(&disk) {
                log::error!("{error}; the disk is no longer served");
                queue.remove_disk(disk.id);
            }
        }
        self.disks.retain(|known| known.id != disk.id);
        self.disks.push(disk);
    }

    /// Does what the recovery decided, and what that leads to.
    fn carry_out(&mut self, mut step: Step, now: Time) {
        let mut returned = Vec::new();
        loop {
            step = match step {
                Step::Nothing => return,
                Step::Abort { queue, handle } => {
                    let sent = self.controller.as_mut().map(|controller| controller.abort(queue, handle));
                    match sent {
                        Some(Err(error)) => {
                            log::warn!("an abort cannot be sent: {error}");
                            self.recovery.abort_refused(now)
                        }
                        _ => Step::Nothing,
                    }
                }
                Step::Quiesce => {
                    let mut next = Step::Nothing;
                    for (number, queue) in (0..).zip(&mut self.queues) {
                        returned.extend(queue.take_hardware());
                        next = self.recovery.returned(number);
                    }
                    next
                }
                Step::Reset => {
                    let hardware = std::mem::take(&mut returned);
                    let result = match &mut self.controller {
                        Some(controller) => controller.reset(hardware),
                        None => Err(BlockError::Gone),
                    };
                    let result = result.and_then(|queues| {
                        // As many as were given, or some would have none.
                        if queues.len() == self.queues.len() { Ok(queues) } else { Err(BlockError::Protocol) }
                    });
                    let now = self.clock.now();
                    match result {
                        Ok(queues) => {
                            returned = queues;
                            self.recovery.reset_done(Ok(()), now)
                        }
                        Err(error) => self.recovery.reset_done(Err(error), now),
                    }
                }
                Step::Resume => {
                    let now = self.clock.now();
                    for ((number, queue), hardware) in (0..).zip(&mut self.queues).zip(returned.drain(..)) {
                        queue.put_hardware(hardware, now);
                        self.recovery.handed_out(number);
                    }
                    Step::Nothing
                }
                Step::GiveUp(error) => {
                    log::error!("the controller is given up: {error}");
                    let hardware = std::mem::take(&mut returned);
                    if let Some(Err(error)) =
                        self.controller.as_mut().map(|controller| controller.shutdown(hardware))
                    {
                        log::warn!("shutting the controller down: {error}");
                    }
                    for queue in &mut self.queues {
                        drop(queue.fail_all(error));
                    }
                    Step::Nothing
                }
            };
        }
    }

    /// Carries out one request on queue 0 and waits for its answer, at most `timeout`.
    ///
    /// # Errors
    /// What the request failed with. After a timeout the controller has been given up: only then nothing touches the
    /// request's memory any more.
    pub fn execute(&mut self, mut request: Request, timeout: Duration) -> Result<(), BlockError> {
        request.cookie = OWN;
        let deadline = self.clock.deadline(timeout);
        self.own = None;
        let mut answers = Vec::new();
        loop {
            match self.queues.first_mut().ok_or(BlockError::Gone)?.submit(request) {
                Ok(()) => break,
                Err(rejected) => {
                    if let Some(error) = rejected.error() {
                        return Err(error);
                    }
                    // The others must end first.
                    request = rejected.request;
                    self.kick();
                    self.step(&mut answers);
                    self.unclaimed.append(&mut answers);
                    if deadline.passed(&self.clock) {
                        return Err(BlockError::TimedOut);
                    }
                    self.clock.sleep(INTERVAL);
                }
            }
        }
        self.kick();
        loop {
            let late = deadline.passed(&self.clock);
            self.step(&mut answers);
            self.unclaimed.append(&mut answers);
            if let Some(completion) = self.own.take() {
                return completion.result;
            }
            if late {
                let now = self.clock.now();
                let step = self.recovery.gone(BlockError::TimedOut);
                self.carry_out(step, now);
                self.step(&mut answers);
                self.unclaimed.append(&mut answers);
                return self.own.take().map_or(Err(BlockError::TimedOut), |own| own.result);
            }
            self.clock.sleep(INTERVAL);
        }
    }

    /// Reads `blocks` blocks into `segments`.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub fn read(
        &mut self,
        disk: DiskId,
        lba: u64,
        blocks: u64,
        segments: Segments,
        timeout: Duration,
    ) -> Result<(), BlockError> {
        self.execute(Request::transfer(Operation::Read, disk, lba, blocks, segments, OWN), timeout)
    }

    /// Writes `blocks` blocks from `segments`.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub fn write(
        &mut self,
        disk: DiskId,
        lba: u64,
        blocks: u64,
        segments: Segments,
        timeout: Duration,
    ) -> Result<(), BlockError> {
        self.execute(Request::transfer(Operation::Write, disk, lba, blocks, segments, OWN), timeout)
    }

    /// Has everything that was written to `disk` put on its medium.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub fn flush(&mut self, disk: DiskId, timeout: Duration) -> Result<(), BlockError> {
        self.execute(Request::flush(disk, OWN), timeout)
    }

    /// Waits until every request was answered, at most `timeout`; the answers come with the next
    /// [`step`](Self::step).
    ///
    /// # Errors
    /// [`BlockError::TimedOut`] when some are left.
    pub fn drain(&mut self, timeout: Duration) -> Result<(), BlockError> {
        let deadline = self.clock.deadline(timeout);
        let mut answers = Vec::new();
        self.kick();
        loop {
            let late = deadline.passed(&self.clock);
            self.step(&mut answers);
            self.unclaimed.append(&mut answers);
            if self.queues.iter().all(Queue::is_idle) {
                return Ok(());
            }
            if late {
                return Err(BlockError::TimedOut);
            }
            self.clock.sleep(INTERVAL);
        }
    }

    /// Takes the engine apart, for another one: the controller with its queues. Requests must have been answered.
    ///
    /// # Errors
    /// The engine as it was, when requests are outstanding or the controller was given up.
    #[allow(clippy::result_large_err, reason = "rare, and the engine must come back")]
    pub fn into_parts(mut self) -> Result<(C, Vec<C::Queue>), Self> {
        if !self.is_idle() || !self.recovery.is_serving() {
            return Err(self);
        }
        match self.controller.take() {
            Some(controller) => {
                Ok((controller, self.queues.iter_mut().filter_map(Queue::take_hardware).collect()))
            }
            None => Err(self),
        }
    }

    /// Ends orderly: drains, flushes every disk, and shuts the controller down. Requests that are not done in time are
    /// answered with [`BlockError::Gone`] by the next [`step`](Self::step).
    ///
    /// # Errors
    /// The first thing that went wrong. The controller is off all the same.
    pub fn shutdown(&mut self, timeout: Duration) -> Result<(), BlockError> {
        let mut result = self.drain(timeout);
        for at in 0..self.disks.len() {
            if result.is_ok()
                && let Some(disk) = self.disks.get(at)
            {
                result = self.flush(disk.id, timeout);
            }
        }
        let hardware: Vec<_> = self.queues.iter_mut().filter_map(Queue::take_hardware).collect();
        if let Some(mut controller) = self.controller.take()
            && self.recovery.given_up().is_none()
        {
            let ended = controller.shutdown(hardware);
            result = result.and(ended);
        }
        self.recovery.give_up(BlockError::Gone);
        for queue in &mut self.queues {
            drop(queue.fail_all(BlockError::Gone));
        }
        result
    }
}

impl<C: Controller> std::fmt::Debug for LocalEngine<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalEngine")
            .field("queues", &self.queues.len())
            .field("recovery", &self.recovery)
            .finish_non_exhaustive()
    }
}
