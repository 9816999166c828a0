//! An ATA disk (ACS).

use ahci_spec::{
    AtaCommand, AtaError, FeatureCode, GeneralPurposeLog, Identify, LbaRangeEntry, NcqErrorLog,
    NcqSendReceiveLog, SmartData, SmartFeature, TRIM_BLOCK, device,
};
use model_support::Medium;
use redox_driver_sys::model::Bus;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::{
    command::{Command, Failure, Outcome},
    config::{DiskConfig, Trim},
    fault::{Action, Faults},
    transfer::Transfer,
};

/// The error of a block that cannot be read.
const UNREADABLE: AtaError = AtaError::new().with_unc(true);
/// The error of an address beyond the end.
const NOT_FOUND: AtaError = AtaError::new().with_idnf(true).with_abrt(true);
/// The checksum's place and the longest 28-bit capacity.
const MOST_LBA28: u64 = 0x0fff_ffff;

#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) config: DiskConfig,
    pub(crate) medium: Medium,
    /// The failed queued command, until its log is read.
    error: Option<NcqErrorLog>,
    dipm: bool,
    smart: bool,
    udma: Option<u8>,
    /// In standby.
    pub(crate) asleep: bool,
}

impl Disk {
    pub(crate) fn new(config: DiskConfig) -> Self {
        let fill = if config.trim == Trim::Deterministic { 0xff } else { 0 };
        let block = usize::try_from(config.block_size).unwrap_or(512);
        let cache = if config.write_cache { config.cache_blocks } else { 0 };
        Disk {
            medium: Medium::new(block, fill, cache),
            config,
            error: None,
            dipm: false,
            smart: true,
            udma: None,
            asleep: false,
        }
    }

    /// Data, cache and settings outlive a reset of the link.
    pub(crate) fn reset(&mut self) {
        self.error = None;
    }

    pub(crate) fn queued_failed(&mut self, command: &Command, failure: Failure) {
        let mut log = NcqErrorLog::new_zeroed();
        log.tag = command.tag();
        log.status = 0x41;
        let (error, lba) = match failure {
            Failure::Ata { error, lba } => (error, lba),
            Failure::Fault => (AtaError::new().with_abrt(true), 0),
            Failure::Transfer(_) => (AtaError::new().with_icrc(true).with_abrt(true), 0),
        };
        log.error = error.into();
        let [a, b, c, d, e, f, ..] = lba.to_le_bytes();
        (log.lba_low, log.lba_high) = ([a, b, c], [d, e, f]);
        log.seal();
        if command.has(Action::GarbageLog) {
            log.tag ^= 0x1f;
            log.error ^= 0xff;
        }
        self.error = Some(log);
    }

    /// Whether a queued command failed and its log was not read.
    fn in_error(&self) -> bool {
        self.error.is_some()
    }

