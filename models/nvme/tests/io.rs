//! Commands of the NVM command set, their data and what they leave on the medium.
#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation, reason = "tests")]

mod common;

use common::{PAGE, Queue, Rig, blocks, command, fua};
use model_nvme::{Config, NamespaceConfig, PowerCut};
use nvme_spec::{
    ALL_NAMESPACES, Cdw0, Deallocation, DsmCdw10, DsmCdw11, DsmRange, FeatureId, NvmOpcode, ReadWriteCdw12,
    SglDescriptor, SglType, Status, SubmissionEntry, VolatileWriteCache, WriteZeroesCdw12,
};
use redox_driver_sys::dma::DmaBuffer;

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at as u8).wrapping_mul(31).wrapping_add((at >> 8) as u8).wrapping_add(seed)).collect()
}

fn contents(buffer: &DmaBuffer) -> Vec<u8> {
    let mut data = vec![0; buffer.len()];
    buffer.copy_to(0, &mut data).unwrap();
    data
}

fn rig(config: Config) -> (Rig, Queue) {
    let mut rig = Rig::new(config);
    let queue = rig.queue(1, 64, 1);
    (rig, queue)
}

fn one(namespace: NamespaceConfig) -> Config {
    Config { namespaces: vec![namespace], ..Config::default() }
}

#[test]
fn what_was_written_is_read() {
    let (rig, mut queue) = rig(Config::default());
    let (out, back) = (rig.buffer(8192), rig.buffer(8192));
    let data = pattern(8192, 1);
    out.copy_from(0, &data).unwrap();
    assert_eq!(rig.status(&mut queue, blocks(NvmOpcode::WRITE, 1, 100, 16, &out)), Status::SUCCESS);
    assert_eq!(rig.status(&mut queue, blocks(NvmOpcode::READ, 1, 100, 16, &back)), Status::SUCCESS);
    assert_eq!(contents(&back), data);
    assert_eq!(rig.handle.read(1, 100, 16), data);
    assert_eq!(rig.status(&mut queue, blocks(NvmOpcode::READ, 1, 99, 2, &back)), Status::SUCCESS);
    assert_eq!(contents(&back)[..1024], [&[0; 512], &data[..512]].concat());
    let counted = rig.handle.statistics();
    assert_eq!((counted.bytes_written, counted.bytes_read), (8192, 8192 + 1024));
    assert_eq!((counted.io(NvmOpcode::READ), counted.io(NvmOpcode::WRITE)), (2, 1));
    assert_eq!(rig.handle.take_violations(), []);
    assert_eq!(rig.host.take_faults(), []);
}

#[test]
fn ranges_and_namespaces_are_checked() {
    let namespaces = vec![
        NamespaceConfig::new(1000, 9),
        NamespaceConfig::new(0, 9),
        NamespaceConfig { read_only: true, ..NamespaceConfig::new(1000, 9) },
    ];
    let (rig, mut queue) = rig(Config { namespaces, mdts: 1, ..Config::default() });
    let buffer = rig.buffer(8192);
    for (opcode, nsid, lba, count, expected) in [
        (NvmOpcode::READ, 1, 999, 1, Status::SUCCESS),
        (NvmOpcode::READ, 1, 999, 2, Status::LBA_OUT_OF_RANGE),
        (NvmOpcode::READ, 1, u64::MAX, 2, Status::LBA_OUT_OF_RANGE),
        (NvmOpcode::WRITE, 1, 1000, 1, Status::LBA_OUT_OF_RANGE),
        (NvmOpcode::READ, 1, 0, 16, Status::SUCCESS),
        (NvmOpcode::READ, 1, 0, 17, Status::INVALID_FIELD),
        (NvmOpcode::READ, 2, 0, 1, Status::LBA_OUT_OF_RANGE),
        (NvmOpcode::READ, 3, 0, 1, Status::SUCCESS),
        (NvmOpcode::WRITE, 3, 0, 1, Status::NAMESPACE_WRITE_PROTECTED),
        (NvmOpcode::WRITE_ZEROES, 3, 0, 1, Status::NAMESPACE_WRITE_PROTECTED),
        (NvmOpcode::DATASET_MANAGEMENT, 3, 0, 1, Status::NAMESPACE_WRITE_PROTECTED),
        (NvmOpcode::WRITE_ZEROES, 1, 999, 2, Status::LBA_OUT_OF_RANGE),
        (NvmOpcode::WRITE_ZEROES, 1, 0, 1000, Status::SUCCESS),
        (NvmOpcode::READ, 4, 0, 1, Status::INVALID_FIELD),
        (NvmOpcode::READ, 17, 0, 1, Status::INVALID_NAMESPACE),
        (NvmOpcode::READ, 0, 0, 1, Status::INVALID_NAMESPACE),
        (NvmOpcode::READ, ALL_NAMESPACES, 0, 1, Status::INVALID_NAMESPACE),
        (NvmOpcode::FLUSH, 4, 0, 1, Status::INVALID_FIELD),
        (NvmOpcode::FLUSH, ALL_NAMESPACES, 0, 1, Status::SUCCESS),
    ] {
        let entry = blocks(opcode, nsid, lba, count, &buffer);
        assert_eq!(rig.status(&mut queue, entry), expected, "{opcode} namespace {nsid} {lba}+{count}");
    }
}

