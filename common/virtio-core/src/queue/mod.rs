//! A virtqueue (section 2.6) as its driver sees it, whichever ring is below.

/// Does the same with whichever ring there is.
macro_rules! each {
    ($ring:expr, $inner:ident => $what:expr) => {
        match $ring {
            Ring::Split($inner) => $what,
            Ring::Packed($inner) => $what,
        }
    };
}

mod chain;
#[cfg(all(test, loom))]
mod interleavings;
mod memory;
mod outstanding;
mod packed;
mod split;
#[cfg(all(test, not(loom)))]
mod tests;

pub use chain::Chain;
use outstanding::Outstanding;
use packed::PackedRing;
use redox_driver_sys::dma::DmaAllocator;
use split::SplitRing;
use virtio_spec::pci::NO_VECTOR;

use crate::{
    Features,
    error::{Error, Result},
    transport::{Areas, Notifier},
};

/// What a queue is to be like.
#[derive(Clone, Copy, Debug)]
pub struct QueueOptions {
    /// Most chains that are outstanding at a time. The device may allow fewer.
    pub chains: u16,
    /// Most descriptors of a chain. Without indirect descriptors the queue's size may allow fewer.
    pub descriptors: u16,
    /// The MSI-X vector that announces used chains; `None` for a queue without one.
    pub vector: Option<u16>,
    /// Whether used chains are to be announced. Without a vector that is by the interrupt pin.
    pub interrupts: bool,
}

/// A chain that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// What the chain was added with.
    pub token: u16,
    /// Bytes that the device says it wrote, at most as many as there were to write. Of a chain that an in-order device
    /// skipped: all of them.
    pub len: u32,
}

/// Why a chain was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// There are not enough free descriptors; there will be when chains come back.
    #[error("the queue is full")]
    Full,
    /// The chain is empty, has an empty segment, more segments than a chain may have, or more than 4 GiB.
    #[error("the chain can never be taken")]
    Invalid,
    /// The queue is broken.
    #[error(transparent)]
    Broken(#[from] QueueError),
}

/// The device wrote into a ring what it must not. Nothing that it says of this queue is believed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// It returned a chain that it does not have.
    #[error("the device returned chain {0}, which it does not have")]
    UnknownChain(u32),
    /// It claims to have written more than there was to write.
    #[error("the device claims to have written {len} bytes to chain {chain}, which takes {writable}")]
    BadLength {
        /// The chain.
        chain: u16,
        /// What it claims.
        len: u32,
        /// What is possible.
        writable: u32,
    },
    /// It says that it has used more chains than it has.
    #[error("the device says that it has used {used} chains of {outstanding}")]
    BadIndex {
        /// What it says.
        used: u16,
        /// What it has.
        outstanding: u16,
    },
}

#[derive(Debug)]
enum Ring {
    Split(SplitRing),
    Packed(PackedRing),
}

/// A virtqueue. It belongs to one thread, never waits, and does not allocate after it was made.
#[derive(Debug)]
pub struct VirtQueue {
    ring: Ring,
    notifier: Notifier,
    index: u16,
    vector: u16,
    interrupts: bool,
    /// What the device did wrong.
    broken: Option<QueueError>,
    notifications: u64,
}

impl VirtQueue {
    /// A queue of at most `most` descriptors.
    pub(crate) fn new(
        index: u16,
        most: u16,
        features: Features,
        options: &QueueOptions,
        dma: &DmaAllocator,
        notifier: Notifier,
    ) -> Result<Self> {
        let packed = features.contains(Features::RING_PACKED);
        let indirect = features.contains(Features::INDIRECT_DESC) && options.descriptors > 1;
        let failed = |reason: String| Error::Queue { queue: index, reason };
        if most > virtio_spec::split::MOST_ENTRIES || (!packed && !most.is_power_of_two()) {
            return Err(failed(format!("a size of {most} is not possible")));
        }
        // With indirect descriptors a chain takes one entry of the ring, otherwise one for each of its descriptors.
        let per_chain = if indirect { 1 } else { options.descriptors.max(1) };
        let wanted = options.chains.max(1).saturating_mul(per_chain).min(virtio_spec::split::MOST_ENTRIES);
        let size = most.min(wanted.next_power_of_two());
        let memory = Error::machine("allocate queue memory");
        let allocated = if packed {
            PackedRing::new(size, features, options.descriptors, dma).map(Ring::Packed)
        } else {
            SplitRing::new(size, features, options.descriptors, dma).map(Ring::Split)
        };
        let mut queue = VirtQueue {
            ring: allocated.map_err(memory)?,
            notifier,
            index,
            vector: options.vector.unwrap_or(NO_VECTOR),
            interrupts: options.interrupts,
            broken: None,
            notifications: 0,
        };
        queue.reset();
        Ok(queue)
    }

