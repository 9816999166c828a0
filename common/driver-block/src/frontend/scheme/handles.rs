//! What clients have open.

use redox_driver_sys::scheme::Errno;

use super::node::Node;
use crate::{device::DiskId, partitions::Window};

/// Most handles at a time.
const MOST: usize = 1 << 16;

/// The blocks that a handle reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) disk: DiskId,
    pub(super) window: Window,
}

impl Extent {
    /// Whether both have a block.
    fn overlaps(&self, other: &Extent) -> bool {
        let (this, that) = (self.window, other.window);
        self.disk == other.disk
            && this.start() < that.start().saturating_add(that.blocks())
            && that.start() < this.start().saturating_add(this.blocks())
    }
}

/// What a handle is for.
#[derive(Debug)]
pub(super) enum Target {
    /// The list, as it was when it was opened.
    List { text: String },
    /// Blocks of a disk.
    Blocks {
        extent: Extent,
        read: bool,
        write: bool,
        /// Whether anything was written.
        written: bool,
    },
    /// Sizes of a disk. Keeps nobody from opening it.
    Look { extent: Extent },
    /// The driver's report, once it was read.
    Inspect { text: String },
}

/// One open file.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) node: Node,
    pub(super) target: Target,
}

impl Handle {
    /// What blocks it is about.
    pub(super) fn extent(&self) -> Option<Extent> {
        match self.target {
            Target::Blocks { extent, .. } | Target::Look { extent } => Some(extent),
            Target::List { .. } | Target::Inspect { .. } => None,
        }
    }
}

/// All open files. Number 0 is the root, which is always open.
#[derive(Debug, Default)]
pub(super) struct Handles {
    slots: Vec<Option<Handle>>,
    free: Vec<usize>,
}

/// The handle of the root, from which paths are opened.
pub(super) const ROOT: usize = 0;

impl Handles {
    /// Opens something.
    ///
    /// # Errors
    /// `ENOLCK` for blocks that somebody else has open, `ENFILE` when too much is open.
    pub(super) fn open(&mut self, handle: Handle) -> Result<usize, Errno> {
        if let Target::Blocks { extent, .. } = &handle.target
            && self.slots.iter().flatten().any(|open| match &open.target {
                Target::Blocks { extent: taken, .. } => taken.overlaps(extent),
                _ => false,
            })
        {
            return Err(Errno::NOLCK);
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() < MOST => {
                self.slots.push(None);
                self.slots.len() - 1
            }
            None => return Err(Errno::NFILE),
        };
        let slot = self.slots.get_mut(index).ok_or(Errno::NFILE)?;
        *slot = Some(handle);
        Ok(index + 1)
    }

    /// What is open under this number.
    ///
    /// # Errors
    /// `EBADF`: nothing, or the root, which nothing can be done with.
    pub(super) fn get(&mut self, number: usize) -> Result<&mut Handle, Errno> {
        let index = number.checked_sub(1).ok_or(Errno::BADF)?;
        self.slots.get_mut(index).and_then(Option::as_mut).ok_or(Errno::BADF)
    }

    pub(super) fn close(&mut self, number: usize) -> Option<Handle> {
        let index = number.checked_sub(1)?;
        let handle = self.slots.get_mut(index)?.take()?;
        self.free.push(index);
        Some(handle)
    }
}
