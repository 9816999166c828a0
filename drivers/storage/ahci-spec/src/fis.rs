//! Frame information structures (SATA, section 10.5) and where a port receives them (AHCI, section 4.2.1).

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::opcode::{AtaCommand, AtaError, AtaStatus};
use redox_driver_sys::{codes, display_code};

codes! {
    /// The first byte of a frame information structure (SATA, section 10.5.1).
    pub struct FisType: u8 {
        HOST_TO_DEVICE = 0x27, "Register, host to device";
        DEVICE_TO_HOST = 0x34, "Register, device to host";
        DMA_SETUP = 0x41, "DMA Setup";
        PIO_SETUP = 0x5f, "PIO Setup";
        SET_DEVICE_BITS = 0xa1, "Set Device Bits";
    }
}
display_code!(FisType);

/// The second byte of a FIS.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PmFlags {
    /// Port of a port multiplier that it is for, or from.
    #[bits(4)]
    pub pm_port: u8,
    __: bool,
    /// D: direction, of a setup FIS.
    pub direction: bool,
    /// I: interrupt, of a FIS from the device.
    pub interrupt: bool,
    /// C: a command, not a change of device control; N: notification, of Set Device Bits.
    pub command: bool,
}

/// Bits of the DEVICE field.
pub mod device {
    /// The address is a logical block address.
    pub const LBA: u8 = 1 << 6;
    /// Force unit access, of queued writes (ACS, section 7.62).
    pub const FUA: u8 = 1 << 7;
}

/// Register FIS from the host to the device, 20 bytes: a command (SATA, section 10.5.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct HostToDevice {
    /// [`FisType::HOST_TO_DEVICE`].
    pub fis_type: u8,
    /// Port and C bit.
    pub flags: PmFlags,
    /// COMMAND.
    pub command: u8,
    /// FEATURE (7:0).
    pub feature_low: u8,
    /// LBA (23:0).
    pub lba_low: [u8; 3],
    /// DEVICE.
    pub device: u8,
    /// LBA (47:24).
    pub lba_high: [u8; 3],
    /// FEATURE (15:8).
    pub feature_high: u8,
    /// COUNT.
    pub count: u16,
    /// ICC: isochronous command completion.
    pub icc: u8,
    /// CONTROL. Bit 2: software reset.
    pub control: u8,
    /// AUXILIARY.
    pub auxiliary: u32,
}

const _: () = assert!(size_of::<HostToDevice>() == 20);

impl HostToDevice {
    /// CONTROL: software reset.
    pub const SRST: u8 = 1 << 2;

    /// A command for port `pm_port` of a port multiplier; 0 without one.
    pub const fn command(command: AtaCommand, pm_port: u8) -> Self {
        HostToDevice {
            fis_type: FisType::HOST_TO_DEVICE.0,
            flags: PmFlags::new().with_pm_port(pm_port & 0xf).with_command(true),
            command: command.0,
            feature_low: 0,
            lba_low: [0; 3],
            device: 0,
            lba_high: [0; 3],
            feature_high: 0,
            count: 0,
            icc: 0,
            control: 0,
            auxiliary: 0,
        }
    }

    /// With a 48-bit address.
    #[must_use]
    pub const fn with_lba(mut self, lba: u64) -> Self {
        let [a, b, c, d, e, f, ..] = lba.to_le_bytes();
        self.lba_low = [a, b, c];
        self.lba_high = [d, e, f];
        self
    }

    /// With a 28-bit address, whose upper bits are in DEVICE.
    #[must_use]
    pub const fn with_lba28(mut self, lba: u32) -> Self {
        let [a, b, c, d] = lba.to_le_bytes();
        self.lba_low = [a, b, c];
        self.device = self.device & 0xf0 | d & 0x0f;
        self
    }

    /// The 48-bit address.
    pub const fn lba(&self) -> u64 {
        let ([a, b, c], [d, e, f]) = (self.lba_low, self.lba_high);
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }

    /// The 28-bit address.
    pub const fn lba28(&self) -> u32 {
        let [a, b, c] = self.lba_low;
        u32::from_le_bytes([a, b, c, self.device & 0x0f])
    }

    /// With FEATURE.
    #[must_use]
    pub const fn with_feature(mut self, feature: u16) -> Self {
        [self.feature_low, self.feature_high] = feature.to_le_bytes();
        self
    }