/// Writes scattered pages through PRP entries as given and compares with the medium.
fn write_prp(rig: &Rig, queue: &mut Queue, dptr: [u64; 2], count: u16) -> Status {
    let entry = SubmissionEntry {
        dptr,
        cdw12: ReadWriteCdw12::new().with_nlb(count - 1).into(),
        ..command(NvmOpcode::WRITE.0, 1, None)
    };
    rig.status(queue, entry)
}

#[test]
fn prp_lists_are_followed_from_page_to_page() {
    let (rig, mut queue) = rig(Config { mdts: 0, ..Config::default() });
    let pages = 1200;
    let data = rig.buffer(pages * 4096);
    let bytes = pattern(data.len(), 9);
    data.copy_from(0, &bytes).unwrap();
    let page = |index: u64| data.addr().get() + index * PAGE;
    // 1199 entries in three lists: the first starts in the middle of a page, each ends with the address of the next.
    let lists = rig.buffer(3 * 4096);
    let mut at = 2048;
    let mut next = 1;
    while next < pages as u64 {
        let last_in_page = (at + 8) % 4096 == 0;
        let value = if last_in_page && pages as u64 - next > 1 {
            lists.addr().get() + at as u64 + 8
        } else {
            next += 1;
            page(next - 1)
        };
        lists.write(at, value).unwrap();
        at += 8;
    }
    let list = lists.addr().get() + 2048;
    assert_eq!(write_prp(&rig, &mut queue, [page(0), list], (pages * 8) as u16), Status::SUCCESS);
    assert_eq!(rig.handle.read(1, 0, pages as u64 * 8), bytes);
    assert_eq!(rig.host.take_faults(), []);
}

#[test]
fn offsets_of_prp_entries_are_checked() {
    let (rig, mut queue) = rig(Config::default());
    let data = rig.buffer(4 * 4096);
    let base = data.addr().get();
    let list = rig.buffer(4096);
    list.write(0, [base + PAGE, base + 2 * PAGE + 8]).unwrap();
    for (dptr, count, expected) in [
        // The first entry may have an offset, and the second then takes the rest.
        ([base + 512, base + PAGE], 8, Status::SUCCESS),
        ([base + 512, base + PAGE + 512], 8, Status::INVALID_PRP_OFFSET),
        ([base + 2, base + PAGE], 8, Status::INVALID_PRP_OFFSET),
        ([base, base + PAGE + 512], 16, Status::INVALID_PRP_OFFSET),
        ([base, base + PAGE + 512], 8, Status::SUCCESS),
        ([base, list.addr().get()], 24, Status::INVALID_PRP_OFFSET),
        ([base, list.addr().get() + 4], 24, Status::INVALID_PRP_OFFSET),
        ([base, 0xdead_0000], 24, Status::DATA_TRANSFER_ERROR),
        ([0xdead_0000, 0], 8, Status::DATA_TRANSFER_ERROR),
    ] {
        assert_eq!(write_prp(&rig, &mut queue, dptr, count), expected, "{dptr:x?} {count}");
    }
    assert_eq!(rig.host.take_faults().len(), 2);
}

