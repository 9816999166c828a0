//! A pair of queues with its memory and its clients.

use std::ops::Range;

use redox_driver_sys::{
    dma::{DmaAllocator, DmaBuffer, PAGE_SIZE, Segment},
    time::{Clock, Time},
};

use crate::{
    device::{Capabilities, PseudoHeader},
    error::NetError,
    headers::{ETHERNET, VLAN_TAG},
    packet::{MAX_FRAGMENTS, Packet, Received, RxMetadata, TxOffload, TxPacket},
    queue::{QueuePair, SubmitError},
    settings::{Features, Shape},
};

/// Packets and buffers of one turn, each way: so long does nobody else get a look in.
const BUDGET: usize = 64;
/// Most packets in flight when each may be as long as TCP makes them.
const MOST_LARGE: u16 = 128;
/// Memory of buffers is allocated in pieces of about this many bytes.
const PIECE: usize = 256 << 10;

/// What a turn of a lane came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turned {
    /// There was something to do.
    pub(crate) worked: bool,
    /// The device did something: it received a packet, or is done with one.
    pub(crate) moved: bool,
}

/// One client's end of a lane: a queue of a TAP interface, or a scheme.
pub trait Port {
    /// A packet was received. What cannot be delivered is dropped, and counted by the lane: `false`.
    fn deliver(&mut self, frame: &Frame<'_>) -> bool;

    /// Puts packets that clients want to send into `transmit`, as many as there are and fit.
    fn collect(&mut self, transmit: &mut Transmit<'_>);

    /// The turn is over: answers may go out as one batch.
    fn flush(&mut self) {}
}

/// A received frame: parts of buffers that the device has given back.
#[derive(Debug)]
pub struct Frame<'a> {
    packet: Packet<'a>,
    buffers: &'a [DmaBuffer],
    len: usize,
}

impl Frame<'_> {
    /// Length in bytes.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing: never, of what a lane delivers.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What the device says about it.
    pub const fn metadata(&self) -> RxMetadata {
        self.packet.metadata
    }

    /// Where it lies.
    pub fn parts(&self) -> impl Iterator<Item = (&DmaBuffer, Range<usize>)> {
        self.packet.fragments.iter().filter_map(|fragment| {
            let buffer = self.buffers.get(usize::from(fragment.tag))?;
            let start = usize::try_from(fragment.offset).ok()?;
            Some((buffer, start..start.checked_add(usize::try_from(fragment.len).ok()?)?))
        })
    }

    /// Where the frame lies from byte `from` on.
    pub fn parts_from(&self, from: usize) -> impl Iterator<Item = (&DmaBuffer, Range<usize>)> {
        let mut skip = from;
        self.parts().map(move |(buffer, range)| {
            let here = skip.min(range.len());
            skip -= here;
            (buffer, range.start + here..range.end)
        })
    }

    /// Copies the frame, or as much of it as fits; returns how much that is.
    pub fn copy_to(&self, target: &mut [u8]) -> usize {
        let mut done = 0;
        for (buffer, range) in self.parts() {
            let rest = target.get_mut(done..).unwrap_or_default();
            let len = range.len().min(rest.len());
            if len == 0 || buffer.copy_to(range.start, rest.get_mut(..len).unwrap_or_default()).is_err() {
                break;
            }
            done += len;
        }
        done
    }
}

/// Counters of a lane, by the names that the device's have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneStatistics {
    /// Packets given to the device.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Packets that the device does not take, or that were in it, or waited for it, when it was reset.
    pub tx_dropped: u64,
    /// Turns that ended because the device had no room.
    pub tx_busy: u64,
    /// Packets delivered to clients.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Packets that no client took, or that made no sense.
    pub rx_dropped: u64,
    /// Interrupts taken.
    pub interrupts: u64,
}

/// The transmit side.
#[derive(Debug, Default)]
struct Sending {
    buffers: Vec<DmaBuffer>,
    free: Vec<u16>,
    done: Vec<u16>,
    /// Whether each tag is in flight.
    in_flight: Vec<bool>,
    count: usize,
    /// When a packet last went, or the first one was submitted.
    progress: Time,
    largest: usize,
    /// A packet in the buffer that is next, for which the device had no room.
    waiting: Option<(usize, TxOffload)>,
}

