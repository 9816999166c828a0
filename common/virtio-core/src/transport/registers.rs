//! The common configuration structure (section 4.1.4.3).

use redox_driver_sys::{
    Result,
    dma::DmaAddr,
    mmio::{Mmio, ReadWrite, Register, RegisterValue},
};
use virtio_spec::{DeviceStatus, pci::common};

use crate::Features;

/// The registers at the start of everything. All but status and generation are for setting up.
#[derive(Debug)]
pub(super) struct CommonRegisters {
    region: Mmio,
    status: Register<DeviceStatus, ReadWrite>,
    generation: Register<u8, ReadWrite>,
}

impl CommonRegisters {
    pub(super) fn new(region: Mmio) -> Result<Self> {
        Ok(CommonRegisters {
            status: region.register(common::DEVICE_STATUS)?,
            generation: region.register(common::CONFIG_GENERATION)?,
            region,
        })
    }

    fn read<T: RegisterValue>(&self, offset: u64) -> Result<T> {
        Ok(self.region.register::<T, ReadWrite>(offset)?.read())
    }

    fn write<T: RegisterValue>(&self, offset: u64, value: T) -> Result<()> {
        self.region.register::<T, ReadWrite>(offset)?.write(value);
        Ok(())
    }

    /// The status; an error when the device is gone: not all its bits are defined, so that it cannot be all ones.
    pub(super) fn status(&self) -> Result<DeviceStatus> {
        self.status.read_present("device_status")
    }

    pub(super) fn set_status(&self, status: DeviceStatus) {
        self.status.write(status);
    }

    pub(super) fn generation(&self) -> u8 {
        self.generation.read()
    }

    pub(super) fn device_features(&self) -> Result<Features> {
        let half = |select: u32| -> Result<u64> {
            self.write(common::DEVICE_FEATURE_SELECT, select)?;
            Ok(u64::from(self.read::<u32>(common::DEVICE_FEATURE)?))
        };
        Ok(Features::from_bits_retain(half(0)? | half(1)? << 32))
    }

    pub(super) fn set_driver_features(&self, features: Features) -> Result<()> {
        #[allow(clippy::cast_possible_truncation, reason = "split into halves")]
        let halves = [features.bits() as u32, (features.bits() >> 32) as u32];
        for (select, half) in (0u32..).zip(halves) {
            self.write(common::DRIVER_FEATURE_SELECT, select)?;
            self.write(common::DRIVER_FEATURE, half)?;
        }
        Ok(())
    }

    pub(super) fn queue_count(&self) -> Result<u16> {
        self.read(common::NUM_QUEUES)
    }

    /// Sets a vector and says whether the device took it (section 4.1.5.1.2.2).
    pub(super) fn set_configuration_vector(&self, vector: u16) -> Result<bool> {
        self.write(common::CONFIG_MSIX_VECTOR, vector)?;
        Ok(self.read::<u16>(common::CONFIG_MSIX_VECTOR)? == vector)
    }

    fn select(&self, queue: u16) -> Result<()> {
        self.write(common::QUEUE_SELECT, queue)
    }

    pub(super) fn queue_size(&self, queue: u16) -> Result<u16> {
        self.select(queue)?;
        self.read(common::QUEUE_SIZE)
    }

    pub(super) fn queue_notify_offset(&self, queue: u16) -> Result<u16> {
        self.select(queue)?;
        self.read(common::QUEUE_NOTIFY_OFF)
    }

    /// Gives the device a queue (section 4.1.5.1.3); the inner error says what it does not take.
    pub(super) fn enable_queue(
        &self,
        queue: u16,
        size: u16,
        [descriptors, driver, device]: [DmaAddr; 3],
        vector: u16,
    ) -> Result<std::result::Result<(), &'static str>> {
        self.select(queue)?;
        if self.read::<u16>(common::QUEUE_ENABLE)? != 0 {
            return Ok(Err("it is in use already"));
        }
        self.write(common::QUEUE_SIZE, size)?;
        if self.read::<u16>(common::QUEUE_SIZE)? != size {
            return Ok(Err("the device does not take its size"));
        }
        self.write(common::QUEUE_MSIX_VECTOR, vector)?;
        if self.read::<u16>(common::QUEUE_MSIX_VECTOR)? != vector {
            return Ok(Err("no resources for its interrupt vector"));
        }
        self.write_address(common::QUEUE_DESC, descriptors)?;
        self.write_address(common::QUEUE_DRIVER, driver)?;
        self.write_address(common::QUEUE_DEVICE, device)?;
        self.write(common::QUEUE_ENABLE, 1u16)?;
        let enabled = self.read::<u16>(common::QUEUE_ENABLE)? == 1;
        Ok(if enabled { Ok(()) } else { Err("the device does not enable it") })
    }

    fn write_address(&self, offset: u64, address: DmaAddr) -> Result<()> {
        #[allow(clippy::cast_possible_truncation, reason = "split into halves")]
        let (low, high) = (address.get() as u32, (address.get() >> 32) as u32);
        self.write(offset, low)?;
        self.write(offset + 4, high)
    }

    /// Whether queues can be reset by themselves.
    pub(super) fn has_queue_reset(&self) -> bool {
        self.region.len() >= common::LEN_WITH_RESET
    }

    pub(super) fn start_queue_reset(&self, queue: u16) -> Result<()> {
        self.select(queue)?;
        self.write(common::QUEUE_RESET, 1u16)
    }

    /// Whether the reset of the selected queue is over.
    pub(super) fn queue_is_reset(&self) -> Result<bool> {
        Ok(self.read::<u16>(common::QUEUE_RESET)? == 0 && self.read::<u16>(common::QUEUE_ENABLE)? == 0)
    }
}
