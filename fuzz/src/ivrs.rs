//! Firmware's table of IOMMUs, as any bytes.

use amd_vi_spec::{DeviceId, ivrs::Ivrs};
use iommud::unit::UnitFirmware;

/// Where blocks start.
const HEADER: usize = 48;

/// One run: `data` is a table, or, when its first byte is even, the blocks of one whose header is right.
pub fn run(data: &[u8]) {
    let Some((&how, bytes)) = data.split_first() else { return };
    let table = if how % 2 == 0 { with_header(bytes) } else { bytes.to_vec() };
    let Ok(ivrs) = Ivrs::parse(&table) else { return };
    for skipped in &ivrs.skipped {
        assert!(!skipped.to_string().is_empty());
    }
    let units = UnitFirmware::units(&ivrs);
    assert!(units.len() <= ivrs.hardware.len());
    for unit in units {
        let requesters = unit.devices.requesters();
        assert!(requesters.is_sorted_by(|(one, _), (next, _)| one < next));
        for &(requester, _) in requesters.iter().step_by(requesters.len() / 8 + 1) {
            for memory in unit.reserved(requester) {
                assert!(
                    memory.start <= memory.last && memory.start % 4096 == 0 && memory.last % 4096 == 4095
                );
            }
        }
        for device in (0..=u16::MAX).step_by(251).map(DeviceId) {
            if let Some(name) = unit.devices.requester(device) {
                assert!(unit.devices.is_requester_of(name, device, device));
                assert!(requesters.binary_search_by_key(&name, |&(device, _)| device).is_ok());
            }
        }
    }
}

fn with_header(blocks: &[u8]) -> Vec<u8> {
    let mut table = b"IVRS".to_vec();
    table.resize(HEADER, 0);
    table.extend(blocks);
    let length = u32::try_from(table.len()).unwrap_or(0);
    table[4..8].copy_from_slice(&length.to_le_bytes());
    let sum = table.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    table[9] = 0u8.wrapping_sub(sum);
    table
}
