//! Memory of other processes, as the owner of the IOMMU takes it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use redox_driver_sys::{
    Error,
    physical::{PhysicalMemory, adopt_memory},
};
use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create,
};

fn memory(len: u64, seals: SealFlags) -> OwnedFd {
    let memory = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&memory, len).unwrap();
    fcntl_add_seals(&memory, seals).unwrap();
    memory
}

#[test]
fn what_could_go_away_is_refused() {
    let refused = |memory: &OwnedFd, reason: &str| match adopt_memory(memory.as_fd(), 1 << 20) {
        Err(error @ Error::Invalid { .. }) => assert!(error.to_string().contains(reason), "{error}"),
        other => panic!("{other:?}, not {reason}"),
    };
    refused(&File::open("/dev/null").unwrap().into(), "no memfd");
    refused(&File::open("/proc/self/exe").unwrap().into(), "no memfd");
    refused(&memory(4096, SealFlags::empty()), "not sealed");
    refused(&memory(4096, SealFlags::GROW), "not sealed");
    refused(&memory(0, SealFlags::SHRINK), "length");
    refused(&memory(4095, SealFlags::SHRINK), "length");
    refused(&memory(2 << 20, SealFlags::SHRINK), "length");
    refused(&memory(4096, SealFlags::SHRINK | SealFlags::WRITE), "sealed against writing");
    refused(&memory(4096, SealFlags::SHRINK | SealFlags::FUTURE_WRITE), "sealed against writing");
    let whole = memory(4096, SealFlags::SHRINK);
    let reading = File::open(format!("/proc/self/fd/{}", whole.as_raw_fd())).unwrap();
    refused(&reading.into(), "not open for reading and writing");
}

/// Needs CAP_SYS_ADMIN, as pagemap does; without it the refusal says so.
#[test]
fn pages_stay_where_they_are_when_their_owner_punches_holes() {
    const LEN: u64 = 16 * 4096;
    let memory = memory(LEN, SealFlags::SHRINK | SealFlags::GROW);
    let pages = match adopt_memory(memory.as_fd(), LEN) {
        Ok(pages) => pages,
        Err(error) => {
            assert!(
                error.to_string().contains("CAP_SYS_ADMIN") || matches!(error, Error::Os { .. }),
                "{error}"
            );
            eprintln!("not tested here: {error}");
            return;
        }
    };
    let list = || -> Vec<(u64, u32)> {
        let len = u32::try_from(LEN).unwrap();
        pages.segments(0, len).unwrap().map(|segment| (segment.addr.get(), segment.len)).collect()
    };
    let before = list();
    assert_eq!(before.iter().map(|(_, len)| u64::from(*len)).sum::<u64>(), LEN);
    assert!(before.iter().all(|(addr, _)| *addr != 0 && addr.is_multiple_of(4096)));
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&memory, hole, 0, LEN).unwrap();
    // The same frames again: had they been freed, new memory of this size would find some of them.
    let next = self::memory(LEN, SealFlags::SHRINK);
    let next = adopt_memory(next.as_fd(), LEN).unwrap();
    let old: Vec<_> = before
        .iter()
        .flat_map(|(addr, len)| (0..len / 4096).map(move |n| addr + u64::from(n) * 4096))
        .collect();
    for segment in next.segments(0, u32::try_from(LEN).unwrap()).unwrap() {
        for n in 0..segment.len / 4096 {
            let frame = segment.addr.get() + u64::from(n) * 4096;
            assert!(!old.contains(&frame), "{frame:#x} was given to somebody else");
        }
    }
}

/// An ordinary directory has no huge pages: each attempt to take one fails, and for that reason.
#[test]
fn a_huge_page_that_was_not_to_be_had_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    // Of a dead process that had the same id, and of another.
    let left = [format!("iommud.{}.0", std::process::id()), "iommud.1.0".to_string()];
    for name in &left {
        File::create_new(directory.path().join(name)).unwrap();
    }
    File::create_new(directory.path().join("other")).unwrap();
    let memory = PhysicalMemory::new(directory.path());
    let attempt = || memory.allocator().allocate(4096).unwrap_err().to_string();
    let files = || std::fs::read_dir(directory.path()).unwrap().count();
    let first = attempt();
    assert!(!first.contains("exists"), "{first}");
    assert_eq!(files(), 3);
    let mappings = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| line.contains(directory.path().to_str().unwrap())).count()
    };
    assert_eq!((attempt().contains("exists"), files(), mappings()), (false, 3, 0));
    assert_eq!(memory.remove_others().unwrap(), 2);
    assert_eq!(files(), 1);
}