    pub(crate) fn execute(
        &mut self,
        bus: &mut dyn Bus,
        command: &Command,
        transfer: &mut Transfer,
        faults: &mut Faults,
    ) -> Result<Outcome, Failure> {
        let fis = &command.fis;
        let code = command.code();
        let log = GeneralPurposeLog(fis.lba_low[0]);
        let is_log = matches!(code, AtaCommand::READ_LOG_EXT | AtaCommand::READ_LOG_DMA_EXT);
        if self.in_error() && !(is_log && log == GeneralPurposeLog::NCQ_ERROR) {
            return Err(Failure::ABORT);
        }
        self.asleep = code == AtaCommand::STANDBY_IMMEDIATE;
        let ncq = self.config.queue_depth > 0;
        match code {
            AtaCommand::READ_FPDMA_QUEUED if ncq => self.read(bus, command, transfer, faults),
            AtaCommand::WRITE_FPDMA_QUEUED if ncq => {
                self.write(bus, command, transfer, fis.device & device::FUA != 0)
            }
            AtaCommand::SEND_FPDMA_QUEUED if ncq && self.config.queued_trim => {
                // Subcommand in COUNT (12:8): 0 is DATA SET MANAGEMENT, whose TRIM bit is in AUXILIARY.
                if fis.count >> 8 & 0x1f != 0 || fis.auxiliary & 1 == 0 {
                    return Err(Failure::ABORT);
                }
                self.trim(bus, transfer, fis.feature())
            }
            AtaCommand::READ_DMA_EXT if self.config.lba48 => self.read(bus, command, transfer, faults),
            AtaCommand::READ_DMA => self.read(bus, command, transfer, faults),
            AtaCommand::WRITE_DMA_EXT if self.config.lba48 => self.write(bus, command, transfer, false),
            AtaCommand::WRITE_DMA => self.write(bus, command, transfer, false),
            AtaCommand::WRITE_DMA_FUA_EXT if self.config.fua => self.write(bus, command, transfer, true),
            AtaCommand::FLUSH_CACHE | AtaCommand::FLUSH_CACHE_EXT => {
                if code == AtaCommand::FLUSH_CACHE_EXT && !self.config.lba48 {
                    return Err(Failure::ABORT);
                }
                self.medium.flush();
                Ok(Outcome::Done)
            }
            AtaCommand::DATA_SET_MANAGEMENT if self.config.trim != Trim::None => {
                if fis.feature() & 1 == 0 {
                    return Err(Failure::ABORT);
                }
                self.trim(bus, transfer, fis.count)
            }
            AtaCommand::IDENTIFY_DEVICE => {
                let identify = self.identify();
                send(bus, command, transfer, faults, identify.as_bytes())
            }
            AtaCommand::READ_LOG_EXT | AtaCommand::READ_LOG_DMA_EXT if self.config.lba48 => {
                let page = self.log(log)?;
                send(bus, command, transfer, faults, &page)?;
                Ok(if code == AtaCommand::READ_LOG_EXT { Outcome::Pio } else { Outcome::Done })
            }
            AtaCommand::SMART => self.smart(bus, command, transfer, faults),
            AtaCommand::SET_FEATURES => self.set_features(command),
            AtaCommand::STANDBY_IMMEDIATE => {
                self.medium.flush();
                Ok(Outcome::Done)
            }
            _ => Err(Failure::ABORT),
        }
    }

    fn check(&self, command: &Command) -> Result<(u64, u64), Failure> {
        let (lba, blocks) = command.range().ok_or(Failure::ABORT)?;
        let beyond = Failure::Ata { error: NOT_FOUND, lba: self.config.blocks };
        let end = lba.checked_add(blocks).ok_or(beyond)?;
        if end > self.config.blocks || command.fis.device & device::LBA == 0 {
            Err(beyond)
        } else {
            Ok((lba, blocks))
        }
    }

    fn read(
        &mut self,
        bus: &mut dyn Bus,
        command: &Command,
        transfer: &mut Transfer,
        faults: &mut Faults,
    ) -> Result<Outcome, Failure> {
        let (lba, blocks) = self.check(command)?;
        if let Some(lba) = self.medium.unreadable(lba..lba + blocks) {
            return Err(Failure::Ata { error: UNREADABLE, lba });
        }
        let mut block = vec![0; usize::try_from(self.config.block_size).unwrap_or(512)];
        for lba in lba..lba + blocks {
            self.medium.read(lba, &mut block);
            if command.has(Action::Garbage) {
                faults.garble(&mut block);
            }
            transfer.write_host(bus, &block)?;
        }
        Ok(Outcome::Done)
    }

    fn write(
        &mut self,
        bus: &mut dyn Bus,
        command: &Command,
        transfer: &mut Transfer,
        through: bool,
    ) -> Result<Outcome, Failure> {
        let (lba, blocks) = self.check(command)?;
        let through = through || !self.config.write_cache;
        let mut block = vec![0; usize::try_from(self.config.block_size).unwrap_or(512)];
        for lba in lba..lba + blocks {
            transfer.read_host(bus, &mut block)?;
            self.medium.write(lba, &block, through);
        }
        Ok(Outcome::Done)
    }

