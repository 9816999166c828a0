//! One PCI function: configuration space, BARs, bus mastering, reset, interrupts and DMA.

mod address;
mod capability;
#[cfg(any(target_os = "linux", target_os = "redox"))]
mod claim;
#[cfg(any(target_os = "redox", test))]
pub(crate) mod dword;
#[cfg(any(target_os = "redox", test))]
pub(crate) mod msix;
#[cfg(any(target_os = "redox", test))]
mod reset;

use std::{fmt, sync::Arc};

pub use address::PciAddress;
pub use capability::{Capabilities, MsiCapability, MsixCapability, VendorCapability};
#[cfg(any(target_os = "linux", target_os = "redox"))]
pub use claim::PciClaim;
#[cfg(target_os = "redox")]
pub(crate) use reset::function_level_reset;

use crate::{
    dma::DmaAllocator,
    error::Result,
    irq::{Interrupt, InterruptKind, InterruptSet},
    mmio::Mmio,
    time::Clock,
};

/// Offsets of the registers of a type 0 configuration header (PCI Local Bus 3.0, section 6.1).
pub mod header {
    /// Vendor ID, 16 bits.
    pub const VENDOR_ID: u16 = 0x00;
    /// Device ID, 16 bits.
    pub const DEVICE_ID: u16 = 0x02;
    /// Command, 16 bits.
    pub const COMMAND: u16 = 0x04;
    /// Status, 16 bits.
    pub const STATUS: u16 = 0x06;
    /// Revision, programming interface, subclass and class, from the lowest byte.
    pub const REVISION_ID: u16 = 0x08;
    /// First base address register, 32 bits.
    pub const BAR0: u16 = 0x10;
    /// Subsystem vendor ID, 16 bits.
    pub const SUBSYSTEM_VENDOR_ID: u16 = 0x2c;
    /// Subsystem ID, 16 bits.
    pub const SUBSYSTEM_ID: u16 = 0x2e;
    /// Offset of the first capability, 8 bits.
    pub const CAPABILITIES: u16 = 0x34;
    /// Interrupt pin, 8 bits: 0 for none, 1 for INTA.
    pub const INTERRUPT_PIN: u16 = 0x3d;
}

bitflags::bitflags! {
    /// The command register (PCI Local Bus 3.0, section 6.2.2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Command: u16 {
        /// Responds to I/O space accesses.
        const IO_SPACE = 1 << 0;
        /// Responds to memory space accesses.
        const MEMORY_SPACE = 1 << 1;
        /// May start transactions: DMA and messages.
        const BUS_MASTER = 1 << 2;
        /// May not assert INTx.
        const INTX_DISABLE = 1 << 10;
        const _ = !0;
    }
}

/// Vendor, device, class and revision of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciIds {
    /// Vendor ID.
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
    /// Subsystem vendor ID.
    pub subsystem_vendor: u16,
    /// Subsystem ID.
    pub subsystem: u16,
    /// Base class.
    pub class: u8,
    /// Subclass.
    pub subclass: u8,
    /// Programming interface.
    pub interface: u8,
    /// Revision ID.
    pub revision: u8,
}

impl fmt::Display for PciIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PciIds { vendor, device, class, subclass, interface, revision, .. } = self;
        write!(
            f,
            "{vendor:04x}:{device:04x} class {class:02x}.{subclass:02x}.{interface:02x} rev {revision:02x}"
        )
    }
}

/// Width of a configuration access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Byte,
    Word,
    Dword,
}

impl Width {
    pub(crate) const fn bytes(self) -> u16 {
        match self {
            Width::Byte => 1,
            Width::Word => 2,
            Width::Dword => 4,
        }
    }
}

/// What an operating system, or the model, does for a function. Cold paths only.
pub(crate) trait FunctionBackend: Send + Sync {
    fn config_read(&self, offset: u16, width: Width) -> Result<u32>;
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()>;
    fn map_bar(&self, bar: u8) -> Result<Mmio>;
    fn enable_interrupts(&self, kind: InterruptKind, count: usize) -> Result<Vec<Interrupt>>;
    fn dma_allocator(&self) -> Result<DmaAllocator>;
    /// Resets the function by whatever the system has (function level reset, hot reset of its bus).
    fn reset(&self) -> Result<()>;
    fn clock(&self) -> Clock;
}

/// A PCI function that this process owns.
///
/// Dropping it turns bus mastering off. Keep it alive for as long as the driver runs, and drop it before the DMA
/// memory where the order is yours to choose; memory behind an IOMMU is revoked by itself.
pub struct PciFunction {
    address: PciAddress,
    backend: Arc<dyn FunctionBackend>,
}

impl fmt::Debug for PciFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PciFunction({})", self.address)
    }
}

impl PciFunction {
    pub(crate) fn new(address: PciAddress, backend: Arc<dyn FunctionBackend>) -> Self {
        PciFunction { address, backend }
    }

    /// Takes ownership of the function at `address` by the means of this operating system: on Linux through VFIO (from
    /// the descriptors that the spawner passed, or by opening its group), on Redox through pcid.
    ///
    /// # Errors
    /// What is missing, in the words of the step that needs it.
    #[cfg(any(target_os = "linux", target_os = "redox"))]
    pub fn open(address: PciAddress) -> Result<Self> {
        PciClaim::find(Some(address))?.function()
    }

    /// Where the function is.
    pub fn address(&self) -> PciAddress {
        self.address
    }

