//! Requests as the kernel writes them, and answers as it reads them.

use std::sync::{Arc, Mutex};

use syscall::{
    flag::{O_DIRECTORY, O_RDONLY, O_RDWR, O_STAT, StdFsCallKind},
    schemev2::{Opcode, Sqe, SqeFlags},
};

use super::*;

fn sqe(opcode: Opcode, args: [u64; 6]) -> Sqe {
    Sqe { opcode: opcode as u8, tag: 7, args, ..Sqe::default() }
}

fn request(sqe: &Sqe, len: usize) -> SchemeRequest {
    SchemeRequest::of_test(sqe, Arc::new(Mutex::new(vec![0x55; len])))
}

#[test]
fn requests_are_understood() {
    let open = request(&sqe(Opcode::OpenAt, [3, 0x1000, 2, O_RDWR as u64, 0, 5 << 32 | 1000]), 2);
    let Operation::Open { directory: 3, flags, user: 1000 } = open.operation() else {
        panic!("{open:?}");
    };
    assert!(flags.read() && flags.write() && !flags.directory() && !flags.stat());
    let flags = OpenFlags::from_bits(O_RDONLY | O_DIRECTORY | O_STAT);
    assert!(flags.read() && !flags.write() && flags.directory() && flags.stat());

    let read = request(&sqe(Opcode::Read, [4, 0x1000, 16, 1 << 40, 0, 0]), 16);
    assert_eq!(read.operation(), Operation::Read { handle: 4, offset: 1 << 40 });
    let listing = DirectoryEntries { from: 9, header: 19 };
    for (opcode, args) in [
        (Opcode::Getdents, [4, 0x1000, 16, 19, 9, 0]),
        (Opcode::StdFsCall, [4, 0x1000, 16, StdFsCallKind::Getdents as u64, 9, 19]),
    ] {
        assert_eq!(
            request(&sqe(opcode, args), 16).operation(),
            Operation::List { handle: 4, entries: listing }
        );
    }
    let sync = sqe(Opcode::StdFsCall, [4, 0, 0, StdFsCallKind::Fsync as u64, 0, 0]);
    assert_eq!(request(&sync, 0).operation(), Operation::Sync { handle: 4 });
    let call = sqe(Opcode::Call, [4, 0x1000, 16, 1, 2, 3]);
    assert_eq!(request(&call, 16).operation(), Operation::Call { handle: 4, metadata: [1, 2, 3] });
    // Two handles: nothing that is served here.
    let call = Sqe { sqe_flags: SqeFlags::MULTIPLE_IDS, ..call };
    assert_eq!(request(&call, 16).operation(), Operation::Unsupported);
}

#[test]
fn every_opcode_is_something_and_notices_are_not_answered() {
    for opcode in 0..=u8::MAX {
        let sqe = Sqe { opcode, tag: 7, args: [u64::MAX; 6], ..Sqe::default() };
        let request = request(&sqe, 4);
        let answered = request.operation().is_answered();
        let silent = [Opcode::CloseMsg, Opcode::Cancel, Opcode::Detach, Opcode::Msync, Opcode::RequestMmap];
        assert_eq!(answered, !silent.iter().any(|silent| *silent as u8 == opcode), "{request:?}");
    }
}

#[test]
fn arguments_that_are_no_address_are_never_used_as_one() {
    for opcode in
        [Opcode::Fchown, Opcode::Fcntl, Opcode::Munmap, Opcode::MmapPrep, Opcode::Fsync, Opcode::Cancel]
    {
        let request = request(&sqe(opcode, [1; 6]), 64);
        assert!(request.is_empty(), "{request:?}");
        assert_eq!(request.load(0, &mut [0]), Err(Errno::FAULT));
    }
}

#[test]
fn buffers_are_copied_within_their_bounds_and_only_as_lent() {
    let read = request(&sqe(Opcode::Read, [4, 0x1000, 16, 0, 0, 0]), 16);
    assert_eq!(read.store(12, b"abcd"), Ok(()));
    assert_eq!(read.store(13, b"abcd"), Err(Errno::FAULT));
    assert_eq!(read.store(usize::MAX, b"abcd"), Err(Errno::FAULT));
    assert_eq!(read.load(0, &mut [0]), Err(Errno::BADF));

    let bytes = Arc::new(Mutex::new(b"0123".to_vec()));
    let write = SchemeRequest::of_test(&sqe(Opcode::Write, [4, 0x1000, 4, 0, 0, 0]), bytes);
    let mut into = [0; 2];
    assert_eq!(write.load(2, &mut into), Ok(()));
    assert_eq!(&into, b"23");
    assert_eq!(write.store(0, b"a"), Err(Errno::BADF));
}

#[test]
fn answers_say_what_happened() {
    let any = || request(&sqe(Opcode::Fsize, [4; 6]), 0);
    let answer = any().answer(Reply::Done(4096));
    assert_eq!((answer.tag(), answer.result()), (7, Ok(4096)));
    let answer = any().answer(Reply::Failed(Errno::NOLCK));
    assert_eq!(answer.result(), Err(Errno::NOLCK));
    assert_eq!(any().answer(Reply::Opened { handle: 3 }).result(), Ok(3));
}