    fn trim(&mut self, bus: &mut dyn Bus, transfer: &mut Transfer, blocks: u16) -> Result<Outcome, Failure> {
        if blocks == 0 || blocks > self.config.trim_blocks.max(1) {
            return Err(Failure::ABORT);
        }
        let mut ranges = vec![0; usize::from(blocks) * TRIM_BLOCK];
        transfer.read_host(bus, &mut ranges)?;
        for entry in ranges.chunks_exact(size_of::<LbaRangeEntry>()) {
            let entry = LbaRangeEntry::read_from_bytes(entry).unwrap_or_default();
            let (lba, blocks) = (entry.lba(), entry.blocks());
            if lba + blocks > self.config.blocks {
                return Err(Failure::Ata { error: NOT_FOUND, lba });
            }
            self.medium.deallocate(lba, blocks);
        }
        Ok(Outcome::Done)
    }

    fn log(&mut self, log: GeneralPurposeLog) -> Result<Vec<u8>, Failure> {
        match log {
            GeneralPurposeLog::DIRECTORY => {
                let mut words = [0u16; 256];
                words[0] = 1;
                words[usize::from(GeneralPurposeLog::NCQ_ERROR.0)] = 1;
                words[usize::from(GeneralPurposeLog::NCQ_SEND_RECEIVE.0)] =
                    u16::from(self.config.queued_trim);
                Ok(words.as_bytes().to_vec())
            }
            GeneralPurposeLog::NCQ_ERROR if self.config.queue_depth > 0 => {
                let mut nothing = NcqErrorLog::new_zeroed();
                nothing.tag = 0x80;
                nothing.seal();
                Ok(self.error.take().unwrap_or(nothing).as_bytes().to_vec())
            }
            GeneralPurposeLog::NCQ_SEND_RECEIVE if self.config.queued_trim => {
                let log = NcqSendReceiveLog { subcommands: 1, data_set_management: 1, rest: [0; 126] };
                Ok(log.as_bytes().to_vec())
            }
            _ => Err(Failure::ABORT),
        }
    }

    fn smart(
        &mut self,
        bus: &mut dyn Bus,
        command: &Command,
        transfer: &mut Transfer,
        faults: &mut Faults,
    ) -> Result<Outcome, Failure> {
        let [_, mid, high] = command.fis.lba_low;
        if u16::from_le_bytes([mid, high]) != SmartFeature::SIGNATURE {
            return Err(Failure::ABORT);
        }
        match SmartFeature(command.fis.feature_low) {
            SmartFeature::ENABLE_OPERATIONS => {
                self.smart = true;
                Ok(Outcome::Done)
            }
            _ if !self.smart => Err(Failure::ABORT),
            SmartFeature::RETURN_STATUS => {
                let lba = u64::from(SmartFeature::SIGNATURE) << 8;
                Ok(Outcome::Registers { count: 0, lba })
            }
            SmartFeature::READ_DATA => {
                let mut data = SmartData { bytes: [0; 512] };
                for (at, (id, value, raw)) in
                    [(9, 99, 1234u64), (194, 65, 35), (199, 200, 0)].into_iter().enumerate()
                {
                    let [a, b, c, d, e, f, ..] = raw.to_le_bytes();
                    data.bytes[2 + 12 * at..14 + 12 * at]
                        .copy_from_slice(&[id, 0, 0, value, value, a, b, c, d, e, f, 0]);
                }
                send(bus, command, transfer, faults, &data.bytes)
            }
            _ => Err(Failure::ABORT),
        }
    }

    fn set_features(&mut self, command: &Command) -> Result<Outcome, Failure> {
        let count = command.fis.count.to_le_bytes()[0];
        match (FeatureCode(command.fis.feature_low), count) {
            (FeatureCode::SET_TRANSFER_MODE, mode @ 0x40..=0x46) => self.udma = Some(mode & 7),
            (FeatureCode::ENABLE_SATA, FeatureCode::SATA_DIPM) if self.config.link_power => self.dipm = true,
            (FeatureCode::DISABLE_SATA, FeatureCode::SATA_DIPM) if self.config.link_power => {
                self.dipm = false;
            }
            (FeatureCode::ENABLE_SATA | FeatureCode::DISABLE_SATA, FeatureCode::SATA_DEVSLP)
                if self.config.link_power => {}
            _ => return Err(Failure::ABORT),
        }
        Ok(Outcome::Done)
    }