    /// Its number.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Entries of its ring.
    pub fn size(&self) -> u16 {
        each!(&self.ring, ring => ring.size())
    }

    /// Most descriptors of a chain.
    pub fn descriptors(&self) -> u16 {
        each!(&self.ring, ring => ring.most())
    }

    /// How many chains of `descriptors` descriptors each fit at a time.
    pub fn chains(&self, descriptors: u16) -> u16 {
        let indirect = each!(&self.ring, ring => ring.is_indirect()) && descriptors > 1;
        if indirect { self.size() } else { self.size() / descriptors.max(1) }
    }

    /// Whether the ring is a packed one.
    pub fn is_packed(&self) -> bool {
        matches!(self.ring, Ring::Packed(_))
    }

    /// Whether used chains are announced by an interrupt.
    pub fn is_interrupt_driven(&self) -> bool {
        self.interrupts
    }

    /// How often the device was notified.
    pub fn notifications(&self) -> u64 {
        self.notifications
    }

    /// How many chains the device has.
    pub fn outstanding(&self) -> u16 {
        each!(&self.ring, ring => ring.outstanding().len())
    }

    /// What the device did wrong, if it did.
    pub fn broken(&self) -> Option<QueueError> {
        self.broken
    }

    pub(crate) fn areas(&self) -> Areas {
        each!(&self.ring, ring => ring.areas())
    }

    pub(crate) fn vector(&self) -> u16 {
        self.vector
    }

    /// Forgets everything; only while the device, or the queue, is reset. Afterwards it is as new.
    pub fn reset(&mut self) {
        self.broken = None;
        each!(&mut self.ring, ring => {
            ring.reset();
            ring.announce(self.interrupts);
        });
    }

    /// Adds a chain, which comes back as `token`. The device need not see it before [`commit`](Self::commit). The memory
    /// belongs to the device until then, or until the queue was reset.
    ///
    /// # Errors
    /// As [`AddError`] says. Nothing was added.
    #[inline]
    pub fn add(&mut self, chain: &Chain<'_>, token: u16) -> Result<(), AddError> {
        if let Some(error) = self.broken {
            return Err(error.into());
        }
        each!(&mut self.ring, ring => ring.add(chain, token))
    }

    /// Shows the device everything that was added, and notifies it, once, if it wants to be.
    #[inline]
    pub fn commit(&mut self) {
        let notify = each!(&mut self.ring, ring => ring.publish());
        if let Some(next) = notify {
            self.notifications += 1;
            self.notifier.notify(next);
        }
    }

    /// Takes a chain back that the device has used.
    ///
    /// # Errors
    /// The queue is broken and stays so until it is [reset](Self::reset).
    #[inline]
    pub fn pop(&mut self) -> Result<Option<Used>, QueueError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        each!(&mut self.ring, ring => ring.pop()).inspect_err(|&error| self.broken = Some(error))
    }

    /// Asks for an interrupt when the next chain has been used. Returns whether one has been meanwhile, for which there may be no
    /// interrupt: then [`pop`](Self::pop) again.
    #[inline]
    pub fn arm(&mut self) -> bool {
        self.interrupts && self.broken.is_none() && each!(&mut self.ring, ring => ring.arm())
    }
}
