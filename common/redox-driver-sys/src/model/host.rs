//! The machine that a model runs in.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{
    backend,
    bus::{Behind, Bus, DmaFault, Iommu, Machine},
    config::ConfigSpace,
    memory::Memory,
};
use crate::{
    dma::DmaAllocator,
    error::{Error, Result},
    irq::{Interrupt, InterruptKind, Source},
    mmio::Mmio,
    pci::{PciAddress, PciFunction},
    time::{Clock, Time},
};

/// Virtual time that one register access takes.
const ACCESS_TIME: Duration = Duration::from_nanos(100);
/// A device that asks to be run again and again without time passing is moved on by this much.
const STALL_STEP: Duration = Duration::from_micros(1);
const MOST_RUNS_AT_ONCE: usize = 1000;

/// A behavioural model of a PCI function.
pub trait Device: Send {
    /// Its configuration space.
    fn config(&mut self) -> &mut ConfigSpace;
    /// A load of `len` (1, 2, 4 or 8) bytes at `offset` in `bar`, inside the BAR.
    fn mmio_read(&mut self, bus: &mut dyn Bus, bar: u8, offset: u64, len: usize) -> u64;
    /// A store of `len` (1, 2, 4 or 8) bytes at `offset` in `bar`, inside the BAR.
    fn mmio_write(&mut self, bus: &mut dyn Bus, bar: u8, offset: u64, len: usize, value: u64);
    /// Does everything that is due at `bus.now()`.
    fn run(&mut self, bus: &mut dyn Bus);
    /// When [`run`](Self::run) has something to do next.
    fn next_event(&self) -> Option<Time>;
    /// Function level or conventional reset. The configuration space is reset by the caller.
    fn reset(&mut self);
}

/// What stands between the device and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmaMode {
    /// An IOMMU: mappings at any address below the device's mask, strays are faults.
    Iommu,
    /// None: allocated memory lies low, the rest of the process's memory from this address on, so that a device with
    /// fewer address bits needs the bounce pool. Strays are still noticed.
    Physical {
        /// Where memory that was not allocated for DMA begins.
        memory_at: u64,
    },
}

/// The machine around one device model. Clones are the same machine.
#[derive(Clone)]
pub struct Host(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Read on hot paths by clocks, so kept beside the lock.
    now: AtomicU64,
    address: PciAddress,
}

pub(super) struct State {
    pub(super) device: Box<dyn Device>,
    pub(super) machine: Machine,
    accesses: u64,
    refused: Option<InterruptKind>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host(now {} ns)", self.now().as_nanos())
    }
}

impl Host {
    /// A machine with `device` in it.
    pub fn new(device: Box<dyn Device>) -> Self {
        Host::with(device, &Memory::new(), None, PciAddress::MODEL)
    }

    /// A device in a machine of several, whose DMA and interrupts go through `iommu` under the name `address`, of which the
    /// segment does not count. Its memory is physical memory of the machine.
    pub fn behind(
        device: Box<dyn Device>,
        memory: &Memory,
        iommu: Arc<dyn Iommu>,
        address: PciAddress,
    ) -> Self {
        Host::with(device, memory, Some(Behind { iommu, requester: address.requester() }), address)
    }

    /// A device that belongs to a machine of several itself, as an IOMMU does: it reaches physical memory, whether or not a
    /// driver has made it a bus master. Its driver finds [`registers`](Self::registers) without a function.
    pub fn platform(device: Box<dyn Device>, memory: &Memory) -> Self {
        let host = Host::with(device, memory, None, PciAddress::MODEL);
        host.lock().machine.bus_master = true;
        host
    }

    fn with(device: Box<dyn Device>, memory: &Memory, behind: Option<Behind>, address: PciAddress) -> Self {
        let machine = Machine {
            now: Time::from_nanos(1),
            memory: memory.clone(),
            behind,
            faults: Vec::new(),
            lines: Lines::default(),
            bus_master: false,
            connected: true,
        };
        let state = State { device, machine, accesses: 0, refused: None };
        Host(Arc::new(Shared { state: Mutex::new(state), now: AtomicU64::new(1), address }))
    }

    /// The function that a driver attaches to. Alone in its machine, its DMA goes through an IOMMU; in one of several, what
    /// the driver allocates has physical addresses, which an IOMMU must pass.
    pub fn function(&self) -> PciFunction {
        if self.lock().machine.behind.is_some() {
            let memory = self.lock().machine.memory.allocator();
            return self.function_with_allocator(memory);
        }
        self.function_with(DmaMode::Iommu)
    }

