//! What is known of a device, and how its commands look (ACS, chapter 7).

use ahci_spec::{
    AtaCommand, HeaderFlags, HostToDevice, Identify,
    atapi::{self, Capacity, PACKET_BYTES},
    device,
};
use driver_block::{Disk, DiskId, Limits, WriteCache};

use crate::memory::{MAX_SEGMENTS, MAX_TRANSFER, MAX_TRIM_BLOCKS, Shape};

/// Dwords of a command FIS.
const CFL: u8 = 5;
/// Most blocks of a command with a 28-bit address, and with a 48-bit one.
const MOST_BLOCKS: [u32; 2] = [256, 65_536];
/// Addresses that fit in 28 and 48 bits.
const MOST_ADDRESSES: [u64; 2] = [1 << 28, 1 << 48];

/// What a command of a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
    Flush,
    /// With so many blocks of 512 bytes of ranges.
    Trim(u16),
}

/// A command of a client, as it has to be known to be issued again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) kind: Kind,
    pub(crate) lba: u64,
    pub(crate) blocks: u32,
    pub(crate) fua: bool,
    /// Entries of its PRDT.
    pub(crate) prdtl: u16,
}

/// A command as it goes into a slot.
pub(crate) struct Built {
    pub(crate) fis: HostToDevice,
    pub(crate) packet: Option<[u8; PACKET_BYTES]>,
    pub(crate) shape: Shape,
    /// Whether it is one of native command queuing.
    pub(crate) queued: bool,
}

/// What kind of device it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// An ATA disk.
    Ata,
    /// A CD or DVD drive; the medium's capacity if there is one: blocks and bytes of a block.
    Cd(Option<(u32, u32)>),
}

/// A device that was identified.
#[derive(Clone, Debug)]
pub(crate) struct Drive {
    pub(crate) class: Class,
    pub(crate) identify: Box<Identify>,
    /// Whether native command queuing is used.
    pub(crate) ncq: bool,
    /// Whether TRIM is sent queued.
    pub(crate) queued_trim: bool,
}

impl Drive {
    /// What a device says of itself, or why it cannot be served.
    pub(crate) fn new(identify: Box<Identify>, cd: bool, ncq: bool) -> Result<Self, String> {
        if !identify.is_intact() {
            return Err("its identify data has a wrong checksum".to_string());
        }
        if identify.is_ata() == cd {
            return Err(format!(
                "its identify data is of another kind of device: {:#06x}",
                identify.words[0]
            ));
        }
        if !identify.has_dma() {
            return Err("it has no DMA".to_string());
        }
        if cd && identify.packet_type() != atapi::TYPE_CD {
            return Err(format!("it is a packet device of type {:#04x}", identify.packet_type()));
        }
        let class = if cd { Class::Cd(None) } else { Class::Ata };
        let ncq = ncq && !cd && identify.has_ncq() && identify.has_lba48();
        let drive = Drive { class, identify, ncq, queued_trim: false };
        if !cd {
            let (blocks, size) = (drive.identify.blocks(), drive.identify.block_size());
            if !drive.identify.has_lba() {
                return Err("it has no logical block addresses".to_string());
            }
            if !(512..=4096).contains(&size) || !size.is_power_of_two() {
                return Err(format!("it has logical blocks of {size} bytes"));
            }
            if blocks == 0 || blocks > MOST_ADDRESSES[usize::from(drive.lba48())] {
                return Err(format!("it has {blocks} blocks"));
            }
        }
        Ok(drive)
    }

    fn lba48(&self) -> bool {
        self.identify.has_lba48()
    }

    /// What the medium of a CD drive says of its size.
    pub(crate) fn set_medium(&mut self, capacity: Option<Capacity>) {
        let medium = capacity.map(|capacity| {
            let blocks = u32::from_be_bytes(capacity.last_lba).saturating_add(1);
            // Drives leave it at 0, or say 2352 for raw blocks: what is read is 2048 bytes.
            (blocks, 2048)
        });
        self.class = Class::Cd(medium.filter(|(blocks, _)| *blocks > 1));
    }

    /// Commands in flight that the device takes.
    pub(crate) fn depth(&self) -> u16 {
        match self.class {
            Class::Ata if self.ncq => self.identify.queue_depth(),
            Class::Ata => 32,
            Class::Cd(_) => 1,
        }
    }

