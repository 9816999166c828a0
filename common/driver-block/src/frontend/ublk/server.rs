//! The part of a hardware queue's thread that speaks to the kernel: one ring for the ublk queues of all disks.

use std::{
    collections::VecDeque,
    fmt, io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use redox_driver_sys::irq::Interrupt;

use super::{
    changes::Changes,
    sys::{Event, Queue as KernelQueue, QueueRing},
    translate,
};
use crate::{
    device::{Disk, DiskId, HardwareQueue},
    frontend::{QueueFrontend, Ready},
    queue::Queue,
    request::{Completion, Request},
    waker::Waker,
};

/// A ublk queue that a thread is to serve.
pub(super) struct Attach {
    pub(super) queue: KernelQueue,
    pub(super) disk: DiskId,
    pub(super) block_shift: u32,
    /// Told when the kernel has been asked for the first requests.
    pub(super) ready: SyncSender<io::Result<()>>,
    /// Told when the kernel has let go of the queue. Hanging up without a word says the same.
    pub(super) ended: SyncSender<()>,
}

/// Reaches a queue's thread.
pub(super) struct Mailbox {
    messages: SyncSender<Attach>,
    waker: Waker,
}

impl Mailbox {
    /// Messages that a thread may have unread: more are never sent before it has answered.
    const ROOM: usize = 64;

    /// Has the thread serve a queue. `false` if it is gone or reads no messages.
    pub(super) fn attach(&self, attach: Attach) -> bool {
        let sent = self.messages.try_send(attach).is_ok();
        self.waker.wake();
        sent
    }
}

/// What a queue's thread makes its [`UblkQueue`] of.
pub struct QueueSeed {
    index: usize,
    messages: Receiver<Attach>,
    waker: Waker,
    changes: Arc<Changes>,
}

impl fmt::Debug for QueueSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueSeed").field("index", &self.index).finish_non_exhaustive()
    }
}

impl QueueSeed {
    pub(super) fn new(index: usize, changes: Arc<Changes>) -> io::Result<(Mailbox, QueueSeed)> {
        let (sender, messages) = sync_channel(Mailbox::ROOM);
        let waker = Waker::new()?;
        let mailbox = Mailbox { messages: sender, waker: waker.clone() };
        Ok((mailbox, QueueSeed { index, messages, waker, changes }))
    }

    /// The front end of the queue, to be used on the calling thread only.
    ///
    /// # Errors
    /// What the kernel answers: usually that it does not allow io_uring.
    pub fn grow(self) -> io::Result<UblkQueue> {
        let mut queue = UblkQueue {
            index: self.index,
            ring: QueueRing::new()?,
            served: (0..QueueRing::SLOTS).map(|_| None).collect(),
            messages: self.messages,
            changes: self.changes,
            events: Vec::with_capacity(256),
            incoming: VecDeque::with_capacity(256),
            refused: None,
            interrupt: Watched::new(INTERRUPT),
            waker: Watched::new(WAKER),
            mailbox: Watched::new(MAILBOX),
            own_waker: self.waker,
            failed: None,
            stopping: false,
        };
        let own = queue.own_waker.as_fd().try_clone_to_owned()?;
        queue.mailbox.set(&mut queue.ring, Some(own))?;
        Ok(queue)
    }
}

/// A ublk queue that is served.
struct Served {
    disk: DiskId,
    block_shift: u32,
    /// Tags that the kernel took away for good.
    ended_tags: u16,
    ended: SyncSender<()>,
}

const INTERRUPT: u16 = 0;
const WAKER: u16 = 1;
const MAILBOX: u16 = 2;

/// A descriptor that the ring watches.
struct Watched {
    kind: u16,
    /// Tells the present watch from those before it.
    generation: u16,
    descriptor: Option<OwnedFd>,
    active: bool,
}

impl Watched {
    const KINDS: u16 = 4;

    fn new(kind: u16) -> Self {
        Watched { kind, generation: 0, descriptor: None, active: false }
    }