    /// FEATURE.
    pub const fn feature(&self) -> u16 {
        u16::from_le_bytes([self.feature_low, self.feature_high])
    }
}

/// The number of blocks in FEATURE of a queued command, or COUNT of another, where 0 stands for the most.
pub const fn ncq_count(field: u16) -> u32 {
    #[allow(clippy::cast_lossless, reason = "a const function")]
    if field == 0 { 0x1_0000 } else { field as u32 }
}

/// Register FIS from the device to the host, 20 bytes (SATA, section 10.5.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DeviceToHost {
    /// [`FisType::DEVICE_TO_HOST`].
    pub fis_type: u8,
    /// Port and I bit.
    pub flags: PmFlags,
    /// STATUS, an [`AtaStatus`].
    pub status: u8,
    /// ERROR, an [`AtaError`].
    pub error: u8,
    /// LBA (23:0).
    pub lba_low: [u8; 3],
    /// DEVICE.
    pub device: u8,
    /// LBA (47:24).
    pub lba_high: [u8; 3],
    /// Reserved.
    pub reserved: u8,
    /// COUNT.
    pub count: u16,
    /// Reserved.
    pub reserved2: [u8; 6],
}

const _: () = assert!(size_of::<DeviceToHost>() == 20);

impl DeviceToHost {
    /// STATUS.
    pub const fn status(&self) -> AtaStatus {
        AtaStatus::from_bits(self.status)
    }
    /// ERROR.
    pub const fn error(&self) -> AtaError {
        AtaError::from_bits(self.error)
    }
    /// The dword that READ PORT MULTIPLIER returns: COUNT (7:0) and LBA (23:0).
    pub const fn pmp_value(&self) -> u32 {
        let [a, b, c] = self.lba_low;
        u32::from_le_bytes([self.count.to_le_bytes()[0], a, b, c])
    }
}

/// Set Device Bits FIS, 8 bytes (SATA, section 10.5.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SetDeviceBits {
    /// [`FisType::SET_DEVICE_BITS`].
    pub fis_type: u8,
    /// Port, I and N bits.
    pub flags: PmFlags,
    /// STATUS without BSY and DRQ.
    pub status: u8,
    /// ERROR.
    pub error: u8,
    /// ACT: queued commands that have completed.
    pub active: u32,
}

const _: () = assert!(size_of::<SetDeviceBits>() == 8);

/// Where FISes are received, by offset (AHCI, section 4.2.1).
pub mod received {
    /// DMA Setup.
    pub const DMA_SETUP: usize = 0x00;
    /// PIO Setup.
    pub const PIO_SETUP: usize = 0x20;
    /// Register, device to host.
    pub const DEVICE_TO_HOST: usize = 0x40;
    /// Set Device Bits.
    pub const SET_DEVICE_BITS: usize = 0x58;
    /// An unknown FIS.
    pub const UNKNOWN: usize = 0x60;
}

/// What a port receives of one device, 256 bytes, aligned to its size. With FIS-based switching there are 16 of them, by
/// port of the multiplier, aligned to 4096 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ReceivedFis(pub [u8; 256]);

const _: () = assert!(size_of::<ReceivedFis>() == 256);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_laid_out_as_specified() {
        let fis = HostToDevice {
            device: device::LBA,
            count: 0x0508,
            ..HostToDevice::command(AtaCommand::READ_FPDMA_QUEUED, 2)
        }
        .with_lba(0x0102_0304_0506)
        .with_feature(0xbbaa);
        let expected = [
            0x27, 0x82, 0x60, 0xaa, 0x06, 0x05, 0x04, 0x40, 0x03, 0x02, 0x01, 0xbb, 0x08, 0x05, 0, 0, 0, 0,
            0, 0,
        ];
        assert_eq!(fis.as_bytes(), expected);
        assert_eq!((fis.lba(), fis.feature()), (0x0102_0304_0506, 0xbbaa));
        let short = HostToDevice::command(AtaCommand::READ_DMA, 0).with_lba28(0x0abc_def0);
        assert_eq!((short.lba28(), short.device, short.lba_low), (0x0abc_def0, 0x0a, [0xf0, 0xde, 0xbc]));
        assert_eq!((ncq_count(0), ncq_count(7)), (65_536, 7));
    }
}
