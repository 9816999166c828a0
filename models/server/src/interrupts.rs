//! Interrupts, as the guest's VFIO asked for them.

use std::{fs::File, io, io::Write};

use redox_driver_sys::irq::InterruptKind;
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_MASK, VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_IRQ_SET_DATA_EVENTFD, VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX,
};

/// The eventfds of each kind, and the interrupt pin.
#[derive(Default)]
pub(crate) struct Interrupts {
    intx: Vec<Option<File>>,
    msi: Vec<Option<File>>,
    msix: Vec<Option<File>>,
    /// The level of the pin.
    asserted: bool,
    /// An interrupt of the pin was sent, and the guest has not ended it.
    masked: bool,
    /// The function's command register says that the pin is not to interrupt.
    disabled: bool,
}

impl Interrupts {
    /// Does what the guest asks for (VFIO_DEVICE_SET_IRQS).
    pub(crate) fn set(
        &mut self,
        index: u32,
        flags: u32,
        start: u32,
        count: u32,
        files: Vec<File>,
    ) -> io::Result<()> {
        let invalid =
            || io::Error::new(io::ErrorKind::InvalidInput, format!("interrupts {index}: flags {flags:#x}"));
        if flags & VFIO_IRQ_SET_ACTION_MASK != 0 {
            self.masked |= index == VFIO_PCI_INTX_IRQ_INDEX;
            return Ok(());
        }
        if flags & VFIO_IRQ_SET_ACTION_UNMASK != 0 {
            if index == VFIO_PCI_INTX_IRQ_INDEX && flags & VFIO_IRQ_SET_DATA_EVENTFD == 0 {
                self.masked = false;
                self.pin();
            }
            return Ok(());
        }
        if flags & VFIO_IRQ_SET_ACTION_TRIGGER == 0 {
            return Err(invalid());
        }
        let files: Vec<Option<File>> = files.into_iter().map(Some).collect();
        let vectors = match index {
            VFIO_PCI_INTX_IRQ_INDEX => &mut self.intx,
            VFIO_PCI_MSI_IRQ_INDEX => &mut self.msi,
            VFIO_PCI_MSIX_IRQ_INDEX => &mut self.msix,
            // Errors and requests: there are none.
            _ => return Ok(()),
        };
        if flags & VFIO_IRQ_SET_DATA_EVENTFD == 0 {
            if count == 0 {
                vectors.clear();
            }
            return Ok(());
        }
        let start = usize::try_from(start).map_err(|_| invalid())?;
        let end = start.checked_add(usize::try_from(count).map_err(|_| invalid())?).ok_or_else(invalid)?;
        if end > 2048 {
            return Err(invalid());
        }
        vectors.resize_with(vectors.len().max(end), || None);
        // A vector without a file is switched off.
        let files = files.into_iter().chain(std::iter::repeat_with(|| None));
        for (vector, file) in vectors.iter_mut().take(end).skip(start).zip(files) {
            *vector = file;
        }
        if index == VFIO_PCI_INTX_IRQ_INDEX {
            self.masked = false;
            self.pin();
        }
        Ok(())
    }

    /// How the guest wants to be interrupted.
    pub(crate) fn kind(&self) -> Option<InterruptKind> {
        let some = |vectors: &[Option<File>]| vectors.iter().any(Option::is_some);
        if some(&self.msix) {
            Some(InterruptKind::MsiX)
        } else if some(&self.msi) {
            Some(InterruptKind::Msi)
        } else {
            some(&self.intx).then_some(InterruptKind::Intx)
        }
    }

    /// Sends a message.
    pub(crate) fn message(&self, vector: u16) {
        let vectors = match self.kind() {
            Some(InterruptKind::MsiX) => &self.msix,
            Some(InterruptKind::Msi) => &self.msi,
            _ => return,
        };
        if let Some(Some(file)) = vectors.get(usize::from(vector)) {
            signal(file);
        }
    }

    /// Sets the level of the pin.
    pub(crate) fn set_pin(&mut self, asserted: bool) {
        self.asserted = asserted;
        self.pin();
    }

