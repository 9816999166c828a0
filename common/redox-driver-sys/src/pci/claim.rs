//! The right to drive a function.

use std::fmt;

use super::{PciAddress, PciFunction};
use crate::{error::Result, os};

/// The right to drive a function, for a process that starts drivers and need not touch the device itself. On Redox it is
/// pcid's channel, and the interrupts that stay reserved while drivers come and go; on Linux nothing but the address, as
/// the kernel looks after a function whose driver died.
pub struct PciClaim(os::Claim);

impl PciClaim {
    /// Claims the function that this process was started for, or the one at `address`.
    ///
    /// # Errors
    /// [`crate::Error::Attach`] when it is neither started for one nor told which, or when there is no such function or
    /// somebody else has it.
    pub fn find(address: Option<PciAddress>) -> Result<Self> {
        os::Claim::find(address).map(PciClaim)
    }

    /// Where the function is.
    pub fn address(&self) -> PciAddress {
        self.0.address()
    }

    /// Reserves up to `vectors` interrupts, where a system has them reserved.
    pub fn reserve_interrupts(&mut self, vectors: usize) {
        self.0.reserve_interrupts(vectors);
    }

    /// The function, in the process that is to drive it, with what is reserved: once in each.
    ///
    /// # Errors
    /// As [`PciFunction::open`].
    pub fn function(&mut self) -> Result<PciFunction> {
        Ok(PciFunction::new(self.address(), self.0.open()?))
    }

    /// Turns bus mastering off, in place of a driver that did not come to it.
    ///
    /// # Errors
    /// What the OS answers.
    pub fn stop_dma(&mut self) -> Result<()> {
        self.0.stop_dma()
    }
}

impl fmt::Debug for PciClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PciClaim({})", self.address())
    }
}
