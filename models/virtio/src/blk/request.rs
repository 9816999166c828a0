//! What requests do (section 5.2.6).

use virtio_spec::blk::{
    BlkFeatures, ID_BYTES, RequestHeader, RequestStatus, RequestType, SECTOR, SectorRange,
};
use zerocopy::IntoBytes;

use super::{Blk, SECTOR_BYTES};
use crate::{device_type::Execution, fault::Action, ring::Request};

const HEADER: u64 = size_of::<RequestHeader>() as u64;

impl Blk {
    /// Carries a request out and says how many bytes were written.
    pub(super) fn serve(&mut self, mut execution: Execution<'_>) -> u32 {
        let readable = Request::bytes(&execution.request.readable);
        let writable = Request::bytes(&execution.request.writable);
        let Some(data) = writable.checked_sub(1) else {
            execution.violation("no room for the status");
            return 0;
        };
        let mut header = [0; size_of::<RequestHeader>()];
        if !execution.request.read(execution.bus, 0, &mut header) {
            execution.violation("no header");
            return 0;
        }
        let header: RequestHeader = zerocopy::transmute!(header);
        let (status, written) = match fails(execution.actions) {
            Some(status) => (RequestStatus(status), 0),
            None => match self.carry_out(&mut execution, header, readable - HEADER, data) {
                Ok(written) => (RequestStatus::OK, written),
                Err(status) => (status, 0),
            },
        };
        if !execution.actions.contains(&Action::NoStatus) {
            // A chain that is not in memory any more: the machine has noted it.
            let _ = execution.request.write(execution.bus, data, status.as_bytes());
        }
        u32::try_from(written + 1).unwrap_or(u32::MAX)
    }