/// A pair of queues with its memory.
#[derive(Debug)]
pub(crate) struct Lane<Q> {
    /// `None` while it is with the device for a reset.
    hardware: Option<Q>,
    sending: Sending,
    receiving: Vec<DmaBuffer>,
    received: Received,
    pseudo_header: PseudoHeader,
    statistics: LaneStatistics,
    /// Whether packets were submitted or buffers posted that the device was not told of.
    uncommitted: bool,
    full: bool,
}

impl<Q: QueuePair> Lane<Q> {
    /// A lane without memory; [`equip`](Self::equip) gives it some.
    pub(crate) fn new(hardware: Q, capabilities: &Capabilities) -> Self {
        Lane {
            hardware: Some(hardware),
            sending: Sending::default(),
            receiving: Vec::new(),
            received: Received::with_capacity(BUDGET),
            pseudo_header: capabilities.pseudo_header,
            statistics: LaneStatistics::default(),
            uncommitted: false,
            full: false,
        }
    }

    pub(crate) const fn hardware(&self) -> Option<&Q> {
        self.hardware.as_ref()
    }

    pub(crate) const fn hardware_mut(&mut self) -> Option<&mut Q> {
        self.hardware.as_mut()
    }

    pub(crate) const fn statistics(&self) -> LaneStatistics {
        self.statistics
    }

    /// Whether packets can be taken from clients.
    pub(crate) fn has_room(&self) -> bool {
        self.hardware.is_some() && !self.sending.free.is_empty() && !self.full
    }

    /// Since when no packet has gone though some are in flight.
    pub(crate) fn waits_since(&self) -> Option<Time> {
        (self.sending.count > 0).then_some(self.sending.progress)
    }

    pub(crate) fn take_hardware(&mut self) -> Option<Q> {
        self.hardware.take()
    }

    /// The hardware is back from a reset: nothing is in flight. Packets that were are lost.
    pub(crate) fn put_hardware(&mut self, hardware: Q) {
        self.statistics.tx_dropped += self.sending.count as u64 + u64::from(self.sending.waiting.is_some());
        self.hardware = Some(hardware);
    }

    /// Makes memory for the frames of a shape, unless there is, and posts all receive buffers. Nothing is in flight.
    pub(crate) fn equip(
        &mut self,
        dma: &DmaAllocator,
        shape: Shape,
        features: Features,
        max_tso_len: u32,
    ) -> redox_driver_sys::Result<()> {
        let Some(hardware) = &mut self.hardware else { return Ok(()) };
        let tso = features.intersects(Features::TSO4 | Features::TSO6);
        let frame = usize::from(shape.mtu) + ETHERNET + VLAN_TAG;
        let large = usize::try_from(max_tso_len).unwrap_or(frame).max(frame);
        let (len, depth) =
            if tso { (large, hardware.tx_depth().min(MOST_LARGE)) } else { (frame, hardware.tx_depth()) };
        // One more, by which a packet that is too long shows.
        refit(&mut self.sending.buffers, dma, depth, len + 1)?;
        self.sending.reset(depth, len);
        let len = usize::try_from(hardware.rx_buffer_len()).unwrap_or(usize::MAX);
        let depth = hardware.rx_depth();
        refit(&mut self.receiving, dma, depth, len)?;
        hardware.lend(&self.receiving);
        for (tag, buffer) in (0..depth).zip(&self.receiving) {
            hardware.post(tag, Segment { addr: buffer.addr(), len: hardware.rx_buffer_len() });
        }
        hardware.commit();
        self.full = false;
        self.uncommitted = false;
        Ok(())
    }

    /// Takes what interrupts are pending, if `ready` says that one is.
    pub(crate) fn take_interrupts(&mut self) {
        let Some(hardware) = &mut self.hardware else { return };
        let mut count = 0;
        for interrupt in hardware.interrupts().into_iter().flatten() {
            match interrupt.take() {
                Ok(taken) => count += taken,
                Err(error) => log::error!("take an interrupt: {error}"),
            }
        }
        self.statistics.interrupts += count;
        hardware.interrupted();
        for interrupt in hardware.interrupts().into_iter().flatten() {
            if let Err(error) = interrupt.rearm() {
                log::error!("rearm an interrupt: {error}");
            }
        }
    }

