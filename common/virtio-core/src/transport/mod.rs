//! A virtio device behind PCI (section 4.1), from finding it to resetting it.

mod notify;
mod registers;
mod structures;

use std::time::Duration;

pub(crate) use notify::Notifier;
use redox_driver_sys::{
    dma::{DmaAddr, DmaAllocator},
    mmio::{Mmio, ReadClears, ReadOnly, ReadWrite, Register, RegisterValue},
    pci::{PciFunction, PciIds},
    time::Clock,
};
use registers::CommonRegisters;
use structures::Structures;
use virtio_spec::{
    DeviceStatus,
    pci::{self, InterruptStatus},
};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::{
    Features,
    error::{Error, Result},
    queue::{QueueOptions, VirtQueue},
};

/// How long a device may take to reset itself, or one of its queues. The specification gives no bound; a device that first ends
/// the requests it has begun needs some time.
const RESET_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(1);
/// How often the configuration is read again because it changed meanwhile.
const MOST_READS: usize = 16;

/// The type of the virtio device that `ids` are of (sections 4.1.2 and 5), if it can be driven by version 1 of the specification.
pub fn find_device_type(ids: &PciIds) -> Option<u16> {
    match (ids.vendor, ids.device) {
        (pci::VENDOR, pci::TRANSITIONAL_NET) => Some(virtio_spec::net::DEVICE_TYPE),
        (pci::VENDOR, pci::TRANSITIONAL_BLOCK) => Some(virtio_spec::blk::DEVICE_TYPE),
        (pci::VENDOR, modern @ pci::MODERN..0x1080) => Some(modern - pci::MODERN),
        _ => None,
    }
}

/// A virtio device that this process owns.
///
/// When it is dropped, whatever happens, the device is reset and bus mastering is off: queues may be dropped after it, not before.
#[derive(Debug)]
pub struct Transport {
    common: CommonRegisters,
    notify: Mmio,
    notify_multiplier: u32,
    isr: Register<InterruptStatus, ReadClears>,
    device: Option<Mmio>,
    features: Features,
    dma: DmaAllocator,
    clock: Clock,
    function: PciFunction,
}

impl Transport {
    /// Takes over the device of type `wanted` that `function` is, and resets it.
    ///
    /// # Errors
    /// It is another device, has no structures for version 1, or does not reset.
    pub fn attach(function: PciFunction, wanted: u16) -> Result<Self> {
        let ids = function.ids().map_err(Error::machine("read the ids"))?;
        if find_device_type(&ids) != Some(wanted) {
            return Err(Error::WrongDevice { wanted, ids });
        }
        function.enable_memory().map_err(Error::machine("enable memory accesses"))?;
        let Structures { common, notify, notify_multiplier, isr, device } = Structures::find(&function)?;
        let map = |error| Error::Machine { step: "map registers", source: error };
        let transport = Transport {
            common: CommonRegisters::new(common).map_err(map)?,
            notify,
            notify_multiplier,
            isr: isr.register(0).map_err(map)?,
            device,
            features: Features::empty(),
            dma: function.dma().map_err(Error::machine("set up DMA"))?,
            clock: function.clock(),
            function,
        };
        // A device that firmware or a dead process left running stops here, before it may reach any memory.
        transport.reset()?;
        Ok(transport)
    }

    /// The function.
    pub fn function(&self) -> &PciFunction {
        &self.function
    }

    /// The allocator of memory that the device can reach.
    pub fn dma(&self) -> &DmaAllocator {
        &self.dma
    }

    /// The clock that the device's deadlines go by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What was negotiated.
    pub fn features(&self) -> Features {
        self.features
    }

    /// The device status.
    ///
    /// # Errors
    /// The device is gone.
    pub fn status(&self) -> Result<DeviceStatus> {
        self.common.status().map_err(Error::machine("read the device status"))
    }

    /// Reads and clears the interrupt status, which lets a level-triggered interrupt fall.
    pub fn interrupt_status(&self) -> Register<InterruptStatus, ReadClears> {
        self.isr.clone()
    }

    /// Resets the device (section 2.4): it forgets everything and does no DMA afterwards. If it does not, the function is reset.
    ///
    /// # Errors
    /// Nothing helped. Bus mastering is off then.
    pub fn reset(&self) -> Result<()> {
        let Err(error) = self.reset_device() else { return Ok(()) };
        if error.is_gone() {
            return Err(error);
        }
        log::warn!("{}: {error}; resetting the function", self.function.address());
        let function = self.function.reset().map_err(Error::machine("reset the function"));
        let again = function.and_then(|()| {
            self.function.enable_memory().map_err(Error::machine("enable memory accesses"))?;
            self.reset_device()
        });
        if again.is_err() {
            self.cut_off();
        }
        again
    }

