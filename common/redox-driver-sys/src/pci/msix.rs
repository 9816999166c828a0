//! Interrupt messages, and the MSI-X table (PCI Local Bus 3.0, section 6.8.2), for systems whose kernel does not write it.

use crate::{
    error::{Error, Result},
    mmio::{Mmio, ReadWrite, Register},
};

/// Bytes of a table entry: address, upper address, data, control.
const ENTRY: u64 = 16;
/// Vector control: the vector is masked.
const MASKED: u32 = 1;

/// What a device writes to interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) address: u64,
    pub(crate) data: u32,
}

impl Message {
    /// A fixed, edge-triggered interrupt `vector` to one processor (Intel SDM volume 3, section 12.11).
    pub(crate) fn new(processor: u8, vector: u8) -> Result<Self> {
        if !cfg!(target_arch = "x86_64") {
            return Err(Error::Unsupported("interrupt messages on this processor".to_string()));
        }
        Ok(Message { address: 0xfee0_0000 | u64::from(processor) << 12, data: vector.into() })
    }
}

struct Entry {
    address: Register<u32, ReadWrite>,
    upper_address: Register<u32, ReadWrite>,
    data: Register<u32, ReadWrite>,
    control: Register<u32, ReadWrite>,
}

/// The vector table of a function.
pub(crate) struct Table {
    entries: Vec<Entry>,
}

impl Table {
    /// The table of `size` vectors at `offset` in `bar`, with every vector masked.
    pub(crate) fn masked(bar: &Mmio, offset: u32, size: u16) -> Result<Self> {
        let table = bar.subregion(offset.into(), u64::from(size) * ENTRY)?;
        let entries = (0..u64::from(size)).map(|index| {
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
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Has vector 0, 1, … send the messages, and unmasks them.
    pub(crate) fn set(&self, messages: impl IntoIterator<Item = Message>) {
        for (entry, Message { address, data }) in self.entries.iter().zip(messages) {
            #[allow(clippy::cast_possible_truncation, reason = "split into halves")]
            let (low, high) = (address as u32, (address >> 32) as u32);
            entry.address.write(low);
            entry.upper_address.write(high);
            entry.data.write(data);
            entry.control.modify(|control| control & !MASKED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Bus, ConfigSpace, Device, Host},
        pci::PciIds,
        time::Time,
    };

    const BAR_LEN: usize = 0x1000;

    /// A BAR that is memory, full of ones at first.
    struct Memory(ConfigSpace, Vec<u8>);

    impl Device for Memory {
        fn config(&mut self) -> &mut ConfigSpace {
            &mut self.0
        }
        fn mmio_read(&mut self, _: &mut dyn Bus, _: u8, offset: u64, len: usize) -> u64 {
            assert_eq!(len, 4, "the table is accessed by 32 bits");
            let at = usize::try_from(offset).unwrap();
            u32::from_le_bytes(*self.1[at..].first_chunk().unwrap()).into()
        }
        fn mmio_write(&mut self, _: &mut dyn Bus, _: u8, offset: u64, len: usize, value: u64) {
            assert_eq!(len, 4, "the table is accessed by 32 bits");
            let at = usize::try_from(offset).unwrap();
            self.1[at..at + 4].copy_from_slice(&value.to_le_bytes()[..4]);
        }
        fn run(&mut self, _: &mut dyn Bus) {}
        fn next_event(&self) -> Option<Time> {
            None
        }
        fn reset(&mut self) {}
    }

    fn bar() -> Mmio {
        let ids = PciIds {
            vendor: 1,
            device: 1,
            subsystem_vendor: 0,
            subsystem: 0,
            class: 0,
            subclass: 0,
            interface: 0,
            revision: 0,
        };
        let config = ConfigSpace::new(ids).with_memory_bar(0, BAR_LEN as u64);
        Host::new(Box::new(Memory(config, vec![0xff; BAR_LEN]))).function().map_bar(0).unwrap()
    }

    fn words(bar: &Mmio, from: u64, count: u64) -> Vec<u32> {
        (0..count).map(|n| bar.register::<u32, ReadWrite>(from + 4 * n).unwrap().read()).collect()
    }

    #[test]
    fn sets_vectors_and_leaves_the_others_masked() {
        let bar = bar();
        bar.register::<u32, ReadWrite>(0x80c).unwrap().write(0);
        let table = Table::masked(&bar, 0x800, 3).unwrap();
        assert_eq!(table.len(), 3);
        assert_eq!(words(&bar, 0x80c, 1), [1], "masked");
        let messages = [(1, 0x31), (0xff, 0xfe)].map(|(cpu, vector)| Message::new(cpu, vector).unwrap());
        table.set(messages);
        assert_eq!(
            words(&bar, 0x800, 12),
            [
                0xfee0_1000,
                0,
                0x31,
                0, // vector 0
                0xfeef_f000,
                0,
                0xfe,
                0xffff_fffe, // vector 1: reserved bits of the control word stay
                u32::MAX,
                u32::MAX,
                u32::MAX,
                u32::MAX, // vector 2
            ]
        );
        assert_eq!(words(&bar, 0x7f0, 4), [u32::MAX; 4]);
        assert_eq!(words(&bar, 0x830, 4), [u32::MAX; 4]);
        // Upper halves are written, too.
        table.set([Message { address: 0x1_2345_6789_abcc, data: 7 }]);
        assert_eq!(words(&bar, 0x800, 3), [0x6789_abcc, 0x1_2345, 7]);
    }

    #[test]
    fn a_table_outside_its_bar_is_refused() {
        let bar = bar();
        for (offset, size) in [(0x1000, 1), (0xff0, 2), (u32::MAX - 7, 1), (0, 2048)] {
            assert!(matches!(Table::masked(&bar, offset, size), Err(Error::OutOfBounds { .. })));
        }
        assert!(Table::masked(&bar, 0, 256).is_ok());
    }
}
