use proptest::prelude::*;

use super::*;
use crate::{ExtendedFeatures, ExtendedFeatures2};

/// A table with a right length and checksum around `blocks`.
fn table(blocks: &[u8]) -> Vec<u8> {
    let mut table = b"IVRS\0\0\0\0\x02\0AMD   AmdTable".to_vec();
    table.resize(36, 1);
    table.extend(0x0020_3043u32.to_le_bytes());
    table.resize(48, 0);
    table.extend(blocks);
    let length = u32::try_from(table.len()).unwrap();
    table[4..8].copy_from_slice(&length.to_le_bytes());
    let sum = table.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    table[9] = 0u8.wrapping_sub(sum);
    table
}

/// An IVHD for the IOMMU 00:00.2 at 0xfd200000.
fn ivhd(kind: u8, entries: &[u8]) -> Vec<u8> {
    let mut block =
        vec![kind, 0x30, 0, 0, 0x02, 0x00, 0x40, 0x00, 0, 0, 0x20, 0xfd, 0, 0, 0, 0, 0, 0, 0x03, 0x01];
    block.extend(0x8004_8f6eu32.to_le_bytes());
    if kind != 0x10 {
        block.extend(0x0246_577e_fa22_54afu64.to_le_bytes());
        block.extend(0x10u64.to_le_bytes());
    }
    block.extend(entries);
    let length = u16::try_from(block.len()).unwrap();
    block[2..4].copy_from_slice(&length.to_le_bytes());
    block
}

fn ivmd(kind: u8, flags: u8, first: u16, last: u16, start: u64, length: u64) -> Vec<u8> {
    let mut block = vec![kind, flags, 32, 0];
    block.extend(first.to_le_bytes());
    block.extend(last.to_le_bytes());
    block.extend([0; 8]);
    block.extend(start.to_le_bytes());
    block.extend(length.to_le_bytes());
    block
}

/// Devices 00:00.3 to ff:1f.6, aliases 04:00.0–04:1f.7 → 03:00.0, HPET 0 and I/O APIC 0x80 as 00:14.0.
const ENTRIES: &[u8] = &[
    3, 0x03, 0, 0, 4, 0xfe, 0xff, 0, // a range
    67, 0x00, 0x04, 0, 0, 0x00, 0x03, 0, 4, 0xff, 0x04, 0, // an aliased range
    72, 0, 0, 0, 0, 0xa0, 0x00, 2, // HPET
    72, 0, 0, 0xd7, 0x80, 0xa0, 0x00, 1, // I/O APIC
    70, 0x10, 0x00, 0, 0, 0, 0, 0x80, // 00:02.0 without ATS
];

#[test]
fn a_machine_is_read() {
    let mut blocks = ivhd(0x10, ENTRIES);
    blocks.extend(ivhd(0x11, ENTRIES));
    blocks.extend(ivmd(0x22, 0b111, 0x00a0, 0x00a7, 0xdf00_0800, 0x1000));
    let mut bytes = table(&blocks);
    bytes.extend([0xff; 3]);
    let ivrs = Ivrs::parse(&bytes).unwrap();
    assert_eq!((ivrs.revision, ivrs.skipped.len(), ivrs.hardware.len()), (2, 0, 2));
    assert!(ivrs.info.efr_sup() && ivrs.info.dma_remap());
    assert_eq!((ivrs.info.pa_size(), ivrs.info.va_size()), (48, 64));
    let units = ivrs.units();
    let [unit] = units[..] else { panic!("{units:?}") };
    assert_eq!((unit.kind, unit.base, unit.device), (BlockType::IVHD_11, 0xfd20_0000, DeviceId(2)));
    assert_eq!((unit.capability, unit.info.msi_num(), unit.info.unit_id()), (0x40, 3, 1));
    assert!(unit.flags.iotlb_sup() && unit.flags.coherent());
    let efr = ExtendedFeatures::from(0x0246_577e_fa22_54af);
    assert!(matches!(unit.features, IvhdFeatures::Registers { efr: read, efr2, .. }
        if read == efr && efr2 == ExtendedFeatures2::from(0x10)));

    let devices = unit.devices();
    assert_eq!(devices.get(DeviceId(2)), None, "the IOMMU itself is not behind itself");
    assert_eq!(devices.requester(DeviceId(0x0455)), Some(DeviceId(0x0300)));
    assert_eq!(devices.requester(DeviceId(0x0500)), Some(DeviceId(0x0500)));
    assert!(devices.get(DeviceId(0x10)).unwrap().extended.ats_disabled());
    let is_one = |first, last| devices.is_requester_of(DeviceId(0x0300), DeviceId(first), DeviceId(last));
    assert!(
        is_one(0x0300, 0x0300) && is_one(0x04ff, 0x0500) && !is_one(0x0500, 0xffff) && !is_one(0, 0x02ff)
    );
    assert!(!devices.is_requester_of(DeviceId(0x0455), DeviceId(0x0400), DeviceId(0x04ff)));
    let apic = devices.get(DeviceId(0xa0)).unwrap().setting;
    assert!(apic.init_pass() && apic.lint0_pass() && apic.system_management() == 1);
    let requesters = devices.requesters();
    assert_eq!(requesters.len(), 0xfffe - 3 + 1 - 256);
    assert!(requesters.is_sorted_by_key(|&(device, _)| device));

    assert_eq!(ivrs.memory_of(0, DeviceId(0x9f)).count(), 0);
    let memory = ivrs.memory_of(0, DeviceId(0xa7)).next().unwrap();
    assert_eq!((memory.start, memory.last), (0xdf00_0000, 0xdf00_1fff));
    assert!(memory.flags.unity() && memory.flags.ir() && memory.flags.iw() && !memory.flags.exclusion());
    assert_eq!(ivrs.memory_of(1, DeviceId(0xa7)).count(), 0);
}

