//! Registers: bounds, alignment, access modes, a device that is gone. And what a function says of itself.

mod common;

use common::{BAR_LEN, DONE, ID, MAGIC, SCRATCH, host, ids, started};
use redox_driver_sys::{
    Error,
    mmio::{ReadClears, ReadOnly, ReadWrite, Register, RegisterValue},
    pci::Command,
};

#[test]
fn what_does_not_fit_is_refused() {
    let (_function, registers) = started(host().function());
    assert_eq!(registers.len(), BAR_LEN);
    for (offset, len) in
        [(BAR_LEN, 1u64), (BAR_LEN - 2, 4), (u64::MAX, 4), (u64::MAX - 3, 4), (BAR_LEN - 4, 8)]
    {
        let refused = match len {
            1 => registers.register::<u8, ReadOnly>(offset).map(drop),
            4 => registers.register::<u32, ReadOnly>(offset).map(drop),
            _ => registers.register::<u64, ReadOnly>(offset).map(drop),
        };
        match refused.unwrap_err() {
            Error::OutOfBounds { offset: at, len: of, region } => {
                assert_eq!((at, of, region), (offset, len, BAR_LEN));
            }
            other => panic!("{other}"),
        }
    }
    registers.register::<u64, ReadOnly>(BAR_LEN - 8).unwrap();
    registers.register::<u8, ReadOnly>(BAR_LEN - 1).unwrap();
}

#[test]
fn what_is_not_aligned_is_refused() {
    let (_function, registers) = started(host().function());
    assert!(registers.register::<u16, ReadOnly>(1).is_err());
    assert!(registers.register::<u32, ReadOnly>(2).is_err());
    assert!(registers.register::<u64, ReadOnly>(4).is_err());
    // What counts is the offset in the BAR, not in the part of it.
    let part = registers.subregion(4, 16).unwrap();
    assert!(part.register::<u64, ReadOnly>(0).is_err());
    assert!(part.register::<u64, ReadOnly>(4).is_ok());
}

#[test]
fn a_subregion_ends_where_it_ends() {
    let (_function, registers) = started(host().function());
    let part = registers.subregion(SCRATCH, 8).unwrap();
    let inner = part.subregion(4, 4).unwrap();
    inner.register::<u32, ReadWrite>(0).unwrap().write(0xdead_beef);
    assert_eq!(registers.register::<u32, ReadOnly>(SCRATCH + 4).unwrap().read(), 0xdead_beef);
    assert!(part.register::<u32, ReadOnly>(8).is_err());
    assert!(inner.register::<u8, ReadOnly>(4).is_err());
    assert!(part.subregion(0, 9).is_err());
    assert!(part.subregion(8, 0).unwrap().is_empty());
    assert!(part.subregion(u64::MAX, 2).is_err());
}

#[test]
fn every_width_reaches_its_bytes() {
    let (_function, registers) = started(host().function());
    registers.register::<u64, ReadWrite>(SCRATCH).unwrap().write(0x8877_6655_4433_2211);
    let bytes: Vec<u8> =
        (0..8).map(|at| registers.register::<u8, ReadOnly>(SCRATCH + at).unwrap().read()).collect();
    assert_eq!(bytes, [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]);
    registers.register::<u16, ReadWrite>(SCRATCH + 2).unwrap().write(0xaabb);
    registers.register::<u8, ReadWrite>(SCRATCH).unwrap().modify(|value| value ^ 0xff);
    assert_eq!(registers.register::<u64, ReadOnly>(SCRATCH).unwrap().read(), 0x8877_6655_aabb_22ee);
}

#[test]
fn reading_clears_only_where_the_type_says_so() {
    let host = host();
    let (_function, registers) = started(host.function());
    common::copy(&host, &registers, 0, 0, 0);
    let done = registers.register::<u32, ReadClears>(DONE).unwrap();
    assert_eq!(done.read_and_clear(), 1);
    assert_eq!(done.read_and_clear(), 0);
}

/// A bit field, as drivers declare them.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Low(u32);

impl RegisterValue for Low {
    type Word = u32;
    fn from_word(word: u32) -> Self {
        Low(word & 0xffff)
    }
    fn into_word(self) -> u32 {
        self.0
    }
}

#[test]
fn a_device_that_is_gone_is_an_error() {
    let host = host();
    let (function, registers) = started(host.function());
    let id: Register<u32, ReadOnly> = registers.register(ID).unwrap();
    assert_eq!(id.read_present("ID").unwrap(), MAGIC);
    host.set_connected(false);
    let error = id.read_present("ID").unwrap_err();
    assert!(error.is_gone());
    assert_eq!(error.to_string(), "device is gone: ID reads all ones");
    // All bits count, also those that the type does not keep.
    assert!(registers.register::<Low, ReadOnly>(ID).unwrap().read_present("ID").is_err());
    assert!(function.ids().unwrap_err().is_gone());
    assert!(function.capabilities().unwrap_err().is_gone());
    host.set_connected(true);
    assert_eq!(
        registers.register::<Low, ReadOnly>(ID).unwrap().read_present("ID").unwrap(),
        Low(MAGIC & 0xffff)
    );
}

#[test]
fn registers_keep_their_mapping() {
    let host = host();
    let id = started(host.function()).1.register::<u32, ReadOnly>(ID).unwrap();
    assert_eq!(id.read(), MAGIC, "function and region are dropped");
}

#[test]
fn a_function_says_what_it_is() {
    let (function, _) = started(host().function());
    assert_eq!(function.ids().unwrap(), ids());
    assert_eq!(function.ids().unwrap().to_string(), "1234:abcd class ff.01.02 rev 03");
    let capabilities = function.capabilities().unwrap();
    let msix = capabilities.msix.unwrap();
    assert_eq!((msix.table_size, msix.table_bar, msix.table_offset, msix.pba_offset), (8, 0, 0x800, 0xc00));
    let msi = capabilities.msi.unwrap();
    assert_eq!((msi.vectors, msi.is_64_bit, msi.per_vector_mask), (4, true, false));
    assert_eq!(capabilities.interrupt_pin, 1);
    assert!(capabilities.pci_express.is_some());
    for bar in 1..=u8::MAX {
        assert!(matches!(function.map_bar(bar), Err(Error::Bar { bar: of, .. }) if of == bar));
    }
}

#[test]
fn bus_mastering_is_the_drivers_choice_and_ends_with_it() {
    let host = host();
    let function = host.function();
    assert!(!host.bus_master());
    function.set_bus_master(true).unwrap();
    assert!(host.bus_master());
    function.set_bus_master(false).unwrap();
    assert!(!host.bus_master());
    function.config_write_u16(4, (Command::BUS_MASTER | Command::MEMORY_SPACE).bits()).unwrap();
    assert!(host.bus_master());
    drop(function);
    assert!(!host.bus_master());
}

#[test]
fn a_reset_switches_bus_mastering_off() {
    let host = host();
    let (function, _registers) = started(host.function());
    function.reset().unwrap();
    assert!(!host.bus_master());
}
