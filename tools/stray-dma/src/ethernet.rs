//! An Intel network device with a cable, by way of its driver: it writes what comes.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use driver_network::{Filter, NetDevice, QueuePair, Received, Settings, WakeOn};
use e1000d::{E1000, Options, Pair};
use redox_driver_sys::dma::{DmaAddr, DmaAllocator, Segment};
use redox_driver_sys::irq::InterruptKind;
use redox_driver_sys::pci::PciFunction;
use redox_driver_sys::time::Deadline;

use crate::Device;

/// Longest wait for a frame.
const ANSWER: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(1);

/// A device that receives everything.
pub(crate) struct Ethernet {
    device: E1000,
    queues: Vec<Pair>,
    next: u16,
}

impl Ethernet {
    pub(crate) fn start(function: PciFunction) -> Result<Self> {
        let options = Options { queues: 1, interrupts: InterruptKind::Intx, ..Options::default() };
        let mut device = E1000::attach(function, options)?;
        let queues = device.take_queues(1);
        let filter = Filter { promiscuous: true, ..Filter::default() };
        let settings = Settings { filter, ..device.settings().clone() };
        device.configure(&settings).context("receive everything")?;
        device.start().context("start the device")?;
        Ok(Ethernet { device, queues, next: 0 })
    }

    fn wait_for_link(&mut self, deadline: &Deadline) -> Result<()> {
        let clock = self.device.clock().clone();
        while !self.device.link().is_up() {
            if deadline.passed(&clock) {
                bail!("the device has no link");
            }
            self.device.poll(clock.now(), &mut Vec::new())?;
            clock.sleep(LOOK);
        }
        Ok(())
    }
}

impl Device for Ethernet {
    fn dma(&self) -> Result<DmaAllocator> {
        Ok(self.device.dma().clone())
    }

    fn addresses(&self) -> Vec<u64> {
        // Its own structures are the driver's secret; all of them are mapped.
        Vec::new()
    }

    /// The next frame that comes.
    fn write_to(&mut self, address: u64) -> Result<String> {
        let clock = self.device.clock().clone();
        let deadline = clock.deadline(ANSWER);
        self.wait_for_link(&deadline)?;
        let queue = self.queues.first_mut().context("the device has no queue")?;
        let len = queue.rx_buffer_len();
        queue.post(self.next, Segment { addr: DmaAddr::new(address), len });
        self.next += 1;
        queue.commit();
        let mut received = Received::default();
        while received.is_empty() {
            if deadline.passed(&clock) {
                bail!("no frame comes within {ANSWER:?}");
            }
            clock.sleep(LOOK);
            queue.receive(1, &mut received)?;
        }
        Ok("a frame was received".to_string())
    }

    fn stop(mut self: Box<Self>) -> Result<()> {
        let queues = std::mem::take(&mut self.queues);
        self.device.shutdown(queues, WakeOn::empty()).context("shut the device down")
    }
}