fn sgl(opcode: NvmOpcode, count: u16, descriptor: SglDescriptor) -> SubmissionEntry {
    let mut entry = command(opcode.0, 1, None);
    entry.cdw0.set_psdt(Cdw0::PSDT_SGL);
    entry.dptr = descriptor.into();
    entry.cdw12 = ReadWriteCdw12::new().with_nlb(count - 1).into();
    entry
}

#[test]
fn scatter_gather_lists_are_followed() {
    let (rig, mut queue) = rig(Config { sgl: true, ..Config::default() });
    let data = rig.buffer(8192);
    let bytes = pattern(8192, 5);
    data.copy_from(0, &bytes).unwrap();
    let base = data.addr().get();
    let block = |from, len| SglDescriptor::new(SglType::DATA_BLOCK, base + from, len);
    assert_eq!(rig.status(&mut queue, sgl(NvmOpcode::WRITE, 4, block(0, 2048))), Status::SUCCESS);
    assert_eq!(rig.handle.read(1, 0, 4), bytes[..2048]);

    // Two segments of odd pieces.
    let lists = rig.buffer(8192);
    let segment = |kind, from, count: u32| SglDescriptor::new(kind, lists.addr().get() + from, count * 16);
    lists.write(0, [block(3, 5), block(100, 1019)].map(<[u64; 2]>::from)).unwrap();
    lists.write(32, <[u64; 2]>::from(segment(SglType::LAST_SEGMENT, 4096, 1))).unwrap();
    lists.write(4096, <[u64; 2]>::from(block(4000, 512))).unwrap();
    let first = segment(SglType::SEGMENT, 0, 3);
    assert_eq!(rig.status(&mut queue, sgl(NvmOpcode::WRITE, 3, first)), Status::SUCCESS);
    let expected = [&bytes[3..8], &bytes[100..1119], &bytes[4000..4512]].concat();
    assert_eq!(rig.handle.read(1, 0, 3), expected);

    // A bit bucket swallows part of what is read.
    let bucket = SglDescriptor::new(SglType::BIT_BUCKET, 0, 512);
    lists.write(0, [block(0, 512), bucket, block(512, 512)].map(<[u64; 2]>::from)).unwrap();
    data.fill(0, 8192, 0).unwrap();
    let first = segment(SglType::LAST_SEGMENT, 0, 3);
    assert_eq!(rig.status(&mut queue, sgl(NvmOpcode::READ, 3, first)), Status::SUCCESS);
    assert_eq!(contents(&data)[..1024], [&expected[..512], &expected[1024..]].concat());
}

