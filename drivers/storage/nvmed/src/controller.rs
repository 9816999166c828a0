//! A controller from attaching to shutting down.

mod events;
mod recovery;
mod setup;

use std::{sync::Arc, time::Duration};

use driver_block::{BlockError, Controller, ControllerEvent, Disk};
use nvme_spec::{IdentifyController, LogPage, registers::Vs};
use redox_driver_sys::{
    dma::DmaAllocator,
    error::chain,
    irq::{Interrupt, InterruptKind},
    pci::{PciAddress, PciFunction},
    time::{Clock, Time},
};

use crate::{
    admin::Admin,
    data::DataPointer,
    error::{Error, Result},
    hmb::HostMemory,
    io::{Counters, IoQueue},
    namespace::{Common, NamespaceError},
    options::Options,
    regs::Registers,
};

/// An NVMe controller that this process owns.
///
/// Fields are dropped in this order: the controller is stopped and bus mastering is off before its memory is freed.
pub struct NvmeController {
    running: Running,
    name: String,
    options: Options,
    clock: Clock,
    dma: DmaAllocator,
    admin: Admin,
    identify: Box<IdentifyController>,
    pointer: DataPointer,
    page_shift: u32,
    interrupt_kind: InterruptKind,
    admin_interrupt: Option<Interrupt>,
    shares_interrupt: bool,
    queues: Vec<IoQueue>,
    queue_count: u16,
    counters: Arc<Counters>,
    host_memory: Option<HostMemory>,
    disks: Vec<Disk>,
    refused: Vec<NamespaceError>,
    resets: u64,
    events: u64,
}

/// The controller's registers and function: whatever happens, it is stopped when this is dropped.
struct Running {
    registers: Registers,
    function: PciFunction,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.registers.disable() {
            log::warn!("{}: {}", self.function.address(), chain(&error));
        }
    }
}

impl NvmeController {
    /// What the controller at `address` is called: `pci-0000-00-04.0-nvme`.
    pub fn name_at(address: PciAddress) -> String {
        format!("pci-{}-nvme", address.scheme_name())
    }

    /// The controller's answer to Identify.
    pub fn identify(&self) -> &IdentifyController {
        &self.identify
    }

    /// The namespaces that are not served, and why.
    pub fn refused_namespaces(&self) -> &[NamespaceError] {
        &self.refused
    }

    /// How the controller interrupts.
    pub fn interrupt_kind(&self) -> InterruptKind {
        self.interrupt_kind
    }

    /// Number of I/O queue pairs.
    pub fn queue_count(&self) -> u16 {
        self.queue_count
    }

    /// The allocator of memory that the controller can reach, for the buffers of requests.
    pub fn dma(&self) -> &DmaAllocator {
        &self.dma
    }

    /// The clock that the controller's deadlines go by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Counts of the I/O queues.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Bytes lent to the controller as its host memory buffer.
    pub fn host_memory_bytes(&self) -> u64 {
        self.host_memory.as_ref().map_or(0, HostMemory::bytes)
    }

    /// The version of the specification that the controller claims.
    pub fn version(&self) -> Vs {
        self.running.registers.version()
    }

    pub(crate) fn stale_admin_completions(&self) -> u64 {
        self.admin.stale_completions()
    }

    pub(crate) fn admin_log<T: zerocopy::FromBytes>(&mut self, page: LogPage, nsid: u32) -> Result<T> {
        self.admin.log(page, nsid)
    }

    /// How often the controller was reset since it was attached.
    pub fn resets(&self) -> u64 {
        self.resets
    }

    fn common(&self) -> Common<'_> {
        let min_page_shift = 12 + u32::from(self.running.registers.cap().mpsmin());
        Common { controller: &self.identify, pointer: self.pointer, min_page_shift }
    }

    /// Turns bus mastering off: the last resort when the controller does not stop by itself.
    fn cut_off(&self) {
        if let Err(error) = self.running.function.set_bus_master(false) {
            log::error!("{}: bus mastering stays on: {error}", self.name);
        }
    }

    fn log_failure(&self, what: &str, error: &Error) {
        log::error!("{}: {what}: {}", self.name, chain(error));
    }
}

impl Controller for NvmeController {
    type Queue = IoQueue;

    fn name(&self) -> &str {
        &self.name
    }

    fn disks(&self) -> Vec<Disk> {
        self.disks.clone()
    }

    fn take_queues(&mut self) -> Vec<IoQueue> {
        std::mem::take(&mut self.queues)
    }

    fn command_timeout(&self) -> Duration {
        self.options.command_timeout
    }

    fn interrupt(&self) -> Option<&Interrupt> {
        self.admin_interrupt.as_ref()
    }

    fn shares_interrupt(&self) -> bool {
        self.shares_interrupt
    }

    fn poll(&mut self, _now: Time, events: &mut Vec<ControllerEvent>) -> Result<(), BlockError> {
        self.serve_events(events).map_err(|error| {
            self.log_failure("poll", &error);
            error.as_block_error()
        })
    }

    fn abort(&mut self, queue: u16, handle: u32) -> Result<(), BlockError> {
        self.send_abort(queue, handle)
    }

    fn reset(&mut self, mut queues: Vec<IoQueue>) -> Result<Vec<IoQueue>, BlockError> {
        self.resets += 1;
        log::warn!("{}: controller reset {}", self.name, self.resets);
        if let Err(error) = self.restart(&mut queues) {
            self.log_failure("reset", &error);
            // Before the queues' memory is freed: the controller may have them already.
            self.cut_off();
            return Err(match error.as_block_error() {
                BlockError::Gone => BlockError::Gone,
                _ => BlockError::TimedOut,
            });
        }
        Ok(queues)
    }

    fn shutdown(&mut self, queues: Vec<IoQueue>) -> Result<(), BlockError> {
        let ended = self.end(&queues);
        self.cut_off();
        ended.map_err(|error| {
            self.log_failure("shutdown", &error);
            error.as_block_error()
        })
    }

    fn inspect(&mut self) -> String {
        self.report()
    }
}