    fn reset_device(&self) -> Result<()> {
        self.status()?;
        self.common.set_status(DeviceStatus::RESET);
        self.clock
            .poll_until("device status = 0", RESET_TIMEOUT, POLL_INTERVAL, || {
                Ok((self.common.status()? == DeviceStatus::RESET).then_some(()))
            })
            .map_err(Error::machine("reset the device"))
    }

    /// Turns bus mastering off: the last resort when the device does not stop by itself.
    pub fn cut_off(&self) {
        if let Err(error) = self.function.set_bus_master(false) {
            log::error!("{}: bus mastering stays on: {error}", self.function.address());
        }
    }

    /// Everything that the device offers.
    ///
    /// # Errors
    /// The machine refuses an access.
    pub fn offered(&self) -> Result<Features> {
        self.common.device_features().map_err(Error::machine("read the features"))
    }

    /// Brings a device that was reset to the point where its configuration can be read and its queues can be made (section 3.1.1,
    /// steps 2 to 6). Of what it offers, `wanted` is accepted, and what the transport itself needs. Bus mastering is on afterwards.
    ///
    /// # Errors
    /// The device does not follow version 1, goes around the IOMMU, or refuses the features.
    pub fn negotiate(&mut self, wanted: Features) -> Result<Features> {
        let machine = || Error::machine("negotiate the features");
        let offered = self.offered()?;
        let always = Features::VERSION_1 | Features::ACCESS_PLATFORM | Features::ORDER_PLATFORM;
        let mut accepted = offered & (wanted | always);
        if !accepted.contains(Features::VERSION_1) {
            return Err(Error::MissingFeature { feature: "VIRTIO_F_VERSION_1", advice: "" });
        }
        if self.dma.is_translated() && !accepted.contains(Features::ACCESS_PLATFORM) {
            return Err(Error::MissingFeature {
                feature: "VIRTIO_F_ACCESS_PLATFORM",
                advice: ", so it goes around the IOMMU (QEMU: iommu_platform=on)",
            });
        }
        if !self.common.has_queue_reset() {
            accepted -= Features::RING_RESET;
        }
        let status = DeviceStatus::new().with_acknowledge(true);
        self.common.set_status(status);
        let status = status.with_driver(true);
        self.common.set_status(status);
        self.common.set_driver_features(accepted).map_err(machine())?;
        self.common.set_status(status.with_features_ok(true));
        if !self.status()?.features_ok() {
            return Err(Error::FeaturesRefused { accepted });
        }
        self.features = accepted;
        self.function.set_bus_master(true).map_err(Error::machine("enable bus mastering"))?;
        Ok(accepted)
    }

    /// Changes with the configuration of the device's type. An all-ones answer is not told from a device that is gone: ask for
    /// the [`status`](Self::status) first.
    pub fn generation(&self) -> u8 {
        self.common.generation()
    }

    /// Reads the configuration of the device's type, as far as the device has it, by accesses of these widths in bytes: all of it as it
    /// was at one time (section 2.5.3), and the generation that it had.
    ///
    /// # Errors
    /// There is none, or it never is the same before and after.
    pub fn configuration<T: FromZeros + IntoBytes + FromBytes>(&self, widths: &[u8]) -> Result<(T, u8)> {
        let device = self.device.as_ref().ok_or(Error::NoStructure { structure: "device configuration" })?;
        for _ in 0..MOST_READS {
            let before = self.generation();
            let value = read_fields(device, widths).map_err(Error::machine("read the configuration"))?;
            if self.generation() == before {
                return Ok((value, before));
            }
        }
        Err(Error::UnstableConfiguration)
    }

    /// Writes a field of the configuration of the device's type.
    ///
    /// # Errors
    /// There is no such field.
    pub fn write_configuration<T: RegisterValue>(&self, offset: u64, value: T) -> Result<()> {
        let device = self.device.as_ref().ok_or(Error::NoStructure { structure: "device configuration" })?;
        let field = device.register::<T, ReadWrite>(offset);
        field.map_err(Error::machine("write the configuration"))?.write(value);
        Ok(())
    }

    /// How many queues the device has at most.
    ///
    /// # Errors
    /// The machine refuses an access.
    pub fn queue_count(&self) -> Result<u16> {
        self.common.queue_count().map_err(Error::machine("read the number of queues"))
    }

    /// How many entries queue number `index` has at most; 0 if there is none.
    ///
    /// # Errors
    /// The machine refuses an access.
    pub fn queue_size(&self, index: u16) -> Result<u16> {
        self.common.queue_size(index).map_err(Error::machine("read the size of a queue"))
    }

