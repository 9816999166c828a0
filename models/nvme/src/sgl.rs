//! Where the data of a command is: scatter gather lists (section 4.4).

use nvme_spec::{SglDescriptor, SglType, Status};
use redox_driver_sys::model::Bus;

use crate::transfer::{Segment, Transfer};

/// Most descriptors in one list, over all its segments.
const MOST_DESCRIPTORS: usize = 4096;
const DESCRIPTOR: u32 = 16;

impl Transfer {
    /// `len` bytes that the list beginning with `first` describes. `to_host` tells which way they go.
    pub(crate) fn sgl(
        bus: &mut dyn Bus,
        first: SglDescriptor,
        len: usize,
        to_host: bool,
    ) -> Result<Self, Status> {
        let mut list = List { segments: Vec::new(), total: 0, to_host };
        let mut next = list.take(first)?;
        let mut seen = 1;
        while let Some(segment) = next.take() {
            if segment.length == 0 || !segment.length.is_multiple_of(DESCRIPTOR) {
                return Err(Status::INVALID_SGL_SEGMENT);
            }
            let count = (segment.length / DESCRIPTOR) as usize;
            seen += count;
            if seen > MOST_DESCRIPTORS {
                return Err(Status::INVALID_SGL_COUNT);
            }
            let mut bytes = vec![0; count * DESCRIPTOR as usize];
            bus.dma_read(segment.address, &mut bytes).map_err(|_| Status::DATA_TRANSFER_ERROR)?;
            let (chunks, _) = bytes.as_chunks::<16>();
            for (index, chunk) in chunks.iter().enumerate() {
                let descriptor: SglDescriptor = zerocopy::transmute!(*chunk);
                let follows = list.take(descriptor)?;
                let last_entry = index + 1 == count;
                // A segment points to the next one with its last descriptor; the last segment points nowhere.
                let may_follow = segment.kind() == SglType::SEGMENT && last_entry;
                if follows.is_some() != may_follow {
                    return Err(Status::INVALID_SGL_SEGMENT);
                }
                next = follows;
            }
        }
        // Longer lists are not offered (SGLS bit 18).
        if list.total == len as u64 { Ok(Transfer::new(list.segments)) } else { Err(Status::DATA_SGL_LENGTH) }
    }
}

struct List {
    segments: Vec<Segment>,
    total: u64,
    to_host: bool,
}

impl List {
    /// Takes data in; a segment that follows is returned.
    fn take(&mut self, descriptor: SglDescriptor) -> Result<Option<SglDescriptor>, Status> {
        if descriptor.sub_type() != 0 {
            return Err(Status::INVALID_SGL_TYPE);
        }
        let len = descriptor.length as usize;
        match descriptor.kind() {
            SglType::DATA_BLOCK => {
                self.segments.push(Segment { addr: Some(descriptor.address), len });
                self.total += u64::from(descriptor.length);
                Ok(None)
            }
            // Data that goes to the host is thrown away; from the host there is none.
            SglType::BIT_BUCKET => {
                if self.to_host {
                    self.segments.push(Segment { addr: None, len });
                    self.total += u64::from(descriptor.length);
                }
                Ok(None)
            }
            SglType::SEGMENT | SglType::LAST_SEGMENT => Ok(Some(descriptor)),
            _ => Err(Status::INVALID_SGL_TYPE),
        }
    }
}