    /// Whether there is a reason to interrupt by the pin, as the status register tells even while the pin is disabled.
    pub(crate) fn is_asserted(&self) -> bool {
        self.asserted
    }

    /// Sets what the command register says.
    pub(crate) fn set_disabled(&mut self, disabled: bool) {
        self.disabled = disabled;
        self.pin();
    }

    /// The device was reset.
    pub(crate) fn reset(&mut self) {
        self.asserted = false;
        self.disabled = false;
    }

    /// Sends an interrupt of the pin, which masks itself until the guest has ended it.
    fn pin(&mut self) {
        if let Some(Some(file)) = self.intx.first()
            && self.asserted
            && !self.masked
            && !self.disabled
        {
            self.masked = true;
            signal(file);
        }
    }
}

/// Adds one to an eventfd.
fn signal(mut file: &File) {
    if let Err(error) = file.write_all(&1u64.to_ne_bytes()) {
        log::warn!("an interrupt is lost: {error}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::io::Read;

    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    const SET: u32 = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;

    fn event() -> (File, File) {
        let file = File::from(eventfd(0, EventfdFlags::NONBLOCK).unwrap());
        (file.try_clone().unwrap(), file)
    }

    fn count(file: &mut File) -> u64 {
        let mut bytes = [0; 8];
        file.read_exact(&mut bytes).map_or(0, |()| u64::from_ne_bytes(bytes))
    }

    #[test]
    fn messages_go_to_their_vectors_and_the_best_kind_wins() {
        let mut interrupts = Interrupts::default();
        assert_eq!(interrupts.kind(), None);
        let (pin, mut pin_end) = event();
        interrupts.set(VFIO_PCI_INTX_IRQ_INDEX, SET, 0, 1, vec![pin]).unwrap();
        assert_eq!(interrupts.kind(), Some(InterruptKind::Intx));
        let (vector, mut end) = event();
        interrupts.set(VFIO_PCI_MSIX_IRQ_INDEX, SET, 3, 1, vec![vector]).unwrap();
        assert_eq!(interrupts.kind(), Some(InterruptKind::MsiX));
        interrupts.message(3);
        interrupts.message(2);
        interrupts.message(9);
        assert_eq!((count(&mut end), count(&mut pin_end)), (1, 0));
        interrupts.set(VFIO_PCI_MSIX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0, vec![]).unwrap();
        assert_eq!(interrupts.kind(), Some(InterruptKind::Intx));
        assert!(interrupts.set(VFIO_PCI_MSIX_IRQ_INDEX, SET, u32::MAX, 1, vec![]).is_err());
    }

    #[test]
    fn the_pin_interrupts_once_until_it_is_unmasked() {
        let mut interrupts = Interrupts::default();
        let (pin, mut end) = event();
        interrupts.set_pin(true);
        interrupts.set(VFIO_PCI_INTX_IRQ_INDEX, SET, 0, 1, vec![pin]).unwrap();
        assert_eq!(count(&mut end), 1, "it was up before");
        interrupts.set_pin(true);
        assert_eq!(count(&mut end), 0);
        let unmask = |interrupts: &mut Interrupts| {
            interrupts.set(VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, vec![]).unwrap();
        };
        unmask(&mut interrupts);
        assert_eq!(count(&mut end), 1, "it is still up");
        interrupts.set_pin(false);
        unmask(&mut interrupts);
        assert_eq!(count(&mut end), 0);
        interrupts.set_pin(true);
        assert_eq!(count(&mut end), 1);
    }

    #[test]
    fn a_pin_that_is_disabled_tells_of_itself_and_does_not_interrupt() {
        let mut interrupts = Interrupts::default();
        let (pin, mut end) = event();
        interrupts.set(VFIO_PCI_INTX_IRQ_INDEX, SET, 0, 1, vec![pin]).unwrap();
        interrupts.set_disabled(true);
        interrupts.set_pin(true);
        assert!(interrupts.is_asserted());
        assert_eq!(count(&mut end), 0);
        interrupts.set_disabled(false);
        assert_eq!(count(&mut end), 1);
    }
}