#[test]
fn malformed_scatter_gather_lists_are_refused() {
    let (rig, mut queue) = rig(Config { sgl: true, ..Config::default() });
    let data = rig.buffer(4096);
    let lists = rig.buffer(8192);
    let base = lists.addr().get();
    let block = |len| SglDescriptor::new(SglType::DATA_BLOCK, data.addr().get(), len);
    let put = |descriptors: &[SglDescriptor]| {
        for (at, descriptor) in descriptors.iter().enumerate() {
            lists.write(at * 16, <[u64; 2]>::from(*descriptor)).unwrap();
        }
    };
    let mut check = |descriptor, expected| {
        assert_eq!(rig.status(&mut queue, sgl(NvmOpcode::WRITE, 2, descriptor)), expected, "{descriptor:x?}");
    };
    check(block(512), Status::DATA_SGL_LENGTH);
    check(block(4096), Status::DATA_SGL_LENGTH);
    check(SglDescriptor { identifier: 0x01, ..block(1024) }, Status::INVALID_SGL_TYPE);
    check(SglDescriptor::new(SglType::KEYED_DATA_BLOCK, 0, 1024), Status::INVALID_SGL_TYPE);
    check(SglDescriptor::new(SglType::SEGMENT, base, 24), Status::INVALID_SGL_SEGMENT);
    check(SglDescriptor::new(SglType::SEGMENT, base, 0), Status::INVALID_SGL_SEGMENT);
    check(SglDescriptor::new(SglType::LAST_SEGMENT, base, 16 * 5000), Status::INVALID_SGL_COUNT);
    check(SglDescriptor::new(SglType::LAST_SEGMENT, 0xdead_0000, 16), Status::DATA_TRANSFER_ERROR);
    put(&[block(1024)]);
    check(SglDescriptor::new(SglType::SEGMENT, base, 16), Status::INVALID_SGL_SEGMENT);
    put(&[SglDescriptor::new(SglType::LAST_SEGMENT, base, 16), block(1024)]);
    check(SglDescriptor::new(SglType::SEGMENT, base, 32), Status::INVALID_SGL_SEGMENT);
    check(SglDescriptor::new(SglType::LAST_SEGMENT, base, 32), Status::INVALID_SGL_SEGMENT);
    // A segment that points to itself.
    put(&[SglDescriptor::new(SglType::SEGMENT, base, 16)]);
    check(SglDescriptor::new(SglType::SEGMENT, base, 16), Status::INVALID_SGL_COUNT);
}

#[test]
fn scatter_gather_lists_are_refused_where_they_are_not_offered() {
    let (rig, mut queue) = rig(Config::default());
    let data = rig.buffer(4096);
    let descriptor = SglDescriptor::new(SglType::DATA_BLOCK, data.addr().get(), 512);
    assert_eq!(rig.status(&mut queue, sgl(NvmOpcode::READ, 1, descriptor)), Status::INVALID_FIELD);
}

#[test]
fn metadata_goes_through_its_own_buffer() {
    let (rig, mut queue) = rig(one(NamespaceConfig { metadata: 8, ..NamespaceConfig::new(100, 9) }));
    let (data, meta) = (rig.buffer(2048), rig.buffer(32));
    data.copy_from(0, &pattern(2048, 1)).unwrap();
    meta.copy_from(0, &pattern(32, 2)).unwrap();
    let with_meta = |opcode| SubmissionEntry { mptr: meta.addr().get(), ..blocks(opcode, 1, 4, 4, &data) };
    assert_eq!(rig.status(&mut queue, with_meta(NvmOpcode::WRITE)), Status::SUCCESS);
    let medium = rig.handle.read(1, 5, 1);
    assert_eq!(medium, [&pattern(2048, 1)[512..1024], &pattern(32, 2)[8..16]].concat());
    data.fill(0, 2048, 0).unwrap();
    meta.fill(0, 32, 0).unwrap();
    assert_eq!(rig.status(&mut queue, with_meta(NvmOpcode::READ)), Status::SUCCESS);
    assert_eq!((contents(&data), contents(&meta)), (pattern(2048, 1), pattern(32, 2)));
}

#[test]
fn extended_blocks_carry_their_metadata() {
    let namespace = NamespaceConfig { metadata: 8, extended: true, ..NamespaceConfig::new(100, 9) };
    let (rig, mut queue) = rig(one(namespace));
    let data = rig.buffer(1040);
    data.copy_from(0, &pattern(1040, 1)).unwrap();
    assert_eq!(rig.status(&mut queue, blocks(NvmOpcode::WRITE, 1, 7, 2, &data)), Status::SUCCESS);
    assert_eq!(rig.handle.read(1, 8, 1), pattern(1040, 1)[520..]);
}

