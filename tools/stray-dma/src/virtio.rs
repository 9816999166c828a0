//! The least of a virtio block device: a queue that carries GET_ID (VIRTIO 1.2, section 5.2.6).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use redox_driver_sys::dma::{DmaAddr, DmaAllocator, DmaSlice, Segment};
use redox_driver_sys::pci::PciFunction;
use virtio_core::{Chain, Features, QueueOptions, Transport, VirtQueue};
use virtio_spec::blk::{DEVICE_TYPE, ID_BYTES, RequestHeader, RequestStatus, RequestType};

use crate::Device;

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// A device with one queue.
pub(crate) struct BlockDevice {
    // Reset before its queue and memory go.
    transport: Transport,
    queue: VirtQueue,
    header: DmaSlice<RequestHeader>,
    status: DmaSlice<RequestStatus>,
}

impl BlockDevice {
    /// Resets and starts the device.
    pub(crate) fn start(function: PciFunction) -> Result<Self> {
        let mut transport = Transport::attach(function, DEVICE_TYPE)?;
        transport.negotiate(Features::RING_PACKED)?;
        let options = QueueOptions { chains: 1, descriptors: 3, vector: None, interrupts: false };
        let queue = transport.queue(0, &options)?;
        transport.start();
        let (header, status) = (transport.dma().allocate_slice(1)?, transport.dma().allocate_slice(1)?);
        Ok(Self { transport, queue, header, status })
    }
}

impl Device for BlockDevice {
    fn dma(&self) -> Result<DmaAllocator> {
        Ok(self.transport.dma().clone())
    }

    fn addresses(&self) -> Vec<u64> {
        vec![self.header.addr().get(), self.status.addr().get()]
    }

    fn write_to(&mut self, address: u64) -> Result<String> {
        self.header.write(0, RequestHeader { kind: RequestType::GET_ID, reserved: 0, sector: 0 });
        let header = [Segment { addr: self.header.addr(), len: u32::try_from(size_of::<RequestHeader>())? }];
        let data = [Segment { addr: DmaAddr::new(address), len: u32::try_from(ID_BYTES)? }];
        let status = [Segment { addr: self.status.addr(), len: 1 }];
        let chain = Chain { readable: [&header, &[]], writable: [&data, &status] };
        self.queue.add(&chain, 0).context("cannot add a request")?;
        self.queue.commit();
        let end = Instant::now() + ANSWER;
        while self.queue.pop()?.is_none() {
            if self.transport.status()?.needs_reset() {
                bail!("the device needs a reset");
            }
            if Instant::now() > end {
                bail!("no completion within {ANSWER:?}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        match self.status.read(0) {
            RequestStatus::OK => Ok("OK".to_owned()),
            RequestStatus(status) => bail!("status {status}"),
        }
    }

    fn stop(self: Box<Self>) -> Result<()> {
        Ok(self.transport.reset()?)
    }
}
