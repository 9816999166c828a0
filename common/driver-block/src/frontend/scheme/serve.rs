//! Answering requests.

use redox_driver_sys::scheme::{
    Answer, DirectoryEntries, Errno, OpenFlags, Operation as Asked, Reply, SchemeRequest,
};
use syscall::{
    data::Stat,
    dirent::{DirEntry, DirentBuf, DirentKind},
    flag::{MODE_DIR, MODE_FILE},
};

use super::{
    carrier::{Carried, Carrier},
    disks::{Disks, SearchRead},
    handles::{Extent, Handle, Handles, ROOT, Target},
    jobs::{Ended, Jobs, MOST_TRANSFER, Owner, Transfer},
    node::{MAX_PATH, Node},
    verbs,
};
use crate::{
    device::{Disk, DiskId, Operation},
    error::BlockError,
};

/// Entries that are given out at once fit into this.
const LISTING: usize = 4096;
/// Clients that may wait for a report at a time.
const MOST_INSPECTING: usize = 16;

/// The scheme of one controller.
#[derive(Debug)]
pub struct DiskScheme<C: Carrier> {
    name: String,
    carrier: C,
    disks: Disks,
    handles: Handles,
    jobs: Jobs,
    answers: Vec<Answer>,
    /// Those who wait for a report.
    inspecting: Vec<SchemeRequest>,
    inspection_due: bool,
}

impl<C: Carrier> DiskScheme<C> {
    /// The handle of the root: what is registered under the scheme's name.
    pub const ROOT: usize = ROOT;

    /// A scheme called `name` without disks.
    pub fn new(name: impl Into<String>, carrier: C) -> Self {
        DiskScheme {
            name: name.into(),
            jobs: Jobs::new(carrier.queues()),
            carrier,
            disks: Disks::default(),
            handles: Handles::default(),
            answers: Vec::new(),
            inspecting: Vec::new(),
            inspection_due: false,
        }
    }

    /// What carries the pieces.
    pub fn carrier(&self) -> &C {
        &self.carrier
    }

    /// What carries the pieces. Answers to pieces are for [`carried`](Self::carried).
    pub fn carrier_mut(&mut self) -> &mut C {
        &mut self.carrier
    }

    /// The carrier has been given other queues.
    pub fn queues_changed(&mut self) {
        self.jobs.set_queues(self.carrier.queues());
        self.submit();
    }

    /// These are all disks that there are.
    pub fn set_disks(&mut self, disks: Vec<Disk>) {
        for gone in self.disks.ids().filter(|id| disks.iter().all(|disk| disk.id != *id)).collect::<Vec<_>>()
        {
            self.remove_disk(gone);
        }
        disks.into_iter().for_each(|disk| self.set_disk(disk));
    }

    /// A disk appeared or changed. Its partitions are looked for, unless it is as it was.
    pub fn set_disk(&mut self, disk: Disk) {
        let id = disk.id;
        if self.disks.get(id).is_some_and(|served| served.disk == disk) {
            return;
        }
        self.disks.set(disk);
        let wanted = self.disks.search(&self.name, id);
        self.go_on_searching(wanted);
        self.submit();
    }

    /// A disk is gone.
    pub fn remove_disk(&mut self, disk: DiskId) {
        self.disks.remove(disk);
    }

    /// Whether the partitions of all disks are known.
    pub fn is_settled(&self) -> bool {
        self.disks.are_settled()
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_idle() && self.inspecting.is_empty()
    }

    /// Takes requests. What can be answered at once is; the rest is on its way to the carrier.
    pub fn requests(&mut self, requests: impl IntoIterator<Item = SchemeRequest>) {
        for request in requests {
            self.request(request);
        }
        self.submit();
    }

    /// Takes the answers to pieces.
    pub fn carried(&mut self, carried: impl IntoIterator<Item = Carried<C::Range>>) {
        for carried in carried {
            self.jobs.carried(carried, &mut self.carrier);
        }
        self.submit();
    }

    /// What clients are to be told. Empty it.
    pub fn answers(&mut self) -> &mut Vec<Answer> {
        &mut self.answers
    }

    /// Whether the driver is to be asked for its report, since this was called last.
    pub fn take_inspection(&mut self) -> bool {
        std::mem::take(&mut self.inspection_due)
    }

    /// The driver's report.
    pub fn inspected(&mut self, report: &str) {
        for request in std::mem::take(&mut self.inspecting) {
            if let Asked::Read { handle, offset } = request.operation()
                && let Ok(Handle { target: Target::Inspect { text }, .. }) = self.handles.get(handle)
            {
                report.clone_into(text);
                let result = give(&request, text.as_bytes(), offset);
                self.answer(request, result);
            } else {
                self.answer(request, Err(Errno::BADF));
            }
        }
    }