    fn token(&self) -> u16 {
        self.generation.wrapping_mul(Self::KINDS) | self.kind
    }

    /// Watches `descriptor` from now on, and nothing else.
    fn set(&mut self, ring: &mut QueueRing, descriptor: Option<OwnedFd>) -> io::Result<()> {
        if self.active {
            ring.unwatch(self.token())?;
        }
        self.active = false;
        self.generation = self.generation.wrapping_add(1);
        self.descriptor = descriptor;
        self.renew(ring)
    }

    /// Watches again after the kernel has ended the watch.
    fn renew(&mut self, ring: &mut QueueRing) -> io::Result<()> {
        if let Some(descriptor) = &self.descriptor
            && !self.active
        {
            ring.watch(descriptor.as_fd(), self.token())?;
            self.active = true;
        }
        Ok(())
    }

    /// Whether an event is about this descriptor.
    fn takes(&mut self, token: u16, last: bool) -> bool {
        let own = token == self.token();
        if own && last {
            self.active = false;
        }
        own
    }
}

/// The front end of one hardware queue: serves one ublk queue of every disk, in one ring.
pub struct UblkQueue {
    index: usize,
    ring: QueueRing,
    served: Vec<Option<Served>>,
    messages: Receiver<Attach>,
    changes: Arc<Changes>,
    events: Vec<Event>,
    /// Requests of the kernel's, in the order in which they came, that the block layer does not have yet.
    incoming: VecDeque<(u16, u16)>,
    /// A request that the block layer had no room for.
    refused: Option<Request>,
    interrupt: Watched,
    waker: Watched,
    mailbox: Watched,
    own_waker: Waker,
    /// What went wrong where nothing can be returned.
    failed: Option<io::Error>,
    /// No further requests are taken.
    stopping: bool,
}

impl fmt::Debug for UblkQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UblkQueue").field("index", &self.index).finish_non_exhaustive()
    }
}

impl UblkQueue {
    fn read_messages(&mut self) {
        self.own_waker.clear();
        while let Ok(attach) = self.messages.try_recv() {
            self.attach(attach);
        }
    }

    fn attach(&mut self, attach: Attach) {
        let Attach { queue, disk, block_shift, ready, ended } = attach;
        let depth = queue.depth();
        let slot = match self.ring.insert(queue) {
            Ok(slot) => slot,
            Err(error) => {
                let _ = ready.try_send(Err(error));
                return;
            }
        };
        if let Some(place) = self.served.get_mut(usize::from(slot)) {
            *place = Some(Served { disk, block_shift, ended_tags: 0, ended });
        }
        // Whoever waits for this goes on with a command that the kernel answers only when it has every FETCH.
        let fetched = (0..depth).try_for_each(|tag| self.ring.fetch(slot, tag));
        let _ = ready.try_send(fetched.and_then(|()| self.ring.submit()));
    }

    /// The kernel gives no further requests with `tag`.
    fn tag_ended(&mut self, slot: u16, tag: u16, result: i32) {
        const ENODEV: i32 = 19;
        let Some(place) = self.served.get_mut(usize::from(slot)) else { return };
        let Some(served) = place else { return };
        if result != -ENODEV {
            let error = io::Error::from_raw_os_error(result.saturating_neg());
            log::error!("disk {}: the kernel refused the command of tag {tag}: {error}", served.disk);
        }
        served.ended_tags = served.ended_tags.saturating_add(1);
        let depth = self.ring.queue(slot).map_or(0, KernelQueue::depth);
        if served.ended_tags >= depth && self.ring.remove(slot) {
            let _ = served.ended.try_send(());
            *place = None;
        }
    }

