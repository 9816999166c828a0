//! An ATAPI CD or DVD drive (MMC).

use ahci_spec::{
    AtaCommand, AtaError, Identify,
    atapi::{self, Capacity, Sense},
};
use model_support::Medium;
use redox_driver_sys::model::Bus;
use zerocopy::IntoBytes;

use crate::{
    command::{Command, Failure, Outcome},
    config::CdConfig,
    disk::{put_text, send},
    fault::Faults,
    transfer::Transfer,
};

/// Bytes of a block.
pub(crate) const BLOCK: usize = 2048;

#[derive(Debug)]
pub(crate) struct Cd {
    serial: String,
    pub(crate) blocks: Option<u32>,
    pub(crate) medium: Medium,
    sense: Sense,
    /// What the next command is told instead of being done.
    attention: Option<Sense>,
}

impl Cd {
    pub(crate) fn new(config: CdConfig) -> Self {
        Cd {
            serial: config.serial,
            blocks: config.blocks,
            medium: Medium::new(BLOCK, 0, 0),
            sense: Sense::new(atapi::KEY_NO_SENSE, 0, 0),
            attention: Some(Sense::new(atapi::KEY_UNIT_ATTENTION, atapi::ASC_POWER_ON, 0)),
        }
    }

    pub(crate) fn reset(&mut self) {
        self.attention = Some(Sense::new(atapi::KEY_UNIT_ATTENTION, atapi::ASC_POWER_ON, 0));
    }

    /// Puts another medium in, or takes it out.
    pub(crate) fn insert(&mut self, blocks: Option<u32>) {
        self.medium = Medium::new(BLOCK, 0, 0);
        self.blocks = blocks;
        if blocks.is_some() {
            self.attention = Some(Sense::new(atapi::KEY_UNIT_ATTENTION, atapi::ASC_MEDIUM_CHANGED, 0));
        }
    }

    pub(crate) fn execute(
        &mut self,
        bus: &mut dyn Bus,
        command: &Command,
        transfer: &mut Transfer,
        faults: &mut Faults,
    ) -> Result<Outcome, Failure> {
        match command.code() {
            AtaCommand::IDENTIFY_PACKET_DEVICE => {
                let identify = self.identify();
                send(bus, command, transfer, faults, identify.as_bytes())
            }
            AtaCommand::SET_FEATURES => Ok(Outcome::Done),
            AtaCommand::PACKET => self.packet(bus, command, transfer, faults),
            // IDENTIFY DEVICE among them: that is how it is told from a disk (ACS, section 7.12.2).
            _ => Err(Failure::ABORT),
        }
    }

    fn packet(
        &mut self,
        bus: &mut dyn Bus,
        command: &Command,
        transfer: &mut Transfer,
        faults: &mut Faults,
    ) -> Result<Outcome, Failure> {
        let packet = command.packet;
        let big =
            |at: usize| u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]);
        if packet[0] == atapi::REQUEST_SENSE {
            let sense = std::mem::replace(&mut self.sense, Sense::new(atapi::KEY_NO_SENSE, 0, 0));
            let len = usize::from(packet[4]).min(size_of::<Sense>());
            send(bus, command, transfer, faults, &sense.as_bytes()[..len])?;
            return Ok(Outcome::Done);
        }
        if let Some(attention) = self.attention.take() {
            return Err(self.check_condition(attention));
        }
        let Some(blocks) = self.blocks else {
            return Err(self.check_condition(Sense::new(atapi::KEY_NOT_READY, atapi::ASC_NO_MEDIUM, 0)));
        };
        match packet[0] {
            atapi::TEST_UNIT_READY => {}
            atapi::READ_CAPACITY => {
                let capacity = Capacity {
                    last_lba: blocks.wrapping_sub(1).to_be_bytes(),
                    block_size: 2048u32.to_be_bytes(),
                };
                send(bus, command, transfer, faults, capacity.as_bytes())?;
            }
            atapi::READ_12 => {
                let (lba, count) = (u64::from(big(2)), u64::from(big(6)));
                if lba + count > blocks.into() {
                    let sense = Sense::new(atapi::KEY_ILLEGAL_REQUEST, atapi::ASC_OUT_OF_RANGE, 0);
                    return Err(self.check_condition(sense));
                }
                let mut block = [0; BLOCK];
                for lba in lba..lba + count {
                    self.medium.read(lba, &mut block);
                    send(bus, command, transfer, faults, &block)?;
                }
            }
            _ => {
                let sense = Sense::new(atapi::KEY_ILLEGAL_REQUEST, atapi::ASC_INVALID_COMMAND, 0);
                return Err(self.check_condition(sense));
            }
        }
        Ok(Outcome::Done)
    }

    fn check_condition(&mut self, sense: Sense) -> Failure {
        self.sense = sense;
        let error = AtaError::from_bits(sense.sense_key() << 4 | 0x04);
        Failure::Ata { error, lba: 0 }
    }

    fn identify(&self) -> Identify {
        let mut identify = Identify { words: [0; 256] };
        let w = &mut identify.words;
        // ATAPI, CD-ROM, removable, packets of 12 bytes.
        w[0] = 0x8580;
        put_text(&mut w[10..20], &self.serial);
        put_text(&mut w[23..27], "1.0");
        put_text(&mut w[27..47], "Modelled ATAPI CD-ROM");
        w[49] = 1 << 8 | 1 << 9;
        w[53] = 1 << 2;
        w[76] = 1 << 1;
        w[88] = 0x3f;
        identify.seal();
        identify
    }
}