    /// The function of a device that is alone in its machine.
    pub fn function_with(&self, dma: DmaMode) -> PciFunction {
        let memory_at = match dma {
            DmaMode::Iommu => None,
            DmaMode::Physical { memory_at } => Some(memory_at),
        };
        let allocator = self.lock().machine.memory.allocator_of_device(memory_at);
        self.function_with_allocator(allocator)
    }

    /// The function, for a driver whose DMA memory comes from `allocator`: whoever rules the IOMMU.
    pub fn function_with_allocator(&self, allocator: DmaAllocator) -> PciFunction {
        PciFunction::new(self.0.address, Arc::new(backend::ModelFunction::new(self.clone(), allocator)))
    }

    /// The registers in BAR `bar`, for the driver of a device of the [platform](Self::platform).
    ///
    /// # Errors
    /// [`Error::Bar`] when there is none.
    pub fn registers(&self, bar: u8) -> Result<Mmio> {
        match self.lock().device.config().bar_len(bar) {
            0 => Err(Error::Bar { bar, reason: "there is none".to_string() }),
            len => Ok(Mmio::model(Bar { host: self.clone(), bar }, len)),
        }
    }

    /// `count` messages that the device may send, for the same driver.
    pub fn messages(&self, count: usize) -> Vec<Interrupt> {
        let lines = self.lock().machine.lines.enable(InterruptKind::Msi, count);
        lines.into_iter().map(|line| Interrupt(Source::Model(line))).collect()
    }

    /// The machine's clock.
    pub fn clock(&self) -> Clock {
        Clock::model(self.clone())
    }

    /// The current virtual time.
    pub fn now(&self) -> Time {
        Time::from_nanos(self.0.now.load(Ordering::Relaxed))
    }

    /// Lets `duration` pass; the device runs when it wants to.
    pub fn advance(&self, duration: Duration) {
        self.lock().run_until(self.now().plus(duration));
    }

    /// Lets time pass until the device has done something, at most until `end`.
    pub fn advance_to_next_event(&self, end: Time) {
        let mut state = self.lock();
        let next = state.device.next_event().map_or(end, |next| next.min(end));
        let next = next.max(state.machine.now);
        state.run_until(next);
    }

    /// The DMA accesses that were blocked so far, oldest first, and forgets them.
    pub fn take_faults(&self) -> Vec<DmaFault> {
        std::mem::take(&mut self.lock().machine.faults)
    }

    /// Number of bytes that the device can reach at the moment; in a machine of several, all that is in use.
    pub fn mapped_bytes(&self) -> usize {
        self.lock().machine.memory.len()
    }

    /// Number of register accesses so far.
    pub fn register_accesses(&self) -> u64 {
        self.lock().accesses
    }

    /// Whether the driver lets the device start transactions.
    pub fn bus_master(&self) -> bool {
        self.lock().machine.bus_master
    }

    /// Pulls the device out, or plugs it in again: registers read as all ones, nothing it does reaches the machine.
    pub fn set_connected(&self, connected: bool) {
        self.lock().machine.connected = connected;
    }

    /// For each vector that the driver enabled, the processor that it asked for.
    pub fn processors(&self) -> Vec<Option<usize>> {
        self.lock().machine.lines.processors()
    }

    /// Makes the machine refuse interrupts of `kind` and better, as a system without them would.
    pub fn refuse_interrupts(&self, kind: InterruptKind) {
        self.lock().refused = Some(kind);
    }

    /// Works on the device itself, as a test's hand on the hardware; `T` is the model's type.
    pub fn with_device<R>(&self, work: impl FnOnce(&mut dyn Device, &mut dyn Bus) -> R) -> R {
        let mut state = self.lock();
        let State { device, machine, .. } = &mut *state;
        work(&mut **device, machine)
    }

    pub(super) fn interrupts_refused(&self, kind: InterruptKind) -> bool {
        self.lock().refused.is_some_and(|refused| kind >= refused)
    }

    pub(super) fn lock(&self) -> Locked<'_> {
        let guard = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        Locked { guard, now: &self.0.now }
    }
}

/// The state under its lock; the time is published when it is released.
pub(super) struct Locked<'a> {
    guard: MutexGuard<'a, State>,
    now: &'a AtomicU64,
}

impl std::ops::Deref for Locked<'_> {
    type Target = State;
    fn deref(&self) -> &State {
        &self.guard
    }
}

impl std::ops::DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.guard
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.now.store(self.guard.machine.now.as_nanos(), Ordering::Relaxed);
    }
}

