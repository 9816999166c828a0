//! What clients see.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]
#![allow(clippy::cast_possible_truncation, reason = "the numbers are small")]

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use redox_driver_sys::scheme::Errno;
use syscall::{
    data::Stat,
    dirent::DirentIter,
    flag::{MODE_DIR, MODE_FILE, MODE_TYPE, O_DIRECTORY, O_RDONLY, O_RDWR, O_WRONLY},
    schemev2::Opcode,
};

use super::{
    testing::{Buffer, Memory, ROOT, Rig, disk, gpt_image},
    verbs,
};
use crate::{device::DiskId, error::BlockError};

const POOL: u32 = 1 << 20;

fn buffer(len: usize) -> Buffer {
    Arc::new(Mutex::new(vec![0; len]))
}

fn numbers(numbers: &[u64]) -> Buffer {
    Arc::new(Mutex::new(numbers.iter().flat_map(|number| number.to_le_bytes()).collect()))
}

#[test]
fn the_root_lists_disks_and_partitions() {
    let mut rig = Rig::plain(1, POOL);
    let list = rig.list();
    assert_eq!(rig.read(list, 0, 100).unwrap(), b"1\n1p0\n1p1\n");
    assert_eq!(rig.read(list, 6, 3).unwrap(), b"1p1");
    assert_eq!(rig.read(list, 1 << 40, 3).unwrap(), b"");
    // A buffer that has room for one entry of 19 + 3 + 1 bytes, rounded up.
    let mut names = Vec::new();
    let mut from = 0;
    loop {
        let entries = buffer(31);
        let len = rig.call(Opcode::Getdents, [list as u64, 1, 1, 19, from, 0], entries.clone()).unwrap();
        let bytes = entries.lock().unwrap()[..len].to_vec();
        let Some(entry) = DirentIter::new(&bytes).next() else { break };
        let (header, name) = entry.unwrap();
        names.push(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned());
        from = header.next_opaque_id;
    }
    assert_eq!(names, ["1", "1p0", "1p1"]);
    let small = rig.call(Opcode::Getdents, [list as u64, 1, 1, 19, 0, 0], buffer(16));
    assert_eq!(small, Err(Errno::INVAL));
    let headers = rig.call(Opcode::Getdents, [list as u64, 1, 1, 4, 0, 0], buffer(64));
    assert_eq!(headers, Err(Errno::INVAL));
}

#[test]
fn what_is_not_there_or_not_allowed_is_not_opened() {
    let mut rig = Rig::plain(1, POOL);
    for path in ["2", "1p2", "0", "1p", "x", "..", "1/..", "\u{e4}"] {
        assert_eq!(rig.open(path), Err(Errno::NOENT), "{path}");
    }
    assert_eq!(rig.open(&"1".repeat(65)), Err(Errno::NOENT));
    assert_eq!(rig.open(""), Err(Errno::ISDIR));
    assert_eq!(rig.open_as("1", O_RDONLY | O_DIRECTORY, 0), Err(Errno::NOTDIR));
    assert_eq!(rig.open_as("1", O_RDWR, 1000), Err(Errno::ACCESS));
    // Paths are opened from directories.
    let disk = rig.open("1").unwrap() as u64;
    let path = || Arc::new(Mutex::new(b"1p0".to_vec()));
    assert_eq!(rig.call(Opcode::OpenAt, [disk, 1, 1, 0, 0, 0], path()), Err(Errno::NOTDIR));
    assert_eq!(rig.call(Opcode::OpenAt, [77, 1, 1, 0, 0, 0], path()), Err(Errno::BADF));
}