    /// Whether it is the same device with the same medium: its data is what it was.
    pub(crate) fn is_same(&self, other: &Drive) -> bool {
        let identity = |drive: &Drive| {
            let words = &drive.identify.words;
            (
                drive.class,
                drive.identify.blocks(),
                drive.identify.block_size(),
                words.get(10..47).map(<[u16]>::to_vec),
            )
        };
        identity(self) == identity(other)
    }

    /// The device as a disk; `None`: there is no medium. `share` is how many commands of the port it may have.
    pub(crate) fn disk(&self, id: DiskId, share: u16) -> Option<Disk> {
        let identify = &self.identify;
        let (model, serial) = (identify.model(), identify.serial());
        let base = Limits {
            block_size: 2048,
            physical_block_size: 2048,
            optimal_io_size: 0,
            max_transfer: 0,
            max_commands: self.depth().min(share).max(1),
            max_segments: MAX_SEGMENTS,
            segment_boundary: 1,
            dma_alignment: 2,
            max_discard_blocks: 0,
            max_discard_ranges: 0,
            discard_granularity: 0,
            max_write_zeroes_blocks: 0,
            write_cache: WriteCache::None,
            read_only: true,
            rotational: true,
        };
        match self.class {
            Class::Cd(medium) => {
                let (blocks, block_size) = medium?;
                let max_transfer = 128 << 10;
                let limits = Limits { block_size, max_transfer, ..base };
                Some(Disk { id, blocks: blocks.into(), limits, model, serial })
            }
            Class::Ata => {
                let block_size = identify.block_size();
                let most = MOST_BLOCKS[usize::from(self.lba48())];
                let trim = if identify.has_trim() { identify.trim_blocks().min(MAX_TRIM_BLOCKS) } else { 0 };
                let write_cache = if identify.has_write_cache() && identify.write_cache_enabled() {
                    WriteCache::Volatile { fua: identify.has_fua() }
                } else {
                    WriteCache::None
                };
                let limits = Limits {
                    block_size,
                    // A device may say 2^15: nobody means that.
                    physical_block_size: block_size << identify.physical_exponent().min(8),
                    max_transfer: most.saturating_mul(block_size).min(MAX_TRANSFER),
                    max_discard_blocks: if trim == 0 { 0 } else { u16::MAX.into() },
                    max_discard_ranges: trim * 64,
                    discard_granularity: if trim == 0 { 0 } else { block_size },
                    write_cache,
                    read_only: false,
                    rotational: identify.is_rotational(),
                    ..base
                };
                Some(Disk { id, blocks: identify.blocks(), limits, model, serial })
            }
        }
    }

    /// The command for `work` in slot `slot`, for port `pm_port` of a multiplier.
    #[inline]
    pub(crate) fn build(&self, work: &Work, slot: u8, pm_port: u8) -> Built {
        if let (true, Kind::Read | Kind::Write) = (self.ncq, work.kind) {
            let write = work.kind == Kind::Write;
            let command = if write { AtaCommand::WRITE_FPDMA_QUEUED } else { AtaCommand::READ_FPDMA_QUEUED };
            let fis = HostToDevice {
                device: device::LBA | if work.fua && write { device::FUA } else { 0 },
                count: u16::from(slot) << 3,
                ..HostToDevice::command(command, pm_port)
            }
            .with_lba(work.lba)
            .with_feature(low_word(work.blocks));
            return Built { fis, packet: None, shape: shape(pm_port, write, work.prdtl), queued: true };
        }
        self.build_plain(work, slot, pm_port)
    }