    /// The next request of the kernel's. What is none is answered.
    fn next_request(&mut self) -> io::Result<Option<Request>> {
        if self.stopping {
            return Ok(None);
        }
        if let Some(request) = self.refused.take() {
            return Ok(Some(request));
        }
        while let Some((slot, tag)) = self.incoming.pop_front() {
            let Some(served) = self.served.get(usize::from(slot)).and_then(Option::as_ref) else { continue };
            let Some(kernel) = self.ring.queue(slot) else { continue };
            let Some(descriptor) = kernel.request(tag) else { continue };
            let cookie = u64::from(slot) << 16 | u64::from(tag);
            let segment = |bytes| kernel.segment(tag, bytes);
            match translate::request(&descriptor, served.disk, served.block_shift, cookie, segment) {
                Ok(request) => return Ok(Some(request)),
                Err(result) => {
                    log::warn!("disk {}: request {descriptor:?} is answered {result}", served.disk);
                    self.ring.commit(slot, tag, result)?;
                }
            }
        }
        Ok(None)
    }

    fn submit_all<H: HardwareQueue>(&mut self, queue: &mut Queue<H>) -> io::Result<()> {
        while let Some(request) = self.next_request()? {
            let Err(rejected) = queue.submit(request) else { continue };
            let Some(error) = rejected.error() else {
                self.refused = Some(rejected.request);
                return Ok(());
            };
            self.answer_one(&Completion { cookie: rejected.request.cookie, result: Err(error), bytes: 0 })?;
        }
        Ok(())
    }

    fn answer_one(&mut self, completion: &Completion) -> io::Result<()> {
        let tag = u16::try_from(completion.cookie & u64::from(u16::MAX)).unwrap_or(u16::MAX);
        let slot = u16::try_from(completion.cookie >> 16).unwrap_or(u16::MAX);
        let Some(descriptor) = self.ring.queue(slot).and_then(|kernel| kernel.request(tag)) else {
            return Ok(());
        };
        let result = translate::answer(completion, translate::has_data(&descriptor));
        self.ring.commit(slot, tag, result)
    }

    /// Keeps an error for the next wait, which ends the queue.
    fn note(&mut self, outcome: io::Result<()>) {
        if let Err(error) = outcome {
            self.failed.get_or_insert(error);
        }
    }
}

impl Drop for UblkQueue {
    fn drop(&mut self) {
        // The last answers. Should it fail, the kernel gives the requests to the next daemon.
        let _ = self.ring.submit();
    }
}

impl QueueFrontend for UblkQueue {
    fn watch(&mut self, interrupt: Option<&Interrupt>, waker: &Waker) -> io::Result<()> {
        let interrupt = match interrupt.and_then(Interrupt::as_fd) {
            Some(descriptor) => Some(descriptor.try_clone_to_owned()?),
            None => None,
        };
        self.interrupt.set(&mut self.ring, interrupt)?;
        self.waker.set(&mut self.ring, Some(waker.as_fd().try_clone_to_owned()?))
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<Ready> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        for watched in [&mut self.interrupt, &mut self.waker, &mut self.mailbox] {
            watched.renew(&mut self.ring)?;
        }
        self.ring.wait(timeout, &mut self.events)?;
        let mut ready = Ready::default();
        let mut messages = false;
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            match event {
                Event::Readable { token, last } => {
                    ready.interrupt |= self.interrupt.takes(token, last);
                    ready.message |= self.waker.takes(token, last);
                    messages |= self.mailbox.takes(token, last);
                }
                Event::Command { slot, tag, result: 0 } => self.incoming.push_back((slot, tag)),
                Event::Command { slot, tag, result } => self.tag_ended(slot, tag, result),
            }
        }
        self.events = events;
        if messages {
            self.read_messages();
        }
        Ok(ready)
    }

    fn submit<H: HardwareQueue>(&mut self, queue: &mut Queue<H>) {
        let outcome = self.submit_all(queue);
        self.note(outcome);
    }

    fn answer(&mut self, answers: &[Completion]) {
        let outcome = answers.iter().try_for_each(|completion| self.answer_one(completion));
        self.note(outcome);
    }

    fn disk_changed(&mut self, disk: &Disk) {
        self.changes.changed(self.index, disk);
    }

    fn disk_removed(&mut self, disk: DiskId) {
        // Every queue is told; the device is one.
        if self.index == 0 {
            self.changes.removed(disk);
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
    }
}
