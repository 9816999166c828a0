//! The system calls of ublk that the compiler cannot check: everything `unsafe` of the front end is in this file.
//!
//! What the callers get is safe because the two kinds of memory that the kernel reaches into belong to the rings here:
//! the buffer of a control command stays with its ring until the kernel has answered, and the data buffers and
//! descriptors of a queue stay with its ring until the kernel has given back every command that names them.

use std::{
    fs::File,
    io,
    mem::ManuallyDrop,
    num::NonZeroUsize,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::NonNull,
    sync::Arc,
    time::{Duration, Instant},
};

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use redox_driver_sys::dma::{DmaBuffer, Segment};
use rustix::{
    io::Errno,
    mm::{MapFlags, ProtFlags, mmap, munmap},
};
use zerocopy::{FromBytes, Immutable, IntoBytes, transmute};

use super::uapi::{self, ControlCommand, IoCommand, IoDescriptor};

/// Where control commands go.
pub(super) const CONTROL_PATH: &str = "/dev/ublk-control";

/// The ring of control commands, one command at a time.
pub(super) struct ControlRing {
    ring: IoUring<squeue::Entry128, cqueue::Entry>,
    file: File,
    sequence: u64,
}

impl ControlRing {
    pub(super) fn open() -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(CONTROL_PATH)?;
        Ok(ControlRing { ring: IoUring::builder().build(4)?, file, sequence: 0 })
    }

    /// Sends a command with `data`, and waits for the kernel's answer: a number, and what it made of `data`.
    ///
    /// A command that is not answered in time is left to the kernel, with its memory: the error is `ETIME` then.
    pub(super) fn execute<T: FromBytes + IntoBytes + Immutable>(
        &mut self,
        operation: u32,
        mut command: ControlCommand,
        data: T,
        timeout: Duration,
    ) -> io::Result<(i32, T)> {
        let end = Instant::now() + timeout;
        self.sequence = self.sequence.wrapping_add(1);
        let data = NonNull::from(Box::leak(Box::new(data)));
        if size_of::<T>() != 0 {
            command.address = data.addr().get() as u64;
            command.length = u16::try_from(size_of::<T>()).map_err(|_| Errno::INVAL)?;
        }
        let mut payload = [0; 80];
        payload[..size_of::<ControlCommand>()].copy_from_slice(command.as_bytes());
        let entry = opcode::UringCmd80::new(types::Fd(self.file.as_raw_fd()), operation)
            .cmd(payload)
            .build()
            .user_data(self.sequence);
        // SAFETY: the descriptor is open as long as the ring; `data` was leaked, and comes back below only after the
        // kernel has answered this very command.
        unsafe { self.ring.submission().push(&entry) }.map_err(|_| Errno::BUSY)?;
        let result = self.wait(end)?;
        // SAFETY: from the box above, and the kernel is done with it. Any bytes that it wrote make a `T`.
        let data = *unsafe { Box::from_raw(data.as_ptr()) };
        if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok((result, data)) }
    }

    /// The result of the newest command. Answers to older ones, given up by now, are passed over.
    fn wait(&mut self, end: Instant) -> io::Result<i32> {
        loop {
            if let Some(entry) = self.ring.completion().find(|entry| entry.user_data() == self.sequence) {
                return Ok(entry.result());
            }
            let left = end.saturating_duration_since(Instant::now());
            wait_for_completion(&self.ring, left)?;
            if left.is_zero() && self.ring.completion().is_empty() {
                return Err(Errno::TIME.into());
            }
        }
    }
}

/// Submits what was pushed, and waits until something completes or `timeout` is over.
fn wait_for_completion<S: squeue::EntryMarker>(
    ring: &IoUring<S, cqueue::Entry>,
    timeout: Duration,
) -> io::Result<()> {
    let time = types::Timespec::from(timeout);
    let arguments = types::SubmitArgs::new().timespec(&time);
    match ring.submitter().submit_with_args(1, &arguments).map_err(|error| (error.raw_os_error(), error)) {
        Ok(_) => Ok(()),
        Err((Some(code), _))
            if [Errno::TIME, Errno::INTR].iter().any(|known| known.raw_os_error() == code) =>
        {
            Ok(())
        }
        // The kernel has completions that did not fit: they come once there is room.
        Err((Some(code), _)) if Errno::BUSY.raw_os_error() == code => Ok(()),
        Err((_, error)) => Err(error),
    }
}