    fn build_plain(&self, work: &Work, slot: u8, pm_port: u8) -> Built {
        let plain =
            |fis, write| Built { fis, packet: None, shape: shape(pm_port, write, work.prdtl), queued: false };
        if let Class::Cd(_) = self.class {
            // FEATURE bit 0: the data goes by DMA.
            let fis = HostToDevice::command(AtaCommand::PACKET, pm_port).with_feature(1);
            let mut built = plain(fis, false);
            built.shape.flags.set_atapi(true);
            built.packet = Some(atapi::read_12(u32::try_from(work.lba).unwrap_or(u32::MAX), work.blocks));
            return built;
        }
        let lba48 = self.lba48();
        match work.kind {
            Kind::Flush => {
                let command = if self.identify.has_flush_ext() {
                    AtaCommand::FLUSH_CACHE_EXT
                } else {
                    AtaCommand::FLUSH_CACHE
                };
                plain(HostToDevice { device: device::LBA, ..HostToDevice::command(command, pm_port) }, false)
            }
            Kind::Trim(blocks) if self.queued_trim && self.ncq => {
                // COUNT (12:8) is the subcommand: 0, DATA SET MANAGEMENT. AUXILIARY bit 0 is TRIM.
                let fis = HostToDevice {
                    device: device::LBA,
                    count: u16::from(slot) << 3,
                    auxiliary: 1,
                    ..HostToDevice::command(AtaCommand::SEND_FPDMA_QUEUED, pm_port)
                };
                Built { queued: true, ..plain(fis.with_feature(blocks), true) }
            }
            Kind::Trim(blocks) => {
                let command = HostToDevice::command(AtaCommand::DATA_SET_MANAGEMENT, pm_port);
                plain(HostToDevice { device: device::LBA, count: blocks, ..command }.with_feature(1), true)
            }
            Kind::Read | Kind::Write => {
                let write = work.kind == Kind::Write;
                let command = match (write, lba48) {
                    (true, true) if work.fua => AtaCommand::WRITE_DMA_FUA_EXT,
                    (true, true) => AtaCommand::WRITE_DMA_EXT,
                    (true, false) => AtaCommand::WRITE_DMA,
                    (false, true) => AtaCommand::READ_DMA_EXT,
                    (false, false) => AtaCommand::READ_DMA,
                };
                let count = low_word(work.blocks) & if lba48 { 0xffff } else { 0xff };
                let fis =
                    HostToDevice { device: device::LBA, count, ..HostToDevice::command(command, pm_port) };
                let fis = if lba48 {
                    fis.with_lba(work.lba)
                } else {
                    fis.with_lba28(u32::try_from(work.lba).unwrap_or(u32::MAX))
                };
                plain(fis, write)
            }
        }
    }
}

/// A header for a command FIS.
pub(crate) fn shape(pm_port: u8, write: bool, prdtl: u16) -> Shape {
    Shape { flags: HeaderFlags::new().with_cfl(CFL).with_write(write).with_pm_port(pm_port), prdtl }
}

/// A count, in which 0 stands for the most.
#[allow(clippy::cast_possible_truncation, reason = "meant")]
fn low_word(blocks: u32) -> u16 {
    blocks as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drive(words: &[(usize, u16)], ncq: bool) -> Result<Drive, String> {
        let mut identify = Box::new(Identify { words: [0; 256] });
        identify.words[49] = 1 << 8 | 1 << 9;
        identify.words[60] = 1000;
        for &(at, value) in words {
            identify.words[at] = value;
        }
        Drive::new(identify, false, ncq)
    }

    #[test]
    fn what_cannot_be_served_is_named() {
        let refusal = |words: &[(usize, u16)]| drive(words, true).err().unwrap_or_default();
        assert_eq!(refusal(&[(49, 1 << 9)]), "it has no DMA");
        assert_eq!(refusal(&[(49, 1 << 8)]), "it has no logical block addresses");
        assert_eq!(refusal(&[(60, 0)]), "it has 0 blocks");
        assert_eq!(refusal(&[(106, 0x5000), (117, 4096)]), "it has logical blocks of 8192 bytes");
        assert_eq!(refusal(&[(255, 0x00a5)]), "its identify data has a wrong checksum");
        assert!(refusal(&[(0, 0x8580)]).contains("another kind"));
    }

    #[test]
    fn the_most_blocks_are_written_as_zero() {
        let work = |blocks| Work { kind: Kind::Write, lba: 5, blocks, fua: true, prdtl: 1 };
        let old = drive(&[], true).unwrap();
        let built = old.build(&work(256), 3, 0);
        assert_eq!((built.fis.command, built.fis.count), (AtaCommand::WRITE_DMA.0, 0));
        let long = drive(&[(83, 0x4400)], true).unwrap();
        let built = long.build(&work(65_536), 3, 0);
        assert_eq!((built.fis.command, built.fis.count), (AtaCommand::WRITE_DMA_FUA_EXT.0, 0));
        let queued = drive(&[(83, 0x4400), (76, 1 << 8)], true).unwrap();
        let built = queued.build(&work(65_536), 3, 0);
        assert_eq!((built.fis.command, built.fis.feature()), (AtaCommand::WRITE_FPDMA_QUEUED.0, 0));
        assert_eq!((built.fis.count, built.fis.device), (3 << 3, device::LBA | device::FUA));
        assert!(built.queued);
    }
}