    fn submit(&mut self) {
        // What ends can be a search, which then goes on.
        loop {
            self.jobs.submit(&mut self.carrier);
            let ended = self.jobs.take_ended();
            if ended.is_empty() {
                return;
            }
            for ended in ended {
                self.ended(ended);
            }
        }
    }

    fn ended(&mut self, ended: Ended) {
        match ended.owner {
            Owner::Client(Some(request)) => {
                if let Some(served) = self.disks.get_mut(ended.disk) {
                    let counters = &mut served.counters;
                    match (ended.operation, ended.result) {
                        (Operation::Read, Ok(bytes)) => {
                            counters.reads += 1;
                            counters.read_bytes += bytes;
                        }
                        (Operation::Write, Ok(bytes)) => {
                            counters.writes += 1;
                            counters.written_bytes += bytes;
                        }
                        (Operation::Flush, Ok(_)) => counters.flushes += 1,
                        (Operation::Discard, Ok(_)) => counters.discards += 1,
                        (Operation::WriteZeroes, Ok(_)) => counters.write_zeroes += 1,
                        (_, Err(_)) => counters.failures += 1,
                    }
                }
                let result =
                    ended.result.and_then(|bytes| usize::try_from(bytes).map_err(|_| Errno::OVERFLOW));
                self.answer(request, result);
            }
            Owner::Client(None) => {}
            Owner::Search { number, wanted, bytes } => {
                let bytes = ended.result.map(|_| bytes).map_err(|_| BlockError::Medium);
                let next = self.disks.search_read(&self.name, ended.disk, number, wanted, bytes);
                self.go_on_searching(next);
            }
        }
    }

    fn go_on_searching(&mut self, read: Option<SearchRead>) {
        let Some(SearchRead { number, disk, block_size, wanted }) = read else { return };
        let owner = Owner::Search { number, wanted, bytes: vec![0; wanted.bytes] };
        let most_piece = self.carrier.most_bytes();
        let transfer = Transfer { lba: wanted.lba, bytes: wanted.bytes as u64, block_size, most_piece };
        self.jobs.transfer(owner, Operation::Read, disk, transfer);
    }

    fn answer(&mut self, request: SchemeRequest, result: Result<usize, Errno>) {
        self.answers.push(request.answer(result.into()));
    }

    /// Does what is asked, or begins it.
    fn request(&mut self, request: SchemeRequest) {
        let result = match request.operation() {
            Asked::Open { directory, flags, user } => {
                let reply = match self.open(&request, directory, flags, user) {
                    Ok(handle) => Reply::Opened { handle },
                    Err(error) => Reply::Failed(error),
                };
                self.answers.push(request.answer(reply));
                return;
            }
            Asked::Read { handle, offset } => return self.read(request, handle, offset),
            Asked::Write { handle, offset } => match self.write_extent(handle) {
                Ok(extent) => return self.transfer(request, Operation::Write, extent, offset),
                Err(error) => Err(error),
            },
            Asked::Sync { handle } => match self.handles.get(handle).map(|handle| handle.extent()) {
                Ok(Some(extent)) if self.disks.get(extent.disk).is_none() => Err(Errno::NODEV),
                Ok(Some(extent)) => return self.jobs.flush(Owner::Client(Some(request)), extent.disk),
                Ok(None) => Ok(0),
                Err(error) => Err(error),
            },
            Asked::Call { handle, metadata } => return self.call(request, handle, metadata),
            Asked::Size { handle } => {
                self.size(handle).map(|size| usize::try_from(size).unwrap_or(usize::MAX))
            }
            Asked::Stat { handle } => self.stat(&request, handle),
            Asked::Path { handle } => self.path(&request, handle),
            Asked::List { handle, entries } => self.list(&request, handle, entries),
            Asked::Control { handle } => self.handles.get(handle).map(|_| 0),
            Asked::Close { handle } => return self.close(handle),
            Asked::Cancel { tag } => return self.cancel(tag),
            Asked::Notice => return,
            _ => Err(Errno::OPNOTSUPP),
        };
        self.answer(request, result);
    }

