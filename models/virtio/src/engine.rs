//! Fetching, carrying out and using chains (sections 2.7 and 2.8).

use std::time::Duration;

use redox_driver_sys::{model::Bus, time::Time};
use virtio_spec::Features;

use crate::{
    core::{Core, Fetched, Pending, Posting},
    device_type::{DeviceType, Execution},
    fault::Action,
    ring::{Request, RingError},
    violation::Violation,
};

/// Chains fetched from a queue, and carried out, in one run: the work of a step is bounded whatever the rings hold.
const MOST_IN_A_RUN: usize = 256;
/// Longest time that an entry is held back for another one to overtake it.
const LONGEST_HOLD: Duration = Duration::from_millis(10);

impl<T: DeviceType> Core<T> {
    /// Does everything that is due.
    pub(crate) fn run(&mut self, bus: &mut dyn Bus) {
        let now = bus.now();
        self.finish_reset(now);
        self.interrupts.run(bus, self.configuration_vector);
        for queue in 0..self.queue_numbers() {
            self.finish_queue_reset(queue, now);
            if self.is_running() && self.take_look(queue, now) {
                self.fetch(bus, queue);
            }
        }
        self.execute_due(bus);
        for queue in 0..self.queue_numbers() {
            self.deliver(bus, queue);
        }
        for queue in 0..self.queue_numbers() {
            self.release_held(bus, queue);
        }
    }

    fn queue_numbers(&self) -> u16 {
        u16::try_from(self.queues.len()).unwrap_or(u16::MAX)
    }

    /// When there is something to do next.
    pub(crate) fn next_event(&self) -> Option<Time> {
        if self.removed {
            return None;
        }
        let due = self.interrupts.is_due().then_some(Time::default());
        let queues = self.queues.iter().flat_map(|queue| {
            let look = queue.look_at.filter(|_| self.is_running() && queue.ring.is_some());
            [look, queue.held.map(|(until, _)| until), queue.reset_at]
        });
        let arrived = self.is_running()
            && (0..).zip(&self.queues).any(|(number, queue)| {
                !queue.waiting.is_empty() && self.device.has_arrived(number, &queue.waiting)
            });
        let due = due.or(arrived.then_some(Time::default()));
        let requests = if self.is_running() { self.requests.next_due() } else { None };
        queues.chain([due, requests, self.reset_at]).flatten().min()
    }

    fn take_look(&mut self, queue: u16, now: Time) -> bool {
        let Some(queue) = self.queues.get_mut(usize::from(queue)) else { return false };
        queue.ring.is_some() && queue.look_at.take_if(|at| *at <= now).is_some()
    }

    /// Fetches what is available, and then asks to be notified.
    fn fetch(&mut self, bus: &mut dyn Bus, queue: u16) {
        for _ in 0..MOST_IN_A_RUN {
            let Some(ring) = self.queues.get_mut(usize::from(queue)).and_then(|queue| queue.ring.as_mut())
            else {
                return;
            };
            let fetched = match ring.fetch(bus) {
                // What was added before the driver could see that it must notify is found by another look.
                Ok(None) => ring.want_notification(bus).and_then(|()| ring.fetch(bus)),
                fetched => fetched,
            };
            match fetched {
                Ok(Some(request)) => self.accept(bus, queue, request),
                Ok(None) => return,
                Err(error) => return self.broken(queue, error),
            }
            if !self.is_running() {
                return;
            }
        }
        // There may be more.
        if let Some(queue) = self.queues.get_mut(usize::from(queue)) {
            queue.look_at = Some(bus.now());
        }
    }

    /// A ring cannot be followed any more (section 2.1.2).
    fn broken(&mut self, queue: u16, RingError(what): RingError) {
        self.note(Violation::Ring { queue, what });
        self.need_reset();
    }

