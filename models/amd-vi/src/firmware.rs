//! The IVRS that the machine's firmware writes (chapter 5).

use amd_vi_spec::ivrs::BlockType;

use crate::config::{Config, MemoryRange};

/// Device entries.
const START_RANGE: u8 = 3;
const END_RANGE: u8 = 4;
const ALIAS_START_RANGE: u8 = 67;
const SPECIAL: u8 = 72;
const IOAPIC: u8 = 1;

/// The table of a machine with these units.
pub(crate) fn ivrs(units: &[Config]) -> Vec<u8> {
    let mut table = Vec::new();
    table.extend(b"IVRS");
    table.extend([0; 4]);
    table.extend([2, 0]);
    table.extend(b"REDBR MODEL   ");
    table.resize(36, 0);
    // EFRSup; 48 bits of physical and 64 of virtual addresses.
    table.extend(0x0020_3001u32.to_le_bytes());
    table.resize(48, 0);
    // Types in order, so that each comes for all units before the next.
    for kind in [BlockType::IVHD_10, BlockType::IVHD_11, BlockType::IVHD_40] {
        for unit in units.iter().filter(|unit| unit.blocks.contains(&kind)) {
            table.extend(hardware(unit, kind));
        }
    }
    for unit in units {
        table.extend(unit.memory.iter().flat_map(|range| memory(unit, range)));
    }
    finish(table)
}

/// Puts length and checksum into a table.
fn finish(mut table: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(table.len()).unwrap_or(0);
    for (byte, value) in table.iter_mut().skip(4).zip(length.to_le_bytes()) {
        *byte = value;
    }
    let sum = table.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    if let Some(checksum) = table.get_mut(9) {
        *checksum = 0u8.wrapping_sub(sum);
    }
    table
}

fn hardware(unit: &Config, kind: BlockType) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(unit.device.0.to_le_bytes());
    // Where its capability is.
    body.extend(0x40u16.to_le_bytes());
    body.extend(unit.base.to_le_bytes());
    body.extend(unit.segment.to_le_bytes());
    body.extend(0u16.to_le_bytes());
    if kind == BlockType::IVHD_10 {
        let features = unit.features;
        let bits = u32::from(features.xt_sup())
            | u32::from(features.ia_sup()) << 5
            | u32::from(features.ga_sup()) << 6
            | u32::from(features.hats()) << 30;
        body.extend(bits.to_le_bytes());
    } else {
        body.extend(0u32.to_le_bytes());
        body.extend(u64::from(unit.features).to_le_bytes());
        body.extend(u64::from(unit.features2).to_le_bytes());
    }
    entries(unit, &mut body);
    // Coherent.
    block(kind, 1 << 5, &body)
}

fn entries(unit: &Config, body: &mut Vec<u8>) {
    let mut range = |kind: u8, first: u16, last: u16, alias: Option<u16>| {
        let [low, high] = first.to_le_bytes();
        body.extend([kind, low, high, 0]);
        if let Some(alias) = alias {
            let [low, high] = alias.to_le_bytes();
            body.extend([0, low, high, 0]);
        }
        let [low, high] = last.to_le_bytes();
        body.extend([END_RANGE, low, high, 0]);
    };
    range(START_RANGE, unit.devices.start().0, unit.devices.end().0, None);
    for (devices, alias) in &unit.aliases {
        range(ALIAS_START_RANGE, devices.start().0, devices.end().0, Some(alias.0));
    }
    for (id, device) in &unit.ioapics {
        let [low, high] = device.0.to_le_bytes();
        body.extend([SPECIAL, 0, 0, 0, *id, low, high, IOAPIC]);
    }
}

fn memory(unit: &Config, range: &MemoryRange) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(range.devices.start().0.to_le_bytes());
    body.extend(range.devices.end().0.to_le_bytes());
    body.extend(unit.segment.to_le_bytes());
    body.extend([0; 6]);
    body.extend(range.start.to_le_bytes());
    body.extend(range.length.to_le_bytes());
    block(BlockType::IVMD_RANGE, range.flags.into(), &body)
}

/// A block with its type, flags and length.
fn block(kind: BlockType, flags: u8, body: &[u8]) -> Vec<u8> {
    let [low, high] = u16::try_from(body.len() + 4).unwrap_or(0).to_le_bytes();
    let mut block = vec![kind.0, flags, low, high];
    block.extend(body);
    block
}
