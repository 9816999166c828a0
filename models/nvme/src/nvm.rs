//! Commands of the NVM command set (section 6).

use nvme_spec::{
    ALL_NAMESPACES, Cdw0, DsmCdw10, DsmCdw11, DsmRange, NvmOpcode, ReadWriteCdw12, Status, SubmissionEntry,
    WriteZeroesCdw12,
};
use redox_driver_sys::model::Bus;

use crate::{
    controller::{Command, Controller, Reply},
    fault::Action,
    namespace::Namespace,
    transfer::Transfer,
};

/// Bytes that are moved at a time.
const PIECE: usize = 64 << 10;

/// What a command does with the blocks that it transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Read,
    Write,
    Compare,
}

impl Controller {
    /// Does an I/O command.
    pub(crate) fn io(&mut self, bus: &mut dyn Bus, command: &Command) -> Reply {
        let config = &self.config;
        match NvmOpcode(command.entry.cdw0.opcode()) {
            NvmOpcode::FLUSH => self.flush(command.entry.nsid),
            NvmOpcode::READ => self.transfer(bus, command, Way::Read),
            NvmOpcode::WRITE => self.transfer(bus, command, Way::Write),
            NvmOpcode::COMPARE if config.compare => self.transfer(bus, command, Way::Compare),
            NvmOpcode::WRITE_ZEROES if config.write_zeroes => self.write_zeroes(&command.entry),
            NvmOpcode::DATASET_MANAGEMENT if config.dataset_management => self.manage_dataset(bus, command),
            _ => Err(Status::INVALID_OPCODE),
        }
    }

    /// Why there is no namespace `nsid` (section 6.1.5).
    fn no_namespace(&self, nsid: u32) -> Status {
        if nsid == 0 || nsid > self.config.nn { Status::INVALID_NAMESPACE } else { Status::INVALID_FIELD }
    }

    fn namespace_mut(&mut self, nsid: u32) -> Result<&mut Namespace, Status> {
        let missing = self.no_namespace(nsid);
        self.namespaces.get_mut(&nsid).ok_or(missing)
    }

    fn flush(&mut self, nsid: u32) -> Reply {
        if nsid == ALL_NAMESPACES {
            self.flush_all();
        } else {
            self.namespace_mut(nsid)?.medium.flush();
        }
        Ok(0)
    }

    /// How the data pointer of an I/O command is meant.
    fn data(
        &self,
        bus: &mut dyn Bus,
        entry: &SubmissionEntry,
        len: usize,
        to_host: bool,
    ) -> Result<Transfer, Status> {
        match entry.cdw0.psdt() {
            Cdw0::PSDT_PRP => Transfer::prp(bus, entry.dptr, len, self.page()),
            Cdw0::PSDT_SGL if self.config.sgl => Transfer::sgl(bus, entry.dptr.into(), len, to_host),
            _ => Err(Status::INVALID_FIELD),
        }
    }

    fn transfer(&mut self, bus: &mut dyn Bus, command: &Command, way: Way) -> Reply {
        let entry = &command.entry;
        let missing = self.no_namespace(entry.nsid);
        let namespace = self.namespaces.get(&entry.nsid).ok_or(missing)?;
        let cdw12 = ReadWriteCdw12::from(entry.cdw12);
        let (lba, blocks) = (entry.starting_lba(), usize::from(cdw12.nlb()) + 1);
        let (data_bytes, meta_bytes) = (namespace.transfer_bytes(), namespace.separate_bytes());
        let len = blocks * data_bytes;
        if len > self.largest_transfer() {
            return Err(Status::INVALID_FIELD);
        }
        if !namespace.contains(lba, blocks as u64) {
            return Err(Status::LBA_OUT_OF_RANGE);
        }
        if way == Way::Write && namespace.config.read_only {
            return Err(Status::NAMESPACE_WRITE_PROTECTED);
        }
        if meta_bytes > 0 && !entry.mptr.is_multiple_of(4) {
            return Err(Status::INVALID_FIELD);
        }
        let mut data = self.data(bus, entry, len, way == Way::Read)?;
        let mut meta = Transfer::contiguous(entry.mptr, blocks * meta_bytes);
        let through = cdw12.fua() || !self.features.write_cache;
        let Self { namespaces, faults, .. } = self;
        let namespace = namespaces.get_mut(&entry.nsid).ok_or(missing)?;
        if way != Way::Write && namespace.medium.unreadable(lba..lba + blocks as u64).is_some() {
            return Err(Status::UNRECOVERED_READ_ERROR);
        }
        if cdw12.fua() && way == Way::Read {
            namespace.medium.flush_range(lba, blocks as u64);
        }
        let mut garble = |bytes: &mut [u8]| {
            if command.has(Action::Garbage) {
                faults.garble(bytes);
            }
        };
        let mut at = lba;
        let mut left = blocks;
        while left > 0 {
            let count = (PIECE / data_bytes).clamp(1, left);
            let mut piece = Piece::new(count, data_bytes, meta_bytes);
            match way {
                Way::Read => {
                    piece.load(namespace, at);
                    garble(&mut piece.data);
                    data.write_host(bus, &piece.data)?;
                    meta.write_host(bus, &piece.meta)?;
                }
                Way::Write => {
                    data.read_host(bus, &mut piece.data)?;
                    meta.read_host(bus, &mut piece.meta)?;
                    piece.store(namespace, at, through);
                }
                Way::Compare => {
                    piece.load(namespace, at);
                    let mut wanted = Piece::new(count, data_bytes, meta_bytes);
                    data.read_host(bus, &mut wanted.data)?;
                    meta.read_host(bus, &mut wanted.meta)?;
                    if (piece.data, piece.meta) != (wanted.data, wanted.meta) {
                        return Err(Status::COMPARE_FAILURE);
                    }
                }
            }
            at += count as u64;
            left -= count;
        }
        let moved = match way {
            Way::Read => &mut self.statistics.bytes_read,
            Way::Write => &mut self.statistics.bytes_written,
            Way::Compare => return Ok(0),
        };
        *moved += len as u64;
        Ok(0)
    }