    fn open(
        &mut self,
        request: &SchemeRequest,
        directory: usize,
        flags: OpenFlags,
        user: u32,
    ) -> Result<usize, Errno> {
        if directory != ROOT
            && !matches!(self.handles.get(directory)?, Handle { target: Target::List { .. }, .. })
        {
            return Err(Errno::NOTDIR);
        }
        if user != 0 {
            return Err(Errno::ACCESS);
        }
        let mut path = [0; MAX_PATH];
        let path = path.get_mut(..request.len()).ok_or(Errno::NOENT)?;
        request.load(0, path)?;
        let node = std::str::from_utf8(path).ok().and_then(Node::parse).ok_or(Errno::NOENT)?;
        let target = match node {
            Node::Root if flags.directory() || flags.stat() => Target::List { text: self.disks.listing() },
            Node::Root => return Err(Errno::ISDIR),
            _ if flags.directory() => return Err(Errno::NOTDIR),
            Node::Inspect if flags.write() => return Err(Errno::ACCESS),
            Node::Inspect => Target::Inspect { text: String::new() },
            Node::Disk(_) | Node::Partition(..) => {
                let extent = self.disks.extent(node).ok_or(Errno::NOENT)?;
                match flags.stat() {
                    true => Target::Look { extent },
                    false => {
                        Target::Blocks { extent, read: flags.read(), write: flags.write(), written: false }
                    }
                }
            }
        };
        self.handles.open(Handle { node, target })
    }

    fn close(&mut self, handle: usize) {
        let Some(handle) = self.handles.close(handle) else { return };
        // Whoever had all of the disk may have written a table.
        if let (Node::Disk(disk), Target::Blocks { written: true, .. }) = (handle.node, handle.target) {
            let wanted = self.disks.search(&self.name, disk);
            self.go_on_searching(wanted);
        }
    }

    fn cancel(&mut self, tag: u32) {
        if self.jobs.cancel(tag) {
            return;
        }
        if let Some(index) = self.inspecting.iter().position(|request| request.tag() == tag) {
            let request = self.inspecting.swap_remove(index);
            self.answer(request, Err(Errno::CANCELED));
        }
    }

    fn read(&mut self, request: SchemeRequest, handle: usize, offset: u64) {
        let result = match self.handles.get(handle) {
            Ok(Handle { target: Target::Blocks { extent, read: true, .. }, .. }) => {
                let extent = *extent;
                return self.transfer(request, Operation::Read, extent, offset);
            }
            Ok(Handle { target: Target::List { text }, .. }) => give(&request, text.as_bytes(), offset),
            Ok(Handle { target: Target::Inspect { text }, .. }) if offset > 0 => {
                give(&request, text.as_bytes(), offset)
            }
            Ok(Handle { target: Target::Inspect { .. }, .. }) if self.inspecting.len() < MOST_INSPECTING => {
                self.inspecting.push(request);
                self.inspection_due = true;
                return;
            }
            Ok(Handle { target: Target::Inspect { .. }, .. }) => Err(Errno::AGAIN),
            Ok(_) => Err(Errno::BADF),
            Err(error) => Err(error),
        };
        self.answer(request, result);
    }

    /// The blocks that may be written through a handle, which is taken to be going to happen.
    fn write_extent(&mut self, handle: usize) -> Result<Extent, Errno> {
        match &mut self.handles.get(handle)?.target {
            Target::Blocks { extent, write: true, written, .. } => {
                let extent = *extent;
                *written = true;
                match self.disks.get(extent.disk) {
                    Some(served) if served.disk.limits.read_only => Err(Errno::ROFS),
                    Some(_) => Ok(extent),
                    None => Err(Errno::NODEV),
                }
            }
            _ => Err(Errno::BADF),
        }
    }

    /// Reads or writes the blocks from the byte `offset` of `extent` on, as far as it has them.
    fn transfer(&mut self, request: SchemeRequest, operation: Operation, extent: Extent, offset: u64) {
        let Some(served) = self.disks.get(extent.disk) else {
            return self.answer(request, Err(Errno::NODEV));
        };
        let block_size = served.disk.limits.block_size;
        let size = u64::from(block_size);
        let len = request.len() as u64;
        if size == 0 || !len.is_multiple_of(size) || !offset.is_multiple_of(size) {
            return self.answer(request, Err(Errno::INVAL));
        }
        let first = offset / size;
        let left = extent.window.blocks().saturating_sub(first);
        let blocks = (len.min(MOST_TRANSFER) / size).min(left);
        if blocks == 0 {
            let end = if len > 0 && operation == Operation::Write { Err(Errno::NOSPC) } else { Ok(0) };
            return self.answer(request, end);
        }
        match extent.window.translate(first, blocks) {
            Ok(lba) => {
                let owner = Owner::Client(Some(request));
                let most_piece = self.carrier.most_bytes();
                let transfer = Transfer { lba, bytes: blocks * size, block_size, most_piece };
                self.jobs.transfer(owner, operation, extent.disk, transfer);
            }
            Err(_) => self.answer(request, Err(Errno::INVAL)),
        }
    }

    fn call(&mut self, request: SchemeRequest, handle: usize, metadata: [u64; 3]) {
        match self.begin_call(&request, handle, metadata) {
            Ok(Called::Done(value)) => self.answer(request, Ok(value)),
            Ok(Called::Ranges { operation, disk, ranges }) => {
                self.jobs.ranges(Owner::Client(Some(request)), operation, disk, ranges);
            }
            Err(error) => self.answer(request, Err(error)),
        }
    }

