//! Interrupts: MSI-X, else MSI, else INTx, one pollable object per vector.

use std::fmt;

use crate::{
    error::{Error, Result},
    os,
    pci::{Capabilities, FunctionBackend},
};

/// How a function signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InterruptKind {
    /// The shared, level-triggered pin.
    Intx,
    /// Message signalled, a power of two of consecutive vectors.
    Msi,
    /// Message signalled, each vector by itself.
    MsiX,
}

impl fmt::Display for InterruptKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InterruptKind::Intx => "INTx",
            InterruptKind::Msi => "MSI",
            InterruptKind::MsiX => "MSI-X",
        })
    }
}

/// The interrupts of one function: what was asked for, or the best that function and OS have.
#[derive(Debug)]
pub struct InterruptSet {
    kind: InterruptKind,
    vectors: Vec<Interrupt>,
}

impl InterruptSet {
    /// How the function signals.
    pub fn kind(&self) -> InterruptKind {
        self.kind
    }

    /// Number of vectors, at least one.
    pub fn len(&self) -> usize {
        self.vectors.len()
    }

    /// Never true: a set has at least one vector.
    pub fn is_empty(&self) -> bool {
        self.vectors.is_empty()
    }

    /// The vectors in order, each to be given to whoever serves it.
    pub fn into_vectors(self) -> Vec<Interrupt> {
        self.vectors
    }

    /// Asks for `wanted` vectors of at most kind `best`; takes fewer, or a lesser kind, rather than none.
    pub(crate) fn request(
        backend: &dyn FunctionBackend,
        capabilities: &Capabilities,
        wanted: usize,
        best: InterruptKind,
    ) -> Result<InterruptSet> {
        let wanted = wanted.max(1);
        let mut refusals = Vec::new();
        for kind in [InterruptKind::MsiX, InterruptKind::Msi, InterruptKind::Intx] {
            let offered = match kind {
                _ if kind > best => 0,
                InterruptKind::MsiX => capabilities.msix.map_or(0, |msix| usize::from(msix.table_size)),
                InterruptKind::Msi => capabilities.msi.map_or(0, |msi| usize::from(msi.vectors)),
                InterruptKind::Intx => usize::from(capabilities.interrupt_pin != 0),
            };
            if offered == 0 {
                continue;
            }
            // MSI grants powers of two: take what does not exceed the wish.
            let count = match kind {
                InterruptKind::MsiX => wanted.min(offered),
                InterruptKind::Msi => 1 << wanted.min(offered).ilog2(),
                InterruptKind::Intx => 1,
            };
            match backend.enable_interrupts(kind, count) {
                Ok(vectors) if !vectors.is_empty() => return Ok(InterruptSet { kind, vectors }),
                Ok(_) => refusals.push(format!("{kind}: no vector granted")),
                Err(error) => refusals.push(format!("{kind}: {error}")),
            }
            log::debug!("interrupts: {}", refusals[refusals.len() - 1]);
        }
        if refusals.is_empty() {
            refusals.push("the function has neither MSI-X nor MSI nor an interrupt pin".to_string());
        }
        Err(Error::Unsupported(format!("interrupts: {}", refusals.join("; "))))
    }
}

/// One interrupt vector. Register it with an [`crate::event::EventQueue`], [`take`](Self::take) what is pending, serve
/// the device, then [`rearm`](Self::rearm).
#[derive(Debug)]
pub struct Interrupt(pub(crate) Source);

#[derive(Debug)]
pub(crate) enum Source {
    #[cfg_attr(not(any(target_os = "linux", target_os = "redox")), allow(dead_code))]
    Os(os::InterruptFd),
    #[cfg(feature = "model")]
    Model(crate::model::Line),
}

impl Interrupt {
    /// Takes the pending interrupts, without waiting; returns how many came since the last call.
    ///
    /// # Errors
    /// What the OS answers.
    pub fn take(&self) -> Result<u64> {
        match &self.0 {
            Source::Os(fd) => fd.take(),
            #[cfg(feature = "model")]
            Source::Model(line) => Ok(line.take()),
        }
    }

    /// Lets a level-triggered interrupt through again once the device's reason is gone. Does nothing for messages.
    ///
    /// # Errors
    /// What the OS answers.
    pub fn rearm(&self) -> Result<()> {
        match &self.0 {
            Source::Os(fd) => fd.rearm(),
            #[cfg(feature = "model")]
            Source::Model(line) => {
                line.rearm();
                Ok(())
            }
        }
    }

    /// The descriptor that becomes readable, for event loops of another library. A model's interrupt has none.
    #[cfg(unix)]
    pub fn as_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        match &self.0 {
            Source::Os(fd) => Some(fd.as_fd()),
            #[cfg(feature = "model")]
            Source::Model(_) => None,
        }
    }

    /// Asks that the vector be delivered to processor `cpu`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the OS has no means, or what it answers.
    pub fn set_affinity(&self, cpu: usize) -> Result<()> {
        match &self.0 {
            Source::Os(fd) => fd.set_affinity(cpu),
            #[cfg(feature = "model")]
            Source::Model(line) => {
                line.set_processor(cpu);
                Ok(())
            }
        }
    }
}