    /// Whether the device begins power states of the link by itself.
    pub(crate) fn dipm(&self) -> bool {
        self.dipm
    }

    /// IDENTIFY DEVICE data.
    pub(crate) fn identify(&self) -> Identify {
        let config = &self.config;
        let mut identify = Identify { words: [0; 256] };
        let w = &mut identify.words;
        put_text(&mut w[10..20], &config.serial);
        put_text(&mut w[23..27], "1.0");
        put_text(&mut w[27..47], &config.model);
        w[49] = 1 << 8 | 1 << 9;
        w[53] = 1 << 1 | 1 << 2;
        put_number(&mut w[60..62], config.blocks.min(MOST_LBA28));
        w[80] = 0x7f0;
        w[82] = 1 | u16::from(config.write_cache) << 5;
        w[83] = 0x4000 | 1 << 12 | (u16::from(config.lba48) * (1 << 10 | 1 << 13));
        w[84] = 0x4000 | u16::from(config.lba48) << 5 | u16::from(config.fua) << 6 | 1 << 8;
        w[85] = w[82];
        w[86] = w[83] & 0x3fff;
        w[87] = w[84];
        w[88] = 0x7f | self.udma.map_or(0, |mode| 1 << (8 + mode));
        w[108] = 0x5000;
        w[111] = 1;
        if config.queue_depth > 0 {
            w[75] = u16::from(config.queue_depth - 1);
            w[76] |= 1 << 8;
        }
        w[76] |= u16::from((1u8 << config.speed) - 1) << 1;
        if config.link_power {
            w[76] |= 1 << 9;
            w[78] |= 1 << 3 | 1 << 8;
            w[79] |= u16::from(self.dipm) << 3;
        }
        if config.queued_trim {
            w[77] |= 1 << 6;
        }
        if config.lba48 {
            put_number(&mut w[100..104], config.blocks);
        }
        w[106] = 0x4000;
        if config.block_size != 512 {
            w[106] |= 1 << 12;
            put_number(&mut w[117..119], u64::from(config.block_size / 2));
        }
        if config.physical_exponent > 0 {
            w[106] |= 1 << 13 | u16::from(config.physical_exponent);
        }
        if config.trim != Trim::None {
            w[105] = config.trim_blocks;
            w[169] = 1;
            w[69] = match config.trim {
                Trim::Deterministic => 1 << 14,
                Trim::Zeroes => 1 << 14 | 1 << 5,
                _ => 0,
            };
        }
        w[217] = if config.rotational { 7200 } else { 1 };
        identify.seal();
        identify
    }
}

/// Returns a block of data.
pub(crate) fn send(
    bus: &mut dyn Bus,
    command: &Command,
    transfer: &mut Transfer,
    faults: &mut Faults,
    data: &[u8],
) -> Result<Outcome, Failure> {
    let mut data = data.to_vec();
    if command.has(Action::Garbage) {
        faults.garble(&mut data);
    }
    transfer.write_host(bus, &data)?;
    Ok(Outcome::Pio)
}

/// A string, two characters per word with the first in the upper byte, padded with spaces.
pub(crate) fn put_text(words: &mut [u16], text: &str) {
    let mut bytes = text.bytes().chain(std::iter::repeat(b' '));
    for word in words {
        let mut next = || bytes.next().unwrap_or(b' ');
        *word = u16::from_be_bytes([next(), next()]);
    }
}

fn put_number(words: &mut [u16], value: u64) {
    let bytes = value.to_le_bytes();
    for (word, pair) in words.iter_mut().zip(bytes.chunks_exact(2)) {
        *word = u16::from_le_bytes([pair[0], pair[1]]);
    }
}
