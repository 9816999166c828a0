//! A controller from attaching to shutting down.

use std::{sync::Arc, time::Duration};

use ahci_spec::registers::{ABAR, Vs};
use driver_block::{BlockError, Controller, ControllerEvent, Disk, HardwareQueue};
use redox_driver_sys::{
    dma::DmaAllocator,
    error::chain,
    irq::{Interrupt, InterruptKind},
    pci::{PciAddress, PciFunction},
    time::{Clock, Time},
};

use crate::{
    board::Board,
    error::{Error, Result},
    options::{LinkPower, Options},
    port::{Abilities, Port, PortCounters},
    queue::AhciQueue,
    regs::HbaRegisters,
};

/// Class, subclass and programming interface of an AHCI controller (PCI Code and ID Assignment).
const AHCI: (u8, u8, u8) = (0x01, 0x06, 0x01);
/// How long ports may take to stop at the end.
const STOP_TIMEOUT: Duration = Duration::from_millis(600);
/// How long disks may take to go to standby.
const STANDBY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a report may take to be written.
const REPORT_TIMEOUT: Duration = Duration::from_secs(8);
const LONGEST_NAP: Duration = Duration::from_millis(5);
const SHORTEST_NAP: Duration = Duration::from_micros(50);

/// An AHCI controller that this process owns.
///
/// Fields are dropped in this order: the controller is stopped and bus mastering is off before its memory is freed.
pub struct AhciController {
    running: Running,
    name: String,
    options: Options,
    clock: Clock,
    dma: DmaAllocator,
    interrupt_kind: Option<InterruptKind>,
    /// Until it is handed out.
    queue: Option<AhciQueue>,
    board: Arc<Board>,
    disks: Vec<Disk>,
    resets: u64,
}

/// The controller's registers and function: whatever happens, it is stopped when this is dropped.
struct Running {
    hba: Arc<HbaRegisters>,
    function: PciFunction,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.hba.reset() {
            log::warn!("{}: {}", self.function.address(), chain(&error));
        }
    }
}

impl AhciController {
    /// What the controller at `address` is called: `pci-0000-00-1f.2_ahci`.
    pub fn name_at(address: PciAddress) -> String {
        format!("pci-{}_ahci", address.scheme_name())
    }

    /// Takes the controller over: gets it from the BIOS, resets it, and finds out what is at its ports. It waits at most
    /// [`Options::settle`] for that; what needs longer is announced when it is there.
    ///
    /// # Errors
    /// What the controller or the machine refuses. The controller is stopped then.
    pub fn attach(function: PciFunction, options: Options) -> Result<Self> {
        let clock = function.clock();
        let name = AhciController::name_at(function.address());
        let ids = function.ids().map_err(Error::machine("read the ids"))?;
        if (ids.class, ids.subclass, ids.interface) != AHCI {
            return Err(Error::Unusable(format!("not an AHCI controller: {ids}")));
        }
        function.enable_memory().map_err(Error::machine("enable memory accesses"))?;
        let bar = function.map_bar(ABAR).map_err(Error::machine("map registers"))?;
        let hba = Arc::new(HbaRegisters::new(&bar, clock.clone())?);
        let running = Running { hba, function };
        let (hba, function) = (&running.hba, &running.function);
        // A controller that firmware or a dead process left running stops here, before it may reach any memory.
        hba.reset()?;
        let implemented = hba.ports();
        if implemented == 0 {
            return Err(Error::Unusable("it has no ports".to_string()));
        }
        let mut interrupt = None;
        let mut interrupt_kind = None;
        if !options.polled {
            let set = function
                .interrupts_up_to(1, options.interrupts)
                .map_err(Error::machine("set up interrupts"))?;
            interrupt_kind = Some(set.kind());
            interrupt = set.into_vectors().into_iter().next();
        }
        let mut dma = function.dma().map_err(Error::machine("set up DMA"))?;
        if !hba.cap().s64a() {
            dma = dma.with_address_bits(32);
        }
        let ports = (0..32u8)
            .filter(|number| implemented & 1 << number != 0)
            .map(|number| Port::new(hba, number, &name, &dma, &options))
            .collect::<Result<Vec<_>>>()?;
        let slots = Abilities::new(hba, &options).slots;
        let board = Arc::new(Board::default());
        let queue = AhciQueue::new(hba, ports, slots, interrupt, board.clone(), &clock)?;
        function.set_bus_master(true).map_err(Error::machine("enable bus mastering"))?;
        let mut controller = AhciController {
            running,
            name,
            options,
            clock,
            dma,
            interrupt_kind,
            queue: Some(queue),
            board,
            disks: Vec::new(),
            resets: 0,
        };
        if let Some(mut queue) = controller.queue.take() {
            let started = controller.start(&mut queue);
            let settle = controller.options.settle;
            let settled = started.is_ok() && {
                controller.drive(&mut queue, settle, |queue| !queue.ports().iter().any(Port::is_settling))
            };
            // Owned by the controller again before anything fails: it is stopped before their memory is freed.
            controller.queue = Some(queue);
            started?;
            if !settled {
                log::info!("{}: some ports are not ready yet", controller.name);
            }
        }
        controller.take_events(&mut Vec::new());
        Ok(controller)
    }

