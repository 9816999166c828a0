//! Partition tables are found through the block layer.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use driver_block::{
    LocalEngine, QueueOptions, RecoveryPolicy, Segments,
    partitions::{MAX_READ, TableKind, read_from},
    testing::{Machine, MemoryDisk, Plan, plain_disk},
};

#[test]
fn a_table_is_read_through_the_engine() {
    let machine = Machine::new().unwrap();
    let timeout = Duration::from_secs(1);
    let device = MemoryDisk::new(&machine, vec![plain_disk(1, 4096)], 1, 4, Plan::default(), 1);
    let options = QueueOptions::new(4, timeout);
    let mut engine = LocalEngine::new(device, &machine.clock(), &options, RecoveryPolicy::default()).unwrap();
    let buffer = machine.dma().unwrap().allocate(MAX_READ).unwrap();
    let disk = engine.disks()[0].clone();
    assert_eq!(read_from(&mut engine, &disk, &buffer).unwrap().kind, TableKind::None);

    // A master boot record with one partition of Linux: blocks 64 to 163.
    let mut record = [0; 512];
    record[446 + 4] = 0x83;
    record[446 + 8..446 + 12].copy_from_slice(&64_u32.to_le_bytes());
    record[446 + 12..446 + 16].copy_from_slice(&100_u32.to_le_bytes());
    record[510..].copy_from_slice(&[0x55, 0xaa]);
    buffer.copy_from(0, &record).unwrap();
    let segment = buffer.segment(0, disk.limits.block_size).unwrap();
    engine.write(disk.id, 0, 1, Segments::from_slice(&[segment]), timeout).unwrap();
    buffer.copy_from(0, &[0; 512]).unwrap();

    let table = read_from(&mut engine, &disk, &buffer).unwrap();
    assert_eq!(table.kind, TableKind::Mbr);
    let [partition] = &table.partitions[..] else { unreachable!("{table:?}") };
    assert_eq!((partition.number, partition.start(), partition.blocks()), (1, 64, 100));
}