#[test]
fn a_power_cut_loses_what_was_neither_flushed_nor_forced() {
    let (mut rig, mut queue) = rig(Config::default());
    let buffer = rig.buffer(512);
    let mut write = |rig: &Rig, lba, forced: bool| {
        buffer.fill(0, 512, 0x11 + lba as u8).unwrap();
        let entry = blocks(NvmOpcode::WRITE, 1, lba, 1, &buffer);
        assert_eq!(rig.status(&mut queue, if forced { fua(entry) } else { entry }), Status::SUCCESS);
    };
    write(&rig, 0, false);
    let mut second = rig.queue(2, 16, 2);
    assert_eq!(rig.status(&mut second, command(NvmOpcode::FLUSH.0, 1, None)), Status::SUCCESS);
    write(&rig, 1, false);
    write(&rig, 2, true);
    assert_eq!(rig.handle.dirty_blocks(1), 1);
    let first_bytes = |data: Vec<u8>| data.chunks(512).map(|block| block[0]).collect::<Vec<_>>();
    assert_eq!(first_bytes(rig.handle.read(1, 0, 3)), [0x11, 0x12, 0x13]);
    assert_eq!(first_bytes(rig.handle.read_durable(1, 0, 3)), [0x11, 0, 0x13]);
    rig.handle.power_cut(PowerCut::Lost);
    assert_eq!(first_bytes(rig.handle.read(1, 0, 3)), [0x11, 0, 0x13]);
    assert!(!rig.handle.is_ready());
    let log = rig.handle.smart_log();
    assert_eq!(({ log.unsafe_shutdowns }, { log.power_cycles }), ([1, 0], [2, 0]));
}

#[test]
fn a_shutdown_writes_the_cache_back() {
    let (rig, mut queue) = rig(Config::default());
    let buffer = rig.buffer(512);
    buffer.fill(0, 512, 7).unwrap();
    assert_eq!(rig.status(&mut queue, blocks(NvmOpcode::WRITE, 1, 3, 1, &buffer)), Status::SUCCESS);
    rig.configure(Rig::cc().with_shn(1));
    assert!(rig.wait(|rig| rig.csts().shst() == 2));
    rig.handle.power_cut(PowerCut::Lost);
    assert_eq!(rig.handle.read(1, 3, 1), [7; 512]);
    assert_eq!({ rig.handle.smart_log().unsafe_shutdowns }, [0, 0]);
}

#[test]
fn without_the_cache_everything_is_durable() {
    let (mut rig, mut queue) = rig(Config::default());
    let buffer = rig.buffer(512);
    buffer.fill(0, 512, 7).unwrap();
    assert_eq!(rig.status(&mut queue, blocks(NvmOpcode::WRITE, 1, 3, 1, &buffer)), Status::SUCCESS);
    rig.set_feature(FeatureId::VOLATILE_WRITE_CACHE, VolatileWriteCache::new());
    assert_eq!(rig.handle.read_durable(1, 3, 1), [7; 512], "switching it off writes it back");
    assert_eq!(rig.status(&mut queue, blocks(NvmOpcode::WRITE, 1, 4, 1, &buffer)), Status::SUCCESS);
    assert_eq!((rig.handle.dirty_blocks(1), rig.handle.read_durable(1, 4, 1)), (0, vec![7; 512]));
}

#[test]
fn zeroes_are_written_and_blocks_deallocated() {
    let ones = NamespaceConfig { deallocated: Deallocation::READS_ONES, ..NamespaceConfig::new(1000, 9) };
    for (namespace, expected) in [(NamespaceConfig::new(1000, 9), 0), (ones, 0xff)] {
        let (rig, mut queue) = rig(one(namespace));
        rig.handle.write(1, 0, &[0x5a; 100 * 512]);
        let mut zeroes = command(NvmOpcode::WRITE_ZEROES.0, 1, None).with_starting_lba(10);
        zeroes.cdw12 = WriteZeroesCdw12::new().with_nlb(9).into();
        assert_eq!(rig.status(&mut queue, zeroes), Status::SUCCESS);
        assert_eq!(rig.handle.read(1, 9, 12), [&[0x5a; 512][..], &[0; 5120], &[0x5a; 512]].concat());

        let ranges = rig.buffer(4096);
        let range = |starting_lba, blocks| DsmRange { attributes: 0, blocks, starting_lba };
        ranges.write(0, range(50, 2)).unwrap();
        ranges.write(16, range(60, 40)).unwrap();
        let mut trim = command(NvmOpcode::DATASET_MANAGEMENT.0, 1, Some(&ranges));
        trim.cdw10 = DsmCdw10::new().with_nr(1).into();
        assert_eq!(rig.status(&mut queue, trim), Status::SUCCESS);
        assert_eq!(rig.handle.allocated_blocks(1), 100, "only a hint without AD");
        trim.cdw11 = DsmCdw11::new().with_ad(true).into();
        assert_eq!(rig.status(&mut queue, trim), Status::SUCCESS);
        assert_eq!(rig.handle.allocated_blocks(1), 58);
        assert_eq!(rig.handle.read(1, 51, 2), [&[expected; 512][..], &[0x5a; 512]].concat());
        ranges.write(16, range(1000, 1)).unwrap();
        assert_eq!(rig.status(&mut queue, trim), Status::LBA_OUT_OF_RANGE);
        assert_eq!(rig.handle.statistics().deallocated, 42);

        let deac = WriteZeroesCdw12::new().with_nlb(9).with_deac(true).into();
        let zeroes = SubmissionEntry { cdw12: deac, ..zeroes.with_starting_lba(20) };
        assert_eq!(rig.status(&mut queue, zeroes), Status::SUCCESS);
        assert_eq!(rig.handle.read(1, 20, 10), [0; 5120], "zeroes whatever deallocated blocks read as");
    }
}