/// The descriptors of a queue's requests, written by the kernel.
struct Descriptors {
    memory: NonNull<IoDescriptor>,
    bytes: NonZeroUsize,
    depth: u16,
}

// SAFETY: a read-only mapping, valid in every thread.
unsafe impl Send for Descriptors {}

impl Descriptors {
    fn map(device: &File, queue: u16, depth: u16) -> io::Result<Self> {
        let bytes = NonZeroUsize::new(uapi::descriptor_bytes(depth)).ok_or(Errno::INVAL)?;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let memory = unsafe {
            mmap(
                std::ptr::null_mut(),
                bytes.get(),
                ProtFlags::READ,
                MapFlags::SHARED | MapFlags::POPULATE,
                device,
                uapi::descriptor_offset(queue),
            )
        }?;
        let memory = NonNull::new(memory.cast()).ok_or(Errno::NOMEM)?;
        Ok(Descriptors { memory, bytes, depth })
    }

    fn get(&self, tag: u16) -> Option<IoDescriptor> {
        // SAFETY: below `depth`, thus inside the mapping, which starts on a page. The kernel may write meanwhile: the value
        // is a copy, and no reference to the memory is made.
        (tag < self.depth).then(|| unsafe { self.memory.add(usize::from(tag)).read_volatile() })
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`, of which no reference exists. It cannot fail for a whole mapping.
        let _ = unsafe { munmap(self.memory.as_ptr().cast(), self.bytes.get()) };
    }
}

/// One queue of one ublk device, with the memory of its requests' data.
pub(super) struct Queue {
    device: Arc<File>,
    number: u16,
    descriptors: Descriptors,
    buffers: DmaBuffer,
    buffer_bytes: u32,
    /// Commands that the kernel has: it may write into their buffers.
    outstanding: u16,
}

impl Queue {
    /// Queue `number` of `device`, whose requests of at most `buffer_bytes` have their data in `buffers`, one after the
    /// other.
    pub(super) fn new(
        device: Arc<File>,
        number: u16,
        depth: u16,
        buffers: DmaBuffer,
        buffer_bytes: u32,
    ) -> io::Result<Self> {
        if (buffer_bytes as usize).checked_mul(usize::from(depth)).is_none_or(|need| need > buffers.len()) {
            return Err(Errno::NOBUFS.into());
        }
        let descriptors = Descriptors::map(&device, number, depth)?;
        Ok(Queue { device, number, descriptors, buffers, buffer_bytes, outstanding: 0 })
    }

    pub(super) fn depth(&self) -> u16 {
        self.descriptors.depth
    }

    /// The request that the kernel gave with `tag`, as its descriptor says now.
    pub(super) fn request(&self, tag: u16) -> Option<IoDescriptor> {
        self.descriptors.get(tag)
    }

    /// The first `bytes` of the buffer of `tag`, for the device.
    pub(super) fn segment(&self, tag: u16, bytes: u32) -> Option<Segment> {
        if bytes > self.buffer_bytes || tag >= self.depth() {
            return None;
        }
        self.buffers.segment(self.offset(tag), bytes).ok()
    }

    fn offset(&self, tag: u16) -> usize {
        usize::from(tag) * self.buffer_bytes as usize
    }
}

/// What completed on a [`QueueRing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The kernel gave back the command `tag` of the queue in `slot`: 0 for a request, else a negative error number.
    Command { slot: u16, tag: u16, result: i32 },
    /// The descriptor watched as `token` is readable. `last`: it is not watched any more.
    Readable { token: u16, last: bool },
}

const WATCH: u64 = 1 << 63;
const SLOT_SHIFT: u32 = 16;
/// Of commands whose end is of no interest.
const NOBODY: u64 = 1 << 62;

/// The ring of one thread: I/O commands of up to [`SLOTS`](Self::SLOTS) queues, and descriptors to be watched.
pub(super) struct QueueRing {
    ring: ManuallyDrop<IoUring>,
    slots: Vec<Option<Queue>>,
}

impl QueueRing {
    /// Most queues that a ring serves.
    pub(super) const SLOTS: u16 = 256;