    /// Starts the ports of a controller that was reset.
    fn start(&self, queue: &mut AhciQueue) -> Result<()> {
        let hba = &self.running.hba;
        queue.start()?;
        if let (Some(coalescing), true) = (self.options.coalescing, hba.cap().cccs()) {
            queue.set_coalesced(hba.coalesce(hba.ports(), coalescing.completions, coalescing.delay_ms));
        }
        hba.set_interrupts(queue.interrupt().is_some());
        Ok(())
    }

    /// Lets the ports do what is due until `done`, at most `timeout` long. Returns whether they were done.
    fn drive(&self, queue: &mut AhciQueue, timeout: Duration, done: impl Fn(&AhciQueue) -> bool) -> bool {
        let deadline = self.clock.deadline(timeout);
        let mut completed = Vec::new();
        loop {
            let late = deadline.passed(&self.clock);
            queue.interrupted();
            if let Err(error) = queue.reap(&mut completed) {
                log::warn!("{}: {error}", self.name);
                return false;
            }
            if done(queue) || late {
                return done(queue);
            }
            let now = self.clock.now();
            let nap = queue.due().map_or(LONGEST_NAP, |due| due.since(now));
            self.clock.sleep(nap.clamp(SHORTEST_NAP, LONGEST_NAP));
        }
    }

    /// Takes over what the ports have found.
    fn take_events(&mut self, events: &mut Vec<ControllerEvent>) {
        for event in self.board.take_events() {
            match &event {
                ControllerEvent::DiskChanged(disk) => {
                    self.disks.retain(|known| known.id != disk.id);
                    self.disks.push(disk.clone());
                    self.disks.sort_by_key(|disk| disk.id);
                }
                ControllerEvent::DiskRemoved(id) => self.disks.retain(|known| known.id != *id),
                ControllerEvent::ResetNeeded(_) => {}
            }
            events.push(event);
        }
    }

    /// What is there and not served, and why; known until the queue is handed out.
    pub fn refused(&self) -> Vec<String> {
        let ports = self.queue.iter().flat_map(AhciQueue::ports);
        ports
            .flat_map(|port| port.refused().iter().map(|why| format!("port {}: {why}", port.number())))
            .collect()
    }

    /// How the controller interrupts; `None` when it is polled.
    pub fn interrupt_kind(&self) -> Option<InterruptKind> {
        self.interrupt_kind
    }

    /// The ports that are implemented, a bit each.
    pub fn ports(&self) -> u32 {
        self.running.hba.ports()
    }

    /// The allocator of memory that the controller can reach, for the buffers of requests.
    pub fn dma(&self) -> &DmaAllocator {
        &self.dma
    }

    /// The clock that the controller's deadlines go by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The version of the specification that the controller claims.
    pub fn version(&self) -> Vs {
        self.running.hba.version()
    }

    /// How often the controller was reset since it was attached.
    pub fn resets(&self) -> u64 {
        self.resets
    }

    /// What the ports have counted, by number; of a queue that was handed out, ask the queue.
    pub fn counters(queue: &AhciQueue) -> Vec<(u8, PortCounters)> {
        queue.ports().iter().map(|port| (port.number(), port.counters())).collect()
    }

    /// Has links be put into other power states from now on.
    pub fn set_link_power(&self, policy: LinkPower) {
        self.board.set_policy(policy);
    }

    /// Turns bus mastering off.
    fn cut_off(&self) {
        if let Err(error) = self.running.function.set_bus_master(false) {
            log::error!("{}: bus mastering stays on: {error}", self.name);
        }
    }

    fn log_failure(&self, what: &str, error: &Error) {
        log::error!("{}: {what}: {}", self.name, chain(error));
    }