    fn write_zeroes(&mut self, entry: &SubmissionEntry) -> Reply {
        let cdw12 = WriteZeroesCdw12::from(entry.cdw12);
        let (lba, blocks) = (entry.starting_lba(), u64::from(cdw12.nlb()) + 1);
        let through = cdw12.fua() || !self.features.write_cache;
        let namespace = self.namespace_mut(entry.nsid)?;
        if !namespace.contains(lba, blocks) {
            return Err(Status::LBA_OUT_OF_RANGE);
        }
        if namespace.config.read_only {
            return Err(Status::NAMESPACE_WRITE_PROTECTED);
        }
        // DEAC only where deallocated blocks read as zeroes; it is a hint elsewhere (section 6.17).
        if cdw12.deac() && namespace.config.deallocated == nvme_spec::Deallocation::READS_ZEROES {
            let gone = namespace.medium.deallocate(lba, blocks);
            self.statistics.deallocated += gone;
            return Ok(0);
        }
        for lba in lba..lba + blocks {
            namespace.medium.write_zeroes(lba, through);
        }
        Ok(0)
    }

    fn manage_dataset(&mut self, bus: &mut dyn Bus, command: &Command) -> Reply {
        let entry = &command.entry;
        let namespace = self.namespace_mut(entry.nsid)?;
        if namespace.config.read_only {
            return Err(Status::NAMESPACE_WRITE_PROTECTED);
        }
        let count = usize::from(DsmCdw10::from(entry.cdw10).nr()) + 1;
        let mut bytes = vec![0; count * size_of::<DsmRange>()];
        self.data(bus, entry, bytes.len(), false)?.read_host(bus, &mut bytes)?;
        let namespace = self.namespace_mut(entry.nsid)?;
        let (chunks, _) = bytes.as_chunks();
        let ranges: Vec<DsmRange> =
            chunks.iter().map(|chunk: &[u8; 16]| zerocopy::transmute!(*chunk)).collect();
        if !ranges.iter().all(|range| namespace.contains(range.starting_lba, range.blocks.into())) {
            return Err(Status::LBA_OUT_OF_RANGE);
        }
        // The other attributes are hints.
        if DsmCdw11::from(entry.cdw11).ad() {
            let gone =
                |range: &DsmRange| namespace.medium.deallocate(range.starting_lba, range.blocks.into());
            let gone: u64 = ranges.iter().map(gone).sum();
            self.statistics.deallocated += gone;
        }
        Ok(0)
    }
}

/// Some blocks on their way: what goes through the data pointer, and through the metadata pointer.
struct Piece {
    data: Vec<u8>,
    meta: Vec<u8>,
    data_bytes: usize,
    meta_bytes: usize,
    count: usize,
}

impl Piece {
    fn new(count: usize, data_bytes: usize, meta_bytes: usize) -> Self {
        let (data, meta) = (vec![0; count * data_bytes], vec![0; count * meta_bytes]);
        Piece { data, meta, data_bytes, meta_bytes, count }
    }

    fn load(&mut self, namespace: &Namespace, first: u64) {
        if self.meta_bytes == 0 {
            for (lba, target) in (first..).zip(self.data.chunks_exact_mut(self.data_bytes)) {
                namespace.medium.read(lba, target);
            }
            return;
        }
        let mut block = vec![0; namespace.block_bytes()];
        let data = self.data.chunks_exact_mut(self.data_bytes);
        let meta = self.meta.chunks_exact_mut(self.meta_bytes);
        for ((lba, data), meta) in (first..).zip(data).zip(meta) {
            namespace.medium.read(lba, &mut block);
            let (from_data, from_meta) = block.split_at(self.data_bytes);
            data.copy_from_slice(from_data);
            meta.copy_from_slice(from_meta);
        }
    }

    fn store(&self, namespace: &mut Namespace, first: u64, through: bool) {
        let mut block = Vec::with_capacity(namespace.block_bytes());
        for (index, lba) in (0..self.count).zip(first..) {
            let part =
                |bytes: &[u8], len: usize| bytes.get(index * len..(index + 1) * len).map(<[u8]>::to_vec);
            block.clear();
            block.extend(part(&self.data, self.data_bytes).unwrap_or_default());
            block.extend(part(&self.meta, self.meta_bytes).unwrap_or_default());
            namespace.medium.write(lba, &block, through);
        }
    }
}