    /// A ring that only the calling thread may use.
    pub(super) fn new() -> io::Result<Self> {
        let ring: IoUring = IoUring::builder()
            .setup_cqsize(4096)
            .setup_single_issuer()
            // The kernel runs its part of a request (copying a write's data) when this thread waits, and so in batches.
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .dontfork()
            .build(256)?;
        ring.submitter().register_files_sparse(u32::from(Self::SLOTS))?;
        Ok(QueueRing { ring: ManuallyDrop::new(ring), slots: (0..Self::SLOTS).map(|_| None).collect() })
    }

    /// Takes `queue` in and says under which number.
    pub(super) fn insert(&mut self, queue: Queue) -> io::Result<u16> {
        let free = self.slots.iter().position(Option::is_none).ok_or(Errno::NOSPC)?;
        let slot = u16::try_from(free).map_err(|_| Errno::NOSPC)?;
        self.ring.submitter().register_files_update(u32::from(slot), &[queue.device.as_raw_fd()])?;
        self.slots[free] = Some(queue);
        Ok(slot)
    }

    /// Lets a queue go when the kernel has none of its commands any more; says whether it did.
    pub(super) fn remove(&mut self, slot: u16) -> bool {
        let Some(place) = self.slots.get_mut(usize::from(slot)) else { return false };
        if place.as_ref().is_none_or(|queue| queue.outstanding != 0) {
            return false;
        }
        // The device cannot be removed while the ring holds it; should this fail, it is removed with the ring.
        let _ = self.ring.submitter().register_files_update(u32::from(slot), &[-1]);
        *place = None;
        true
    }

    pub(super) fn queue(&self, slot: u16) -> Option<&Queue> {
        self.slots.get(usize::from(slot)).and_then(Option::as_ref)
    }

    /// Asks for the first request of `tag`.
    pub(super) fn fetch(&mut self, slot: u16, tag: u16) -> io::Result<()> {
        self.command(slot, tag, uapi::FETCH_REQ, -1)
    }

    /// Answers the request of `tag` and asks for the next.
    pub(super) fn commit(&mut self, slot: u16, tag: u16, result: i32) -> io::Result<()> {
        self.command(slot, tag, uapi::COMMIT_AND_FETCH_REQ, result)
    }

    fn command(&mut self, slot: u16, tag: u16, operation: u32, result: i32) -> io::Result<()> {
        let queue = self.slots.get_mut(usize::from(slot)).and_then(Option::as_mut).ok_or(Errno::NODEV)?;
        if tag >= queue.depth() {
            return Err(Errno::INVAL.into());
        }
        let address = (queue.buffers.host_address() + queue.offset(tag)) as u64;
        let payload: [u8; 16] = transmute!(IoCommand { queue: queue.number, tag, result, address });
        let entry = opcode::UringCmd16::new(types::Fixed(u32::from(slot)), operation)
            .cmd(payload)
            .build()
            .user_data(u64::from(slot) << SLOT_SHIFT | u64::from(tag));
        queue.outstanding = queue.outstanding.saturating_add(1);
        // SAFETY: `address` names `buffer_bytes` bytes inside `buffers` (checked in `Queue::new` for every tag below the
        // depth). The queue keeps them until the kernel has given back every command (`remove`, `drop`), and they are
        // memory shared with a device, to which no references exist.
        let pushed = unsafe { push(&mut self.ring, &entry) };
        if pushed.is_err()
            && let Some(queue) = self.slots.get_mut(usize::from(slot)).and_then(Option::as_mut)
        {
            queue.outstanding = queue.outstanding.saturating_sub(1);
        }
        pushed
    }

