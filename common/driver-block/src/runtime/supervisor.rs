//! The thread of the controller.

use std::{
    sync::mpsc::{SyncSender, TrySendError},
    time::Duration,
};

use redox_driver_sys::time::{Clock, Time};

use super::{
    RuntimeEvent,
    mailbox::Mailbox,
    messages::{ToSupervisor, ToWorker},
};
use crate::{
    device::{Controller, ControllerEvent},
    error::BlockError,
    local::LocalEngine,
    queue::QueueOptions,
    recovery::{Recovery, RecoveryPolicy, Step},
};

/// How long the threads of the queues may take to hand their hardware over, or to end.
const GATHERING: Duration = Duration::from_secs(10);
/// How long the flushes at the end may take.
const LAST_FLUSH: Duration = Duration::from_secs(30);

/// What the controller's thread knows of a queue.
struct Member<H> {
    inbox: Mailbox<ToWorker<H>>,
    hardware: Option<H>,
    /// Whether it has stopped, and then whether every request was answered.
    stopped: Option<bool>,
    ended: bool,
}

/// A controller and the threads of its queues.
pub(crate) struct Supervisor<C: Controller> {
    /// `None` once it was shut down.
    controller: Option<C>,
    clock: Clock,
    recovery: Recovery,
    members: Vec<Member<C::Queue>>,
    inbox: Mailbox<ToSupervisor<C::Queue>>,
    options: QueueOptions,
    drain: Duration,
    events: SyncSender<RuntimeEvent>,
    /// When whoever keeps the hardware is no longer waited for.
    gather_by: Option<Time>,
    /// When whoever has not stopped is no longer waited for.
    stop_by: Option<Time>,
    /// When whoever has not ended is no longer waited for.
    end_by: Option<Time>,
    result: Result<(), BlockError>,
    messages: Vec<ToSupervisor<C::Queue>>,
    controller_events: Vec<ControllerEvent>,
    /// Whether the controller's interrupt may be another one than before.
    pub(super) interrupt_changed: bool,
}

impl<C: Controller> Supervisor<C> {
    pub(crate) fn new(
        controller: C,
        clock: &Clock,
        inboxes: Vec<Mailbox<ToWorker<C::Queue>>>,
        inbox: Mailbox<ToSupervisor<C::Queue>>,
        (options, policy, drain): (QueueOptions, RecoveryPolicy, Duration),
        events: SyncSender<RuntimeEvent>,
    ) -> Self {
        Supervisor {
            controller: Some(controller),
            clock: clock.clone(),
            recovery: Recovery::new(inboxes.len(), policy),
            members: inboxes
                .into_iter()
                .map(|inbox| Member { inbox, hardware: None, stopped: None, ended: false })
                .collect(),
            inbox,
            options,
            drain,
            events,
            gather_by: None,
            stop_by: None,
            end_by: None,
            result: Ok(()),
            messages: Vec::new(),
            controller_events: Vec::new(),
            interrupt_changed: true,
        }
    }

    pub(super) fn controller(&self) -> Option<&C> {
        self.controller.as_ref()
    }

    /// Does all that can be done without waiting. `Some` is how it all ended.
    pub(crate) fn turn(&mut self, now: Time) -> Option<Result<(), BlockError>> {
        let mut messages = std::mem::take(&mut self.messages);
        self.inbox.take(&mut messages);
        for message in messages.drain(..) {
            self.message(message, now);
        }
        self.messages = messages;
        self.poll_controller(now);
        self.look_after_deadlines(now);
        self.finish_stop(now);
        let all_ended = self.members.iter().all(|member| member.ended);
        let over = self.end_by.is_some_and(|end| all_ended || now >= end);
        over.then_some(self.result)
    }