#[test]
fn a_disk_and_its_partitions_exclude_each_other() {
    let mut rig = Rig::plain(1, POOL);
    let disk = rig.open("1").unwrap();
    for path in ["1", "1p0", "1p1"] {
        assert_eq!(rig.open(path), Err(Errno::NOLCK), "{path}");
    }
    let look = rig.look("1p0").unwrap();
    assert_eq!(rig.read(look, 0, 512), Err(Errno::BADF));
    rig.close(disk);
    let first = rig.open("1p0").unwrap();
    let second = rig.open("1p1").unwrap();
    for path in ["1", "1p0", "1p1"] {
        assert_eq!(rig.open(path), Err(Errno::NOLCK), "{path}");
    }
    rig.close(first);
    assert_eq!(rig.open("1"), Err(Errno::NOLCK));
    rig.close(second);
    rig.open("1").unwrap();
    assert_eq!(rig.read(first, 0, 512), Err(Errno::BADF));
}

#[test]
fn sizes_and_paths_are_told() {
    let mut rig = Rig::plain(1, POOL);
    let disk = rig.open("1").unwrap();
    let part = rig.look("1p1").unwrap();
    let list = rig.list();
    let mut stat = |handle: usize| {
        let bytes = buffer(size_of::<Stat>());
        rig.call(Opcode::Fstat, [handle as u64, 1, 1, 0, 0, 0], bytes.clone()).unwrap();
        let mut stat = Stat::default();
        stat.copy_from_slice(&bytes.lock().unwrap());
        (stat.st_mode & MODE_TYPE, stat.st_size, stat.st_blksize, stat.st_blocks)
    };
    assert_eq!(stat(disk), (MODE_FILE, 4096 * 512, 512, 4096));
    assert_eq!(stat(part), (MODE_FILE, 1000 * 512, 512, 1000));
    assert_eq!(stat(list).0, MODE_DIR);
    assert_eq!(rig.call(Opcode::Fsize, [part as u64; 6], buffer(0)), Ok(1000 * 512));
    let mut path = |handle: usize, len| {
        let bytes = buffer(len);
        let len = rig.call(Opcode::Fpath, [handle as u64, 1, 1, 0, 0, 0], bytes.clone()).unwrap();
        String::from_utf8(bytes.lock().unwrap()[..len].to_vec()).unwrap()
    };
    assert_eq!(path(disk, 64), "disk.test:1");
    assert_eq!(path(part, 64), "disk.test:1p1");
    assert_eq!(path(list, 64), "disk.test:");
    assert_eq!(path(part, 4), "disk");
    // The root is there to open paths from.
    for opcode in [Opcode::Fstat, Opcode::Fsize, Opcode::Fpath, Opcode::Read, Opcode::Write, Opcode::Fsync] {
        assert_eq!(rig.call(opcode, [ROOT as u64, 1, 1, 0, 0, 0], buffer(512)), Err(Errno::BADF));
    }
}

#[test]
fn blocks_are_read_and_written_where_they_are() {
    let mut rig = Rig::plain(2, POOL);
    let part = rig.open("1p0").unwrap();
    let data: Vec<u8> = (0..1024u32).map(|i| i as u8).collect();
    assert_eq!(rig.write(part, 512, &data), Ok(1024));
    assert_eq!(rig.read(part, 512, 1024).unwrap(), data);
    let at = 65 * 512;
    assert_eq!(rig.scheme.carrier().disks[&DiskId(1)][at..at + 1024], data);
    assert_eq!(rig.write(part, 0, &[]), Ok(0));
    assert_eq!(rig.read(part, 1, 0).unwrap_err(), Errno::INVAL);
    rig.check_idle();
}

#[test]
fn only_whole_blocks_within_the_end() {
    let mut rig = Rig::plain(1, POOL);
    let part = rig.open("1p0").unwrap();
    let end = 100 * 512;
    for (offset, len) in [(1, 512), (0, 511), (0, 513), (511, 1), (end, 1), (u64::MAX, 512)] {
        assert_eq!(rig.read(part, offset, len), Err(Errno::INVAL), "{offset} {len}");
        assert_eq!(rig.write(part, offset, &vec![0; len]), Err(Errno::INVAL), "{offset} {len}");
    }
    let before = rig.scheme.carrier().disks.clone();
    for offset in [end, end + 512, u64::MAX - 511] {
        assert_eq!(rig.read(part, offset, 512).unwrap(), b"");
        assert_eq!(rig.write(part, offset, &[1; 512]), Err(Errno::NOSPC));
    }
    assert_eq!(rig.scheme.carrier().disks, before);
    // Across the end: as far as it goes, and not a byte further.
    assert_eq!(rig.write(part, end - 512, &[9; 1024]), Ok(512));
    assert_eq!(rig.read(part, end - 512, 4096).unwrap(), [9; 512]);
    assert_eq!(rig.scheme.carrier().disks[&DiskId(1)][164 * 512..165 * 512], [0; 512]);
}