    fn accept(&mut self, bus: &mut dyn Bus, number: u16, request: Request) {
        self.statistics.fetched += 1;
        if self.accepted.contains(Features::IN_ORDER)
            && let Some(queue) = self.queues.get_mut(usize::from(number))
        {
            queue.order.push_back(Fetched { id: request.id, entries: request.entries, done: None });
        }
        if self.device.waits(number) {
            if let Some(queue) = self.queues.get_mut(usize::from(number)) {
                queue.waiting.push(request);
            }
            return;
        }
        let (kind, actions) = self.strike(bus, number, &request);
        let latency = self.latency(kind, &actions);
        let due = latency.map(|latency| bus.now().plus(latency));
        self.requests.add(due, Pending { queue: number, request, actions });
        self.statistics.most_outstanding = self.statistics.most_outstanding.max(self.requests.len());
    }

    /// What goes wrong with a request, and of what kind it is.
    fn strike(&mut self, bus: &mut dyn Bus, number: u16, request: &Request) -> (u32, Vec<Action>) {
        let kind = self.device.kind(bus, number, request);
        let actions = self.faults.strike(|only| only.matches(number, kind));
        self.statistics.faults += actions.len() as u64;
        (kind, actions)
    }

    /// Gives what has arrived to the chains that wait for it.
    fn deliver(&mut self, bus: &mut dyn Bus, number: u16) {
        for _ in 0..MOST_IN_A_RUN {
            let Some(queue) = self.queues.get_mut(usize::from(number)) else { return };
            if queue.waiting.is_empty() || !self.is_running() {
                return;
            }
            let Some(queue) = self.queues.get_mut(usize::from(number)) else { return };
            let Some(parts) = self.device.arrive(number, &queue.waiting, &mut self.violations) else {
                return;
            };
            let chains: Vec<Request> = queue.waiting.drain(..parts.len().min(queue.waiting.len())).collect();
            for (place, (request, mut part)) in chains.into_iter().zip(parts).enumerate() {
                let (_, actions) = self.strike(bus, number, &request);
                let pending = Pending { queue: number, request, actions };
                if pending.actions.contains(&Action::Hang) || !self.misbehave(bus, &pending) {
                    continue;
                }
                for action in &pending.actions {
                    match *action {
                        Action::Corrupt(at, bits) if place == 0 => {
                            if let Some(byte) = part.get_mut(at) {
                                *byte ^= bits;
                            }
                        }
                        Action::Garbage => self.faults.garble(&mut part),
                        _ => {}
                    }
                }
                // A buffer that is not in memory: the machine has noted it.
                let _ = pending.request.write(bus, 0, &part);
                self.complete(bus, &pending, u32::try_from(part.len()).unwrap_or(u32::MAX));
            }
        }
    }

    /// How long a request takes; `None`: for ever.
    fn latency(&mut self, kind: u32, actions: &[Action]) -> Option<Duration> {
        let configured = self.config.latency;
        let mut latency = configured.request + self.device.extra_latency(kind);
        let jitter = u64::try_from(configured.jitter.as_nanos()).unwrap_or(u64::MAX);
        if jitter > 0 {
            latency = latency.saturating_add(Duration::from_nanos(self.rng.u64(..jitter)));
        }
        for action in actions {
            match action {
                Action::Hang => return None,
                Action::Delay(more) => latency = latency.saturating_add(*more),
                _ => {}
            }
        }
        Some(latency)
    }

    fn execute_due(&mut self, bus: &mut dyn Bus) {
        for _ in 0..MOST_IN_A_RUN {
            if !self.is_running() {
                return;
            }
            let Some(pending) = self.requests.take_due(bus.now()) else { return };
            if let Some(len) = self.execute(bus, &pending) {
                self.complete(bus, &pending, len);
            }
        }
    }

    /// Does what goes wrong before a request is carried out; false where it never is.
    fn misbehave(&mut self, bus: &mut dyn Bus, pending: &Pending) -> bool {
        let mut scratch = [0; 64];
        for action in &pending.actions {
            match *action {
                Action::SpuriousInterrupt => {
                    if let Some(queue) = self.queues.get(usize::from(pending.queue)) {
                        self.interrupts.spurious(bus, queue.vector);
                    }
                }
                Action::NeedsReset => {
                    self.need_reset();
                    return false;
                }
                Action::Remove => {
                    self.removed = true;
                    self.interrupts.reset();
                    return false;
                }
                // The machine notes the fault; this device does not care.
                Action::WildRead(addr) => drop(bus.dma_read(addr, &mut scratch)),
                Action::WildWrite(addr) => drop(bus.dma_write(addr, &scratch)),
                _ => {}
            }
        }
        true
    }

