//! Memory that goes through the daemon.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::{NonNull, null_mut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use iommu_protocol::{Device, MapFlags, MapPiece, Range};
use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create},
    mm::{MapFlags as MmapFlags, ProtFlags, mmap, munmap},
};

use super::client::Client;
use crate::{
    dma::{Backend, Block, DmaDirection},
    error::{Error, Result},
};

/// Gives out memory objects that are mapped in a domain of their device's own. The domain ends with this, and the daemon
/// keeps the device from what was mapped before it lets anybody have the memory.
#[derive(Debug)]
pub(crate) struct IommuDmaAllocator {
    domain: Domain,
}

/// A domain, and the connection that it ends with. Clones are the same.
#[derive(Clone, Debug)]
pub struct Domain {
    client: Arc<Mutex<Client>>,
    id: u32,
}

impl Domain {
    /// Its handle.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its connection, nobody else's meanwhile.
    pub fn client(&self) -> MutexGuard<'_, Client> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IommuDmaAllocator {
    /// Has `device`, which the caller shows to hold by a descriptor, reach a new and empty domain.
    pub(crate) fn new(mut client: Client, device: Device, holds: BorrowedFd<'_>) -> Result<Self> {
        let id = client.create_domain()?;
        client.assign(id, device, holds)?;
        Ok(IommuDmaAllocator { domain: Domain { client: Arc::new(Mutex::new(client)), id } })
    }

    pub(crate) fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Maps a whole memory object, which the mapping then keeps.
    fn map_object(&self, object: &OwnedFd, align: usize, mask: u64) -> Result<Range> {
        let mut client = self.domain.client();
        let memory = client.import(object.as_fd())?;
        let flags = MapFlags::READ | MapFlags::WRITE | MapFlags::GUARD;
        let piece = MapPiece {
            memory: memory.memory,
            flags,
            offset: 0,
            len: memory.len,
            align: align as u64,
            address: 0,
        };
        let mapped = client.map(self.domain.id, mask, &[piece]);
        client.free(memory.memory)?;
        mapped?.first().copied().ok_or(Error::Invalid { what: "ranges mapped", value: "0".to_string() })
    }
}

/// A memory object that cannot become shorter, and this process's view of it.
fn object(len: usize) -> Result<(OwnedFd, NonNull<u8>)> {
    let step = || format!("make a memory object of {len} bytes");
    let os = |error: rustix::io::Errno| Error::os(step(), error);
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let object = memfd_create("dma", flags).map_err(os)?;
    ftruncate(&object, len as u64).map_err(os)?;
    fcntl_add_seals(&object, SealFlags::SHRINK | SealFlags::GROW).map_err(os)?;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let memory =
        unsafe { mmap(null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MmapFlags::SHARED, &object, 0) };
    let memory = NonNull::new(memory.map_err(os)?.cast::<u8>());
    Ok((object, memory.ok_or_else(|| Error::os(step(), std::io::ErrorKind::OutOfMemory))?))
}

fn unmap_object(memory: NonNull<u8>, len: usize) {
    // SAFETY: called once for what `object` mapped, when nobody uses it any more.
    if let Err(error) = unsafe { munmap(memory.as_ptr().cast(), len) } {
        log::error!("{len} bytes of memory stay mapped: {error}");
    }
}

// SAFETY: an object is new, zeroed and known to nobody but the daemon; it is unmapped from the process only after the daemon
// has said that no device reaches it any more, and is kept for ever where it did not.
unsafe impl Backend for IommuDmaAllocator {
    fn allocate(&self, len: usize, align: usize, mask: u64) -> Result<Block> {
        let (object, memory) = object(len)?;
        match self.map_object(&object, align, mask) {
            Ok(range) => Ok(Block { memory, len, addr: range.address }),
            Err(error) => {
                unmap_object(memory, len);
                Err(error)
            }
        }
    }

    fn release(&self, block: &Block) {
        let range = Range { address: block.addr, len: block.len as u64 };
        match self.domain.client().unmap(self.domain.id, &[range]) {
            Ok(()) => unmap_object(block.memory, block.len),
            Err(error) => {
                let error = Error::from(error);
                log::error!("memory is kept, since the device may still reach it: {error}");
            }
        }
    }

    /// Memory of the process that is no object of its own cannot enter a domain: it is copied.
    unsafe fn map(&self, _: NonNull<u8>, _: usize, _: DmaDirection, _: u64) -> Result<Option<u64>> {
        Ok(None)
    }

    fn unmap(&self, _: u64, _: usize) -> Result<()> {
        Ok(())
    }

    fn name(&self) -> &'static str {
        "iommu"
    }
}