    fn message(&mut self, message: ToSupervisor<C::Queue>, now: Time) {
        match message {
            ToSupervisor::Expired { queue, handle } => {
                let step = self.recovery.expired(queue, handle);
                self.carry_out(step, now);
            }
            ToSupervisor::ResetNeeded { queue } => {
                // A queue that has handed its hardware over meanwhile has nothing to complain about.
                let away =
                    self.members.get(usize::from(queue)).is_some_and(|member| member.hardware.is_none());
                if away && self.controller.is_some() {
                    let step = self.recovery.reset_needed(now);
                    self.carry_out(step, now);
                }
            }
            ToSupervisor::Returned { queue, hardware, stopped } => {
                let Some(member) = self.members.get_mut(usize::from(queue)) else { return };
                member.stopped = member.stopped.or(stopped);
                if let Some(hardware) = hardware {
                    member.hardware = Some(hardware);
                    let step = self.recovery.returned(queue);
                    self.carry_out(step, now);
                }
            }
            ToSupervisor::FrontendFailed { queue, error } => {
                log::error!("the front end of queue {queue} failed: {error}");
                self.tell(RuntimeEvent::FrontendFailed { queue, error });
            }
            ToSupervisor::Ended { queue } => {
                if let Some(member) = self.members.get_mut(usize::from(queue)) {
                    member.ended = true;
                }
            }
            ToSupervisor::Inspect(answer) => {
                if let Some(controller) = &mut self.controller {
                    // Whoever asked may have lost patience.
                    let _ = answer.send(controller.inspect());
                }
            }
            ToSupervisor::Stop => {
                if self.stop_by.is_none() {
                    self.stop_by = Some(now.plus(self.drain).plus(GATHERING));
                    self.post_all(|| ToWorker::Stop);
                }
            }
        }
    }

    fn post_all(&self, message: impl Fn() -> ToWorker<C::Queue>) {
        for member in &self.members {
            member.inbox.post(message());
        }
    }

    fn tell(&self, event: RuntimeEvent) {
        if let Err(TrySendError::Full(event)) = self.events.try_send(event) {
            log::warn!("nobody listens to {event:?}");
        }
    }

    fn poll_controller(&mut self, now: Time) {
        let Some(controller) = &mut self.controller else { return };
        let mut events = std::mem::take(&mut self.controller_events);
        let outcome = controller.poll(now, &mut events);
        for event in events.drain(..) {
            match event {
                ControllerEvent::DiskChanged(disk) => {
                    self.post_all(|| ToWorker::DiskChanged(disk.clone()));
                    self.tell(RuntimeEvent::DiskChanged(disk));
                }
                ControllerEvent::DiskRemoved(disk) => {
                    self.post_all(|| ToWorker::DiskRemoved(disk));
                    self.tell(RuntimeEvent::DiskRemoved(disk));
                }
                ControllerEvent::ResetNeeded(why) => {
                    log::warn!("the controller must be reset: {why}");
                    let step = self.recovery.reset_needed(now);
                    self.carry_out(step, now);
                }
            }
        }
        self.controller_events = events;
        if let Err(error) = outcome {
            let step = self.recovery.gone(error);
            self.carry_out(step, now);
        }
    }

    fn look_after_deadlines(&mut self, now: Time) {
        if self.gather_by.is_some_and(|end| now >= end) {
            log::error!("a queue does not hand its hardware over");
            let step = self.recovery.give_up(BlockError::TimedOut);
            self.carry_out(step, now);
        }
    }

    /// Does what the recovery decided, and what that leads to.
    fn carry_out(&mut self, mut step: Step, now: Time) {
        loop {
            step = match step {
                Step::Nothing => return,
                Step::Abort { queue, handle } => self.abort(queue, handle, now),
                Step::Quiesce => {
                    self.gather_by = Some(now.plus(GATHERING));
                    for member in self.members.iter().filter(|member| member.hardware.is_none()) {
                        member.inbox.post(ToWorker::Quiesce);
                    }
                    Step::Nothing
                }
                Step::Reset => self.reset(),
                Step::Resume => {
                    self.resume();
                    Step::Nothing
                }
                Step::GiveUp(error) => {
                    self.give_up(error);
                    Step::Nothing
                }
            };
        }
    }

