//! A client, and disks in memory behind queues that answer when they are told to.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use redox_driver_sys::scheme::{Errno, SchemeRequest};
use syscall::{
    flag::{O_DIRECTORY, O_RDONLY, O_RDWR, O_STAT},
    schemev2::{Opcode, Sqe},
};

use super::{Carried, Carrier, DiskScheme, Piece};
use crate::{
    device::{Disk, DiskId, Limits, Operation, WriteCache},
    error::BlockError,
    partitions::tests::support::{Gpt, Sparse},
};

pub(super) fn disk(id: DiskId, blocks: u64) -> Disk {
    let limits = Limits {
        block_size: 512,
        physical_block_size: 4096,
        optimal_io_size: 0,
        max_transfer: 128 << 10,
        max_commands: u16::MAX,
        max_segments: 32,
        segment_boundary: 1,
        dma_alignment: 4,
        max_discard_blocks: u32::MAX,
        max_discard_ranges: 256,
        discard_granularity: 512,
        max_write_zeroes_blocks: 0xffff,
        write_cache: WriteCache::Volatile { fua: true },
        read_only: false,
        rotational: false,
    };
    Disk { id, blocks, limits, model: "memory".into(), serial: "1".into() }
}

/// A disk of `blocks` 512-byte blocks with partitions of first block and length.
pub(super) fn gpt_image(blocks: u64, partitions: &[(u64, u64)]) -> Vec<u8> {
    let mut disk = Sparse::new(512, blocks);
    let numbered: Vec<_> =
        (1..).zip(partitions).map(|(number, (start, len))| (number, *start, start + len - 1)).collect();
    Gpt::new(&disk, 128, &numbered).write(&mut disk);
    disk.image()
}

/// Memory of the pool.
pub(super) type Range = RefCell<Vec<u8>>;

/// Disks in memory. A piece takes effect when it is answered.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) disks: BTreeMap<DiskId, Vec<u8>>,
    /// Pieces that were submitted, by queue.
    pub(super) queues: Vec<Vec<(Piece, Option<Range>)>>,
    /// Most pieces of a queue.
    pub(super) depth: usize,
    /// Bytes that are left of the pool.
    pub(super) pool: u32,
    pub(super) most: u32,
    /// What the next pieces end with.
    pub(super) fails: Vec<BlockError>,
    pub(super) flushes: usize,
}

impl Memory {
    pub(super) fn new(queues: usize, pool: u32) -> Self {
        Memory {
            disks: BTreeMap::new(),
            queues: (0..queues).map(|_| Vec::new()).collect(),
            depth: 8,
            pool,
            most: pool,
            fails: Vec::new(),
            flushes: 0,
        }
    }

    pub(super) fn outstanding(&self) -> usize {
        self.queues.iter().map(Vec::len).sum()
    }

    /// Carries out the `nth` outstanding piece.
    pub(super) fn carry_out(&mut self, mut nth: usize) -> Carried<Range> {
        let queue = self
            .queues
            .iter_mut()
            .find(|queue| {
                let here = nth < queue.len();
                if !here {
                    nth -= queue.len();
                }
                here
            })
            .unwrap();
        let (piece, data) = queue.remove(nth);
        let result = match self.fails.pop() {
            Some(error) => Err(error),
            None => {
                let disk = self.disks.get_mut(&piece.disk).unwrap();
                let start = usize::try_from(piece.lba).unwrap() * 512;
                let end = start + piece.blocks as usize * 512;
                let data = data.as_ref();
                match piece.operation {
                    Operation::Read => data.unwrap().borrow_mut().copy_from_slice(&disk[start..end]),
                    Operation::Write => disk[start..end].copy_from_slice(&data.unwrap().borrow()),
                    Operation::Flush => self.flushes += 1,
                    Operation::Discard => disk[start..end].fill(0xdd),
                    Operation::WriteZeroes => disk[start..end].fill(0),
                }
                Ok(())
            }
        };
        Carried { cookie: piece.cookie, result, data }
    }
}

impl Carrier for Memory {
    type Range = Range;

    fn queues(&self) -> u16 {
        u16::try_from(self.queues.len()).unwrap()
    }

    fn most_bytes(&self) -> u32 {
        self.most
    }

    fn reserve(&mut self, bytes: u32) -> Option<Range> {
        assert!(bytes > 0 && bytes <= self.most, "{bytes} of at most {}", self.most);
        self.pool = self.pool.checked_sub(bytes)?;
        Some(RefCell::new(vec![0xee; bytes as usize]))
    }

    fn release(&mut self, range: Range) {
        self.pool += u32::try_from(range.into_inner().len()).unwrap();
        assert!(self.pool <= self.most);
    }

    fn load(&mut self, range: &Range, from: &SchemeRequest, offset: usize, len: usize) -> Result<(), Errno> {
        from.load(offset, &mut range.borrow_mut()[..len])
    }

    fn store(&self, range: &Range, to: &SchemeRequest, offset: usize, len: usize) -> Result<(), Errno> {
        to.store(offset, &range.borrow()[..len])
    }

    fn copy_out(&self, range: &Range, into: &mut [u8]) {
        into.copy_from_slice(&range.borrow()[..into.len()]);
    }

    fn submit(&mut self, queue: u16, piece: Piece, data: Option<Range>) -> Result<(), Option<Range>> {
        let entries = &mut self.queues[usize::from(queue)];
        if entries.len() == self.depth {
            return Err(data);
        }
        entries.push((piece, data));
        Ok(())
    }
}