#[test]
fn only_what_a_handle_was_opened_for() {
    let mut rig = Rig::plain(1, POOL);
    let reader = rig.open_as("1p0", O_RDONLY, 0).unwrap();
    let writer = rig.open_as("1p1", O_WRONLY, 0).unwrap();
    assert_eq!(rig.write(reader, 0, &[0; 512]), Err(Errno::BADF));
    assert_eq!(rig.read(writer, 0, 512), Err(Errno::BADF));
    assert_eq!(rig.verb(reader, verbs::WRITE_ZEROES, &numbers(&[0, 512])), Err(Errno::BADF));
    let mut protected = disk(DiskId(1), 4096);
    protected.limits.read_only = true;
    rig.scheme.set_disk(protected);
    rig.finish();
    assert_eq!(rig.write(writer, 0, &[0; 512]), Err(Errno::ROFS));
}

#[test]
fn a_large_request_is_split_over_the_queues_and_may_end_in_any_order() {
    let mut rig = Rig::plain(4, 4 << 20);
    let disk = rig.open("1").unwrap();
    let expected: Vec<u8> =
        (0..2u32 << 20).map(|i| ((i / 512).wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    assert_eq!(rig.write(disk, 0, &expected), Ok(expected.len()));
    let bytes = buffer(expected.len());
    let tag = rig.ask(Opcode::Read, [disk as u64, 1, 1, 0, 0, 0], bytes.clone());
    let queued = |rig: &Rig| rig.scheme.carrier().queues.iter().map(Vec::len).collect::<Vec<usize>>();
    // A queue for each MiB.
    assert_eq!(queued(&rig), [4, 4, 0, 0]);
    for nth in (0..8).rev() {
        assert_eq!(rig.answer(tag), None);
        rig.carry_out(nth);
    }
    assert_eq!(rig.answer(tag), Some(Ok(expected.len())));
    assert_eq!(*bytes.lock().unwrap(), expected);
    // What is not as large has one, the idlest.
    rig.ask(Opcode::Read, [disk as u64, 1, 1, 0, 0, 0], buffer(4096));
    rig.ask(Opcode::Read, [disk as u64, 1, 1, 0, 0, 0], buffer(1 << 20));
    assert_eq!(queued(&rig), [1, 4, 0, 0]);
}

#[test]
fn answers_come_as_requests_end() {
    let mut rig = Rig::plain(1, POOL);
    let disk = rig.open("1").unwrap() as u64;
    let tags: Vec<u32> =
        (0..4).map(|i| rig.ask(Opcode::Read, [disk, 1, 1, i * 512, 0, 0], buffer(512))).collect();
    rig.carry_out(2);
    assert_eq!(rig.answer(tags[2]), Some(Ok(512)));
    assert_eq!(rig.answer(tags[0]), None);
    rig.finish();
    assert!([0, 1, 3].iter().all(|&i| rig.answer(tags[i]) == Some(Ok(512))));
}

#[test]
fn who_came_first_gets_memory_first() {
    let mut rig = Rig::plain(1, 64 << 10);
    let disk = rig.open("1").unwrap() as u64;
    let large = rig.ask(Opcode::Read, [disk, 1, 1, 0, 0, 0], buffer(256 << 10));
    let small = rig.ask(Opcode::Read, [disk, 1, 1, 0, 0, 0], buffer(512));
    // The small one would fit at any of these moments, but four pieces come before it.
    for _ in 0..4 {
        assert_eq!(rig.scheme.carrier().outstanding(), 1);
        assert_eq!(rig.answer(small), None);
        rig.carry_out(0);
    }
    assert_eq!(rig.answer(large), Some(Ok(256 << 10)));
    rig.finish();
    assert_eq!(rig.answer(small), Some(Ok(512)));
    rig.check_idle();
}

#[test]
fn full_queues_are_no_error() {
    let mut rig = Rig::plain(2, POOL);
    let disk = rig.open("1").unwrap() as u64;
    let tags: Vec<u32> =
        (0..40).map(|i| rig.ask(Opcode::Read, [disk, 1, 1, i * 512, 0, 0], buffer(512))).collect();
    assert_eq!(rig.scheme.carrier().outstanding(), 16);
    rig.finish();
    assert!(tags.iter().all(|&tag| rig.answer(tag) == Some(Ok(512))));
    rig.check_idle();
}

#[test]
fn failures_have_the_numbers_that_linux_gives_them() {
    let mut rig = Rig::plain(2, POOL);
    let disk = rig.open("1").unwrap();
    for (error, errno) in [
        (BlockError::Medium, Errno::IO),
        (BlockError::TimedOut, Errno::IO),
        (BlockError::Gone, Errno::NODEV),
        (BlockError::NoSpace, Errno::NOSPC),
    ] {
        rig.scheme.carrier_mut().fails = vec![error];
        assert_eq!(rig.read(disk, 0, 512), Err(errno));
        rig.scheme.carrier_mut().fails = vec![error];
        assert_eq!(rig.write(disk, 2048 * 512, &vec![0; 512 << 10]), Err(errno));
    }
    rig.check_idle();
}

#[test]
fn a_sync_is_a_flush() {
    let mut rig = Rig::plain(2, POOL);
    let part = rig.open("1p0").unwrap() as u64;
    assert_eq!(rig.call(Opcode::Fsync, [part, 0, 0, 0, 0, 0], buffer(0)), Ok(0));
    assert_eq!(rig.scheme.carrier().flushes, 1);
    rig.scheme.carrier_mut().fails = vec![BlockError::Medium];
    assert_eq!(rig.call(Opcode::Fsync, [part, 0, 0, 0, 0, 0], buffer(0)), Err(Errno::IO));
    let list = rig.list() as u64;
    assert_eq!(rig.call(Opcode::Fsync, [list, 0, 0, 0, 0, 0], buffer(0)), Ok(0));
    assert_eq!(rig.scheme.carrier().flushes, 1);
}

#[test]
fn a_cancelled_read_is_answered_at_once_and_its_buffer_left_alone() {
    let mut rig = Rig::plain(2, POOL);
    let disk = rig.open("1").unwrap() as u64;
    let bytes = buffer(512 << 10);
    let tag = rig.ask(Opcode::Read, [disk, 1, 1, 0, 0, 0], bytes.clone());
    rig.tell(Opcode::Cancel, tag, 0);
    assert_eq!(rig.answer(tag), Some(Err(Errno::CANCELED)));
    assert_eq!(rig.scheme.carrier().outstanding(), 2);
    rig.finish();
    assert_eq!(rig.answer(tag), None);
    assert!(bytes.lock().unwrap().iter().all(|byte| *byte == 0));
    // Nobody has that request any more.
    rig.tell(Opcode::Cancel, tag, 0);
    rig.check_idle();
}

#[test]
fn a_cancelled_write_is_answered_when_it_no_longer_changes_the_disk() {
    let mut rig = Rig::plain(1, 64 << 10);
    let disk = rig.open("1").unwrap() as u64;
    let tag = rig.ask(Opcode::Write, [disk, 1, 1, 2048 * 512, 0, 0], buffer(256 << 10));
    rig.tell(Opcode::Cancel, tag, 0);
    assert_eq!(rig.answer(tag), None);
    rig.carry_out(0);
    assert_eq!(rig.answer(tag), Some(Err(Errno::CANCELED)));
    assert_eq!(rig.scheme.carrier().outstanding(), 0);
    rig.check_idle();
    // One that waits behind another never begins.
    let first = rig.ask(Opcode::Write, [disk, 1, 1, 2048 * 512, 0, 0], buffer(64 << 10));
    let second = rig.ask(Opcode::Write, [disk, 1, 1, 2048 * 512, 0, 0], buffer(64 << 10));
    rig.tell(Opcode::Cancel, second, 0);
    assert_eq!(rig.answer(second), Some(Err(Errno::CANCELED)));
    rig.finish();
    assert_eq!(rig.answer(first), Some(Ok(64 << 10)));
    rig.check_idle();
}

#[test]
fn calls_discard_zero_and_count() {
    let mut rig = Rig::plain(2, POOL);
    let part = rig.open("1p0").unwrap();
    rig.write(part, 0, &[7; 4096]).unwrap();
    assert_eq!(rig.verb(part, verbs::WRITE_ZEROES, &numbers(&[512, 1024])), Ok(0));
    assert_eq!(rig.verb(part, verbs::DISCARD, &numbers(&[2048, 512, 3072, 512])), Ok(0));
    let blocks: Vec<u8> = rig.read(part, 0, 4096).unwrap().chunks(512).map(|block| block[0]).collect();
    assert_eq!(blocks, [7, 0, 0, 7, 0xdd, 7, 0xdd, 7]);
    let bad: [&[u64]; 6] = [&[], &[0], &[0, 100], &[1, 512], &[100 * 512, 512], &[u64::MAX - 511, 1024]];
    for ranges in bad {
        assert_eq!(rig.verb(part, verbs::DISCARD, &numbers(ranges)), Err(Errno::INVAL), "{ranges:?}");
    }
    assert_eq!(rig.verb(part, verbs::DISCARD, &numbers(&[0; 2 * 257])), Err(Errno::INVAL));
    assert_eq!(rig.verb(part, 99, &numbers(&[0])), Err(Errno::OPNOTSUPP));
    let flagged = rig.call(Opcode::Call, [part as u64, 1, 1, verbs::LIMITS, 1, 0], buffer(64));
    assert_eq!(flagged, Err(Errno::INVAL));
    let counters = buffer(verbs::COUNTERS * 8);
    assert_eq!(rig.verb(part, verbs::STATISTICS, &counters), Ok(64));
    assert_eq!(*counters.lock().unwrap(), *numbers(&[1, 4096, 1, 4096, 0, 1, 1, 0]).lock().unwrap());
    let limits = buffer(20);
    assert_eq!(rig.verb(part, verbs::LIMITS, &limits), Ok(16));
    assert_eq!(limits.lock().unwrap()[..16], *numbers(&[512, 4096]).lock().unwrap());
}

#[test]
fn a_report_is_waited_for_by_who_reads_it() {
    let mut rig = Rig::plain(1, POOL);
    let node = rig.open_as("inspect", O_RDONLY, 0).unwrap() as u64;
    assert!(!rig.scheme.take_inspection());
    let text = buffer(4);
    let tag = rig.ask(Opcode::Read, [node, 1, 1, 0, 0, 0], text.clone());
    assert!(rig.scheme.take_inspection());
    assert_eq!(rig.answer(tag), None);
    let impatient = rig.ask(Opcode::Read, [node, 1, 1, 0, 0, 0], buffer(4));
    rig.tell(Opcode::Cancel, impatient, 0);
    assert_eq!(rig.answer(impatient), Some(Err(Errno::CANCELED)));
    rig.scheme.inspected("all is well\n");
    rig.finish();
    assert_eq!(rig.read(node as usize, 4, 100).unwrap(), b"is well\n");
    assert_eq!(rig.answer(tag), Some(Ok(4)));
    assert_eq!(*text.lock().unwrap(), b"all ");
    assert_eq!(rig.open_as("inspect", O_RDWR, 0), Err(Errno::ACCESS));
}

#[test]
fn a_broken_table_leaves_the_disk() {
    let mut image = gpt_image(4096, &[(64, 100)]);
    image[512..1024].fill(0xff);
    let last = image.len() - 512;
    image[last..].fill(0xff);
    let mut rig = Rig::new(Memory::new(1, POOL), vec![(disk(DiskId(7), 4096), image)]);
    let list = rig.list();
    assert_eq!(rig.read(list, 0, 100).unwrap(), b"7\n");
    let disk = rig.open("7").unwrap();
    assert_eq!(rig.read(disk, 512, 512).unwrap(), [0xff; 512]);
}

#[test]
fn a_new_table_is_found_when_its_writer_closes() {
    let mut rig = Rig::new(Memory::new(1, POOL), vec![(disk(DiskId(1), 4096), vec![0; 4096 * 512])]);
    assert_eq!(rig.open("1p0"), Err(Errno::NOENT));
    let writer = rig.open("1").unwrap();
    rig.write(writer, 0, &gpt_image(4096, &[(64, 100)])).unwrap();
    rig.close(writer);
    let part = rig.open("1p0").unwrap();
    assert_eq!(rig.call(Opcode::Fsize, [part as u64; 6], buffer(0)), Ok(100 * 512));
}

#[test]
fn disks_come_and_go() {
    let mut rig = Rig::plain(1, POOL);
    let part = rig.open("1p0").unwrap();
    let tag = rig.ask(Opcode::Read, [part as u64, 1, 1, 0, 0, 0], buffer(512));
    rig.scheme.remove_disk(DiskId(1));
    rig.scheme.carrier_mut().fails = vec![BlockError::Gone];
    rig.finish();
    assert_eq!(rig.answer(tag), Some(Err(Errno::NODEV)));
    assert_eq!(rig.read(part, 0, 512), Err(Errno::NODEV));
    assert_eq!(rig.call(Opcode::Fsync, [part as u64, 0, 0, 0, 0, 0], buffer(0)), Err(Errno::NODEV));
    assert_eq!(rig.open("1"), Err(Errno::NOENT));
    // It comes back larger, and what was open is as it was.
    rig.scheme.carrier_mut().disks.insert(DiskId(1), gpt_image(8192, &[(64, 100)]));
    rig.scheme.set_disk(disk(DiskId(1), 8192));
    rig.finish();
    assert_eq!(rig.read(part, 0, 512).unwrap(), [0; 512]);
    assert_eq!(rig.open("1p1"), Err(Errno::NOENT));
}

/// A step of random clients.
#[derive(Clone, Debug)]
enum Step {
    Read { handle: usize, block: u64, blocks: usize },
    Write { handle: usize, block: u64, blocks: usize, fill: u8 },
    Sync { handle: usize },
    Cancel { nth: usize },
    CarryOut { nth: usize },
    Fail,
}

fn step() -> impl Strategy<Value = Step> {
    let (block, blocks) = (0u64..1100, 0usize..600);
    prop_oneof![
        4 => (0usize..3, block.clone(), blocks.clone())
            .prop_map(|(handle, block, blocks)| Step::Read { handle, block, blocks }),
        4 => (0usize..3, block, blocks, any::<u8>())
            .prop_map(|(handle, block, blocks, fill)| Step::Write { handle, block, blocks, fill }),
        1 => (0usize..3).prop_map(|handle| Step::Sync { handle }),
        1 => (0usize..64).prop_map(|nth| Step::Cancel { nth }),
        8 => (0usize..64).prop_map(|nth| Step::CarryOut { nth }),
        1 => Just(Step::Fail),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever clients do and in whatever order pieces end: each request is answered once, a read gives what was
    /// written before it or meanwhile, nothing outside of what was written changes, and all memory comes back.
    #[test]
    fn random_clients(
        queues in 1usize..4,
        pool in prop_oneof![Just(8192u32), Just(40960), Just(POOL)],
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        // Three handles on partitions of 100, 1000 and 50 blocks.
        let spans = [(64u64, 100u64), (200, 1000), (1300, 50)];
        let image = gpt_image(4096, &spans);
        let mut rig = Rig::new(Memory::new(queues, pool), vec![(disk(DiskId(1), 4096), image.clone())]);
        let handles: Vec<usize> = (0..3).map(|i| rig.open(&format!("1p{i}")).unwrap()).collect();
        // What each byte-filled block may hold: every value written to it, and what it began with.
        let mut possible: Vec<Vec<u8>> = image.chunks(512).map(|block| vec![block[0]]).collect();
        let mut reads: Vec<(u32, usize, u64, Buffer)> = Vec::new();
        let mut open: Vec<(u32, usize)> = Vec::new();
        let mut failures = 0;
        for step in steps {
            match step {
                Step::Read { handle, block, blocks } => {
                    let bytes = buffer(blocks * 512);
                    let left = spans[handle].1.saturating_sub(block);
                    let args = [handles[handle] as u64, 1, 1, block * 512, 0, 0];
                    let tag = rig.ask(Opcode::Read, args, bytes.clone());
                    reads.push((tag, handle, block, bytes));
                    open.push((tag, (blocks as u64).min(left) as usize * 512));
                }
                Step::Write { handle, block, blocks, fill } => {
                    let bytes = Arc::new(Mutex::new(vec![fill; blocks * 512]));
                    let left = spans[handle].1.saturating_sub(block);
                    let args = [handles[handle] as u64, 1, 1, block * 512, 0, 0];
                    let tag = rig.ask(Opcode::Write, args, bytes);
                    let some = (blocks as u64).min(left);
                    for at in block..block + some {
                        possible[(spans[handle].0 + at) as usize].push(fill);
                    }
                    if blocks > 0 && some == 0 {
                        prop_assert_eq!(rig.answer(tag), Some(Err(Errno::NOSPC)));
                    } else {
                        open.push((tag, some as usize * 512));
                    }
                }
                Step::Sync { handle } => {
                    let tag = rig.ask(Opcode::Fsync, [handles[handle] as u64, 0, 0, 0, 0, 0], buffer(0));
                    open.push((tag, 0));
                }
                Step::Cancel { nth } if !open.is_empty() => {
                    let tag = open[nth % open.len()].0;
                    rig.tell(Opcode::Cancel, tag, 0);
                }
                Step::CarryOut { nth } if rig.scheme.carrier().outstanding() > 0 => {
                    let nth = nth % rig.scheme.carrier().outstanding();
                    rig.carry_out(nth);
                }
                Step::Fail => {
                    rig.scheme.carrier_mut().fails.push(BlockError::Medium);
                    failures += 1;
                }
                Step::Cancel { .. } | Step::CarryOut { .. } => {}
            }
        }
        rig.finish();
        let mut failed = 0;
        for (tag, bytes) in &open {
            match rig.answer(*tag) {
                Some(Ok(told)) => prop_assert_eq!(told, *bytes),
                Some(Err(Errno::IO)) => failed += 1,
                Some(Err(error)) => prop_assert_eq!(error, Errno::CANCELED),
                None => prop_assert!(false, "request {} was never answered", tag),
            }
        }
        prop_assert!(failed <= failures);
        for (_, handle, block, bytes) in reads {
            for (at, found) in (block..).zip(bytes.lock().unwrap().chunks(512)) {
                if at < spans[handle].1 && found.iter().any(|byte| *byte != 0) {
                    let values = &possible[(spans[handle].0 + at) as usize];
                    prop_assert!(values.contains(&found[0]) && found.iter().all(|byte| *byte == found[0]));
                }
            }
        }
        for (lba, block) in rig.scheme.carrier().disks[&DiskId(1)].chunks(512).enumerate() {
            if possible[lba].len() == 1 {
                prop_assert_eq!(block, &image[lba * 512..][..512], "block {}", lba);
            } else {
                prop_assert!(possible[lba].contains(&block[0]));
            }
        }
        rig.check_idle();
        prop_assert!(rig.scheme.is_settled());
    }
}