    fn abort(&mut self, queue: u16, handle: u32, now: Time) -> Step {
        match self.controller.as_mut().map(|controller| controller.abort(queue, handle)) {
            Some(Err(error)) => {
                log::warn!("an abort cannot be sent: {error}");
                self.recovery.abort_refused(now)
            }
            _ => Step::Nothing,
        }
    }

    fn take_hardware(&mut self) -> Vec<C::Queue> {
        self.members.iter_mut().filter_map(|member| member.hardware.take()).collect()
    }

    fn reset(&mut self) -> Step {
        self.gather_by = None;
        let hardware = self.take_hardware();
        let result = match &mut self.controller {
            // As many as were given, or some would have none.
            Some(controller) => controller.reset(hardware).and_then(|hardware| {
                if hardware.len() == self.members.len() { Ok(hardware) } else { Err(BlockError::Protocol) }
            }),
            None => Err(BlockError::Gone),
        };
        let result = result.map(|hardware| {
            for (member, hardware) in self.members.iter_mut().zip(hardware) {
                member.hardware = Some(hardware);
            }
        });
        self.interrupt_changed = true;
        let now = self.clock.now();
        log::warn!(
            "the controller was reset: {}",
            if result.is_ok() { "it works" } else { "it does not work" }
        );
        self.tell(RuntimeEvent::Reset(result));
        self.recovery.reset_done(result, now)
    }

    /// Gives the hardware to the queues that still work.
    fn resume(&mut self) {
        for (number, member) in (0..).zip(&mut self.members) {
            if member.stopped.is_none()
                && let Some(hardware) = member.hardware.take()
            {
                self.recovery.handed_out(number);
                member.inbox.post(ToWorker::Resume(hardware));
            }
        }
    }

    fn give_up(&mut self, error: BlockError) {
        self.gather_by = None;
        log::error!("the controller is given up: {error}");
        let hardware = self.take_hardware();
        if let Some(mut controller) = self.controller.take()
            && let Err(error) = controller.shutdown(hardware)
        {
            log::warn!("shutting the controller down: {error}");
        }
        self.result = Err(error);
        self.post_all(|| ToWorker::Fail(error));
        self.tell(RuntimeEvent::GivenUp(error));
    }

    /// Ends everything when every queue has stopped, or the time for it is up.
    fn finish_stop(&mut self, now: Time) {
        let Some(deadline) = self.stop_by else { return };
        if self.end_by.is_some() {
            return;
        }
        let settled = self.recovery.is_serving() || self.recovery.given_up().is_some();
        let here = |member: &Member<C::Queue>| member.hardware.is_some() || self.controller.is_none();
        let stopped = settled && self.members.iter().all(|member| member.stopped.is_some() && here(member));
        if !stopped && now < deadline {
            return;
        }
        let clean = stopped && self.members.iter().all(|member| member.stopped == Some(true));
        let hardware = self.take_hardware();
        if let Some(controller) = self.controller.take() {
            self.result = if clean {
                self.shut_down_clean(controller, hardware)
            } else {
                log::error!("some requests were not answered in time");
                let mut controller = controller;
                controller.shutdown(hardware).and(Err(BlockError::TimedOut))
            };
        }
        // Nothing reaches memory any more: who still waits for an answer gets one.
        self.post_all(|| ToWorker::Fail(BlockError::Gone));
        self.post_all(|| ToWorker::End);
        self.end_by = Some(self.clock.now().max(now).plus(GATHERING));
    }

    /// All hardware is here and idle: a last flush of every disk, and off.
    fn shut_down_clean(&self, controller: C, hardware: Vec<C::Queue>) -> Result<(), BlockError> {
        match LocalEngine::from_parts(
            controller,
            hardware,
            &self.clock,
            &self.options,
            RecoveryPolicy::default(),
        ) {
            Ok(mut engine) => engine.shutdown(LAST_FLUSH),
            Err((error, mut controller, hardware)) => {
                log::error!("{error}: not flushed");
                controller.shutdown(hardware)
            }
        }
    }
}