    /// Moves packets both ways, a budget of them at most.
    pub(crate) fn turn<P: Port>(&mut self, port: &mut P, clock: &Clock) -> Result<Turned, NetError> {
        let received = self.receive(port)?;
        let reaped = self.reap(clock)?;
        let sent = self.send(port, clock);
        port.flush();
        if std::mem::take(&mut self.uncommitted)
            && let Some(hardware) = &mut self.hardware
        {
            hardware.commit();
        }
        let moved = received || reaped;
        Ok(Turned { worked: moved || sent, moved })
    }

    /// Nothing is to be done: interrupts are wanted again. `true` if something came meanwhile.
    pub(crate) fn arm(&mut self, now: Time) -> bool {
        self.hardware.as_mut().is_some_and(|hardware| hardware.arm(now))
    }

    fn receive<P: Port>(&mut self, port: &mut P) -> Result<bool, NetError> {
        let Some(hardware) = &mut self.hardware else { return Ok(false) };
        self.received.clear();
        hardware.receive(BUDGET, &mut self.received)?;
        if self.received.is_empty() {
            return Ok(false);
        }
        let (mut count, mut good) = (0, 0);
        for packet in self.received.packets() {
            count += 1;
            let frame = frame(packet, &self.receiving);
            if let Some(frame) = frame.filter(|frame| port.deliver(frame)) {
                good += 1;
                self.statistics.rx_bytes += frame.len as u64;
            }
        }
        self.statistics.rx_packets += good;
        self.statistics.rx_dropped += count - good;
        let len = hardware.rx_buffer_len();
        for tag in self.received.tags() {
            if let Some(buffer) = self.receiving.get(usize::from(tag)) {
                hardware.post(tag, Segment { addr: buffer.addr(), len });
            }
        }
        self.uncommitted = true;
        Ok(true)
    }

    fn reap(&mut self, clock: &Clock) -> Result<bool, NetError> {
        let Some(hardware) = &mut self.hardware else { return Ok(false) };
        if self.sending.count == 0 {
            return Ok(false);
        }
        hardware.reap(&mut self.sending.done)?;
        let any = self.sending.take_back();
        if any {
            self.full = false;
            self.sending.progress = clock.coarse();
        }
        Ok(any)
    }

    fn send<P: Port>(&mut self, port: &mut P, clock: &Clock) -> bool {
        if !self.has_room() {
            return false;
        }
        let Some(hardware) = &mut self.hardware else { return false };
        let before = self.sending.count;
        let mut transmit = Transmit {
            hardware,
            sending: &mut self.sending,
            pseudo_header: self.pseudo_header,
            statistics: &mut self.statistics,
            full: &mut self.full,
            left: BUDGET,
        };
        if let Some((len, offload)) = transmit.sending.waiting.take() {
            transmit.send(len, offload);
        }
        port.collect(&mut transmit);
        let sent = self.sending.count > before;
        if sent && before == 0 {
            self.sending.progress = clock.coarse();
        }
        if self.full || self.sending.free.is_empty() {
            self.statistics.tx_busy += 1;
        }
        self.uncommitted |= sent;
        sent
    }
}

/// A frame that lies within its buffers, and is one.
fn frame<'a>(packet: Packet<'a>, buffers: &'a [DmaBuffer]) -> Option<Frame<'a>> {
    if packet.fragments.len() > MAX_FRAGMENTS {
        return None;
    }
    let frame = Frame { packet, buffers, len: 0 };
    let (mut len, mut parts) = (0, 0);
    for (buffer, range) in frame.parts() {
        if range.end > buffer.len() {
            return None;
        }
        len += range.len();
        parts += 1;
    }
    (parts == packet.fragments.len() && len >= ETHERNET).then_some(Frame { packet, buffers, len })
}

impl Sending {
    fn reset(&mut self, depth: u16, largest: usize) {
        self.free.clear();
        // The first one on top: few packets use little memory.
        self.free.extend((0..depth).rev());
        self.in_flight.clear();
        self.in_flight.resize(usize::from(depth), false);
        self.done.clear();
        self.count = 0;
        self.waiting = None;
        self.largest = largest;
    }

