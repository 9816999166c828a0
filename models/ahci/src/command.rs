//! A command that was fetched from the command list, and how it ends.

use ahci_spec::{AtaCommand, AtaError, HostToDevice, atapi::PACKET_BYTES, ncq_count};
use redox_driver_sys::time::Time;

use crate::{fault::Action, transfer::TransferError};

/// A fetched command.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) slot: u8,
    /// Port of the port multiplier.
    pub(crate) pm_port: u8,
    pub(crate) fis: HostToDevice,
    pub(crate) packet: [u8; PACKET_BYTES],
    /// Address of the command header, for PRDBC.
    pub(crate) header: u64,
    pub(crate) prdt: u64,
    pub(crate) prdtl: u16,
    /// What goes wrong with it.
    pub(crate) actions: Vec<Action>,
    /// When it is done; `None`: never.
    pub(crate) due: Option<Time>,
}

impl Command {
    pub(crate) fn code(&self) -> AtaCommand {
        AtaCommand(self.fis.command)
    }

    pub(crate) fn has(&self, action: Action) -> bool {
        self.actions.contains(&action)
    }

    pub(crate) fn is_queued(&self) -> bool {
        is_queued(self.code())
    }

    /// The tag of a queued command (ACS, section 7.21).
    pub(crate) fn tag(&self) -> u8 {
        (self.fis.count >> 3 & 0x1f).to_le_bytes()[0]
    }

    /// First block and number of blocks, of reads and writes.
    pub(crate) fn range(&self) -> Option<(u64, u64)> {
        let fis = &self.fis;
        Some(match self.code() {
            AtaCommand::READ_FPDMA_QUEUED | AtaCommand::WRITE_FPDMA_QUEUED => {
                (fis.lba(), ncq_count(fis.feature()).into())
            }
            AtaCommand::READ_DMA_EXT | AtaCommand::WRITE_DMA_EXT | AtaCommand::WRITE_DMA_FUA_EXT => {
                (fis.lba(), ncq_count(fis.count).into())
            }
            AtaCommand::READ_DMA | AtaCommand::WRITE_DMA => {
                let count = u64::from(fis.count & 0xff);
                (fis.lba28().into(), if count == 0 { 256 } else { count })
            }
            _ => return None,
        })
    }
}

/// Whether a command is a queued one.
pub(crate) fn is_queued(code: AtaCommand) -> bool {
    matches!(
        code,
        AtaCommand::READ_FPDMA_QUEUED | AtaCommand::WRITE_FPDMA_QUEUED | AtaCommand::SEND_FPDMA_QUEUED
    )
}

/// How a command ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With a register FIS, or a Set Device Bits FIS if it was queued.
    Done,
    /// With the last data of a PIO transfer.
    Pio,
    /// With a register FIS that returns COUNT and LBA.
    Registers { count: u16, lba: u64 },
}

/// How a command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// With an error of the device, at a block.
    Ata { error: AtaError, lba: u64 },
    /// With a device fault.
    Fault,
    /// Its data could not be moved.
    Transfer(TransferError),
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        Failure::Transfer(error)
    }
}

impl Failure {
    /// The command or a parameter is not supported.
    pub(crate) const ABORT: Failure = Failure::Ata { error: AtaError::new().with_abrt(true), lba: 0 };
}