#[test]
fn compare_compares() {
    let (rig, mut queue) = rig(Config::default());
    let buffer = rig.buffer(4096);
    buffer.copy_from(0, &pattern(4096, 3)).unwrap();
    rig.handle.write(1, 8, &pattern(4096, 3));
    assert_eq!(rig.status(&mut queue, blocks(NvmOpcode::COMPARE, 1, 8, 8, &buffer)), Status::SUCCESS);
    buffer.write(4095, 0u8).unwrap();
    assert_eq!(rig.status(&mut queue, blocks(NvmOpcode::COMPARE, 1, 8, 8, &buffer)), Status::COMPARE_FAILURE);
}

#[test]
fn big_blocks_work_too() {
    let (rig, mut queue) = rig(one(NamespaceConfig::new(100, 12)));
    let buffer = rig.buffer(8192);
    buffer.copy_from(0, &pattern(8192, 3)).unwrap();
    assert_eq!(rig.status(&mut queue, blocks(NvmOpcode::WRITE, 1, 98, 2, &buffer)), Status::SUCCESS);
    assert_eq!(rig.handle.read(1, 99, 1), pattern(8192, 3)[4096..]);
    assert_eq!(rig.status(&mut queue, blocks(NvmOpcode::WRITE, 1, 99, 2, &buffer)), Status::LBA_OUT_OF_RANGE);
}

#[test]
fn a_larger_memory_page_moves_the_borders() {
    let mut rig = Rig::disabled(Config::default(), None);
    rig.configure(Rig::cc().with_mps(1));
    assert!(rig.wait(|rig| rig.csts().rdy()));
    let (sq, cq) =
        (rig.dma.allocate_aligned(8192, 8192).unwrap(), rig.dma.allocate_aligned(8192, 8192).unwrap());
    let cdw11 = nvme_spec::CreateCqCdw11::new().with_pc(true);
    assert_eq!(rig.create_cq(1, 16, cq.addr().get() + PAGE, cdw11), Status::INVALID_PRP_OFFSET);
    assert_eq!(rig.create_cq(1, 16, cq.addr().get(), cdw11), Status::SUCCESS);
    assert_eq!(rig.create_sq(1, 16, sq.addr().get(), 1), Status::SUCCESS);
    let data = rig.dma.allocate_aligned(16384, 8192).unwrap();
    data.copy_from(0, &pattern(16384, 3)).unwrap();
    let mut entry = command(NvmOpcode::WRITE.0, 1, None);
    entry.dptr = [data.addr().get(), data.addr().get() + 8192];
    entry.cdw12 = ReadWriteCdw12::new().with_nlb(31).into();
    sq.write(0, entry).unwrap();
    rig.doorbell(1, false, 1);
    assert!(rig.wait(|_| cq.read::<u16>(14).unwrap() & 1 == 1));
    assert_eq!(rig.handle.read(1, 0, 32), pattern(16384, 3));
}