    /// Has changes of the configuration interrupt by MSI-X vector `vector`, or not at all.
    ///
    /// # Errors
    /// The device has no resources for it.
    pub fn set_configuration_vector(&self, vector: Option<u16>) -> Result<()> {
        let taken = self.common.set_configuration_vector(vector.unwrap_or(pci::NO_VECTOR));
        if taken.map_err(Error::machine("set the vector of the configuration"))? {
            return Ok(());
        }
        let reason = format!("no resources for interrupt vector {vector:?}");
        Err(Error::Machine {
            step: "set the vector of the configuration",
            source: redox_driver_sys::Error::Unsupported(reason),
        })
    }

    /// Makes queue number `index` and shows it to the device.
    ///
    /// # Errors
    /// The device has no such queue, its properties contradict the specification, or there is no memory.
    pub fn queue(&self, index: u16, options: &QueueOptions) -> Result<VirtQueue> {
        let failed = |reason: String| Error::Queue { queue: index, reason };
        let most = self.queue_size(index)?;
        if most == 0 {
            return Err(failed("there is none".to_string()));
        }
        let offset = self.common.queue_notify_offset(index).map_err(Error::machine("find a notification"))?;
        let notifier = Notifier::new(
            &self.notify,
            u64::from(offset) * u64::from(self.notify_multiplier),
            index,
            self.features.contains(Features::NOTIFICATION_DATA),
        )
        .map_err(Error::machine("find a notification"))?;
        let queue = VirtQueue::new(index, most, self.features, options, &self.dma, notifier)?;
        self.enable_queue(&queue)?;
        Ok(queue)
    }

    /// Shows a queue to the device: one that is new, or that was [reset](VirtQueue::reset) after the device, or the queue, was.
    ///
    /// # Errors
    /// The device does not take it.
    pub fn enable_queue(&self, queue: &VirtQueue) -> Result<()> {
        let index = queue.index();
        let [descriptors, driver, device] = queue.areas();
        let taken =
            self.common.enable_queue(index, queue.size(), [descriptors, driver, device], queue.vector());
        match taken.map_err(Error::machine("enable a queue"))? {
            Ok(()) => Ok(()),
            Err(reason) => Err(Error::Queue { queue: index, reason: reason.to_string() }),
        }
    }

    /// Resets one queue (section 2.6.1): the device forgets it. What was outstanding is not used any more.
    ///
    /// A request that the device has begun may still write to its buffers: that is for the type of the device to say.
    ///
    /// # Errors
    /// RING_RESET was not negotiated, or the device does not do it in time.
    pub fn reset_queue(&self, queue: &mut VirtQueue) -> Result<()> {
        const STEP: &str = "reset a queue";
        if !self.features.contains(Features::RING_RESET) {
            return Err(Error::MissingFeature { feature: "VIRTIO_F_RING_RESET", advice: "" });
        }
        self.common.start_queue_reset(queue.index()).map_err(Error::machine(STEP))?;
        self.clock
            .poll_until("queue_reset = 0", RESET_TIMEOUT, POLL_INTERVAL, || {
                self.common.status()?;
                Ok(self.common.queue_is_reset()?.then_some(()))
            })
            .map_err(Error::machine(STEP))?;
        queue.reset();
        self.enable_queue(queue)
    }

    /// The driver is ready: the device may use its queues from now on (section 3.1.1, step 8).
    pub fn start(&self) {
        let status = DeviceStatus::new().with_acknowledge(true).with_driver(true);
        self.common.set_status(status.with_features_ok(true).with_driver_ok(true));
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        if let Err(error) = self.reset() {
            log::warn!("{}: {error}", self.function.address());
        }
        // Before anything that the device was given is freed: queues are dropped after their transport.
        self.cut_off();
    }
}

/// Reads a structure field by field, up to where the region ends.
fn read_fields<T: FromZeros + IntoBytes + FromBytes>(
    region: &Mmio,
    widths: &[u8],
) -> redox_driver_sys::Result<T> {
    let mut value = T::new_zeroed();
    let mut bytes = value.as_mut_bytes();
    let mut offset = 0;
    for &width in widths {
        let Some((field, rest)) = bytes.split_at_mut_checked(width.into()) else { break };
        if offset + u64::from(width) > region.len() {
            break;
        }
        match width {
            4 => field.copy_from_slice(&region.register::<u32, ReadOnly>(offset)?.read().to_le_bytes()),
            2 => field.copy_from_slice(&region.register::<u16, ReadOnly>(offset)?.read().to_le_bytes()),
            _ => field.copy_from_slice(&[region.register::<u8, ReadOnly>(offset)?.read()]),
        }
        offset += u64::from(width);
        bytes = rest;
    }
    Ok(value)
}

/// The areas of a queue: descriptors, driver, device.
pub(crate) type Areas = [DmaAddr; 3];