    /// Reports `token` each time that `descriptor` becomes readable, until an event says that it was the last.
    pub(super) fn watch(&mut self, descriptor: BorrowedFd<'_>, token: u16) -> io::Result<()> {
        const POLLIN: u32 = 1;
        let entry = opcode::PollAdd::new(types::Fd(descriptor.as_raw_fd()), POLLIN)
            .multi(true)
            .build()
            .user_data(WATCH | u64::from(token));
        // SAFETY: no memory is involved, and the kernel takes its own reference to the open file when it is submitted.
        unsafe { push(&mut self.ring, &entry) }
    }

    /// Ends the watch that reports `token`. Events of it may still come.
    pub(super) fn unwatch(&mut self, token: u16) -> io::Result<()> {
        let entry = opcode::PollRemove::new(WATCH | u64::from(token)).build().user_data(NOBODY);
        // SAFETY: no memory is involved.
        unsafe { push(&mut self.ring, &entry) }
    }

    /// Hands over what was pushed, waits until something completes or `timeout` is over, and appends it to `events`.
    ///
    /// With a `timeout` of zero the kernel is entered only when it has something to do.
    pub(super) fn wait(&mut self, timeout: Duration, events: &mut Vec<Event>) -> io::Result<()> {
        if !timeout.is_zero() {
            if self.ring.completion().is_empty() {
                wait_for_completion(&self.ring, timeout)?;
            } else {
                self.submit()?;
            }
        } else {
            let mut submission = self.ring.submission();
            submission.sync();
            let idle = submission.is_empty() && !submission.taskrun() && !submission.cq_overflow();
            drop(submission);
            if !idle {
                self.submit()?;
            }
        }
        for entry in self.ring.completion() {
            let data = entry.user_data();
            if data & WATCH != 0 {
                let token = u16::try_from(data & u64::from(u16::MAX)).unwrap_or(u16::MAX);
                events.push(Event::Readable { token, last: !cqueue::more(entry.flags()) });
                continue;
            }
            let tag = u16::try_from(data & u64::from(u16::MAX)).unwrap_or(u16::MAX);
            let slot = u16::try_from(data >> SLOT_SHIFT).unwrap_or(u16::MAX);
            if let Some(queue) = self.slots.get_mut(usize::from(slot)).and_then(Option::as_mut) {
                queue.outstanding = queue.outstanding.saturating_sub(1);
                events.push(Event::Command { slot, tag, result: entry.result() });
            }
        }
        Ok(())
    }

    /// Hands over what was pushed, without waiting.
    pub(super) fn submit(&self) -> io::Result<()> {
        submit(&self.ring)
    }
}

impl Drop for QueueRing {
    fn drop(&mut self) {
        if self.slots.iter().flatten().all(|queue| queue.outstanding == 0) {
            // SAFETY: dropped here only, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.ring) };
            return;
        }
        // The kernel cancels the commands of a ring when it is closed, and until then it may copy the data of a request
        // into their buffers: these may never be used for anything else. The ring itself is closed by the end of the
        // process. Linux 6.12 frees a command twice, and so destroys its own memory, when a thread that goes on living
        // closes a ring while requests come in.
        self.slots.drain(..).for_each(std::mem::forget);
    }
}

/// Pushes an entry, submitting what is before it when there is no room.
///
/// # Safety
/// As for [`squeue::SubmissionQueue::push`]: what the entry names is valid until it completes.
unsafe fn push(ring: &mut IoUring, entry: &squeue::Entry) -> io::Result<()> {
    // SAFETY: the caller's promise.
    if unsafe { ring.submission().push(entry) }.is_ok() {
        return Ok(());
    }
    submit(ring)?;
    // SAFETY: the caller's promise.
    unsafe { ring.submission().push(entry) }.map_err(|_| Errno::BUSY.into())
}

/// Submits without waiting.
fn submit(ring: &IoUring) -> io::Result<()> {
    match ring.submit() {
        Ok(_) => Ok(()),
        Err(error)
            if [Some(Errno::INTR.raw_os_error()), Some(Errno::BUSY.raw_os_error())]
                .contains(&error.raw_os_error()) =>
        {
            Ok(())
        }
        Err(error) => Err(error),
    }
}