#[test]
fn a_block_of_the_highest_type_is_used() {
    let other = {
        let mut block = ivhd(0x10, &[1, 0, 0, 0]);
        block[4] = 3;
        block
    };
    let blocks = [ivhd(0x40, &[]), ivhd(0x10, &[]), other, ivhd(0x11, &[])].concat();
    let ivrs = Ivrs::parse(&table(&blocks)).unwrap();
    let units: Vec<_> = ivrs.units().iter().map(|unit| (unit.kind.0, unit.device.0)).collect();
    assert_eq!(units, [(0x40, 2), (0x10, 3)]);
    let all = ivrs.units()[1].devices();
    assert_eq!(all.requesters().len(), 0x1_0000);
}

#[test]
fn devices_that_acpi_names() {
    let mut entries = vec![240, 0xa5, 0, 0];
    entries.extend(b"AMDI0040\0\0\0\0\0\0\0\0\x02\x08\\_SB.F\0\0");
    entries.extend([240, 0xa6, 0, 0]);
    entries.extend(b"AMDI0095\0\0\0\0\0\0\0\0\x01\x08");
    entries.extend(7u64.to_le_bytes());
    entries.extend([240, 0xa7, 0, 0]);
    entries.extend(b"AMDI0096\0\0\0\0\0\0\0\0\x01\x02??");
    let ivrs = Ivrs::parse(&table(&ivhd(0x40, &entries))).unwrap();
    let uids: Vec<&Uid> = ivrs.hardware[0]
        .entries
        .iter()
        .map(|entry| match entry {
            DeviceEntry::Acpi(acpi) => &acpi.unique_id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(uids, [&Uid::String(b"\\_SB.F".to_vec()), &Uid::Integer(7)]);
    let offset = ivrs.hardware[0].offset + 40 + 30 + 30;
    assert_eq!(ivrs.skipped, [Skipped::UidFormat { offset, format: 1, length: 2 }]);
    // Older blocks have no such entries.
    let ivrs = Ivrs::parse(&table(&ivhd(0x11, &entries))).unwrap();
    assert_eq!((ivrs.hardware[0].entries.len(), ivrs.skipped.len()), (0, 3));
}

#[test]
fn what_is_unknown_is_skipped_and_told() {
    let entries = [
        5, 0, 0, 0, // 4 bytes
        65, 0, 0, 0, 0, 0, 0, 0, // 8 bytes
        64, 0, 0, 0, 0, 0, 0, 0, // reserved on purpose
        2, 0x10, 0, 0, // 00:02.0
        4, 0x20, 0, 0, // an end without a start
        3, 0x40, 0, 0, 3, 0x50, 0, 0, 4, 0x48, 0,
        0, // a start without an end, and a range that runs backwards
        3, 0x60, 0, 0, // another
    ];
    let mut blocks = vec![0x83, 0, 5, 0, 0xaa];
    blocks.extend(ivhd(0x10, &entries));
    let ivrs = Ivrs::parse(&table(&blocks)).unwrap();
    let at = 48 + 5 + 24;
    assert_eq!(
        ivrs.skipped,
        [
            Skipped::Block { offset: 48, kind: BlockType(0x83), length: 5 },
            Skipped::Entry { offset: at, kind: 5, length: 4 },
            Skipped::Entry { offset: at + 4, kind: 65, length: 8 },
            Skipped::RangeWithoutStart { offset: at + 24, last: DeviceId(0x20) },
            Skipped::RangeWithoutEnd { offset: at + 28, first: DeviceId(0x40) },
            Skipped::RangeWithoutStart { offset: at + 36, last: DeviceId(0x48) },
            Skipped::RangeWithoutEnd { offset: at + 40, first: DeviceId(0x60) },
        ]
    );
    assert_eq!(ivrs.hardware[0].devices().requesters(), [(DeviceId(0x10), DteSetting::new())]);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let good = table(&ivhd(0x11, ENTRIES));
    let error = |bytes: &[u8]| Ivrs::parse(bytes).unwrap_err();
    assert_eq!(error(&[]), IvrsError::Truncated { offset: 0, wanted: 4, left: 0 });
    assert_eq!(error(b"DMAR...."), IvrsError::Signature(*b"DMAR"));
    let available = good.len() - 1;
    assert!(matches!(error(&good[..available]), IvrsError::Length { available: a, .. } if a == available));
    let mut bad = good.clone();
    bad[50] ^= 1;
    assert!(matches!(error(&bad), IvrsError::Checksum(_)));
    let with = |blocks: &[u8]| error(&table(blocks));
    let block = |offset, kind, length| IvrsError::BlockLength { offset, kind: BlockType(kind), length };
    assert_eq!(with(&[0x10, 0, 3, 0]), block(48, 0x10, 3));
    assert_eq!(with(&[0x10, 0, 24, 0]), block(48, 0x10, 24));
    assert_eq!(with(&[0x10, 0, 8, 0, 0, 0, 0, 0]), block(48, 0x10, 8));
    assert_eq!(with(&[0x20, 0, 8, 0, 0, 0, 0, 0]), block(48, 0x20, 8));
    let entry = |kind, length, left| IvrsError::EntryLength { offset: 48 + 40, kind, length, left };
    assert_eq!(with(&ivhd(0x40, &[66, 0, 0, 0])), entry(66, 8, 4));
    assert_eq!(with(&ivhd(0x40, &[240, 0, 0, 0])), entry(240, 22, 4));
    assert_eq!(with(&ivhd(0x40, &[241; 30])), entry(241, 22 + 241, 30));
    let mut nowhere = ivhd(0x10, &[]);
    nowhere[8..16].fill(0);
    assert_eq!(with(&nowhere), IvrsError::BaseAddress { offset: 48, base: 0 });
    let range = |start, length| with(&ivmd(0x20, 1, 0, 0, start, length));
    assert_eq!(range(0x1000, 0), IvrsError::MemoryRange { offset: 48, start: 0x1000, length: 0 });
    assert_eq!(range(!0, 2), IvrsError::MemoryRange { offset: 48, start: !0, length: 2 });
}

#[test]
fn later_entries_win() {
    let entries = [
        3, 0x00, 0x01, 0, 4, 0xff, 0x01, 0, // bus 1
        3, 0x10, 0x01, 1, 4, 0x1f, 0x01, 0, // its devices 2 and 3
        2, 0x18, 0x01, 2, // 01:03.0
        2, 0xff, 0xff, 0,
    ];
    let devices = Ivrs::parse(&table(&ivhd(0x10, &entries))).unwrap().hardware[0].devices();
    let setting = |device| devices.get(DeviceId(device)).map(|setting| u8::from(setting.setting));
    assert_eq!(
        [0xff, 0x100, 0x10f, 0x110, 0x117, 0x118, 0x119, 0x11f, 0x120, 0x1ff, 0x200].map(setting),
        [None, Some(0), Some(0), Some(1), Some(1), Some(2), Some(1), Some(1), Some(0), Some(0), None]
    );
    assert_eq!(devices.requesters().len(), 257);
}

proptest! {
    /// Ranges as a plain table of settings has them.
    #[test]
    fn the_map_agrees_with_a_plain_table(
        ranges in prop::collection::vec((0u16..64, 0u16..64, prop::option::of(0u16..64), any::<u8>()), 0..20)
    ) {
        let mut entries = Vec::new();
        let mut plain = [None; 64];
        for (first, last, alias, setting) in ranges {
            let [low, high] = first.to_le_bytes();
            match alias.map(u16::to_le_bytes) {
                Some([from, on]) => entries.extend([67, low, high, setting, 0, from, on, 0]),
                None => entries.extend([3, low, high, setting]),
            }
            let [low, high] = last.to_le_bytes();
            entries.extend([4, low, high, 0]);
            if first <= last {
                plain[usize::from(first)..=usize::from(last)].fill(Some((alias.map(DeviceId), setting)));
            }
        }
        let devices = Ivrs::parse(&table(&ivhd(0x11, &entries))).unwrap().hardware[0].devices();
        for (id, expected) in (0..).zip(plain) {
            let got = devices.get(DeviceId(id)).map(|setting| (setting.alias, u8::from(setting.setting)));
            prop_assert_eq!(got.map(|(alias, setting)| (alias, setting & !8)), expected.map(|(a, s)| (a, s & !8)));
        }
        let requesters: Vec<DeviceId> = devices.requesters().into_iter().map(|(device, _)| device).collect();
        let expected = (0..64).map(DeviceId).filter(|&device| {
            plain.iter().enumerate().any(|(own, entry)| {
                entry.is_some_and(|(alias, _)| alias.unwrap_or(DeviceId(u16::try_from(own).unwrap())) == device)
            })
        });
        prop_assert_eq!(requesters, expected.collect::<Vec<_>>());
    }

    #[test]
    fn no_bytes_panic(blocks in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(ivrs) = Ivrs::parse(&table(&blocks)) {
            for unit in ivrs.units() {
                let _ = unit.devices().requesters();
            }
        }
        let _ = Ivrs::parse(&blocks);
    }
}