/// A buffer that client and scheme share.
pub(super) type Buffer = Arc<Mutex<Vec<u8>>>;

/// A scheme with clients.
pub(super) struct Rig {
    pub(super) scheme: DiskScheme<Memory>,
    next_tag: u32,
    answered: BTreeMap<u32, Result<usize, Errno>>,
}

pub(super) const ROOT: usize = DiskScheme::<Memory>::ROOT;

impl Rig {
    /// With these disks, whose partitions are known.
    pub(super) fn new(memory: Memory, images: Vec<(Disk, Vec<u8>)>) -> Self {
        let mut rig =
            Rig { scheme: DiskScheme::new("disk.test", memory), next_tag: 0, answered: BTreeMap::new() };
        for (disk, image) in images {
            rig.scheme.carrier_mut().disks.insert(disk.id, image);
            rig.scheme.set_disk(disk);
        }
        rig.finish();
        assert!(rig.scheme.is_settled());
        rig
    }

    /// One disk with two partitions, blocks 64 to 163 and 200 to 1199 of 4096.
    pub(super) fn plain(queues: usize, pool: u32) -> Self {
        let image = gpt_image(4096, &[(64, 100), (200, 1000)]);
        Rig::new(Memory::new(queues, pool), vec![(disk(DiskId(1), 4096), image)])
    }

    pub(super) fn ask(&mut self, opcode: Opcode, args: [u64; 6], buffer: Buffer) -> u32 {
        self.next_tag += 1;
        let sqe = Sqe { opcode: opcode as u8, tag: self.next_tag, args, ..Sqe::default() };
        self.scheme.requests([SchemeRequest::of_test(&sqe, buffer)]);
        self.collect();
        self.next_tag
    }

    /// Tells without expecting an answer.
    pub(super) fn tell(&mut self, opcode: Opcode, tag: u32, handle: usize) {
        let sqe = Sqe { opcode: opcode as u8, tag, args: [handle as u64, 0, 0, 0, 0, 0], ..Sqe::default() };
        self.scheme.requests([SchemeRequest::of_test(&sqe, Buffer::default())]);
        self.collect();
    }

    fn collect(&mut self) {
        for answer in self.scheme.answers().drain(..) {
            assert!(self.answered.insert(answer.tag(), answer.result()).is_none(), "answered twice");
        }
    }

    /// Carries out one piece.
    pub(super) fn carry_out(&mut self, nth: usize) {
        let carried = self.scheme.carrier_mut().carry_out(nth);
        self.scheme.carried([carried]);
        self.collect();
    }

    /// Carries out all pieces.
    pub(super) fn finish(&mut self) {
        while self.scheme.carrier().outstanding() > 0 {
            self.carry_out(0);
        }
    }

    pub(super) fn answer(&mut self, tag: u32) -> Option<Result<usize, Errno>> {
        self.answered.remove(&tag)
    }

    /// Asks, and carries out everything until the answer is there.
    pub(super) fn call(&mut self, opcode: Opcode, args: [u64; 6], buffer: Buffer) -> Result<usize, Errno> {
        let tag = self.ask(opcode, args, buffer);
        self.finish();
        self.answer(tag).expect("not answered")
    }

    pub(super) fn open_as(&mut self, path: &str, flags: usize, user: u64) -> Result<usize, Errno> {
        let path = Arc::new(Mutex::new(path.as_bytes().to_vec()));
        let tag = self.ask(Opcode::OpenAt, [ROOT as u64, 1, 1, flags as u64, 0, user], path);
        // Nothing is waited for.
        self.answer(tag).expect("an open has to be answered at once")
    }

    pub(super) fn open(&mut self, path: &str) -> Result<usize, Errno> {
        self.open_as(path, O_RDWR, 0)
    }

    pub(super) fn list(&mut self) -> usize {
        self.open_as("", O_RDONLY | O_DIRECTORY, 0).unwrap()
    }

    pub(super) fn look(&mut self, path: &str) -> Result<usize, Errno> {
        self.open_as(path, O_STAT, 0)
    }

    pub(super) fn close(&mut self, handle: usize) {
        self.tell(Opcode::CloseMsg, 0, handle);
        self.finish();
    }

    pub(super) fn read(&mut self, handle: usize, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
        let buffer: Buffer = Arc::new(Mutex::new(vec![0x77; len]));
        let count = self.call(Opcode::Read, [handle as u64, 1, 1, offset, 0, 0], buffer.clone())?;
        let mut bytes = buffer.lock().unwrap().clone();
        assert!(bytes[count..].iter().all(|byte| *byte == 0x77), "more than was told");
        bytes.truncate(count);
        Ok(bytes)
    }

    pub(super) fn write(&mut self, handle: usize, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let buffer = Arc::new(Mutex::new(bytes.to_vec()));
        self.call(Opcode::Write, [handle as u64, 1, 1, offset, 0, 0], buffer)
    }

    /// A call with this verb.
    pub(super) fn verb(&mut self, handle: usize, verb: u64, buffer: &Buffer) -> Result<usize, Errno> {
        self.call(Opcode::Call, [handle as u64, 1, 1, verb, 0, 0], buffer.clone())
    }

    /// Nothing was lost on the way.
    pub(super) fn check_idle(&self) {
        assert!(self.scheme.is_idle());
        assert_eq!(self.scheme.carrier().pool, self.scheme.carrier().most, "memory was not given back");
    }
}