    fn restart(&self, queue: &mut AhciQueue) -> Result<()> {
        let hba = &self.running.hba;
        if let Err(error) = hba.reset() {
            if matches!(&error, Error::Machine { source, .. } if source.is_gone()) {
                return Err(error);
            }
            log::warn!("{}: {}; resetting the function", self.name, chain(&error));
            self.running.function.reset().map_err(Error::machine("reset the function"))?;
            self.running.function.enable_memory().map_err(Error::machine("enable memory accesses"))?;
            hba.reset()?;
            self.running.function.set_bus_master(true).map_err(Error::machine("enable bus mastering"))?;
        }
        self.start(queue)
    }

    fn end(&self, queue: &mut AhciQueue) -> Result<()> {
        if self.options.standby {
            for port in queue.ports_mut() {
                port.stand_by();
            }
            if !self.drive(queue, STANDBY_TIMEOUT, |queue| queue.ports().iter().all(Port::is_quiet)) {
                log::warn!("{}: not every disk went to standby", self.name);
            }
        }
        self.running.hba.set_interrupts(false);
        for port in queue.ports_mut() {
            port.halt();
        }
        self.clock
            .poll_until("PxCMD.CR = 0", STOP_TIMEOUT, Duration::from_millis(1), || {
                Ok(queue.ports().iter().all(Port::has_stopped).then_some(()))
            })
            .map_err(Error::machine("stop the ports"))
    }
}

impl Controller for AhciController {
    type Queue = AhciQueue;

    fn name(&self) -> &str {
        &self.name
    }

    fn disks(&self) -> Vec<Disk> {
        self.disks.clone()
    }

    fn take_queues(&mut self) -> Vec<AhciQueue> {
        self.queue.take().into_iter().collect()
    }

    fn command_timeout(&self) -> Duration {
        self.options.command_timeout
    }

    fn interrupt(&self) -> Option<&Interrupt> {
        None
    }

    fn shares_interrupt(&self) -> bool {
        false
    }

    fn is_called(&self) -> bool {
        true
    }

    fn poll(&mut self, _now: Time, events: &mut Vec<ControllerEvent>) -> Result<(), BlockError> {
        self.take_events(events);
        Ok(())
    }

    /// The queue ends its commands itself.
    fn abort(&mut self, _queue: u16, _handle: u32) -> Result<(), BlockError> {
        Err(BlockError::Unsupported)
    }

    fn reset(&mut self, mut queues: Vec<AhciQueue>) -> Result<Vec<AhciQueue>, BlockError> {
        self.resets += 1;
        log::warn!("{}: controller reset {}", self.name, self.resets);
        for queue in &mut queues {
            if let Err(error) = self.restart(queue) {
                self.log_failure("reset", &error);
                // Before the queue's memory is freed: the controller may have it already.
                self.cut_off();
                return Err(match error.as_block_error() {
                    BlockError::Gone => BlockError::Gone,
                    _ => BlockError::TimedOut,
                });
            }
        }
        Ok(queues)
    }

    fn shutdown(&mut self, queues: Vec<AhciQueue>) -> Result<(), BlockError> {
        let mut outcome = Ok(());
        for mut queue in queues {
            if let Err(error) = self.end(&mut queue) {
                self.log_failure("shutdown", &error);
                outcome = Err(error.as_block_error());
                // What does not stop is stopped by force, before the memory is freed.
                if let Err(error) = self.running.hba.reset() {
                    self.log_failure("shutdown", &error);
                }
            }
            self.cut_off();
        }
        self.cut_off();
        outcome
    }

    fn inspect(&mut self) -> String {
        self.board.want_report();
        let mut ports = None;
        if let Some(mut queue) = self.queue.take() {
            let board = self.board.clone();
            self.drive(&mut queue, REPORT_TIMEOUT, |_| {
                // It is given once: kept where the loop can see it.
                match board.take_report() {
                    Some(report) => {
                        board.set_report(report);
                        true
                    }
                    None => false,
                }
            });
            self.queue = Some(queue);
            ports = self.board.take_report();
        } else {
            let deadline = self.clock.deadline(REPORT_TIMEOUT);
            while ports.is_none() && !deadline.passed(&self.clock) {
                self.clock.sleep(Duration::from_millis(10));
                ports = self.board.take_report();
            }
        }
        let ports = ports.unwrap_or_else(|| "the ports do not answer\n".to_string());
        let hba = &self.running.hba;
        let kind = self.interrupt_kind.map_or("none: polled".to_string(), |kind| kind.to_string());
        format!(
            "controller\n  version           {}\n  ports             {:#x}\n  slots             {}\n  \
             interrupts        {kind}\n  resets            {}\n{ports}",
            hba.version(),
            hba.ports(),
            hba.cap().ncs() + 1,
            self.resets
        )
    }
}