impl State {
    fn run_until(&mut self, end: Time) {
        let mut runs = 0;
        while let Some(next) = self.device.next_event().filter(|&next| next <= end) {
            runs = if next > self.machine.now { 0 } else { runs + 1 };
            self.machine.now = self.machine.now.max(next);
            if runs > MOST_RUNS_AT_ONCE {
                let moved = self.machine.now.plus(STALL_STEP);
                if moved > end {
                    break;
                }
                self.machine.now = moved;
            }
            self.device.run(&mut self.machine);
        }
        self.machine.now = self.machine.now.max(end);
    }

    /// One register access: time passes, and what became due happens first.
    fn access(&mut self) {
        self.accesses += 1;
        let end = self.machine.now.plus(ACCESS_TIME);
        self.run_until(end);
    }

    pub(super) fn config_written(&mut self, reset: bool) {
        if reset {
            self.reset_device();
        }
        self.machine.bus_master = self.device.config().bus_master();
    }

    pub(super) fn reset_device(&mut self) {
        self.device.config().reset();
        self.device.reset();
        self.machine.bus_master = false;
        self.machine.lines.set_intx(false);
    }
}

/// A model's BAR as [`crate::mmio::Mmio`] sees it.
#[derive(Clone)]
pub(crate) struct Bar {
    pub(super) host: Host,
    pub(super) bar: u8,
}

impl Bar {
    pub(crate) fn read(&self, offset: u64, len: usize) -> u64 {
        let mut state = self.host.lock();
        state.access();
        let State { device, machine, .. } = &mut *state;
        if machine.connected { device.mmio_read(machine, self.bar, offset, len) } else { u64::MAX }
    }

    pub(crate) fn write(&self, offset: u64, len: usize, value: u64) {
        let mut state = self.host.lock();
        state.access();
        let State { device, machine, .. } = &mut *state;
        if machine.connected {
            device.mmio_write(machine, self.bar, offset, len, value);
        }
    }
}

/// One interrupt vector of a model.
#[derive(Clone, Debug, Default)]
pub struct Line(Arc<LineState>);

#[derive(Debug, Default)]
struct LineState {
    pending: AtomicU64,
    /// INTx: the level of the pin, and whether it was delivered and not rearmed since.
    asserted: AtomicBool,
    masked: AtomicBool,
    /// The processor it goes to, plus one; 0: nobody has said.
    processor: AtomicUsize,
}

impl Line {
    /// Whether an interrupt came that nobody took.
    pub fn is_pending(&self) -> bool {
        self.0.pending.load(Ordering::Acquire) > 0
    }

    pub(crate) fn set_processor(&self, cpu: usize) {
        self.0.processor.store(cpu.saturating_add(1), Ordering::Relaxed);
    }

    pub(crate) fn take(&self) -> u64 {
        self.0.pending.swap(0, Ordering::AcqRel)
    }

    pub(crate) fn rearm(&self) {
        self.0.masked.store(false, Ordering::Release);
        if self.0.asserted.load(Ordering::Acquire) {
            self.fire_level();
        }
    }

    fn fire(&self) {
        self.0.pending.fetch_add(1, Ordering::AcqRel);
    }

    fn fire_level(&self) {
        if !self.0.masked.swap(true, Ordering::AcqRel) {
            self.fire();
        }
    }
}

/// The interrupt vectors that a driver enabled.
#[derive(Default)]
pub(super) struct Lines {
    enabled: Option<(InterruptKind, Vec<Line>)>,
}

impl Lines {
    pub(super) fn enable(&mut self, kind: InterruptKind, count: usize) -> Vec<Line> {
        let lines: Vec<Line> = (0..count).map(|_| Line::default()).collect();
        self.enabled = Some((kind, lines.clone()));
        lines
    }

    fn processors(&self) -> Vec<Option<usize>> {
        let lines = self.enabled.iter().flat_map(|(_, lines)| lines);
        lines.map(|line| line.0.processor.load(Ordering::Relaxed).checked_sub(1)).collect()
    }

    pub(super) fn kind(&self) -> Option<InterruptKind> {
        self.enabled.as_ref().map(|(kind, _)| *kind)
    }

    pub(super) fn message(&self, vector: u16) {
        if let Some((InterruptKind::MsiX | InterruptKind::Msi, lines)) = &self.enabled
            && let Some(line) = lines.get(usize::from(vector))
        {
            line.fire();
        }
    }

    pub(super) fn set_intx(&self, asserted: bool) {
        if let Some((InterruptKind::Intx, lines)) = &self.enabled
            && let Some(line) = lines.first()
        {
            line.0.asserted.store(asserted, Ordering::Release);
            if asserted {
                line.fire_level();
            }
        }
    }
}