    /// Frees what is done; whether there was anything.
    fn take_back(&mut self) -> bool {
        let before = self.count;
        // Its packet waits there: it has to stay on top.
        let waits = self.waiting.and_then(|_| self.free.pop());
        for tag in self.done.drain(..) {
            if let Some(in_flight) = self.in_flight.get_mut(usize::from(tag)).filter(|flag| **flag) {
                *in_flight = false;
                self.count -= 1;
                self.free.push(tag);
            }
        }
        self.free.extend(waits);
        self.count < before
    }
}

/// Makes `count` buffers of `len` bytes, unless there are.
fn refit(
    buffers: &mut Vec<DmaBuffer>,
    dma: &DmaAllocator,
    count: u16,
    len: usize,
) -> redox_driver_sys::Result<()> {
    if buffers.len() == usize::from(count) && buffers.first().is_some_and(|buffer| buffer.len() == len) {
        return Ok(());
    }
    // The old ones first: both may not fit.
    buffers.clear();
    // Small ones share pages, and none begins in the middle of a line of a cache.
    let stride = if len < PAGE_SIZE { len.next_multiple_of(64) } else { len.next_multiple_of(PAGE_SIZE) };
    let per_piece = (PIECE / stride).max(1);
    let mut left = usize::from(count);
    while left > 0 {
        let now = left.min(per_piece);
        let piece = dma.allocate(now * stride)?;
        for index in 0..now {
            buffers.push(piece.slice(index * stride..index * stride + len)?);
        }
        left -= now;
    }
    Ok(())
}

/// Where a client's packets go.
pub struct Transmit<'a> {
    hardware: &'a mut dyn QueuePair,
    sending: &'a mut Sending,
    pseudo_header: PseudoHeader,
    statistics: &'a mut LaneStatistics,
    full: &'a mut bool,
    left: usize,
}

impl std::fmt::Debug for Transmit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transmit").field("room", &self.sending.free.len()).finish_non_exhaustive()
    }
}

impl Transmit<'_> {
    /// The buffer for the next packet, longer than the longest one by a byte; `None` when there is no room, or the turn is over.
    pub fn buffer(&self) -> Option<&DmaBuffer> {
        let tag = self.sending.free.last().filter(|_| !*self.full && self.left > 0)?;
        self.sending.buffers.get(usize::from(*tag))
    }

    /// What a packet that is to be cut must look like.
    pub const fn pseudo_header(&self) -> PseudoHeader {
        self.pseudo_header
    }

    /// Most bytes of a packet.
    pub const fn largest(&self) -> usize {
        self.sending.largest
    }

    /// Sends the first `len` bytes of [`buffer`](Self::buffer). When the device has no room after all, the packet waits there for the
    /// next turn.
    pub fn send(&mut self, len: usize, offload: TxOffload) {
        let Some(&tag) = self.sending.free.last() else { return };
        let Some(buffer) = self.sending.buffers.get(usize::from(tag)) else { return };
        let Ok(bytes) = u32::try_from(len) else { return self.drop_packet() };
        let Ok(segment) = buffer.segment(0, bytes) else { return self.drop_packet() };
        if len < ETHERNET {
            return self.drop_packet();
        }
        self.left = self.left.saturating_sub(1);
        let packet = TxPacket { segments: &[segment], len: bytes, offload };
        match self.hardware.submit(tag, &packet) {
            Ok(()) => {
                self.sending.free.pop();
                if let Some(in_flight) = self.sending.in_flight.get_mut(usize::from(tag)) {
                    *in_flight = true;
                }
                self.sending.count += 1;
                self.statistics.tx_packets += 1;
                self.statistics.tx_bytes += u64::from(bytes);
            }
            Err(SubmitError::Full) => {
                *self.full = true;
                self.sending.waiting = Some((len, offload));
            }
            Err(SubmitError::Refused) => self.drop_packet(),
        }
    }

    /// A packet that makes no sense is not sent.
    pub const fn drop_packet(&mut self) {
        self.statistics.tx_dropped += 1;
    }
}
