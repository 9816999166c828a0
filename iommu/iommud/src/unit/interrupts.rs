//! Interrupt remapping (section 2.2.5).

use amd_vi_spec::{
    DeviceId, DteInterrupt, InterruptControl, InterruptType, Irte32, Irte128, IrteHigh, IrteLow,
};
use redox_driver_sys::dma::DmaSlice;

use super::{
    error::{Result, UnitError},
    memory::TableMemory,
    options::IrteFormat,
};

/// log2 of the interrupts of a device: bits 10:8 of a message's data would tell its kind.
const TABLE_LEN: u8 = 8;
/// Interrupts that a device can have.
pub const MOST_INTERRUPTS: u16 = 1 << TABLE_LEN;
/// Vectors below are exceptions.
const LEAST_VECTOR: u8 = 16;
/// Where a remapped message is written.
const MESSAGE_ADDRESS: u64 = *amd_vi_spec::INTERRUPT_ADDRESSES.start();

/// What becomes of the interrupts of a device that has no table of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupts {
    /// They arrive as the device sends them: it can send any.
    Pass,
    /// They do not arrive.
    Block,
}

/// Where an interrupt goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptTarget {
    /// APIC id or logical id.
    pub destination: u32,
    /// Whether it is a logical id.
    pub logical: bool,
    /// Vector, 16–255.
    pub vector: u8,
    /// Whether the processor with the lowest priority gets it (arbitrated) instead of all (fixed).
    pub arbitrated: bool,
}

/// What a device must write to send an interrupt: for its MSI or MSI-X.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Address.
    pub address: u64,
    /// Data.
    pub data: u32,
}

/// The table of a device.
pub(super) enum InterruptTable {
    Narrow(DmaSlice<Irte32>),
    Wide(DmaSlice<Irte128>, bool),
}

impl InterruptTable {
    pub(super) fn new(memory: &mut TableMemory, format: IrteFormat) -> redox_driver_sys::Result<Self> {
        let len = usize::from(MOST_INTERRUPTS);
        Ok(match format {
            IrteFormat::Bits32 => InterruptTable::Narrow(memory.slice(len)?),
            IrteFormat::Bits128 { x2apic } => InterruptTable::Wide(memory.slice(len)?, x2apic),
        })
    }

    /// No interrupt goes anywhere any more.
    pub(super) fn clear(&self) {
        match self {
            InterruptTable::Narrow(entries) => entries.clear(),
            InterruptTable::Wide(entries, _) => entries.clear(),
        }
    }

    /// What the device table entry says of it.
    pub(super) fn entry(&self) -> DteInterrupt {
        let address = match self {
            InterruptTable::Narrow(entries) => entries.addr(),
            InterruptTable::Wide(entries, _) => entries.addr(),
        };
        DteInterrupt::new()
            .with_valid(true)
            .with_table(address.get())
            .with_table_len(TABLE_LEN)
            .with_control(InterruptControl::REMAP)
    }

    /// Sets where interrupt `index` goes, which goes nowhere yet.
    pub(super) fn map(&self, device: DeviceId, index: u16, target: InterruptTarget) -> Result<Message> {
        let wrong = |reason| UnitError::Interrupt { device, index, reason };
        if index >= MOST_INTERRUPTS {
            return Err(wrong("there is no such interrupt"));
        }
        if target.vector < LEAST_VECTOR {
            return Err(wrong("the vector is that of an exception"));
        }
        let at = usize::from(index);
        let int_type = if target.arbitrated { InterruptType::ARBITRATED } else { InterruptType::FIXED };
        let narrow =
            || u8::try_from(target.destination).map_err(|_| wrong("the destination has more than 8 bits"));
        match self {
            InterruptTable::Narrow(entries) => {
                if entries.read(at).remap_en() {
                    return Err(wrong("it is in use"));
                }
                let entry = Irte32::new()
                    .with_remap_en(true)
                    .with_int_type(int_type)
                    .with_logical(target.logical)
                    .with_destination(narrow()?)
                    .with_vector(target.vector);
                entries.store_release::<u32>(at, 0, entry.into());
            }
            InterruptTable::Wide(entries, x2apic) => {
                if entries.read(at).low.remap_en() {
                    return Err(wrong("it is in use"));
                }
                if !x2apic {
                    narrow()?;
                }
                let low =
                    IrteLow::new().with_remap_en(true).with_int_type(int_type).with_logical(target.logical);
                let entry = Irte128 { low, high: IrteHigh::new().with_vector(target.vector) };
                let entry = entry.with_destination(target.destination);
                // The half that makes it valid comes last.
                entries.store_release::<u64>(at, 8, entry.high.into());
                entries.store_release::<u64>(at, 0, entry.low.into());
            }
        }
        Ok(Message { address: MESSAGE_ADDRESS, data: index.into() })
    }

    /// Interrupt `index` goes nowhere any more; whether it went somewhere.
    pub(super) fn unmap(&self, index: u16) -> bool {
        let at = usize::from(index);
        match self {
            _ if index >= MOST_INTERRUPTS => false,
            InterruptTable::Narrow(entries) => {
                let was = entries.read(at).remap_en();
                entries.store_release::<u32>(at, 0, 0);
                was
            }
            InterruptTable::Wide(entries, _) => {
                let was = entries.read(at).low.remap_en();
                entries.store_release::<u64>(at, 0, 0);
                was
            }
        }
    }
}

impl Interrupts {
    /// What the device table entry says.
    pub(super) fn entry(self) -> DteInterrupt {
        match self {
            Interrupts::Pass => DteInterrupt::new(),
            Interrupts::Block => DteInterrupt::new().with_valid(true).with_control(InterruptControl::BLOCK),
        }
    }
}
