//! The messages of MSI and MSI-X on x86, and the MSI-X table (PCI Local Bus 3.0, section 6.8.2).

use pcid_interface::{MsiAddrAndData, MsixInfo};

use super::interrupt::Message;
use crate::{
    error::{Error, Result},
    mmio::{Mmio, ReadWrite, Register},
};

/// Bytes of a table entry: address, upper address, data, control.
const ENTRY: u64 = 16;
/// Vector control: the vector is masked.
const MASKED: u32 = 1;

/// A fixed, edge-triggered interrupt to one processor (Intel SDM volume 3, section 12.11).
pub(super) fn message(message: &Message) -> Result<MsiAddrAndData> {
    if cfg!(target_arch = "x86_64") {
        let addr = 0xfee0_0000 | u64::from(message.processor) << 12;
        Ok(MsiAddrAndData { addr, data: message.vector.into() })
    } else {
        Err(Error::Unsupported("messages on this processor".to_string()))
    }
}

struct Entry {
    address: Register<u32, ReadWrite>,
    upper_address: Register<u32, ReadWrite>,
    data: Register<u32, ReadWrite>,
    control: Register<u32, ReadWrite>,
}

/// The vector table of a function.
pub(super) struct Table {
    entries: Vec<Entry>,
}

impl Table {
    /// The table in `bar`, with every vector masked.
    pub(super) fn masked(bar: &Mmio, info: &MsixInfo) -> Result<Self> {
        let table = bar.subregion(info.table_offset.into(), u64::from(info.table_size) * ENTRY)?;
        let entries = (0..u64::from(info.table_size)).map(|index| {
            let at = index * ENTRY;
            Ok(Entry {
                address: table.register(at)?,
                upper_address: table.register(at + 4)?,
                data: table.register(at + 8)?,
                control: table.register(at + 12)?,
            })
        });
        let entries = entries.collect::<Result<Vec<_>>>()?;
        for entry in &entries {
            entry.control.modify(|control| control | MASKED);
        }
        Ok(Table { entries })
    }

    /// How many vectors it has.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Has vector 0, 1, … send the messages, and unmasks them.
    pub(super) fn set(&self, messages: &[Message]) -> Result<()> {
        for (entry, reserved) in self.entries.iter().zip(messages) {
            let MsiAddrAndData { addr, data } = message(reserved)?;
            #[allow(clippy::cast_possible_truncation, reason = "split into halves")]
            entry.address.write(addr as u32);
            #[allow(clippy::cast_possible_truncation, reason = "split into halves")]
            entry.upper_address.write((addr >> 32) as u32);
            entry.data.write(data);
            entry.control.modify(|control| control & !MASKED);
        }
        Ok(())
    }
}