    /// The clock that the function's deadlines go by.
    pub fn clock(&self) -> Clock {
        self.backend.clock()
    }

    /// Reads 8 bits of configuration space.
    ///
    /// # Errors
    /// What the OS answers.
    pub fn config_read_u8(&self, offset: u16) -> Result<u8> {
        #[allow(clippy::cast_possible_truncation, reason = "one byte was read")]
        self.backend.config_read(offset, Width::Byte).map(|value| value as u8)
    }

    /// Reads 16 bits of configuration space.
    ///
    /// # Errors
    /// What the OS answers.
    pub fn config_read_u16(&self, offset: u16) -> Result<u16> {
        #[allow(clippy::cast_possible_truncation, reason = "two bytes were read")]
        self.backend.config_read(offset, Width::Word).map(|value| value as u16)
    }

    /// Reads 32 bits of configuration space.
    ///
    /// # Errors
    /// What the OS answers.
    pub fn config_read_u32(&self, offset: u16) -> Result<u32> {
        self.backend.config_read(offset, Width::Dword)
    }

    /// Writes 8 bits of configuration space.
    ///
    /// # Errors
    /// What the OS answers.
    pub fn config_write_u8(&self, offset: u16, value: u8) -> Result<()> {
        self.backend.config_write(offset, Width::Byte, value.into())
    }

    /// Writes 16 bits of configuration space.
    ///
    /// # Errors
    /// What the OS answers.
    pub fn config_write_u16(&self, offset: u16, value: u16) -> Result<()> {
        self.backend.config_write(offset, Width::Word, value.into())
    }

    /// Writes 32 bits of configuration space.
    ///
    /// # Errors
    /// What the OS answers.
    pub fn config_write_u32(&self, offset: u16, value: u32) -> Result<()> {
        self.backend.config_write(offset, Width::Dword, value)
    }

    /// What the function is.
    ///
    /// # Errors
    /// [`crate::Error::Gone`] when nothing answers, or what the OS answers.
    pub fn ids(&self) -> Result<PciIds> {
        let vendor = self.config_read_u16(header::VENDOR_ID)?;
        if vendor == u16::MAX {
            return Err(crate::Error::Gone { register: "Vendor ID" });
        }
        let [revision, interface, subclass, class] = self.config_read_u32(header::REVISION_ID)?.to_le_bytes();
        Ok(PciIds {
            vendor,
            device: self.config_read_u16(header::DEVICE_ID)?,
            subsystem_vendor: self.config_read_u16(header::SUBSYSTEM_VENDOR_ID)?,
            subsystem: self.config_read_u16(header::SUBSYSTEM_ID)?,
            class,
            subclass,
            interface,
            revision,
        })
    }

    /// The capabilities that drivers ask for. The list is followed for at most as many steps as fit in configuration
    /// space.
    ///
    /// # Errors
    /// [`crate::Error::Capability`] when the list is malformed, or what the OS answers.
    pub fn capabilities(&self) -> Result<Capabilities> {
        Capabilities::read(&*self.backend)
    }

    /// Maps base address register `bar`.
    ///
    /// # Errors
    /// [`crate::Error::Bar`] when it is absent or no memory BAR, or what the OS answers.
    pub fn map_bar(&self, bar: u8) -> Result<Mmio> {
        self.backend.map_bar(bar)
    }

    /// Lets the function respond to memory accesses.
    ///
    /// # Errors
    /// What the OS answers.
    pub fn enable_memory(&self) -> Result<()> {
        let command =
            Command::from_bits_retain(self.config_read_u16(header::COMMAND)?) | Command::MEMORY_SPACE;
        self.config_write_u16(header::COMMAND, command.bits())
    }

    /// Lets the function start transactions, or forbids it.
    ///
    /// # Errors
    /// What the OS answers.
    pub fn set_bus_master(&self, on: bool) -> Result<()> {
        let mut command = Command::from_bits_retain(self.config_read_u16(header::COMMAND)?);
        command.set(Command::BUS_MASTER, on);
        self.config_write_u16(header::COMMAND, command.bits())
    }

    /// Resets the function. Its registers are in their default state afterwards and bus mastering is off.
    ///
    /// # Errors
    /// [`crate::Error::Unsupported`] where the function or the OS knows no reset, or what the OS answers.
    pub fn reset(&self) -> Result<()> {
        self.backend.reset()
    }

    /// Asks for `wanted` interrupt vectors: MSI-X, else MSI, else INTx, and fewer rather than none.
    ///
    /// # Errors
    /// [`crate::Error::Unsupported`] with every refusal when there is none at all.
    pub fn interrupts(&self, wanted: usize) -> Result<InterruptSet> {
        self.interrupts_up_to(wanted, InterruptKind::MsiX)
    }

    /// As [`Self::interrupts`], but no better kind than `best`.
    ///
    /// # Errors
    /// As [`Self::interrupts`].
    pub fn interrupts_up_to(&self, wanted: usize, best: InterruptKind) -> Result<InterruptSet> {
        InterruptSet::request(&*self.backend, &self.capabilities()?, wanted, best)
    }

    /// The allocator of memory that this function can reach.
    ///
    /// # Errors
    /// What the OS answers.
    pub fn dma(&self) -> Result<DmaAllocator> {
        self.backend.dma_allocator()
    }
}

impl Drop for PciFunction {
    fn drop(&mut self) {
        if let Err(error) = self.set_bus_master(false) {
            log::warn!("{}: bus mastering stays on: {error}", self.address);
        }
    }
}