    /// `given` bytes follow the header, and there is room for `wanted` before the status.
    fn carry_out(
        &mut self,
        execution: &mut Execution<'_>,
        header: RequestHeader,
        given: u64,
        wanted: u64,
    ) -> Result<u64, RequestStatus> {
        let sector = header.sector;
        let fixed = |execution: &mut Execution<'_>, bytes: &[u8]| {
            if wanted != bytes.len() as u64 {
                execution.violation("room of a wrong length");
                return Err(RequestStatus::IOERR);
            }
            write(execution, 0, bytes)?;
            Ok(wanted)
        };
        match header.kind {
            RequestType::IN => {
                self.check(execution, sector, wanted, &execution.request.writable[..])?;
                if self.medium.unreadable(sector..sector + wanted / u64::from(SECTOR)).is_some() {
                    return Err(RequestStatus::IOERR);
                }
                self.read(execution, sector, wanted)?;
                Ok(wanted)
            }
            RequestType::OUT => {
                self.check(execution, sector, given, &execution.request.readable[..])?;
                if self.has(BlkFeatures::RO) {
                    execution.violation("a write to a read-only device");
                    return Err(RequestStatus::IOERR);
                }
                self.write(execution, sector, given)?;
                Ok(0)
            }
            RequestType::FLUSH if self.has(BlkFeatures::FLUSH) => {
                if sector != 0 {
                    execution.violation("a flush of a sector");
                }
                self.medium.flush();
                Ok(0)
            }
            RequestType::GET_ID => {
                let mut id = [0; ID_BYTES];
                for (target, source) in id.iter_mut().zip(self.config.serial.bytes()) {
                    *target = source;
                }
                fixed(execution, &id)
            }
            RequestType::GET_LIFETIME if self.has(BlkFeatures::LIFETIME) => {
                fixed(execution, self.config.lifetime.as_bytes())
            }
            RequestType::DISCARD if self.has(BlkFeatures::DISCARD) => {
                self.ranges(execution, given, |blk, range| {
                    blk.medium.deallocate(range.sector, range.sectors.into());
                })
            }
            RequestType::WRITE_ZEROES if self.has(BlkFeatures::WRITE_ZEROES) => {
                self.ranges(execution, given, |blk, range| {
                    let through = blk.is_write_through();
                    for sector in range.sector..range.sector + u64::from(range.sectors) {
                        blk.medium.write_zeroes(sector, through);
                    }
                })
            }
            _ => Err(RequestStatus::UNSUPP),
        }
    }

    /// Whether `bytes` of data at `sector`, in `parts` with a header or a status, are allowed.
    fn check(
        &self,
        execution: &mut Execution<'_>,
        sector: u64,
        bytes: u64,
        parts: &[crate::ring::Part],
    ) -> Result<(), RequestStatus> {
        let has = |feature| self.config.features.contains(feature);
        if has(BlkFeatures::SEG_MAX) && parts.len() > self.config.seg_max as usize + 1 {
            execution.violation("more segments than there may be");
        }
        if has(BlkFeatures::SIZE_MAX) && parts.iter().any(|part| part.len > self.config.size_max.max(16)) {
            execution.violation("a segment that is too long");
        }
        let block = u64::from(self.config.block_size);
        if bytes == 0 || !bytes.is_multiple_of(block) || !sector.is_multiple_of(block / u64::from(SECTOR)) {
            execution.violation("data that are not whole blocks");
            return Err(RequestStatus::IOERR);
        }
        let end = sector.checked_add(bytes / u64::from(SECTOR));
        if end.is_none_or(|end| end > self.config.sectors) {
            return Err(RequestStatus::IOERR);
        }
        Ok(())
    }

    fn read(&self, execution: &mut Execution<'_>, sector: u64, bytes: u64) -> Result<(), RequestStatus> {
        let mut block = [0; SECTOR_BYTES];
        for (sector, at) in (sector..).zip((0..bytes).step_by(SECTOR_BYTES)) {
            self.medium.read(sector, &mut block);
            if execution.actions.contains(&Action::Garbage) {
                block.fill(0xa7);
            }
            write(execution, at, &block)?;
        }
        Ok(())
    }

    fn write(&mut self, execution: &mut Execution<'_>, sector: u64, bytes: u64) -> Result<(), RequestStatus> {
        let through = self.is_write_through();
        let mut block = [0; SECTOR_BYTES];
        for (sector, at) in (sector..).zip((0..bytes).step_by(SECTOR_BYTES)) {
            if !execution.request.read(execution.bus, HEADER + at, &mut block) {
                return Err(RequestStatus::IOERR);
            }
            self.medium.write(sector, &block, through);
        }
        Ok(())
    }

    /// Does something with the ranges of a discard or write-zeroes.
    fn ranges(
        &mut self,
        execution: &mut Execution<'_>,
        given: u64,
        act: impl Fn(&mut Blk, SectorRange),
    ) -> Result<u64, RequestStatus> {
        const RANGE: u64 = size_of::<SectorRange>() as u64;
        if given == 0 || !given.is_multiple_of(RANGE) || given / RANGE > u64::from(self.config.most_ranges) {
            execution.violation("ranges of a wrong length");
            return Err(RequestStatus::IOERR);
        }
        for at in (0..given).step_by(size_of::<SectorRange>()) {
            let mut bytes = [0; size_of::<SectorRange>()];
            if !execution.request.read(execution.bus, HEADER + at, &mut bytes) {
                return Err(RequestStatus::IOERR);
            }
            let range: SectorRange = zerocopy::transmute!(bytes);
            let end = range.sector.checked_add(range.sectors.into());
            if range.sectors > self.config.most_range_sectors {
                execution.violation("a range that is too long");
                return Err(RequestStatus::IOERR);
            }
            if end.is_none_or(|end| end > self.config.sectors) {
                return Err(RequestStatus::IOERR);
            }
            act(self, range);
        }
        Ok(0)
    }
}

fn write(execution: &mut Execution<'_>, at: u64, bytes: &[u8]) -> Result<(), RequestStatus> {
    let written = execution.request.write(execution.bus, at, bytes);
    if written { Ok(()) } else { Err(RequestStatus::IOERR) }
}

/// The status that a request is to fail with.
fn fails(actions: &[Action]) -> Option<u8> {
    actions.iter().find_map(|action| match action {
        Action::Fail(status) => Some(*status),
        _ => None,
    })
}