    /// Carries a request out; `None` where it is never used.
    fn execute(&mut self, bus: &mut dyn Bus, pending: &Pending) -> Option<u32> {
        if !self.misbehave(bus, pending) {
            return None;
        }
        Some(self.device.execute(Execution {
            bus,
            queue: pending.queue,
            request: &pending.request,
            actions: &pending.actions,
            violations: &mut self.violations,
        }))
    }

    /// Gives a chain back, as the faults of its request want it.
    fn complete(&mut self, bus: &mut dyn Bus, pending: &Pending, len: u32) {
        let Request { id, entries, .. } = pending.request;
        let mut posting = Posting { id: id.into(), len, chains: 1, entries, interrupt: true };
        if self.accepted.contains(Features::IN_ORDER) {
            let Some(batch) = self.batch(pending.queue, id, len) else { return };
            posting = batch;
        }
        let (mut copies, mut hold) = (1, false);
        for action in &pending.actions {
            match *action {
                Action::Drop => return,
                Action::CorruptId(bits) => posting.id ^= bits,
                Action::BadLength(more) => posting.len = posting.len.saturating_add(more),
                Action::Duplicate => copies = 2,
                Action::Reorder => hold = true,
                Action::LoseInterrupt => posting.interrupt = false,
                Action::IndexJump(by) => {
                    let queue = self.queues.get_mut(usize::from(pending.queue));
                    if let Some(ring) = queue.and_then(|queue| queue.ring.as_mut()) {
                        let _ = ring.jump(bus, by);
                    }
                }
                _ => {}
            }
        }
        let Some(queue) = self.queues.get_mut(usize::from(pending.queue)) else { return };
        if hold && queue.held.is_none() {
            queue.held = Some((bus.now().plus(LONGEST_HOLD), posting));
            return;
        }
        let overtaken = queue.held.take();
        for _ in 0..copies {
            self.post(bus, pending.queue, posting);
        }
        if let Some((_, overtaken)) = overtaken {
            self.post(bus, pending.queue, overtaken);
        }
    }

    /// With IN_ORDER: the entry for all chains at the head of the queue that were carried out, if there are any.
    fn batch(&mut self, queue: u16, id: u16, len: u32) -> Option<Posting> {
        let order = &mut self.queues.get_mut(usize::from(queue))?.order;
        order.iter_mut().find(|fetched| fetched.id == id && fetched.done.is_none())?.done = Some(len);
        let mut posting = Posting { id: 0, len: 0, chains: 0, entries: 0, interrupt: true };
        while let Some(Fetched { id, entries, done: Some(len) }) = order.front().copied() {
            order.pop_front();
            (posting.id, posting.len) = (id.into(), len);
            posting.chains += 1;
            posting.entries += entries;
        }
        self.statistics.batches += u64::from(posting.chains > 1);
        (posting.chains > 0).then_some(posting)
    }

    fn post(&mut self, bus: &mut dyn Bus, number: u16, posting: Posting) {
        let Posting { id, len, chains, entries, interrupt } = posting;
        let Some(queue) = self.queues.get_mut(usize::from(number)) else { return };
        let (vector, Some(ring)) = (queue.vector, queue.ring.as_mut()) else { return };
        let posted = ring.put_used(bus, id, len, chains, entries);
        match posted.and_then(|()| ring.wants_interrupt(bus)) {
            Ok(wanted) => {
                self.statistics.used += u64::from(chains);
                if wanted && interrupt {
                    self.interrupts.queue(bus, vector);
                }
            }
            Err(error) => self.broken(number, error),
        }
    }

    /// Writes what was held back long enough.
    fn release_held(&mut self, bus: &mut dyn Bus, number: u16) {
        let now = bus.now();
        let held = self
            .queues
            .get_mut(usize::from(number))
            .and_then(|queue| queue.held.take_if(|(until, _)| *until <= now));
        if let Some((_, posting)) = held.filter(|_| self.is_running()) {
            self.post(bus, number, posting);
        }
    }
}