    fn begin_call(
        &mut self,
        request: &SchemeRequest,
        handle: usize,
        metadata: [u64; 3],
    ) -> Result<Called, Errno> {
        let [verb, 0, 0] = metadata else { return Err(Errno::INVAL) };
        let extent = self.handles.get(handle)?.extent().ok_or(Errno::OPNOTSUPP)?;
        let served = self.disks.get(extent.disk).ok_or(Errno::NODEV)?;
        let limits = &served.disk.limits;
        let operation = match verb {
            verbs::STATISTICS => {
                return verbs::fill(request, &served.counters.fields()).map(Called::Done);
            }
            verbs::LIMITS => return verbs::fill(request, &verbs::limits_fields(limits)).map(Called::Done),
            verbs::DISCARD if limits.max_discard_blocks == 0 => return Err(Errno::OPNOTSUPP),
            verbs::DISCARD => Operation::Discard,
            verbs::WRITE_ZEROES => Operation::WriteZeroes,
            _ => return Err(Errno::OPNOTSUPP),
        };
        let block_size = limits.block_size;
        let extent = self.write_extent(handle)?;
        let ranges = verbs::ranges(request, &extent, block_size)?;
        Ok(Called::Ranges { operation, disk: extent.disk, ranges })
    }

    fn size(&mut self, handle: usize) -> Result<u64, Errno> {
        let handle = self.handles.get(handle)?;
        match &handle.target {
            Target::List { text } | Target::Inspect { text } => Ok(text.len() as u64),
            Target::Blocks { extent, .. } | Target::Look { extent } => {
                let served = self.disks.get(extent.disk).ok_or(Errno::NODEV)?;
                let size = served.disk.limits.block_size;
                Ok(extent.window.blocks().saturating_mul(size.into()))
            }
        }
    }

    fn stat(&mut self, request: &SchemeRequest, handle: usize) -> Result<usize, Errno> {
        let size = self.size(handle)?;
        let handle = self.handles.get(handle)?;
        let mut stat = Stat { st_size: size, st_nlink: 1, ..Stat::default() };
        match &handle.target {
            Target::List { .. } => stat.st_mode = MODE_DIR | 0o700,
            Target::Inspect { .. } => stat.st_mode = MODE_FILE | 0o400,
            Target::Blocks { extent, .. } | Target::Look { extent } => {
                let served = self.disks.get(extent.disk).ok_or(Errno::NODEV)?;
                stat.st_mode = MODE_FILE | 0o600;
                stat.st_blksize = served.disk.limits.block_size;
                stat.st_blocks = extent.window.blocks();
            }
        }
        request.store(0, &stat).map(|()| 0)
    }

    /// The path in the form that file systems and libraries know: the scheme, a colon, the node.
    fn path(&mut self, request: &SchemeRequest, handle: usize) -> Result<usize, Errno> {
        let path = format!("{}:{}", self.name, self.handles.get(handle)?.node);
        give(request, path.as_bytes(), 0)
    }

    fn list(
        &mut self,
        request: &SchemeRequest,
        handle: usize,
        entries: DirectoryEntries,
    ) -> Result<usize, Errno> {
        let Handle { target: Target::List { text }, .. } = self.handles.get(handle)? else {
            return Err(Errno::NOTDIR);
        };
        let mut bytes = [0; LISTING];
        let bytes = bytes.get_mut(..request.len().min(LISTING)).ok_or(Errno::INVAL)?;
        let mut buffer = DirentBuf::new(&mut *bytes, entries.header).ok_or(Errno::INVAL)?;
        let from = usize::try_from(entries.from).unwrap_or(usize::MAX);
        for (name, next) in text.lines().zip(1..).skip(from) {
            let entry = DirEntry { inode: 0, next_opaque_id: next, name, kind: DirentKind::Regular };
            match buffer.entry(entry) {
                Ok(()) => {}
                Err(_) if next > entries.from + 1 => break,
                Err(_) => return Err(Errno::INVAL),
            }
        }
        let len = buffer.finalize();
        give(request, bytes.get(..len).unwrap_or_default(), 0)
    }
}

/// What a call comes to.
enum Called {
    Done(usize),
    Ranges { operation: Operation, disk: DiskId, ranges: std::collections::VecDeque<verbs::Range> },
}

/// Copies `bytes` from `offset` on, as much as the client's buffer takes.
fn give(request: &SchemeRequest, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
    let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
    let rest = rest.get(..request.len()).unwrap_or(rest);
    request.store(0, rest)?;
    Ok(rest.len())
}
